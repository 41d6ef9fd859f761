"""Torture: kill, damage and mistake, seeded, and count how each case ends.

The exit code is 1 if a case ended in a traceback, a hang, another result that was accepted, or lost work; each such
case is printed with the command that repeats it. Nothing here imports the package at once: processes that `dualhead
prepare` spawns read this file too.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.torture.counts import Counts
    from tests.torture.verdicts import Attempt, Target, Verdict

PARTS = ("recordings", "results", "settings", "kills", "trouble", "workflow", "real", "scripts")
LONG_PARTS = ("real", "scripts")
"""Parts whose cases take minutes each: tried with `--full`, or when they are named."""
IN_PROCESS = ("recordings", "results", "settings")
"""Parts whose cases need no process of their own, only one that is watched."""
QUICK, FULL = 60.0, 1800.0
"""Seconds a part."""


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--only", action="append", choices=PARTS, metavar="PART", help=str(PARTS))
    text = "try this target of a part alone, as the table names it; may be given again"
    parser.add_argument("--target", action="append", metavar="NAME", help=text)
    parser.add_argument("--seed", type=int, default=1, help="of all that is random (default: 1)")
    parser.add_argument("--seconds", type=float, help=f"for each part (default: {QUICK:.0f})")
    text = f"{FULL:.0f} seconds for each part"
    parser.add_argument("--full", action="store_true", help=text)
    parser.add_argument("--cases", type=int, default=0, help="most of each target (default: any)")
    text = "repeat one case: its part, target and seed, as a fault prints them"
    parser.add_argument("--case", nargs=3, metavar=("PART", "TARGET", "SEED"), help=text)
    parser.add_argument("--docs", type=Path, help="add the counts to this document's")
    return parser.parse_args(arguments)


def targets_of(part: str) -> Mapping[str, Target]:
    """Return a part's targets."""
    from tests.torture import kills, recordings, results, scripts, settings, workflow

    return {
        "recordings": recordings.TARGETS,
        "results": results.TARGETS,
        "settings": settings.TARGETS,
        "kills": kills.KILLS,
        "trouble": kills.TROUBLE,
        "workflow": workflow.TARGETS,
        "real": {**kills.REAL, **workflow.REAL},
        "scripts": scripts.TARGETS,
    }[part]


class Alone:
    """Tries cases in this process, which begin processes of their own."""

    def __init__(self, targets: Mapping[str, Target], folder: Path) -> None:
        self.targets, self.folder = targets, folder
        self.attempts: dict[str, Attempt] = {}

    def try_case(self, target: str, seed: int) -> Verdict:
        """Try the case of one target with one seed."""
        if target not in self.attempts:
            folder = self.folder / target.replace(" ", "-").replace(":", "")
            folder.mkdir()
            self.attempts[target] = self.targets[target](folder)
        return self.attempts[target](seed)

    def close(self) -> None:
        """Leave all as it is: no process is left."""


@contextmanager
def trier(part: str, folder: Path) -> Iterator[Alone]:
    """Yield what tries the cases of a part."""
    from tests.torture.watch import Watched

    folder.mkdir(parents=True, exist_ok=True)
    kind = Watched if part in IN_PROCESS else Alone
    found = kind(targets_of(part), folder)
    try:
        yield found  # type: ignore[misc]
    finally:
        found.close()


def run_part(
    part: str, counts: Mapping[str, Counts], options: argparse.Namespace, folder: Path
) -> None:
    """Try a part's targets until its time is over, each for about as long, and count how each case ends."""
    from tests.torture.verdicts import seed_of

    seconds = options.seconds or (FULL if options.full else QUICK)
    with trier(part, folder) as one:
        end, most = time.monotonic() + seconds, options.cases or sys.maxsize
        while waiting := [target for target, found in counts.items() if found.cases < most]:
            target = min(waiting, key=lambda it: (counts[it].cases > 0, counts[it].seconds))
            found = counts[target]
            if time.monotonic() >= end and found.cases:
                break
            seed = seed_of(options.seed, target, found.cases)
            begin = time.monotonic()
            verdict = one.try_case(target, seed)
            found.seconds += (time.monotonic() - begin) if found.cases else 0.0  # not its building
            found.add(verdict, f"python -m tests.torture --case {part} {target!r} {seed}")


def repeat(part: str, target: str, seed: int, folder: Path) -> int:
    """Try one case again and print how it ends; return the exit code."""
    from tests.torture.verdicts import FAULTS

    with trier(part, folder) as one:
        verdict = one.try_case(target, seed)
    print(f"{verdict.outcome}: {verdict.text}")
    return int(verdict.outcome in FAULTS)


def described(options: argparse.Namespace) -> str:
    """Return a line about the machine and the run."""
    from benchmarks import machine

    found = machine.describe()
    names = ("processor", "system", "python", "torch", "numpy", "code")
    facts = ", ".join(f"{name} {found[name]}" for name in names)
    seconds = options.seconds or (FULL if options.full else QUICK)
    return (
        f"Seed {options.seed}, {seconds:.0f} seconds a part, {time.strftime('%Y-%m-%d')}; load before "
        f"{machine.load():.1f}; {facts}."
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    options = parse(arguments)
    folder = Path(tempfile.mkdtemp(prefix="dualhead-torture-"))
    try:
        if options.case:
            part, target, seed = options.case
            return repeat(part, target, int(seed), folder)
        return run(options, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run(options: argparse.Namespace, folder: Path) -> int:
    """Run the parts, print the table and the faults; return the exit code."""
    from tests.torture.counts import Counts, add_to_docs, table

    about = described(options)
    counts: dict[str, Counts] = {}
    try:
        for part in options.only or [it for it in PARTS if options.full or it not in LONG_PARTS]:
            begin = time.monotonic()
            wanted = options.target or targets_of(part)
            found = {target: Counts() for target in targets_of(part) if target in wanted}
            counts |= {f"{part}: {target}": one for target, one in found.items()}
            run_part(part, found, options, folder)
            tried = sum(one.outcomes.total() for one in found.values())
            faults = sum(len(one.faults) for one in found.values())
            text = f"{part}: {tried} tried in {time.monotonic() - begin:.0f} s, {faults} faults"
            print(text, file=sys.stderr, flush=True)
    finally:  # also of what an interrupt or an error of this program cuts short
        outcomes = {name: one.outcomes for name, one in counts.items()}
        print(f"{about}\n\n{table(outcomes)}", flush=True)
    faults = [fault for one in counts.values() for fault in one.faults]
    for fault in faults:
        print(fault, file=sys.stderr)
    if options.docs:
        add_to_docs(options.docs, outcomes, about)
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
