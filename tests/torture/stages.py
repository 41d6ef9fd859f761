"""The stages of a run as processes of their own, each in a fresh folder, with a network that trains in a second.

Most are forks of this process, which has imported everything, with a network of two layers; those of `build_real`
are the command itself in a new Python, with the real network.
"""

from __future__ import annotations

import io
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch._dynamo  # noqa: F401  which torch imports when a training begins, in seconds

from dualhead.cli.main import main
from dualhead.files import digest_of, read_record, write_json
from dualhead.models.checkpoint import load_checkpoint
from dualhead.report.figures import available
from dualhead.runs.scores import REMEDY, read_selections
from dualhead.settings.grid import resolve
from dualhead.settings.params import dump
from tests.builders import fake_results
from tests.builders.readers import READERS
from tests.builders.tiny import tiny_networks
from tests.builders.workspaces import ROOT
from tests.torture.sessions import alive

SECONDS = 120.0
"""Longest time of a stage; all take a second or two."""
EPOCHS, REAL_EPOCHS = 8, 3
SMALL = {
    "gcn_scales": 2,
    "g3d_scales": 2,
    "coarse_channels": [12, 12, 24],
    "fine_channels": [12, 12, 24],
    "fine_windows": [3],
}
"""Settings of a real network that trains in seconds."""
TIMES = ("train_seconds", "train_samples_per_second", "peak_memory_mb", "files", "digest")
"""What two trainings of the same bits do not share in their metrics."""
LEFT = (".partial", ".rows", ".lock", "state.pt")
"""Ends of the names that a killed process may leave; the next one removes them."""


class Child:
    """A process that runs one `dualhead` command in a session of its own: a fork, or a new Python."""

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        before: Callable[[], object] = int,
        *,
        is_real: bool = False,
    ) -> None:
        self.log = log
        log.write_bytes(b"")  # also for a process that is killed before it opens it
        sys.stdout.flush()
        sys.stderr.flush()
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        self.process = os.fork()
        if not self.process:
            _become(command, log, before, is_real=is_real)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        self.code: int | None = None

    def wait(self, seconds: float) -> bool:
        """Return whether the process ended within that time."""
        end = time.monotonic() + seconds
        while self.code is None and time.monotonic() < end:
            process, status = os.waitpid(self.process, os.WNOHANG)
            if process:
                self.code = os.waitstatus_to_exitcode(status)
            else:
                time.sleep(0.002)
        return self.code is not None

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal to the process itself; those that it began are to end by themselves."""
        os.kill(self.process, number)
        self.wait(SECONDS)

    def end_all(self) -> None:
        """Kill all that is left of the session."""
        for process in alive(self.process):
            os.kill(process, signal.SIGKILL)
        self.wait(SECONDS)

    @property
    def text(self) -> str:
        """Its output, so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")


def _become(
    command: Sequence[str], log: Path, before: Callable[[], object], *, is_real: bool
) -> None:
    """Run the command and end this process; nothing of the parent's is cleaned up here."""
    code = 70
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        os.setsid()
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        if is_real:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
            os.execv(sys.executable, [sys.executable, "-m", "dualhead", *command])
        sys.stdout = io.TextIOWrapper(os.fdopen(1, "wb", 0), write_through=True)
        sys.stderr = io.TextIOWrapper(os.fdopen(2, "wb", 0), write_through=True)
        before()
        with tiny_networks():
            code = _unblocked() or main(list(command))
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    finally:
        if error := sys.exception():  # that nobody caught
            traceback.print_exception(error)
        os._exit(code)


def _unblocked() -> int:
    """Let SIGINT through; return the exit code of one that has come already."""
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    except KeyboardInterrupt:
        return 130
    return 0


