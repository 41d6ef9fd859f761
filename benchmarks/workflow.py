"""The workflow: how long planning the whole paper takes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.processes import ROOT
from benchmarks.results import Findings, Row, Target
from benchmarks.scale import Scale
from benchmarks.timing import Spread, say, wall_seconds

SECTION = "workflow"
SEEDS = [1, 2, 3, 4, 5]


def measure(scale: Scale, folder: Path) -> Findings:
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
    return Findings(
        [
            Row(
                SECTION,
                f"planning the paper with {len(SEEDS)} seeds",
                "wall time of `snakemake --dry-run`",
                Spread.of(seconds),
                "s",
                Target("at most", 10),
                note=f"{jobs.get('train', 0)} trainings of {jobs.get('total', 0)} jobs",
            )
        ]
    )


def jobs_of(output: str) -> dict[str, int]:
    """Return the counts of Snakemake's job table."""
    words = (line.split() for line in output.splitlines())
    return {line[0]: int(line[1]) for line in words if len(line) == 2 and line[1].isdigit()}
