"""The workflow: how long planning the whole paper takes, and what Snakemake and DVC add to the demo's work."""

from __future__ import annotations

import json
import resource
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests.builders.workspaces import BIN, make_workspace

from benchmarks.contenders import DEMO
from benchmarks.machine import cores
from benchmarks.processes import ROOT
from benchmarks.results import Findings, Row, Target
from benchmarks.scale import Scale
from benchmarks.timing import Spread, say, wall_seconds

SECTION = "workflow"
SEEDS = [1, 2, 3, 4, 5]
HOUR = 3600.0

# `times` tells what the shell took, and what its children did; a shell costs next to nothing.
NOTING = """#!/bin/sh
begin=$(date +%s.%N)
{real} "$@"
code=$?
{{ echo $begin $(date +%s.%N); times; }} > {notes}/$$
exit $code
"""


class Job(NamedTuple):
    """One call of `dualhead`: when it ran, and the CPU time it took."""

    begin: float
    end: float
    cpu: float


def measure(scale: Scale, folder: Path) -> Findings:
    """Plan the paper, and run the demo through DVC and Snakemake."""
    return Findings([_planning(scale, folder), _overhead(folder)])


def _planning(scale: Scale, folder: Path) -> Row:
    """Plan the paper with five seeds, without any data."""
    folder.joinpath("params.yaml").write_text(f"extends: paper\nseeds: {json.dumps(SEEDS)}\n")
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
    command += ["--directory", str(folder), "--dry-run", "--cores", "1", "reproduce_tables"]
    outputs: list[str] = []

    def plan() -> None:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        outputs.append(done.stdout)

    seconds = []
    for number in range(scale.prepare_rounds):
        say(f"{SECTION}: planning the paper with {len(SEEDS)} seeds, round {number + 1}")
        seconds.append(wall_seconds(plan))
    jobs = jobs_of(outputs[-1])
    return Row(
        SECTION,
        f"planning the paper with {len(SEEDS)} seeds",
        "wall time of `snakemake --dry-run`",
        Spread.of(seconds),
        "s",
        Target("at most", 10),
        note=f"{jobs.get('train', 0)} trainings of {jobs.get('total', 0)} jobs",
    )


def _overhead(folder: Path) -> Row:
    """Run the demo by `dvc repro`, and tell the CPU time of its jobs from that of all else."""
    say(f"{SECTION}: the demo by `dvc repro`")
    workspace = make_workspace(folder)
    workspace.params.write_text(DEMO.read_text())
    notes, program = folder / "notes", workspace.bin / "dualhead"
    notes.mkdir()
    words = {"real": BIN / "dualhead", "notes": notes}
    program.write_text(
        NOTING.format(**{key: shlex.quote(str(path)) for key, path in words.items()})
    )
    workspace.run("git", "init", "--quiet")
    before = _children_cpu()

    def reproduce() -> None:
        workspace.run("dvc", "repro", timeout=HOUR).check_returncode()

    seconds = wall_seconds(reproduce)
    jobs = [job_of(note.read_text()) for note in notes.iterdir()]
    return overhead_row(jobs, _children_cpu() - before, seconds)


def job_of(note: str) -> Job:
    """Return what a note tells: `1.5 9.25`, `0m0.00s 0m0.01s` of the shell, `0m6.50s 0m0.25s`."""
    begin, end, _, _, user, system = note.split()
    minutes = [time.rstrip("s").split("m") for time in (user, system)]
    return Job(float(begin), float(end), sum(60 * float(m) + float(s) for m, s in minutes))


def _children_cpu() -> float:
    """Return the CPU time of all processes that this one has started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def overhead_row(jobs: Sequence[Job], cpu: float, seconds: float) -> Row:
    """Return what was added to the work of the jobs, of all the CPU time and the seconds of the run."""
    work = sum(job.cpu for job in jobs)
    return Row(
        SECTION,
        "what Snakemake and DVC add to the demo's work",
        f"CPU time of `dvc repro` beside that of its jobs, {cores()} cores",
        Spread.of([100 * (cpu - work) / work]),
        "%",
        Target("at most", 2),
        ours=Spread.of([cpu - work]),
        reference=Spread.of([work]),
        base="s",
        note=f"{len(jobs)} jobs in {seconds:.0f} s, in {seconds - covered(jobs):.0f} of which none ran; "
        "the two are what was added and the work",
    )


def covered(jobs: Sequence[Job]) -> float:
    """Return in how many seconds at least one job ran."""
    total, until = 0.0, float("-inf")
    for job in sorted(jobs):
        total += max(job.end - max(job.begin, until), 0)
        until = max(until, job.end)
    return total


def jobs_of(output: str) -> dict[str, int]:
    """Return the counts of Snakemake's job table."""
    words = (line.split() for line in output.splitlines())
    return {line[0]: int(line[1]) for line in words if len(line) == 2 and line[1].isdigit()}
