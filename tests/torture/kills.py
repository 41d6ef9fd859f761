"""Kills at random moments, and other trouble for a process: afterwards the same bits, nothing half, nobody left."""

from __future__ import annotations

import errno
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from unittest import mock

from dualhead import locks
from dualhead.files import digest_of
from dualhead.runs.train import REQUEUE
from tests.torture.sessions import wait_for_none
from tests.torture.stages import (
    LEFT,
    SECONDS,
    Child,
    Stage,
    build_real,
    build_stages,
)
from tests.torture.verdicts import FAULTS, Attempt, Outcome, Target, Verdict, same

DAY = 86_400
MOST_KILLS = 3
ENOUGH = 64 << 20  # bytes
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
"""The last one not for a new Python: before it has begun the program, a Ctrl-C is answered by Python itself."""
EXPECTED = (0, 1, REQUEUE, 130)
"""Exit codes of a command that ends by itself after a signal; 1 with its line: a worker is gone."""
NAMELESS = re.compile(r"dualhead \w+: \w+Error: ")
"""Begin of a line that tells the class of an error, for there is no better word for it."""
SHARE_REMOVED = 0.5
"""Of the kills, so many are followed by what Snakemake does: it removes the outputs."""
_STAGES: dict[Path, dict[str, Stage]] = {}


def stage_of(name: str, folder: Path, *, is_real: bool = False) -> Stage:
    """Return a stage; all are built once."""
    base = folder.parent / ("real" if is_real else "stages")
    if base not in _STAGES:
        _STAGES[base] = (build_real if is_real else build_stages)(base)
    return _STAGES[base][name]


@contextmanager
def fresh(stage: Stage, parent: Path) -> Iterator[Path]:
    """Yield a fresh folder with a stage's inputs."""
    folder = stage.folder(parent)
    try:
        yield folder
    finally:
        shutil.rmtree(folder.parent, ignore_errors=True)


def finish(stage: Stage, folder: Path, before: Callable[[], object] = int) -> Verdict:
    """Run a stage to its end and compare what it makes with an undisturbed run's."""
    child = stage.start(folder, before)
    if not child.wait(SECONDS):
        child.end_all()
        return Verdict(Outcome.HANG, child.text)
    if child.code:
        return failed(child, folder)
    return judged(stage, folder, child)


def judged(stage: Stage, folder: Path, child: Child) -> Verdict:
    """Judge a folder in which a command has succeeded."""
    if left := wait_for_none(child.process):
        return Verdict(Outcome.HANG, f"processes {left} are left")
    if odd := stage.left_over(folder):
        return Verdict(Outcome.ACCEPTED, f"left over: {odd}")
    found = stage.contents(folder)
    other = [name for name in stage.makes if not same(found.get(name), stage.expected[name])]
    return Verdict(Outcome.ACCEPTED if other else Outcome.SAME, f"differ: {other}")


def failed(child: Child, folder: Path) -> Verdict:
    """Judge a command that failed: its last line says why, in one line with a file of ours."""
    lines = child.text.strip().splitlines() or [""]
    is_refusal = child.code == 1 and lines[-1].startswith("dualhead ") and str(folder) in lines[-1]
    if is_refusal and "Traceback" not in child.text and not NAMELESS.match(lines[-1]):
        return Verdict(Outcome.REFUSED, lines[-1])
    return Verdict(Outcome.TRACEBACK, f"exit code {child.code}: {child.text[-2000:]}")


def half_written(stage: Stage, folder: Path) -> str:
    """Return what is wrong with what a killed or failed process left; empty if nothing is."""
    odd = [name for name in stage.left_over(folder) if not name.endswith(LEFT)]
    if odd:
        return f"left over: {odd}"
    try:
        found = stage.contents(folder)
    except ValueError as error:
        return f"half written: {error}"
    other = [name for name in found if not same(found[name], stage.expected[name])]
    return f"differ: {other}" if other else ""


def epochs_in(text: str) -> int:
    """Return how many epochs a training said that it has finished, which it says after saving them."""
    return sum(line.startswith("epoch ") for line in text.splitlines())


