"""What the rules ask of Python."""

import os
from pathlib import Path

import pytest

from dualhead.workspace import rules as workspace


def test_the_numbers_of_an_override_are_numbers() -> None:
    given = {"seeds": ["1", "2"], "train": {"learning_rate": "1e-2", "loss": "mean"}, "recipe": 2}
    expected = {"seeds": [1, 2], "train": {"learning_rate": 0.01, "loss": "mean"}, "recipe": 2}
    assert workspace.typed(given) == expected


def test_an_override_that_is_a_word_stays_one() -> None:
    words = {"a": "none", "b": "null", "c": "data/raw", "d": '"quoted"', "e": "[1"}
    assert workspace.typed(words) == words


def test_the_grid_is_rewritten_only_when_it_changed(tmp_path: Path) -> None:
    path = tmp_path / "results/grid.json"
    workspace.write_if_changed(path, {"runs": {"a": 1}})
    os.utime(path, (1, 1))
    workspace.write_if_changed(path, {"runs": {"a": 1}})
    assert path.stat().st_mtime == 1
    workspace.write_if_changed(path, {"runs": {"a": 2}})
    assert path.stat().st_mtime > 1


def test_settings_become_options_word_by_word() -> None:
    settings = {"classes": 4, "frames": [30, 60], "max_bodies": 2}
    expected = ["--classes", "4", "--frames", "30", "60", "--max-bodies", "2"]
    assert workspace.as_options(settings) == expected


def test_a_partial_store_is_prepared_with_partial() -> None:
    store = {"prepare": {"recipe": 1, "denoise": "energy"}, "partial": True}
    assert workspace.prepare_options(store) == ["--denoise", "energy", "--partial"]
    assert workspace.prepare_options(store | {"partial": False}) == ["--denoise", "energy"]


@pytest.mark.parametrize(("age", "expected"), [(-1, True), (1, False)])
def test_raw_data_is_newer_or_not(tmp_path: Path, age: int, expected: bool) -> None:
    store, raw = tmp_path / "store.h5", tmp_path / "raw.zip"
    store.touch()
    raw.touch()
    os.utime(raw, (store.stat().st_mtime - age,) * 2)
    assert workspace.any_newer([str(raw)], store) is expected


def test_raw_data_that_is_not_all_there_is_not_newer(tmp_path: Path) -> None:
    store = tmp_path / "store.h5"
    store.touch()
    assert not workspace.any_newer([], store)
    assert not workspace.any_newer([str(store), str(tmp_path / "absent.zip")], store)


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