@dataclass
class Stage:
    """One command, what it is given, what it makes, and how long it takes undisturbed.

    Attributes:
        command: returns its words, for the folder that it works in.
        inputs: folder with what it is given, copied for each case.
        makes: names of its outputs.
        expected: what they hold after an undisturbed run.
        seconds: that one took.
        size: bytes of the largest output.
        keeps: names of files that it leaves beside its outputs.
        is_real: whether it runs in a new Python, with the real network.
        epochs: of a training.
    """

    command: Callable[[Path], list[str]]
    inputs: Path
    makes: tuple[str, ...]
    expected: dict[str, object] = field(default_factory=dict)
    seconds: float = 0.0
    size: int = 0
    keeps: tuple[str, ...] = ()
    is_real: bool = False
    epochs: int = 0

    def folder(self, parent: Path) -> Path:
        """Return a fresh folder with the inputs, named as they are."""
        folder = Path(tempfile.mkdtemp(dir=parent)) / "work"
        shutil.copytree(self.inputs, folder, symlinks=True)
        return folder

    def start(self, folder: Path, before: Callable[[], object] = int) -> Child:
        """Begin the command in a folder."""
        log = folder.with_name("log.txt")
        return Child(self.command(folder), log, before, is_real=self.is_real)

    def measure(self, parent: Path) -> Stage:
        """Run it undisturbed; keep what it makes and how long it takes."""
        folder = self.folder(parent)
        begin = time.monotonic()
        child = self.start(folder)
        assert child.wait(SECONDS) and child.code == 0, child.text
        self.seconds = time.monotonic() - begin
        self.expected = self.contents(folder)
        self.size = max((folder / name).stat().st_size for name in self.makes)
        assert set(self.expected) == set(self.makes), sorted(self.expected)
        return self

    def contents(self, folder: Path) -> dict[str, object]:
        """Return what each output that is there holds; raise ValueError for one that is not whole."""
        found = {name: folder / name for name in self.makes if (folder / name).exists()}
        return {name: content_of(path) for name, path in found.items()}

    def left_over(self, folder: Path) -> list[str]:
        """Return the names of files that are neither inputs nor outputs."""
        given = {path.relative_to(self.inputs) for path in self.inputs.rglob("*")}
        given |= {Path(name) for name in (*self.makes, *self.keeps)}
        given |= {parent for path in list(given) for parent in path.parents}
        names = (path.relative_to(folder) for path in folder.rglob("*"))
        return sorted(str(name) for name in names if name not in given)


def content_of(path: Path) -> object:
    """Return what a result holds but for the times it took; ValueError if it is not whole."""
    if path.name == "metrics.json":
        record = read_record(path, REMEDY)
        return {key: value for key, value in record.items() if key not in TIMES}
    if path.name == "checkpoint.pt":
        content = load_checkpoint(path)
        return {key: content[key] for key in ("config", "selections", "class_names")}
    if path.name == "history.csv":
        return [line.rpartition(",")[0] for line in path.read_text().splitlines()]
    if path.name == "scores.h5":
        read_selections(path)
    elif path.name in READERS:
        return READERS[path.name](path)
    return digest_of(path)


def _prepare(base: Path, workers: int) -> Stage:
    inputs = base / f"prepare-{workers}"
    synthesize = [
        "synthesize",
        "--output",
        str(inputs / "raw"),
        "--classes",
        "3",
        "--subjects",
        "4",
    ]
    assert main([*synthesize, "--cameras", "2", "--repetitions", "1", "--frames", "12", "20"]) == 0

    def command(folder: Path) -> list[str]:
        words = ["prepare", "--dataset", "synthetic", "--raw", str(folder / "raw")]
        return [*words, "--output", str(folder / "store.h5"), "--workers", f"{workers}"]

    return Stage(command, inputs, ("store.h5", "store.dropped.csv"))


