"""The command line's one door: whatever is wrong with a file or an option ends as one line and an exit code."""

import errno
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import dualhead.__main__ as program
from dualhead.cli import main as door
from dualhead.cli.options import Command
from dualhead.settings import checks, params
from dualhead.settings.grid import resolve

NO_GRIDS = {
    "empty": "",
    "cut": '{"runs": {',
    "list": "[]",
    "other": '{"top1": 88.5}',
    "word": '"grid"',
}
"""JSON files that are no grid."""


@pytest.fixture(scope="module")
def grid(root: Path) -> params.Settings:
    return resolve(checks.load(root / "demo/params.yaml"))


def failing(capsys: pytest.CaptureFixture[str], *words: object, code: int = 1) -> str:
    """Return the one line with which a command ends."""
    assert code == door.main([str(word) for word in words])
    printed = capsys.readouterr()
    lines = printed.err.splitlines()
    assert len(lines) == 1, printed.err
    assert lines[0].startswith(f"dualhead {words[0]}: ")
    return lines[0]


def commands_with_grid(grid: Path, folder: Path, published: Path) -> dict[str, list[object]]:
    """Return the arguments of every command that reads a grid."""
    results, out = ["--results", folder], folder / "out"
    ensemble = [f"--{name}" for name in ("scores", "metrics", "classes")]
    pdf = ("stores", "tables", "figures", "template", "published", "bibliography", "output")
    return {
        "configure": ["--grid", grid, "--run", "x", "--output", out],
        "ensemble": ["--grid", grid, "--ensemble", "x", "--runs", folder]
        + [word for option in ensemble for word in (option, folder / option)],
        "table": ["--grid", grid, *results, "--published", published],
        "summary": ["--grid", grid, *results, "--output", out, "--curves", folder / "curves"],
        "figure": [
            "--grid",
            grid,
            *results,
            "--stores",
            folder,
            "--name",
            "curves",
            "--output",
            out,
        ],
        "report": [
            "--grid",
            grid,
            *results,
            *(word for name in pdf for word in (f"--{name}", folder / name)),
        ],
        "explain": ["table1", "--grid", grid, *results],
        "status": ["--grid", grid, *results],
    }


@pytest.mark.parametrize("wrong", [*NO_GRIDS, "missing", "banana", "without_a_run"])
@pytest.mark.parametrize(
    "command",
    ["configure", "ensemble", "table", "summary", "figure", "report", "explain", "status"],
)
def test_a_json_that_is_no_grid_is_one_line(root, grid, tmp_path, capsys, command, wrong):
    path = tmp_path / "grid.json"
    changed = json.loads(json.dumps(grid))
    if wrong in NO_GRIDS:
        path.write_text(NO_GRIDS[wrong])
    elif wrong == "banana":
        next(iter(changed["runs"].values()))["train"]["batch_size"] = "banana"
        path.write_text(json.dumps(changed))
    elif wrong == "without_a_run":
        changed["runs"].popitem()
        path.write_text(json.dumps(changed))
    words = commands_with_grid(path, tmp_path, root / "reports/published.yaml")[command]
    line = failing(capsys, command, *words)
    assert str(path) in line
    assert "the next `snakemake` that has something to do writes" in line
    assert ("found 'banana'" in line) == (wrong == "banana")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "batch_size: 16",
            "batch_size: banana",
            "train.batch_size: expected a whole number, 1 or more",
        ),
        ("epochs: 8", "epoch: 8", "unknown setting 'epoch' in train; did you mean 'epochs'?"),
        ("modality: joint", "modality: joints", "modality: expected joint | bone"),
        ("seed: 1", "seed: 1\nseed: 2", "'seed' stands twice"),
    ],
)
def test_a_wrong_config_is_one_line_with_the_line_in_it(grid, tmp_path, capsys, old, new, message):
    run = next(it for it in grid["runs"].values() if it["model"]["name"] == "dualhead")
    text = params.dump(run)
    assert old in text
    path = tmp_path / "config.yaml"
    path.write_text(text.replace(old, new, 1))
    out = tmp_path / "checkpoint.pt"
    line = failing(capsys, "train", "--config", path, "--store", tmp_path / "s.h5", "--output", out)
    assert f"{path}:" in line
    assert message in line


