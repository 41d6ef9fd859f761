import csv
import json

import pytest

from dualhead.files import replacing, write_csv, write_json, write_text


def test_a_block_that_succeeds_leaves_the_file_alone_in_its_folder(tmp_path):
    path = tmp_path / "new" / "file.txt"
    with replacing(path) as temporary:
        temporary.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


def test_a_block_that_fails_leaves_what_was_there(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("before")
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_json_csv_and_text_are_read_as_they_were_written(tmp_path):
    write_json(tmp_path / "a.json", {"top1": 88.5, "epoch": None})
    assert json.loads((tmp_path / "a.json").read_text()) == {"top1": 88.5, "epoch": None}
    write_csv(tmp_path / "a.csv", ("name", "said"), [("a", 'x, "y"'), ("b", 0.1)])
    with (tmp_path / "a.csv").open(newline="") as text:
        assert list(csv.reader(text)) == [["name", "said"], ["a", 'x, "y"'], ["b", "0.1"]]
    write_text(tmp_path / "a.txt", "line\n\n")
    assert (tmp_path / "a.txt").read_text() == "line\n"


def test_json_refuses_what_is_not_finite(tmp_path):
    with pytest.raises(ValueError, match="Out of range float"):
        write_json(tmp_path / "a.json", {"top1": float("nan")})
    assert not list(tmp_path.iterdir())
