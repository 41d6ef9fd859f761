"""Damaged results are refused in one line that names the file; none that differs is ever accepted."""

import faulthandler
import json

import pytest

from tests.builders.damage import mutants
from tests.builders.readers import READERS, finish_run
from tests.builders.tiny import tiny_networks
from tests.torture.verdicts import same

COUNT = 60  # mutants of each file
SECONDS = 120  # for all of one file: a reader that hangs ends the process with its traceback


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return finish_run(tmp_path_factory.mktemp("run"))


@pytest.mark.parametrize("name", READERS)
def test_no_damage_is_accepted_and_each_is_refused_in_one_line(folder, tmp_path, name):
    content = (folder / name).read_bytes()
    with tiny_networks():
        expected = READERS[name](folder / name)
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        for number, (what, damaged) in enumerate(mutants(content, COUNT, seed=5)):
            path = tmp_path / f"{number}" / name
            path.parent.mkdir()
            path.write_bytes(damaged)
            try:
                found = READERS[name](path)
            except ValueError as error:
                assert str(path) in str(error), what
                assert "\n" not in str(error), what
            else:
                assert same(expected, found), what
        faulthandler.cancel_dump_traceback_later()


def test_the_record_names_every_file_beside_it(folder):
    record = json.loads((folder / "metrics.json").read_text())
    assert set(record["files"]) == {"checkpoint.pt", "history.csv", "scores.h5", "classes.csv"}
