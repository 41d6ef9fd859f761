"""The whole workflow, killed or with its clocks wrong.

Its `dualhead` writes what it was told as its results, but in `kills of the real workflow`, which trains.
"""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

from dualhead.files import digest_of
from tests.builders.workspaces import ROOT, Workspace, copy_workspace, make_workspace
from tests.torture.sessions import wait_for_none
from tests.torture.stages import content_of
from tests.torture.verdicts import Attempt, Outcome, Target, Verdict, same

SECONDS = 300
COMMAND = ("snakemake", "--cores", "2", "reproduce_tables")
PLACES = ("results/store", "results/runs", "results/ensembles", "results/tables", "results/figures")
MOST_KILLS = 6
"""Kills of one real workflow, before it may end."""
SETTLED = 3.0
"""Seconds after which a finished job is known to Snakemake."""
HOUR = 3600.0
_FINISHED: dict[Path, tuple[Workspace, float]] = {}


def finished_in(parent: Path) -> tuple[Workspace, float]:
    """Return a workspace in which all has been made, and how long that took."""
    if parent not in _FINISHED:
        workspace = make_workspace(parent / "finished-workspace")
        begin = time.monotonic()
        workspace.snakemake("reproduce_tables")
        _FINISHED[parent] = workspace, time.monotonic() - begin
    return _FINISHED[parent]


def digests(workspace: Workspace) -> dict[str, str]:
    """Return the digest of each result."""
    paths = [path for name in PLACES for path in (workspace.folder / name).rglob("*")]
    shown = [workspace.folder / "reports" / name for name in ("report.pdf", "explorer.html")]
    files = [*(path for path in paths if path.is_file()), *shown]
    return {
        str(path.relative_to(workspace.folder)): digest_of(path) for path in files if path.exists()
    }


def settled(workspace: Workspace, now: float) -> dict[Path, int]:
    """Return the time of each checkpoint and score file that had been there for a while."""
    found = [*workspace.folder.glob("results/runs/*/*/*/*/checkpoint.pt")]
    found += workspace.folder.glob("results/runs/*/*/*/*/scores.h5")
    times = {path: path.stat() for path in found}
    return {path: it.st_mtime_ns for path, it in times.items() if it.st_mtime < now - SETTLED}


