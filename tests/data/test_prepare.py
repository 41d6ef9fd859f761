"""Raw data to a store: in order, on all cores, in bounded memory; what is bad is told."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
import tracemalloc
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from dualhead.data import pool
from dualhead.data.dataset import Prepared
from dualhead.data.datasets import DATASETS
from dualhead.data.listing import fingerprint
from dualhead.data.prepare import prepare
from dualhead.data.store import Store
from dualhead.data.verify import verify
from tests.builders.nw_ucla import (
    LABELS,
    SETTINGS,
    names,
    prepare_part,
    tarred,
    write_raw,
    write_recording,
    zipped,
)


@pytest.fixture
def raw(tmp_path):
    return write_raw(tmp_path / "all_sqe")


def test_every_recording_becomes_a_sample_in_order(raw, tmp_path):
    report = prepare_part(raw, tmp_path)
    store = Store(tmp_path / "store.h5")
    assert (report.kept, report.reused) == (40, 0)
    assert store.names == sorted(names(40))
    for name in store.names:
        expected = np.array(json.loads((raw / f"{name}.json").read_text())["skeletons"], np.float32)
        assert np.array_equal(expected, store.bodies(store.position(name))[0])
        assert store.labels[store.position(name)] == LABELS[int(name[1:3])] - 1
    train, test = store.split("xview")
    assert {1, 2} == set(store.meta["view"][train]) and {3} == set(store.meta["view"][test])


def test_the_store_says_how_it_was_made(raw, tmp_path):
    prepare_part(raw, tmp_path)
    attributes = Store(tmp_path / "store.h5").attributes
    assert attributes["settings"] == SETTINGS
    assert (attributes["dataset"], attributes["layout"]) == ("nw_ucla", "kinect20")
    assert (attributes["padding"], attributes["max_bodies"]) == ("loop", 1)
    assert attributes["partial"] is True
    assert attributes["fingerprint"] == fingerprint("nw_ucla", [raw])
    assert attributes["counts"] == {
        **{"kept": 40, "reused": 0},
        **{"dropped_samples": {}, "dropped_bodies": {}, "noted": {}},
    }


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_an_archive_is_read_in_place_and_makes_the_same_store(raw, tmp_path, pack):
    prepare_part(raw, tmp_path)
    before = sorted(tmp_path.iterdir())
    archive = pack(raw)
    prepare_part(archive, tmp_path, output=tmp_path / "other.h5")
    assert (tmp_path / "store.h5").read_bytes() == (tmp_path / "other.h5").read_bytes()
    assert sorted([*before, archive, tmp_path / "other.h5"]) == sorted(tmp_path.iterdir())
    assert fingerprint("nw_ucla", [raw]) == fingerprint("nw_ucla", [archive])


def test_any_number_of_workers_makes_the_same_store(raw, tmp_path):
    prepare_part(raw, tmp_path)
    prepare_part(zipped(raw), tmp_path, output=tmp_path / "other.h5", workers=2)
    assert (tmp_path / "store.h5").read_bytes() == (tmp_path / "other.h5").read_bytes()


def rows(path):
    with path.open() as text:
        return list(csv.DictReader(text))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_bad_recording_is_dropped_told_and_the_run_goes_on(raw, tmp_path, workers):
    bad = raw / f"{names(40)[17]}.json"
    bad.write_text(bad.read_text()[:100])
    (raw / "readme.json").write_text("{}")
    report = prepare_part(raw, tmp_path, workers=workers)
    assert (report.kept, dict(report.dropped_samples)) == (39, {"unknown_name": 1, "unreadable": 1})
    listed = {row["name"]: row for row in rows(tmp_path / "store.dropped.csv")}
    assert set(listed) == {"readme", bad.stem}
    assert (
        listed[bad.stem]["reason"] == "unreadable" and "expected JSON" in listed[bad.stem]["detail"]
    )
    store = Store(tmp_path / "store.h5")
    assert bad.stem not in store
    assert store.attributes["counts"]["dropped_samples"] == {"unknown_name": 1, "unreadable": 1}
    assert "1 unknown_name, 1 unreadable" in str(report)


def test_a_damaged_member_of_an_archive_is_one_bad_recording(raw, tmp_path):
    archive = zipped(raw)
    with zipfile.ZipFile(archive) as file:
        entry = file.infolist()[5]
    content = bytearray(archive.read_bytes())
    content[entry.header_offset + 30 + len(entry.filename) + 20] ^= 255
    archive.write_bytes(content)
    assert (
        (report := prepare_part(archive, tmp_path)).kept,
        dict(report.dropped_samples),
    ) == (39, {"unreadable": 1})


def test_wrong_counts_are_refused_before_anything_is_prepared(raw, tmp_path):
    with pytest.raises(ValueError, match="nw_ucla xview: expected 1,020 training and 464") as error:
        prepare_part(raw, tmp_path, partial=False)
    assert "found 27 and 13" in str(error.value) and "--partial" in str(error.value)
    assert [raw] == list(tmp_path.iterdir())


def test_a_complete_dataset_is_not_called_partial(raw, tmp_path, monkeypatch):
    complete = replace(DATASETS["nw_ucla"], expected={"xview": (27, 13)})
    monkeypatch.setitem(DATASETS, "nw_ucla", complete)
    for partial in (False, True):
        prepare_part(raw, tmp_path, partial=partial)
        assert Store(tmp_path / "store.h5").attributes["partial"] is False


@pytest.mark.parametrize("number", [0, -1])
def test_fewer_than_one_body_or_worker_is_refused(raw, tmp_path, number):
    with pytest.raises(ValueError, match=f"--max-bodies: expected 1 or more, found {number}"):
        prepare_part(raw, tmp_path, settings=SETTINGS | {"max_bodies": number})
    with pytest.raises(ValueError, match=f"--workers: expected 1 or more, found {number}"):
        prepare_part(raw, tmp_path, workers=number)
    assert [raw] == list(tmp_path.iterdir())


def test_a_missing_dataset_says_what_to_download_and_where_to_put_it(tmp_path):
    with pytest.raises(ValueError, match=r"no such file or folder\. NW-UCLA: .* Put it at"):
        prepare_part(tmp_path / "nw_ucla.zip", tmp_path)


def test_a_folder_without_recordings_is_refused(tmp_path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "notes.json").touch()
    with pytest.raises(ValueError, match=r"found none \(left out: 1 unknown_name; .* 1 \.json"):
        prepare_part(tmp_path / "raw", tmp_path)


def test_a_recording_that_is_there_twice_is_refused(raw, tmp_path):
    (raw / "copy").mkdir()
    (raw / "copy" / f"{names(1)[0]}.json").touch()
    with pytest.raises(ValueError, match="is there twice"):
        prepare_part(raw, tmp_path)


def test_an_archive_that_was_cut_short_is_refused(raw, tmp_path):
    archive = zipped(raw)
    archive.write_bytes(archive.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"all_sqe\.zip: expected a whole archive"):
        prepare_part(archive, tmp_path)


def test_a_dataset_without_one_good_recording_is_refused(raw, tmp_path):
    for path in raw.iterdir():
        path.write_text("{")
    with pytest.raises(ValueError, match=r"no recording could be prepared; the first: .*JSON"):
        prepare_part(raw, tmp_path)
    assert [raw] == list(tmp_path.iterdir())


def test_a_recording_of_a_class_too_many_is_refused(raw, tmp_path, monkeypatch):
    small = replace(DATASETS["nw_ucla"], class_names=("one", "two"))
    monkeypatch.setitem(DATASETS, "nw_ucla", small)
    with pytest.raises(ValueError, match="one of the 2 classes of nw_ucla; found number 3"):
        prepare_part(raw, tmp_path)


def test_samples_of_another_store_are_copied_not_prepared(raw, tmp_path):
    prepare_part(raw, tmp_path)
    more = tmp_path / "more"
    for name in names(50)[35:]:
        write_recording(more, name)
    report = prepare_part(
        more, tmp_path, output=tmp_path / "both.h5", reuse=tmp_path / "store.h5", workers=2
    )
    assert (report.kept, report.reused) == (50, 40)
    old, both = Store(tmp_path / "store.h5"), Store(tmp_path / "both.h5")
    assert both.names == sorted(names(50))
    for name in old.names:
        assert np.array_equal(old.padded(name, 9), both.padded(name, 9))
        there, here = old.position(name), both.position(name)
        assert old.labels[there] == both.labels[here]
        assert old.meta["view"][there] == both.meta["view"][here]
    assert both.attributes["counts"]["reused"] == 40


@pytest.mark.parametrize(("key", "value"), [("normalize", "first_frame"), ("recipe", 2)])
def test_a_store_with_other_settings_is_not_reused(raw, tmp_path, key, value):
    prepare_part(raw, tmp_path)
    with pytest.raises(ValueError, match="reused for nw_ucla: expected settings") as error:
        prepare_part(
            raw,
            tmp_path,
            output=tmp_path / "other.h5",
            reuse=tmp_path / "store.h5",
            settings=SETTINGS | {key: value},
        )
    assert "Give both datasets the same `prepare` settings" in str(error.value)


def test_a_dataset_whose_split_shares_setups_is_neither_prepared_nor_verified(
    raw, tmp_path, monkeypatch
):
    def leaking(meta):
        return (np.arange(len(meta["view"])) % 3 > 0).astype(np.int8)  # whatever the view

    shifted = replace(DATASETS["nw_ucla"], expected={}, splits={"xview": leaking})
    monkeypatch.setitem(DATASETS, "nw_ucla", shifted)
    (raw / f"{names(40)[0]}.json").unlink()
    with pytest.raises(ValueError, match=r"split xview: expected no view in both"):
        prepare_part(raw, tmp_path)
    assert not (tmp_path / "store.h5").exists()
    with pytest.raises(ValueError, match=r"split xview: expected no view in both"):
        verify("nw_ucla", [raw], SETTINGS)


def test_in_a_log_progress_is_plain_text_without_bars(raw, tmp_path, capsys):
    prepare_part(raw, tmp_path)
    assert "\r" not in capsys.readouterr().err


def large(content, sample, settings):
    """Stand in for `prepare_sample`: 480 KB a sample."""
    return Prepared((np.zeros((2000, 20, 3), np.float32),), 2000, ())


@pytest.mark.parametrize("workers", [1, 2])
def test_memory_does_not_grow_with_the_dataset(tmp_path, monkeypatch, workers):
    folder = tmp_path / "raw"
    folder.mkdir()
    for name in names(150):
        (folder / f"{name}.json").touch()
    dataset = replace(DATASETS["nw_ucla"], prepare_sample=large)
    monkeypatch.setitem(DATASETS, "nw_ucla", dataset)
    monkeypatch.setattr(pool, "CHUNK", 4)
    tracemalloc.start()
    prepare_part(folder, tmp_path, workers=workers)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    size = (tmp_path / "store.h5").stat().st_size
    assert size > 150 * 480_000
    assert peak < size / 4


PREPARE_AND_HANG = """
import sys, time
from dataclasses import replace
from pathlib import Path
from dualhead.data.datasets import DATASETS
from tests.data import test_prepare