def _train(base: Path, store: Path, *, is_real: bool = False) -> Stage:
    settings = next(iter(resolve(fake_results.synthetic_params())["runs"].values()))
    settings["input"] |= {"num_frames": 12}
    epochs = REAL_EPOCHS if is_real else EPOCHS
    settings["train"] |= {"epochs": epochs, "batch_size": 4, "forward_batch_size": 4, "passes": 1}
    settings["train"] |= {"milestones": [epochs // 2], "learning_rate": 0.05, "warmup_epochs": 0}
    settings["model"] |= SMALL if is_real else {}
    inputs = base / "train"
    inputs.mkdir()
    (inputs / "config.yaml").write_text(dump(settings))
    shutil.copy(store, inputs / "store.h5")

    def command(folder: Path) -> list[str]:
        words = ["train", "--config", str(folder / "config.yaml"), "--store"]
        words += [str(folder / "store.h5"), "--output", str(folder / "checkpoint.pt")]
        return [*words, "--device", "cpu", "--threads", "1"]

    makes = ("checkpoint.pt", "history.csv")
    return Stage(command, inputs, makes, keeps=("state.pt",), is_real=is_real, epochs=epochs)


OUTPUTS = ("scores.h5", "metrics.json", "classes.csv")


def _words(folder: Path) -> list[str]:
    options = ("--scores", "--metrics", "--classes")
    pairs = zip(options, OUTPUTS, strict=True)
    return [word for option, name in pairs for word in (option, str(folder / name))]


def _evaluate(base: Path, trained: Path, *, is_real: bool = False) -> Stage:
    inputs = base / "evaluate"
    shutil.copytree(trained, inputs)

    def command(folder: Path) -> list[str]:
        words = ["evaluate", "--checkpoint", str(folder / "checkpoint.pt"), "--device", "cpu"]
        words += ["--threads", "1", "--store", str(folder / "store.h5")]
        return [*words, *_words(folder)]

    return Stage(command, inputs, OUTPUTS, is_real=is_real)


def _ensemble(base: Path, fake: fake_results.Fake) -> Stage:
    inputs = base / "ensemble"
    shutil.copytree(fake.results / "runs", inputs / "runs")
    write_json(inputs / "grid.json", fake.grid)
    name = next(iter(fake.grid["ensembles"]))

    def command(folder: Path) -> list[str]:
        words = ["ensemble", "--grid", str(folder / "grid.json"), "--ensemble", name]
        return [*words, "--runs", str(folder / "runs"), *_words(folder)]

    return Stage(command, inputs, OUTPUTS)


TABLE = "comparison"
FIGURE = "curves"
PRODUCTS = {
    "table": tuple(f"made.{suffix}" for suffix in ("csv", "md", "tex")),
    "figure": ("made.pdf", "made.svg"),
    "report": ("made.pdf",),
}


def _product(kind: str, base: Path, fake: fake_results.Fake) -> Stage:
    """Return the making of a table, a figure or the PDF from results that are there."""
    inputs = base / kind
    shutil.copytree(fake.results, inputs / "results")
    for name in ("published.yaml", "report.typ", "references.bib"):
        shutil.copy(ROOT / "reports" / name, inputs)
    for name in ("tables", "figures") if kind == "report" else ():
        shutil.copytree(base / name, inputs / name)

    def command(folder: Path) -> list[str]:
        def at(*names: str) -> list[str]:
            return [word for name in names for word in (f"--{name}", str(folder / FILES[name]))]

        words = [kind, *at("grid", "results", "record")]
        words += ["--output", str(folder / PRODUCTS[kind][0])]
        if kind == "table":
            return [*words, "--name", TABLE, *at("published")]
        if kind == "figure":
            return [*words, "--name", FIGURE, *at("stores")]
        words += at("stores", "tables", "figures", "template", "published", "bibliography")
        return [*words, "--title", "torture"]

    return Stage(command, inputs, (*PRODUCTS[kind], "record.json"))


FILES = {
    "grid": "results/grid.json",
    "results": "results",
    "stores": "results/store",
    "record": "record.json",
    "published": "published.yaml",
    "template": "report.typ",
    "bibliography": "references.bib",
    "tables": "tables",
    "figures": "figures",
}


def _shown(base: Path, fake: fake_results.Fake) -> None:
    """Make all tables and figures of some results, and their summary, for the PDF."""
    grid, published = fake.results / "grid.json", ROOT / "reports/published.yaml"
    plain = ["--grid", str(grid), "--results", str(fake.results)]
    for name in fake.grid["tables"]:
        words = [*plain, "--published", str(published), "--name", name]
        assert main(["table", *words, "--output", str(base / f"tables/{name}.csv")]) == 0
    for name in available(fake.grid):
        words = [*plain, "--stores", str(fake.stores), "--name", name]
        assert main(["figure", *words, "--output", str(base / f"figures/{name}.pdf")]) == 0
    words = [
        "--output",
        str(base / "tables/summary.json"),
        "--curves",
        str(base / "tables/curves.csv"),
    ]
    assert main(["summary", *plain, *words]) == 0


def build_stages(base: Path) -> dict[str, Stage]:
    """Build the stages of a run and its products below a folder, each measured."""
    base.mkdir(parents=True, exist_ok=True)
    prepare = _prepare(base, 1).measure(base)
    train = _train(base, _finish(prepare, base) / "store.h5").measure(base)
    evaluate = _evaluate(base, _finish(train, base)).measure(base)
    settings = fake_results.synthetic_params()
    fake = fake_results.build(base / "fake", settings, num_test=24, classes=3)
    _shown(base, fake)
    return {
        "prepare": prepare,
        "prepare by two workers": _prepare(base, 2).measure(base),
        "train": train,
        "evaluate": evaluate,
        "ensemble": _ensemble(base, fake).measure(base),
        **{kind: _product(kind, base, fake).measure(base) for kind in PRODUCTS},
    }


def build_real(base: Path) -> dict[str, Stage]:
    """Build the stages of a run as the command itself, with the real network, each measured."""
    base.mkdir(parents=True, exist_ok=True)
    prepare = replace(_prepare(base, 1), is_real=True).measure(base)
    train = _train(base, _finish(prepare, base) / "store.h5", is_real=True).measure(base)
    evaluate = _evaluate(base, _finish(train, base), is_real=True).measure(base)
    fake = fake_results.build(base / "fake", fake_results.synthetic_params(), classes=3)
    ensemble = replace(_ensemble(base, fake), is_real=True).measure(base)
    return {"prepare": prepare, "train": train, "evaluate": evaluate, "ensemble": ensemble}


def _finish(stage: Stage, base: Path) -> Path:
    """Return a folder in which a stage has been run."""
    folder = stage.folder(base)
    child = stage.start(folder)
    assert child.wait(SECONDS) and child.code == 0, child.text
    return folder