def killed(folder: Path) -> Attempt:
    """Kill Snakemake, alone or with all its jobs, at a random moment; then run it again."""
    plain, seconds = finished_in(folder.parent)
    expected = digests(plain)

    def attempt(seed: int) -> Verdict:
        rng = random.Random(seed)
        workspace = make_workspace(folder / f"{seed}")
        process = subprocess.Popen(
            COMMAND,
            cwd=workspace.folder,
            env=workspace.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        time.sleep(rng.uniform(0, 1.05 * seconds))
        before = settled(workspace, time.time())
        (os.killpg if rng.random() < 0.5 else os.kill)(process.pid, signal.SIGKILL)
        process.wait()
        if left := wait_for_none(process.pid, 60):
            return Verdict(Outcome.HANG, f"processes {left} are left")
        found = _again(workspace, expected)
        if lost := [str(path) for path, at in before.items() if path.stat().st_mtime_ns != at]:
            return Verdict(Outcome.LOST, f"made twice: {lost}")
        return found

    return attempt


def _again(workspace: Workspace, expected: dict[str, str]) -> Verdict:
    """Run the workflow to its end and compare all results."""
    try:
        done = workspace.run(*COMMAND, timeout=SECONDS)
    except subprocess.TimeoutExpired as error:
        return Verdict(Outcome.HANG, str(error))
    if done.returncode:
        return Verdict(Outcome.TRACEBACK, done.stderr)
    found = digests(workspace)
    other = [name for name in expected if found.get(name) != expected[name]]
    other += sorted(set(found) - set(expected))
    return Verdict(Outcome.ACCEPTED if other else Outcome.SAME, f"differ: {other}")


def clocks(folder: Path) -> Attempt:
    """Date all results at random, lose or damage one product, and run again: just that is made anew."""
    plain, _ = finished_in(folder.parent)
    expected = digests(plain)

    def attempt(seed: int) -> Verdict:
        rng = random.Random(seed)
        workspace = copy_workspace(plain, folder / f"{seed}")
        for name in ("results", "reports"):
            for path in sorted((workspace.folder / name).rglob("*")):
                os.utime(path, (time.time() + rng.uniform(-HOUR, HOUR),) * 2)
        kept = settled(workspace, time.time() + 2 * HOUR)
        products = [*workspace.folder.glob("results/tables/*.csv")]
        products += workspace.folder.glob("results/figures/*.*")
        product = rng.choice(sorted(products))
        rng.choice((Path.unlink, lambda path: path.write_text("damaged")))(product)
        inodes = {path: path.stat().st_ino for path in kept}
        found = _again(workspace, expected)
        if any(path.stat().st_ino != inode for path, inode in inodes.items()):
            return Verdict(Outcome.LOST, "runs were made twice")
        return found

    return attempt


ODD_NAMES = (
    *(
        "my lab",
        "O'Brien",
        "\u00dcbung \u65e5\u672c",
        "a{b}c",
        "a$HOME",
        "a#b",
        "semi;colon",
        "-dash",
    ),
    *("star*", 'q"uote', "back\\slash", "100 %", "~", "&"),
)
ODD_VARIABLES: tuple[dict[str, str], ...] = (
    {"PYTHONIOENCODING": "ascii"},
    {"PYTHONIOENCODING": "latin-1"},
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    {"PYTHONHASHSEED": "424242"},
    {"PYTHONOPTIMIZE": "2"},
    {"PYTHONNOUSERSITE": "1", "PYTHONDONTWRITEBYTECODE": "1"},
    {"TERM": "dumb", "COLUMNS": "20"},
    {"NO_COLOR": "1", "TZ": "Pacific/Kiritimati"},
    {"CUDA_VISIBLE_DEVICES": "NoDevFiles"},
    {"CUDA_VISIBLE_DEVICES": "MIG-GPU-8932f937/1/2"},
    {"OMP_NUM_THREADS": "many"},
    {"TMPDIR": "/nonexistent"},
    {"GIT_DIR": "/nonexistent", "GIT_WORK_TREE": "/"},
)
STRAY = ("yaml", "h5py", "numpy", "torch", "params", "locks", "store", "typing", "random")
FEWEST_FILES = 64


def surroundings(folder: Path) -> Attempt:
    """Run the workflow in a folder of an odd name, with odd variables, stray modules or few open files."""
    plain, _ = finished_in(folder.parent)
    expected = digests(plain)

    def attempt(seed: int) -> Verdict:
        rng = random.Random(seed)
        workspace = copy_workspace(plain, folder / f"{seed}")
        workspace.variables |= rng.choice(ODD_VARIABLES)
        if rng.random() < 0.5:
            workspace.folder = workspace.folder.rename(
                workspace.folder.with_name(rng.choice(ODD_NAMES))
            )
        if rng.random() < 0.3:
            for name in rng.sample(STRAY, 3):
                text = f"raise ImportError('a stray {name}.py')\n"
                (workspace.folder / f"{name}.py").write_text(text)
        if rng.random() < 0.3:
            limit = rng.choice((FEWEST_FILES, 256))
            workspace.before = partial(resource.setrlimit, resource.RLIMIT_NOFILE, (limit, limit))
        product = rng.choice(sorted(workspace.folder.glob("results/[tf]*/*.*")))
        product.unlink()
        found = _again(workspace, expected)
        if found.outcome == Outcome.SAME:
            shutil.rmtree(workspace.folder.parent)
        return found

    return attempt


REAL_PLACES = (
    "results/store/*",
    "results/runs/*/*/*/*/*",
    "results/ensembles/*/*/*/*/*",
    "results/tables/*",
)


def _real_contents(folder: Path) -> dict[str, object]:
    """Return what each result of a real workflow holds but for the times it took."""
    paths = [path for pattern in REAL_PLACES for path in folder.glob(pattern)]
    timed = ("summary.json", "curves.csv")
    return {
        str(path.relative_to(folder)): content_of(path) for path in paths if path.name not in timed
    }


def real(folder: Path) -> Attempt:
    """Kill the real workflow, from synthetic recordings to the PDF, at a random moment; then run it again."""
    plain = _real_workspace(folder / "plain")
    begin = time.monotonic()
    done = subprocess.run(_real_command(plain), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    seconds, expected = time.monotonic() - begin, _real_contents(plain)

    def attempt(seed: int) -> Verdict:
        rng = random.Random(seed)
        workspace, kills = _real_workspace(folder / f"{seed}"), 0
        for _ in range(rng.randint(1, MOST_KILLS)):
            ended, left = _real_killed(workspace, rng, seconds)
            if left:
                return Verdict(Outcome.HANG, f"processes {left} are left")
            if ended:
                break
            kills += 1
        again = subprocess.run(
            _real_command(workspace), capture_output=True, text=True, check=False
        )
        if again.returncode:
            return Verdict(Outcome.TRACEBACK, again.stderr)
        found = _real_contents(workspace)
        other = [name for name in expected if not same(found.get(name), expected[name])]
        other += sorted(set(found) - set(expected))
        shutil.rmtree(workspace)
        if other:
            return Verdict(Outcome.ACCEPTED, f"differ: {other}")
        return Verdict(Outcome.SAME, count=kills)

    return attempt


def _real_killed(workspace: Path, rng: random.Random, seconds: float) -> tuple[bool, list[int]]:
    """Kill the workflow, alone or with its jobs; return whether it had ended, and which processes stay."""
    number = rng.choice((signal.SIGKILL, signal.SIGTERM, signal.SIGINT))
    send = os.killpg if rng.random() < 0.5 else os.kill
    with (workspace / "log.txt").open("w") as log:
        process = subprocess.Popen(
            _real_command(workspace), stdout=log, stderr=log, start_new_session=True
        )
    with suppress(subprocess.TimeoutExpired):
        process.wait(rng.uniform(0, 0.5 * seconds))
        return True, wait_for_none(process.pid, SECONDS)
    send(process.pid, number)
    process.wait()
    return False, wait_for_none(process.pid, SECONDS)


FEWER = {
    "seeds: [1, 2]": "seeds: [1]",
    "rows: [ms_g3d, no_attention, dualhead]": "rows: [dualhead]",
    "baseline: ms_g3d": "baseline: dualhead",
    "variant: dualhead, baseline": "variant: ms_g3d, baseline",
}
"""Changes of tests/params.yaml: two trainings, their ensemble, two tables and few figures are left."""


def _real_workspace(folder: Path) -> Path:
    folder.mkdir(parents=True)
    text = (ROOT / "tests/params.yaml").read_text(encoding="utf-8")
    for old, new in FEWER.items():
        text = text.replace(old, new)
    (folder / "params.yaml").write_text(text, encoding="utf-8")
    return folder


def _real_command(folder: Path) -> list[str]:
    snakemake = str(Path(sys.executable).with_name("snakemake"))
    return [snakemake, "--cores", "2", "-s", str(ROOT / "Snakefile"), "--directory", str(folder)]


TARGETS: dict[str, Target] = {
    "kills of snakemake": killed,
    "clocks and damaged tables": clocks,
    "odd names, variables, modules, limits": surroundings,
}
REAL: dict[str, Target] = {"kills of the real workflow": real}