if __name__ == "__main__":
    raw, folder, workers = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    slow = replace(DATASETS["nw_ucla"], prepare_sample=test_prepare.slow)
    DATASETS["nw_ucla"] = slow
    test_prepare.prepare_part(raw, folder, workers=workers)
"""


def slow(content, sample, settings):
    """Stand in for `prepare_sample`: leave a trace, then take too long."""
    sample.source.with_suffix(f".{os.getpid()}").touch()
    time.sleep(30)


def is_alive(process_id):
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("workers", [1, 2])
def test_killed_at_any_time_nothing_passes_for_a_store_and_no_worker_stays(
    raw, tmp_path, root, workers
):
    script = tmp_path / "script.py"
    script.write_text(PREPARE_AND_HANG)
    killed = subprocess.Popen(
        [sys.executable, script, raw, tmp_path, str(workers)],
        cwd=root,
        env=os.environ | {"PYTHONPATH": f"{root}{os.pathsep}{root / 'src'}"},
    )
    traces = [path for path in raw.iterdir() if path.suffix != ".json"]
    deadline = time.monotonic() + 60
    while len(traces) < workers and time.monotonic() < deadline:
        time.sleep(0.05)
        traces = [path for path in raw.iterdir() if path.suffix != ".json"]
    assert len(traces) == workers
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert not (tmp_path / "store.h5").exists()
    assert not (tmp_path / "store.dropped.csv").exists()
    busy = {int(path.suffix[1:]) for path in traces}
    while any(map(is_alive, busy)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(is_alive, busy))
    assert prepare_part(raw, tmp_path).kept == 40
    left = {path.name for path in tmp_path.iterdir()} - {raw.name, script.name}
    assert left == {"store.h5", "store.dropped.csv"}


@pytest.mark.workflow  # a whole dataset
def test_the_real_archive_makes_a_complete_store(shared, tmp_path):
    report = prepare_part(
        shared / "data" / "nw_ucla.tar.gz",
        tmp_path,
        partial=False,
        workers=2,
        settings=SETTINGS | {"normalize": "first_frame"},
    )
    store = Store(tmp_path / "store.h5")
    assert (report.kept, store.attributes["partial"]) == (1484, False)
    assert tuple(map(len, store.split("xview"))) == (1020, 464)
    assert store.num_frames.min() == 1 and store.num_frames.max() == 201


def test_real_clips_of_kinetics_make_a_store(shared, tmp_path):
    prepare(
        "kinetics",
        [shared / "data" / "kinetics"],
        tmp_path / "store.h5",
        settings=SETTINGS | {"max_bodies": 2},
        partial=True,
        dropped=tmp_path / "dropped.csv",
        reuse=None,
        workers=1,
    )
    store = Store(tmp_path / "store.h5")
    assert store.padded("-0BveUV52cM.json").shape == (3, 300, 18, 2)
    assert (store.num_classes, store.attributes["partial"]) == (400, True)
    assert store.class_names[317] == "smoking hookah"
