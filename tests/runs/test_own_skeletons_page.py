"""The walk of docs/own_skeletons.md: its settings, Python and commands, done as they stand there."""

import csv
import json
import re
import shlex

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
