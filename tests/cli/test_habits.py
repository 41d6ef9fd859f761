"""Habits that a person expects of a command line: equal defaults, `-`, JSON, completion, honest advice."""

import argparse
import csv
import io
import json
import shlex
import subprocess
from pathlib import Path

import pytest

from dualhead.cli import main as door
from dualhead.data.verify import verify
from dualhead.files import write_json
from dualhead.runs.scores import read_scores
from dualhead.settings import params
from tests.builders import fake_results
from tests.builders.fake_results import Fake, synthetic_params
from tests.builders.nw_ucla import SETTINGS, write_raw


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Fake:
    """A workspace whose results lie where commands look for them."""
    fake = fake_results.build(tmp_path_factory.mktemp("workspace"), synthetic_params(seeds=[1, 2]))
    write_json(fake.results / "grid.json", fake.grid)
    if fake.results.name != "results":
        (fake.results.parent / "results").symlink_to(fake.results)
    return fake


@pytest.fixture
def inside(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> Fake:
    monkeypatch.chdir(fake.results.parent)
    return fake


def printed(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """Return what a command prints that succeeds."""
    assert door.main([str(word) for word in words]) == 0
    return capsys.readouterr().out


def parsers() -> dict[str, argparse.ArgumentParser]:
    (commands,) = (it for it in door.parser()._actions if isinstance(it.choices, dict))
    return commands.choices


def least_words(parser: argparse.ArgumentParser) -> list[str]:
    """Return some value for all that a command insists on."""
    words = []
    for action in parser._actions:
        if action.required:
            value = str(next(iter(action.choices)) if action.choices else "1")
            words += [*action.option_strings[:1], value]
    return words


@pytest.mark.parametrize("name", door.COMMANDS)
def test_the_example_of_each_command_is_one(name: str) -> None:
    for line in door.COMMANDS[name].example.splitlines():
        program, *words = shlex.split(line, comments=True)
        if program == "dualhead":
            assert door.parse(words).command == name


@pytest.mark.parametrize("name", door.COMMANDS)
def test_minus_is_standard_output_or_refused(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    parser = parsers()[name]
    if not any(it.dest == "output" for it in parser._actions):
        return
    words = [name, *least_words(parser), "--output", "-"]
    if door.COMMANDS[name].prints:
        assert door.parse(words).output == Path("-")
        return
    with pytest.raises(SystemExit, match="2"):
        door.parse(words)
    line = capsys.readouterr().err.splitlines()[-1]
    assert f"expected the path of a file, found -: `dualhead {name}` never writes that" in line


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("predict a.pt walk.json --output walk.json", "read as paths"),
        ("predict a.pt walk.json --output ./sub/../a.pt", "read as paths"),
        ("predict --checkpoint a.pt walk.json --output a.pt", "read as checkpoint"),
        ("evaluate --checkpoint a --store b --scores a --metrics m --classes c", "as checkpoint"),
        ("evaluate --checkpoint a --store b --scores s --metrics s --classes c", "written as"),
        ("prepare --dataset ntu60 --raw raw.zip --output raw.zip", "read as raw"),
    ],
)
def test_what_is_read_is_not_written_over(
    words: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        door.parse(words.split())
    last = capsys.readouterr().err.splitlines()[-1]
    assert "expected another file than" in last and said in last


def test_a_mistyped_command_gets_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        door.main(["statsu"])
    assert "no command 'statsu'; did you mean 'status'?" in capsys.readouterr().err


def test_no_command_at_all_gets_the_help_in_80_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit, match="2"):
        door.main([])
    lines = capsys.readouterr().err.splitlines()
    assert all(any(line.strip().startswith(name) for line in lines) for name in door.COMMANDS)
    assert max(map(len, lines)) <= 80


def test_a_table_needs_no_option(inside: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    assert "Synthetic X-sub" in printed(capsys, "table")
    name = next(iter(inside.grid["tables"]))
    rows = list(
        csv.DictReader(io.StringIO(printed(capsys, "table", "--name", name, "--output", "-")))
    )
    assert {row["ours"] for row in rows} >= {"True"}
    printed(capsys, "table", "--name", name, "--output", "t.csv")
    assert rows == list(csv.DictReader(io.StringIO(Path("t.csv").read_text())))


def test_a_figure_needs_its_name_alone(inside: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    printed(capsys, "figure", "--name", "curves", "--output", "curves.pdf")
    assert Path("curves.pdf").read_bytes().startswith(b"%PDF")


def test_status_in_json_has_the_accuracy_of_each_run(
    inside: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    found = json.loads(printed(capsys, "status", "--json", "--grid", "results/grid.json"))
    assert found["runs"].keys() == inside.grid["runs"].keys()
    assert found["ensembles"] == dict.fromkeys(inside.grid["ensembles"], True)
    for run, status in found["runs"].items():
        metrics = json.loads((inside.results / "runs" / run / "metrics.json").read_text())
        assert status["state"] == "done"
        assert status["top1"] == metrics["last"]["fusion"][inside.grid["fusion"][run]]["top1"]


def test_explain_in_json_has_what_the_text_tells(
    inside: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    query = "dualhead/joint"
    text = printed(capsys, "explain", query)
    found = json.loads(printed(capsys, "explain", query, "--json"))
    assert text.startswith("{benchmark}/{variant}/{stream}".format(**found))
    assert f"{sum(found['ours'].values()) / 2:.2f}" in text
    for seed, one in found["seeds"].items():
        path, kind = inside.results / one["address"] / "scores.h5", "softmax"
        scores = read_scores(path, "last", "fusion", kind)
        right = scores.values.argmax(1) == scores.labels
        assert found["ours"][seed] == pytest.approx(100 * right.mean())
        assert one["checked"] is True
    assert found["runs"].keys() == {
        it["address"].removeprefix("runs/") for it in found["seeds"].values()
    }


def test_a_workspace_may_be_elsewhere(
    fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    there = ["--directory", fake.results.parent]
    name = next(iter(fake.grid["tables"]))
    assert "Synthetic X-sub" in printed(capsys, "table", "--name", name, *there)
    told = json.loads(printed(capsys, "explain", "dualhead/joint", "--json", *there))
    assert told["seeds"]["1"]["checked"] is True
    assert door.main(["status", *map(str, there)]) == 1  # it has no params.yaml, and is named
    assert str(fake.results.parent / "params.yaml") in capsys.readouterr().err


def test_verify_in_json_parts_warnings_from_findings(
    inside: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    found = json.loads(printed(capsys, "verify", "results", "--json"))
    assert "files are as they were written" in found["found"][0]
    assert found["warnings"] == []


def test_verify_takes_the_advice_that_it_gives(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dualhead.data.verify.cores", lambda: 1)  # others take a second to begin
    raw = write_raw(tmp_path / "all_sqe")
    words = ["verify", "--dataset", "nw_ucla", "--raw", str(raw)]
    assert door.main(words) == 1
    assert "accept a subset with --partial" in capsys.readouterr().err
    text = printed(capsys, *words, "--partial")
    assert "(a subset of what was published)" in text
    assert verify("nw_ucla", [raw], SETTINGS, partial=True).splitlines()[-1] in text


@pytest.mark.parametrize("content", ["folder", "recording", "scores"])
def test_what_is_no_store_is_prepared_and_never_removed(
    fake: Fake, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    given = tmp_path
    if content == "recording":
        given = tmp_path / "S001C001P001R001A001.skeleton"
        given.write_text("1\n")
    elif content == "scores":
        given = next(fake.results.glob("runs/**/scores.h5"))
    config = tmp_path / "config.yaml"
    config.write_text(params.dump(next(iter(fake.grid["runs"].values()))))
    words = ["train", "--config", config, "--store", given, "--output", tmp_path / "c.pt"]
    assert door.main(list(map(str, words))) == 1
    line = capsys.readouterr().err
    assert str(given) in line
    assert "dualhead prepare" in line
    assert "emove" not in line


def test_a_shell_completes_commands_and_options(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "completion").write_text(printed(capsys, "completion", "bash"))
    for typed, expected in (
        (["dualhead", "sta"], "status"),
        (["dualhead", "explain", "--js"], "--json"),
    ):
        words, last = " ".join(typed), len(typed) - 1
        script = f"source completion; COMP_WORDS=({words}); COMP_CWORD={last}; _shtab_dualhead; "
        script += "echo ${COMPREPLY[@]}"
        done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True)
        assert done.stdout.split() == [expected], done.stderr
    assert "#compdef dualhead" in printed(capsys, "completion", "zsh")