def killed(name: str, parent: Path, *, is_real: bool = False) -> Attempt:
    """End a stage by a signal one to three times, then let it finish."""
    stage = stage_of(name, parent, is_real=is_real)

    def attempt(seed: int) -> Verdict:
        rng = random.Random(seed)
        with fresh(stage, parent) as folder:
            epochs, kills = 0, 0
            for _ in range(rng.randint(1, MOST_KILLS)):
                child = stage.start(folder)
                if child.wait(rng.uniform(0, 1.05 * stage.seconds)):
                    break
                kills += 1
                number = rng.choice(SIGNALS[:-1] if stage.is_real else SIGNALS)
                if wrong := _end(child, stage, folder, number):
                    return wrong._replace(count=kills)
                epochs += epochs_in(child.text)
                if rng.random() < SHARE_REMOVED:
                    _remove_outputs(stage, folder)
            else:
                child = stage.start(folder)
            found = _ended(child, stage, folder, epochs)
            return found._replace(count=max(kills, found.outcome in FAULTS))

    return attempt


def _remove_outputs(stage: Stage, folder: Path) -> None:
    """Remove the outputs, as Snakemake does with those of a job whose end it did not see."""
    for name in stage.makes:
        (folder / name).unlink(missing_ok=True)


def _end(child: Child, stage: Stage, folder: Path, number: int) -> Verdict | None:
    """Send a signal to a process; return a verdict if it does not end, or leaves what it must not."""
    child.kill(number)
    if left := wait_for_none(child.process):
        child.end_all()
        return Verdict(Outcome.HANG, f"signal {number}: processes {left} are left")
    if child.code not in (-number, *EXPECTED) or _has_failed(child, number):
        text = f"signal {number}, exit code {child.code}: {child.text[-1500:]}"
        return Verdict(Outcome.TRACEBACK, text)
    wrong = half_written(stage, folder)
    return Verdict(Outcome.ACCEPTED, f"signal {number}: {wrong}") if wrong else None


def _has_failed(child: Child, number: int) -> bool:
    """Return whether a process that was sent a signal says more than that it stops.

    Python swallows a Ctrl-C within a callback, and says so: the command then goes on to its end. What the workers of
    a process that was killed outright say is theirs.
    """
    swallowed = child.code == 0 and "Exception ignored in" in child.text
    return "Traceback" in child.text and number != signal.SIGKILL and not swallowed


def _ended(child: Child, stage: Stage, folder: Path, epochs: int) -> Verdict:
    """Judge the last process and all that it took up; no epoch may have been trained twice."""
    if not child.wait(SECONDS):
        child.end_all()
        return Verdict(Outcome.HANG, child.text)
    if child.code:
        return failed(child, folder)
    epochs += epochs_in(child.text)
    if epochs > stage.epochs:
        return Verdict(Outcome.LOST, f"{epochs} epochs were trained, of {stage.epochs}")
    return judged(stage, folder, child)


def clock(name: str, parent: Path) -> Attempt:
    """Kill a stage, date all files a day ahead or back, let it finish."""
    stage = stage_of(name, parent)

    def attempt(seed: int) -> Verdict:
        rng = random.Random(seed)
        with fresh(stage, parent) as folder:
            child = stage.start(folder)
            child.wait(rng.uniform(0, stage.seconds))
            child.kill() if child.code is None else None
            wait_for_none(child.process)
            for path in folder.rglob("*"):
                os.utime(path, (time.time() + rng.uniform(-DAY, DAY),) * 2)
            return finish(stage, folder)

    return attempt


def without_locks(name: str, parent: Path) -> Attempt:
    """Run a stage where the file system knows no locks, or refuses them for another reason."""
    stage = stage_of(name, parent)

    def attempt(seed: int) -> Verdict:
        number = random.Random(seed).choice((*NO_LOCKS, errno.EIO, errno.EACCES))

        def refuse(_: object) -> None:
            raise OSError(number, os.strerror(number))

        def patch() -> None:
            mock.patch.object(locks, "_flock", refuse).start()

        with fresh(stage, parent) as folder:
            found = finish(stage, folder, patch)
            if found.outcome == Outcome.REFUSED and number in NO_LOCKS:
                return found._replace(outcome=Outcome.LOST)
            return found

    return attempt