def test_a_config_without_a_setting_is_one_line(grid, tmp_path, capsys):
    run = json.loads(
        json.dumps(next(it for it in grid["runs"].values() if it["model"]["name"] == "ms_g3d"))
    )
    del run["model"]["windows"]
    path, out = tmp_path / "config.yaml", tmp_path / "checkpoint.pt"
    path.write_text(params.dump(run))
    line = failing(capsys, "train", "--config", path, "--store", tmp_path / "s.h5", "--output", out)
    assert "model: the setting 'windows' is missing; expected a list" in line


def test_a_params_file_is_no_config(root, tmp_path, capsys):
    path, out = root / "params.yaml", tmp_path / "checkpoint.pt"
    line = failing(capsys, "train", "--config", path, "--store", tmp_path / "s.h5", "--output", out)
    assert f"{path}: expected one run's settings, found a params file" in line


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected tensors and plain values"),
        ([], "expected a checkpoint of format"),
        ({"format": 1}, "found none of config"),
        (
            {
                "format": 1,
                "config": [],
                "layout": "ntu25",
                "num_classes": 3,
                "selections": {},
                "training": {},
            },
            "expected a run's settings as `config`, found []",
        ),
        (
            {
                **{
                    "format": 1,
                    "layout": "ntu25",
                    "num_classes": 3,
                    "selections": {},
                    "training": {},
                },
                "config": {
                    "model": {"name": "st_gcn"},
                    "modality": "joint",
                    "max_bodies": 2,
                    "input": {},
                },
            },
            "config.model.name: expected dualhead | ms_g3d, found 'st_gcn'",
        ),
    ],
)
def test_a_wrong_checkpoint_is_one_line(tmp_path, capsys, content, message):
    path = tmp_path / "checkpoint.pt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    words = ["--checkpoint", path, "--store", tmp_path / "s.h5", "--output", tmp_path / "p.csv"]
    line = failing(capsys, "predict", *words, "--device", "cpu")
    assert str(path) in line
    assert message in line


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "top1: 89.4",
            "top1: many",
            "top1: expected a number, 0 or more, at most 100, found 'many'",
        ),
        ("publisher: CVPR17", "publishr: CVPR17", "unknown setting 'publishr'"),
        ("kind: comparison", "kind: comparsion", "kind: expected comparison | ablation"),
        ("margin: 0.5", "margin:", "margin: expected a number"),
    ],
)
def test_a_wrong_published_file_is_one_line(root, grid, tmp_path, capsys, old, new, message):
    (tmp_path / "grid.json").write_text(json.dumps(grid))
    text = (root / "reports/published.yaml").read_text()
    assert old in text
    path = tmp_path / "published.yaml"
    path.write_text(text.replace(old, new, 1))
    words = commands_with_grid(tmp_path / "grid.json", tmp_path, path)["table"]
    line = failing(capsys, "table", *words)
    assert f"{path}:" in line
    assert message in line


@pytest.mark.parametrize(
    "words",
    [
        *(["prepare", "--workers", number] for number in ("0", "-1", "two", "1.5", "", "9" * 12)),
        ["prepare", "--max-bodies", "0"],
        ["train", "--threads", "0"],
        ["train", "--gpus", "0"],
        ["train", "--evaluate-batch-size", "0"],
        ["evaluate", "--batch-size", "-3"],
        ["convert-weights", "--classes", "0"],
        ["synthesize", "--classes", "0"],
        ["synthesize", "--frames", "0", "3"],
    ],
)
def test_a_count_is_a_whole_number_above_0(capsys, words):
    with pytest.raises(SystemExit, match="2"):
        door.main(words)
    line = capsys.readouterr().err.splitlines()[-1]
    assert "expected a whole number, 1 or more, found " in line


