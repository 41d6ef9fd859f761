"""What the rules ask of Python."""

from pathlib import Path

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
