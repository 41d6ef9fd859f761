"""Functions that the rules ask of Python."""

import os
import re
import time
from pathlib import Path

import pytest

from dualhead.data.datasets import DATASETS
from dualhead.settings import params
from dualhead.workspace import rules as workspace


def test_settings_become_options_word_by_word() -> None:
    settings = {"classes": 4, "frames": [30, 60], "max_bodies": 2}
    expected = ["--classes", "4", "--frames", "30", "60", "--max-bodies", "2"]
    assert workspace.as_options(settings) == expected


def test_a_partial_store_is_prepared_with_partial() -> None:
    store = {"prepare": {"recipe": 1, "denoise": "energy"}, "partial": True}
    assert workspace.prepare_options(store) == ["--denoise", "energy", "--partial"]
    assert workspace.prepare_options(store | {"partial": False}) == ["--denoise", "energy"]


def test_missing_data_says_what_to_put_where(tmp_path: Path) -> None:
    store = {"dataset": "ntu60", "kind": "ntu60", "raw": [str(tmp_path / "a.zip")]}
    text = workspace.missing_data({"ntu60-1": store | {"synthesize": None}})
    for expected in (str(tmp_path / "a.zip"), "nturgbd_skeletons_s001_to_s017.zip", "GB", "ROSE"):
        assert expected in text
    (tmp_path / "a.zip").touch()
    assert not workspace.missing_data({"ntu60-1": store | {"synthesize": None}})


def test_synthetic_data_is_never_missing() -> None:
    store = {"dataset": "s", "kind": "synthetic", "raw": ["nowhere"], "synthesize": {"classes": 4}}
    assert not workspace.missing_data({"s-1": store})


def test_a_signature_sees_size_and_date_of_each_file(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    (raw / "below").mkdir(parents=True)
    for name in ("a", "below/b"):
        (raw / name).write_text("recording")
    seen = {workspace.signature([raw])}
    folder_time = raw.stat().st_mtime_ns
    (raw / "below/b").write_text("recordings")
    seen.add(workspace.signature([raw]))
    os.utime(raw / "a", (1e9, 1e9))  # older, as `rsync -a` and wget leave it
    seen.add(workspace.signature([raw]))
    (raw / "below/c").touch()
    seen.add(workspace.signature([raw]))
    assert len(seen) == 4
    assert raw.stat().st_mtime_ns == folder_time


def test_a_signature_sees_files_in_folders_that_are_linked(tmp_path: Path) -> None:
    raw, elsewhere = tmp_path / "raw", tmp_path / "elsewhere"
    for folder in (raw, elsewhere):
        folder.mkdir()
    (elsewhere / "a").write_text("recording")
    (raw / "linked").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(raw)
    before = workspace.signature([raw])
    (elsewhere / "a").write_text("recordings")
    assert workspace.signature([raw]) != before


@pytest.mark.parametrize(
    ("log", "is_worth_it"),
    [
        ("epoch 1/3\ndualhead train: the loss is nan in epoch 2, step 1\n", False),
        ("state.pt: saved in epoch 2; the same command goes on\n", True),
        ("dualhead train: out of memory on cuda\n", True),
        ("", True),
    ],
)
def test_a_loss_that_is_no_number_is_not_worth_a_retry(tmp_path, log, is_worth_it) -> None:
    (tmp_path / "train.log").write_text(log)
    assert workspace.is_worth_a_retry([str(tmp_path / "train.log")]) == is_worth_it
    assert workspace.is_worth_a_retry([str(tmp_path / "absent.log")])


def test_a_user_who_may_only_read_is_told_what_reads(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    workspace._refuse_reader()
    (tmp_path / ".snakemake/locks").mkdir(parents=True)
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "locks")
    with pytest.raises(ValueError, match=r"locks: this user may not write here.*dualhead status"):
        workspace._refuse_reader()


def test_a_product_goes_below_a_folder_that_may_be_written(tmp_path, monkeypatch) -> None:
    (tmp_path / "tables").mkdir()
    (tmp_path / "logs").write_text("")
    product = str(tmp_path / "tables/new/a.csv")
    workspace.refuse_unwritable([product])
    with pytest.raises(ValueError, match=r"logs: expected a folder, found a file; move it away"):
        workspace.refuse_unwritable([product, str(tmp_path / "logs/table/a.log")])
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "tables")
    with pytest.raises(ValueError, match=r"tables: expected a folder that this user may write to"):
        workspace.refuse_unwritable([product])


def test_raw_data_that_is_not_all_there_has_no_signature(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    assert workspace.signature([tmp_path / "a"])
    assert workspace.signature([tmp_path / "a", tmp_path / "absent"]) == ""
    assert workspace.signature([]) == ""


def test_a_stamp_holds_for_the_files_that_it_was_made_of(tmp_path: Path) -> None:
    raw, stamp = tmp_path / "raw.zip", tmp_path / "stamp.txt"
    raw.write_text("these")
    assert not workspace.is_checked([str(raw)], stamp)
    stamp.write_text(f"all is well\nsignature: {workspace.signature([raw])}\n")
    assert workspace.is_checked([str(raw)], stamp)
    raw.write_text("others")
    assert not workspace.is_checked([str(raw)], stamp)


@pytest.mark.parametrize("there", ["nw_ucla.zip", "nw_ucla.tar.gz", "nw_ucla.tar", "nw_ucla"])
def test_recordings_are_found_under_each_ending(tmp_path: Path, there: str) -> None:
    (tmp_path / there).touch()
    for said in ("nw_ucla.tar.gz", "nw_ucla.zip"):
        assert workspace.located(str(tmp_path / said)) == str(tmp_path / there)
    assert workspace.located(str(tmp_path / "other.zip")) == str(tmp_path / "other.zip")


def test_nw_ucla_is_found_where_the_message_says(root: Path, tmp_path: Path) -> None:
    raw = params.read_yaml(root / "examples/nw_ucla/params.yaml")["datasets"]["nw_ucla"]["raw"]
    told = set(re.findall(r"data/raw/nw_ucla[\w.]*|nw_ucla\.tar\.gz", DATASETS["nw_ucla"].where))
    assert told
    for name in told:
        place = tmp_path / "data/raw" / Path(name).name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
        assert workspace.located(str(tmp_path / raw[0])) == str(place)
        place.unlink()


def test_files_dated_ahead_are_dated_now(tmp_path: Path) -> None:
    ahead, before = tmp_path / "ahead", tmp_path / "before"
    for path, seconds in ((ahead, 3600), (before, -3600)):
        path.touch()
        os.utime(path, (time.time() + seconds,) * 2)
    (tmp_path / "link").symlink_to("nowhere")
    kept = before.stat().st_mtime
    workspace.date_now([tmp_path, tmp_path / "absent"])
    assert ahead.stat().st_mtime <= time.time()
    assert before.stat().st_mtime == kept


def test_no_rule_of_a_group_of_short_jobs_comes_on_top_of_them(root: Path) -> None:
    profile = params.read_yaml(root / "profiles/slurm/config.yaml")
    rules = {it.split("=")[0] for it in profile["groups"]}
    counted = {rule for rule, it in profile["set-resources"].items() if it.get("short") == 1}
    assert rules == counted