def raising(error: BaseException) -> dict[str, Command]:
    def run(options: object) -> None:
        raise error

    return {"fail": Command(run, "fail", "dualhead fail", lambda command: None)}


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("a.yaml:3: expected\n  x"), "a.yaml:3: expected x"),
        (
            OSError(errno.ENOSPC, "No space left on device", "a.pt"),
            "a.pt: No space left on device: the disk is full",
        ),
        (
            OSError(errno.ENOSPC, "No space left on device"),
            "No space left on device: the disk is full; make room",
        ),
        (
            PermissionError(errno.EACCES, "Permission denied", "r"),
            "r: Permission denied: this user may not read",
        ),
        (
            FileNotFoundError(errno.ENOENT, "No such file or directory", "x"),
            "x: No such file or directory",
        ),
        (MemoryError(), "it does not fit into memory; smaller are --batch-size"),
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
            "it does not fit into memory",
        ),
        (
            RuntimeError("unsupported operation: elements refer to a single memory location"),
            "RuntimeError: unsupported operation",
        ),
        (RuntimeError("unexpected pos 1\nvs 2"), "RuntimeError: unexpected pos 1 vs 2"),
        (
            UnicodeDecodeError("utf-8", b"\xfc", 0, 1, "invalid start byte"),
            "'utf-8' codec can't decode",
        ),
        (ValueError("x" * 5000), "x" * 900),
    ],
)
def test_what_files_and_devices_raise_is_one_line(monkeypatch, capsys, error, line):
    monkeypatch.setattr(door, "COMMANDS", raising(error))
    found = failing(capsys, "fail")
    assert line in found
    assert len(found) < 1100


def test_a_fault_of_ours_shows_where_it_is(monkeypatch):
    monkeypatch.setattr(door, "COMMANDS", raising(KeyError("epochs")))
    with pytest.raises(KeyError):
        door.main(["fail"])


def test_the_keyboard_stops_a_command(monkeypatch, capsys):
    monkeypatch.setattr(door, "COMMANDS", raising(KeyboardInterrupt()))
    assert "stopped from the keyboard" in failing(capsys, "fail", code=130)


def test_the_keyboard_stops_it_also_while_options_are_read(monkeypatch, capsys):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(door, "parse", interrupted)
    assert door.main(["status"]) == 130
    assert capsys.readouterr().err == "dualhead: stopped from the keyboard\n"


def test_the_keyboard_stops_it_also_within_h5py(monkeypatch, capsys):
    def interrupted(_):
        raise SystemError("returned a result with an exception set") from KeyboardInterrupt()

    monkeypatch.setattr(door, "parse", interrupted)
    assert door.main(["status"]) == 130
    assert capsys.readouterr().err == "dualhead: stopped from the keyboard\n"


def test_the_keyboard_stops_it_also_while_python_imports(monkeypatch, capsys):
    class Interrupted:
        def find_spec(self, *_):
            raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "dualhead.cli.main")
    monkeypatch.setattr(sys, "meta_path", [Interrupted()])
    assert program.main() == 130
    assert capsys.readouterr().err == "dualhead: stopped from the keyboard\n"


def test_development_mode_shows_where_an_error_comes_from(root):
    command = [
        sys.executable,
        "-X",
        "dev",
        "-m",
        "dualhead.cli.main",
        "verify",
        "--dataset",
        "ntu60",
        "--raw",
        "none",
    ]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_a_reader_that_leaves_is_no_error(root):
    """`dualhead schema | head -1`, whose pipe is closed before anything is written."""
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "dualhead.cli.main", "schema"]
    done = subprocess.run(command, cwd=root, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


def test_an_ascii_terminal_shows_other_characters_by_their_codes(monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    run = Command(lambda options: print("±0.3"), "print", "dualhead print", lambda command: None)
    monkeypatch.setattr(door, "COMMANDS", {"print": run})
    assert door.main(["print"]) == 0
    assert raw.getvalue() == b"\\xb10.3\n"


def test_version_and_exit_codes_are_in_the_help(capsys):
    with pytest.raises(SystemExit, match="0"):
        door.main(["--version"])
    assert capsys.readouterr().out.startswith("dualhead 0.")
    with pytest.raises(SystemExit, match="0"):
        door.main(["--help"])
    text = capsys.readouterr().out
    assert all(f"\n  {code} " in text for code in (0, 1, 2, 75, 130, 141))


def test_a_run_config_in_the_folder_of_another_run_is_refused(
    tmp_path: Path, grid: params.Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a single wrong bit in its seed makes it."""
    run, config = next(iter(grid["runs"].items()))
    path = tmp_path / run / "config.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(params.dump({**config, "seed": config["seed"] + 1}))
    out = tmp_path / "checkpoint.pt"
    inputs = ["--config", path, "--store", tmp_path / "s.h5", "--device", "cpu"]
    line = failing(capsys, "train", *inputs, "--output", out)
    assert f"expected the settings of run {run[-8:]}, as its folder says" in line
    path.write_text(params.dump(config))
    line = failing(capsys, "train", *inputs, "--output", out)
    assert "s.h5: no such store" in line
