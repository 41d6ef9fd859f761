"""torture: its verdicts on what is faulty on purpose."""

import os
import time

import pytest

from tests.torture import __main__ as command
from tests.torture import watch
from tests.torture.counts import BEGIN, END, Counts, add_to_docs
from tests.torture.right import RIGHT, Right, faults
from tests.torture.scripts import adapted
from tests.torture.verdicts import Outcome, Verdict, damage, judge, seed_of

REFUSED = Verdict(Outcome.REFUSED, "a.json: damaged")


def raising(text):
    def read():
        raise ValueError(text)

    return read


@pytest.mark.parametrize(
    ("read", "tells", "expected"),
    [
        (lambda: {"a": 1}, True, Outcome.SAME),
        (lambda: {"a": 2}, True, Outcome.ACCEPTED),
        (lambda: {"a": 2}, False, Outcome.OTHER),
        (raising("a.json: damaged"), True, Outcome.REFUSED),
        (raising("damaged"), True, Outcome.TRACEBACK),
        (raising("a.json:\ndamaged"), True, Outcome.TRACEBACK),
    ],
)
def test_a_reader_is_judged_by_what_it_does(read, tells, expected):
    assert judge(read, {"a": 1}, "a.json", tells=tells).outcome == expected


def test_damage_is_another_content_and_the_same_for_a_seed():
    content = bytes(range(256)) * 20
    copies = [damage(content, seed) for seed in range(50)]
    assert content not in copies
    assert copies == [damage(content, seed) for seed in range(50)]


def refusing(folder):
    return lambda seed: REFUSED


def raising_key_error(folder):
    return lambda seed: {}[seed]


def hanging(folder):
    return lambda seed: time.sleep(60)


def ending(folder):
    return lambda seed: os._exit(3)


def test_a_watched_process_goes_on_after_what_ends_or_stops_it(tmp_path, monkeypatch):
    monkeypatch.setattr(watch, "SECONDS", 0.5)
    targets = {it.__name__: it for it in (refusing, raising_key_error, hanging, ending)}
    watched = watch.Watched(targets, tmp_path)
    found = [watched.try_case(name, 1) for name in (*targets, "refusing")]
    watched.close()
    expected = ["refused in one line", "traceback", "hang", "traceback", "refused in one line"]
    assert [it.outcome for it in found] == expected
    assert "KeyError" in found[1].text


def test_a_fault_is_printed_with_its_command_and_ends_in_1(monkeypatch, capsys):
    monkeypatch.setattr(command, "targets_of", lambda part: {"odd": raising_key_error})
    assert command.main(["--only", "results", "--cases", "1"]) == 1
    seed = seed_of(1, "odd", 0)
    assert f"--case results 'odd' {seed}" in capsys.readouterr().err
    assert command.main(["--case", "results", "odd", f"{seed}"]) == 1


def test_counts_are_added_to_those_between_the_marks(tmp_path):
    counts = Counts()
    counts.add(REFUSED, "case")
    counts.add(Verdict(Outcome.LOST, "", 1200), "case")
    path = tmp_path / "a.md"
    path.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    for seed, part in ((1, "kills"), (2, "kills"), (3, "trouble")):
        add_to_docs(path, {f"{part}: odd, even": counts.outcomes}, f"Seed {seed}")
    text = path.read_text()
    assert "| kills: odd, even | 2,402 | 0 | 2 | 0 | 0 | 0 | 0 | 2,400 |" in text
    assert "| all | 3,603 | 0 | 3 | 0 | 0 | 0 | 0 | 3,600 |" in text
    assert "| kills | 1,000 | 2,402 | 0 | 0 | 0 | 2,400 |" in text
    assert "| trouble |  | 1,201 | 0 | 0 | 0 | 1,200 |" in text
    assert text.splitlines().count("* Seed 1") == text.splitlines().count("* Seed 3") == 1
    assert "old" not in text
    assert text.startswith("before") and text.endswith("after\n")


def test_what_a_script_prints_is_judged():
    right = Right((r"^rc 0",), (r"lost",))
    assert [] == faults(right, "x\nrc 0\n")
    found = faults(right, "rc 1\nTraceback (most recent call last):\nlost")
    assert ["not there: ^rc 0", "there: lost", "there: Traceback"] == found
    assert [] == faults(right._replace(allows=(r"Traceback",)), "rc 0\nTraceback")


def test_every_script_has_a_right_end_and_a_row_in_the_documents(shared, root):
    names = {path.stem for path in (shared / "cases/workflow").glob("[wy]*.sh")}
    assert names == set(RIGHT)
    text = (root / "docs/reliability.md").read_text(encoding="utf-8")
    assert not [name for name in names if name not in text]


def test_a_script_is_given_todays_names_and_its_folders(tmp_path):
    text = adapted("cd $H/w; from dualhead import params # $HOME", tmp_path, is_common=False)
    assert f"cd {tmp_path}/w; from dualhead.settings import checks as params # $HOME" == text
