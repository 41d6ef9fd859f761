"""`dualhead verify RESULTS`: whole results pass, and each damaged file is named."""

import errno
import json
import os
import shutil

import pytest

from dualhead.cli.main import main
from dualhead.runs.evaluate import evaluate
from dualhead.runs.state import forget
from dualhead.runs.train import train
from dualhead.runs.verify import verify_results
from dualhead.settings import checks, params
from dualhead.settings.grid import resolve
from dualhead.settings.params import address
from dualhead.settings.run import RunConfig
from dualhead.workspace.grids import freeze
from tests.builders.tiny import tiny_config, tiny_networks, write_tiny_store


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A results folder with one run, begun and evaluated as the workflow does."""
    results = tmp_path_factory.mktemp("workspace") / "results"
    config = tiny_config(epochs=1)
    config["model"] |= checks.defaults()["dualhead"]
    run = results / f"runs/tiny/dualhead/joint/seed3-{address(config)}"
    run.mkdir(parents=True)
    (run / "config.yaml").write_text(params.dump(config))
    store = write_tiny_store(results / "store/synthetic-00000000.h5")
    with tiny_networks():
        output, kept = run / "checkpoint.pt", {"history": run / "history.csv"}
        kept["state"] = run / "state.pt"
        train(
            RunConfig.of(config),
            store,
            output,
            **kept,
            device="cpu",
            evaluate_batch_size=9,
            threads=1,
        )
        names = {"scores": "scores.h5", "metrics": "metrics.json", "classes": "classes.csv"}
        outputs = {key: run / name for key, name in names.items()}
        evaluate(output, store, **outputs, device="cpu", batch_size=9)
        forget(kept["state"], output)
    return results


@pytest.fixture
def results(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "results")


def test_results_as_they_were_written_pass(results, capsys):
    assert main(["verify", str(results)]) == 0
    assert "7 of 7 files are as they were written, of 0 nothing tells" in capsys.readouterr().out


@pytest.mark.parametrize(
    "name",
    [
        *("config.yaml", "checkpoint.pt", "history.csv", "scores.h5", "metrics.json"),
        *("classes.csv", "synthetic-00000000.h5"),
    ],
)
def test_a_damaged_file_is_named_and_no_other_but_by_a_damaged_record(results, capsys, name):
    (path,) = results.rglob(name)
    content = bytearray(path.read_bytes())
    place = content.find(b"seed: 3") + 6 if name == "config.yaml" else len(content) // 2
    content[place] ^= 1
    path.write_bytes(content)
    assert main(["verify", str(results)]) == 1
    told = capsys.readouterr().err.splitlines()
    assert "files are not as they were written" in told[-1]
    assert all(str(path) in line for line in told[:-1])
    assert told[:-1]


def test_a_runs_folder_that_another_run_was_copied_into_is_named(results, capsys):
    (record,) = results.rglob("metrics.json")
    other = record.parent.with_name("seed3-0123abcd")
    record.parent.rename(other)
    assert main(["verify", str(results)]) == 1
    told = capsys.readouterr().err
    assert f"{other / 'metrics.json'}: expected the result of 0123abcd, found that of " in told


def test_a_folder_that_cannot_be_looked_into_is_not_passed_over(results, monkeypatch, capsys):
    def refused(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refused)
    assert main(["verify", str(results)]) == 1
    assert "runs: Permission denied" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["history.csv", "classes.csv", "scores.h5"])
def test_a_file_that_is_lost_is_named(results, capsys, name):
    (path,) = results.rglob(name)
    path.unlink()
    assert main(["verify", str(results)]) == 1
    assert (
        f"metrics.json: names {name} beside it, found none; restore it" in capsys.readouterr().err
    )


def test_files_of_older_versions_are_counted_apart(results):
    (record,) = results.rglob("metrics.json")
    content = json.loads(record.read_text())
    for key in ("format", "files", "digest"):
        del content[key]
    record.write_text(json.dumps(content))
    assert "4 of 7 files are as they were written, of 3 nothing tells" in verify_results(
        results, print
    )


def test_a_folder_without_results_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="file: no folder; give the folder that holds runs/"):
        verify_results(tmp_path / "file", print)
    with pytest.raises(ValueError, match="no results; give the folder that holds runs/"):
        verify_results(tmp_path, print)


def test_neither_results_nor_raw_data_is_refused(capsys):
    assert main(["verify"]) == 1
    assert "expected a results folder, or --dataset and --raw" in capsys.readouterr().err


def test_a_grid_that_was_edited_is_named(results, capsys, root):
    grid = resolve(checks.load(root / "demo/params.yaml"))
    freeze(grid, results)
    assert main(["verify", str(results)]) == 0
    assert "9 of 9 files are as they were written" in capsys.readouterr().out
    path = results / "grid.json"
    path.write_text(path.read_text().replace('"protocol": "paper"', '"protocol": "authors"'))
    assert main(["verify", str(results)]) == 1
    assert "grid.json: expected the grid" in "".join(capsys.readouterr())
