"""The walk of docs/own_skeletons.md: its settings, Python and commands, done as they stand there."""

import csv
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from dualhead.cli import main as cli
from dualhead.data.store import Store


def rows_of(path):
    with path.open(newline="") as text:
        return list(csv.DictReader(text))


def test_the_walk_goes_from_recordings_to_predictions(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = (root / "docs/own_skeletons.md").read_text()
    blocks = re.findall(r"```(python|yaml)\n(.*?)```|^    (dualhead [^\n]*)$", page, re.S | re.M)
    assert len(blocks) == 9
    for language, content, command in blocks:
        if language == "yaml":
            (tmp_path / "params.yaml").write_text(content)
        elif language == "python":
            exec(compile(content, "docs/own_skeletons.md", "exec"), {})
        else:
            assert cli.main(shlex.split(command)[1:]) == 0, command
    with Store("mine.h5") as store:
        assert (len(store), store.layout.name, store.class_names) == (16, "ntu25", ["walk", "wave"])
    (row,) = rows_of(tmp_path / "predictions.csv")
    assert row["name"] == "walk" and row["class_name"] in ("walk", "wave")
    assert json.loads((tmp_path / "all.json").read_text())["num_test"] == 16
    windows = rows_of(tmp_path / "windows.csv")
    assert [row["first_frame"] for row in windows] == ["0", "5", "10"]


def test_markers_become_other_joints_as_the_page_says(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = (
        (root / "docs/own_skeletons.md").read_text().split("## Joints under names of their own")[1]
    )
    for name, lines in re.findall(r"    # (\S+\.yaml)\n((?:    .+\n)+)", page):
        (tmp_path / name).write_text(lines)
    places = np.random.default_rng(2).normal(0, 300, (3, 4, 3)).round(2)
    header = ["PathFileType\t4\t(X/Y/Z)\tpoles.trc", "DataRate\tUnits", "60\tmm"]
    names = ("LWRA", "LWRB", "RWRA", "RWRB")
    labels = "\t".join(["Frame#", "Time", *(f"{name}\t\t" for name in names)])
    rows = ["\t".join(map(str, [t, t / 60, *frame.ravel()])) for t, frame in enumerate(places)]
    Path("poles.trc").write_text("\n".join([*header, labels, "\t\tX1\tY1\tZ1", *rows]))
    command = re.search(r"`dualhead (prepare [^`]*)`", page)[1]
    assert cli.main([*shlex.split(command), "--normalize", "none"]) == 0
    with Store("poles.h5") as store:
        assert store.layout.joints == ("left_end", "right_end")
        found = store.padded("poles", 3)[..., 0].transpose(1, 2, 0)
    expected = places.reshape(3, 2, 2, 3).mean(axis=2) / 1000
    assert found == pytest.approx(expected, abs=1e-6)