def full_disk(name: str, parent: Path) -> Attempt:
    """Run a stage with too little room, as a disk or as a file may have; then with enough."""
    stage = stage_of(name, parent)

    def attempt(seed: int) -> Verdict:
        rng = random.Random(seed)
        with fresh(stage, parent) as folder:
            room = int(rng.uniform(0, 1.2 * stage.size))
            mounted = rng.random() < 0.5 and _mount(stage, folder, room)

            def limit() -> None:
                if not mounted:
                    resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))

            try:
                found = finish(stage, folder, limit)
                if found.outcome not in (Outcome.REFUSED, Outcome.SAME):
                    return found
                if wrong := half_written(stage, folder):
                    return Verdict(Outcome.ACCEPTED, wrong)
                if mounted:
                    _call("mount", "-o", f"remount,size={ENOUGH}", str(folder))
                after = finish(stage, folder)
                good = after.outcome == Outcome.SAME
                return found if good else after
            finally:
                if mounted:
                    _call("umount", "-l", str(folder))

    return attempt


def _mount(stage: Stage, folder: Path, room: int) -> bool:
    """Return whether the folder is now a small disk of its own, with the inputs in it."""
    size = sum(path.stat().st_size + 4096 for path in stage.inputs.rglob("*")) + room
    if os.geteuid() or not _call("mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)):
        return False
    try:
        shutil.copytree(stage.inputs, folder, dirs_exist_ok=True)
    except (OSError, shutil.Error):
        _call("umount", "-l", str(folder))
        shutil.copytree(stage.inputs, folder, dirs_exist_ok=True)
        return False
    return True


def _call(*words: str) -> bool:
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


def twice(name: str, parent: Path) -> Attempt:
    """Start a stage twice, the second at a random moment of the first."""
    stage = stage_of(name, parent)

    def attempt(seed: int) -> Verdict:
        rng = random.Random(seed)
        with fresh(stage, parent) as folder:
            first = stage.start(folder)
            first.wait(rng.uniform(0, stage.seconds))
            log = folder.with_name("second.txt")
            second = Child(stage.command(folder), log)
            for child in (first, second):
                if not child.wait(SECONDS):
                    child.end_all()
                    return Verdict(Outcome.HANG, child.text)
            ends = [failed(child, folder) for child in (first, second) if child.code]
            if len(ends) == 2 or any(end.outcome != Outcome.REFUSED for end in ends):
                return Verdict(Outcome.TRACEBACK, " | ".join(end.text for end in ends))
            return judged(stage, folder, first)

    return attempt


def linked(name: str, parent: Path) -> Attempt:
    """Run a stage over outputs that are read-only links to a cache, which must stay as it is."""
    stage = stage_of(name, parent)

    def attempt(seed: int) -> Verdict:
        rng = random.Random(seed)
        with fresh(stage, parent) as folder:
            cache = folder.with_name("cache")
            cache.mkdir()
            for output in stage.makes:
                kept = cache / output
                kept.write_bytes(rng.randbytes(1000))
                kept.chmod(0o444)
                make = rng.choice((os.link, os.symlink))
                make(kept, folder / output)
            digests = {path.name: digest_of(path) for path in cache.iterdir()}
            found = finish(stage, folder)
            if digests != {path.name: digest_of(path) for path in cache.iterdir()}:
                return Verdict(Outcome.LOST, "the cache has changed")
            return found

    return attempt


STAGES = ("prepare", "train", "evaluate", "ensemble")
MORE = ("prepare by two workers", "table", "figure", "report")
KILLS: dict[str, Target] = {f"kills of {name}": partial(killed, name) for name in (*STAGES, *MORE)}
REAL: dict[str, Target] = {
    f"kills of a real {name}": partial(killed, name, is_real=True) for name in STAGES
}
TROUBLE: dict[str, Target] = {
    **{f"full disk: {name}": partial(full_disk, name) for name in (*STAGES, *MORE[1:])},
    **{f"no locks: {name}": partial(without_locks, name) for name in ("prepare", "train")},
    **{f"clock: {name}": partial(clock, name) for name in STAGES},
    **{f"double start: {name}": partial(twice, name) for name in STAGES},
    **{f"links: {name}": partial(linked, name) for name in (*STAGES, *MORE[1:])},
}
