"""Measure, and write bench.json and bench.md; or put what was measured into the documentation."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks import (
    busy,
    counted,
    gpu,
    loading,
    machine,
    network,
    preparation,
    results,
    storage,
    workflow,
)
from benchmarks.results import Findings, Report
from benchmarks.scale import FULL, QUICK, Scale
from benchmarks.timing import say

SECTIONS: Mapping[str, Callable[[Scale, Path], Findings | Iterator[Findings]]] = {
    "preparation": preparation.measure,
    "store": storage.measure,
    "loading": loading.measure,
    "network": network.measure,
    "busy": busy.measure,
    "counted": counted.measure,
    "gpu": gpu.measure,
    "workflow": workflow.measure,
}

QUIET = 0.5  # processes that want a core
NOT_QUIET = (
    "**The machine was not quiet when this began**: the wall times say little, the CPU times "
    "less than they should."
)


def measure(sections: Sequence[str], scale: Scale, output: Path) -> Report:
    """Run some sections; what is finished is on disk after each of them, and after each part of one."""
    load = machine.load()
    described = {**machine.describe(), "load before": f"{load:.1f}", "numbers": scale.name}
    report = Report(described, [], [NOT_QUIET] if load > QUIET else [])
    for section in sections:
        begin = time.perf_counter()
        with tempfile.TemporaryDirectory(prefix="dualhead-bench-") as folder:
            found = SECTIONS[section](scale, Path(folder))
            for part in [found] if isinstance(found, Findings) else found:
                rows, remarks = [*report.rows, *part.rows], [*report.remarks, *part.remarks]
                report = Report(described, rows, remarks)
                results.write(report, output)
        say(f"{section}: done in {time.perf_counter() - begin:.0f} s")
    return report


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    scale = parser.add_mutually_exclusive_group()
    scale.add_argument(
        "--quick", dest="scale", action="store_const", const=QUICK, help="minutes (default)"
    )
    scale.add_argument(
        "--full", dest="scale", action="store_const", const=FULL, help="more rounds: an hour"
    )
    parser.set_defaults(scale=QUICK)
    parser.add_argument(
        "--only", action="append", choices=SECTIONS, metavar="SECTION", help=", ".join(SECTIONS)
    )
    parser.add_argument(
        "--output", type=Path, default=Path("results/bench"), help="folder of bench.json, bench.md"
    )
    parser.add_argument(
        "--docs",
        type=Path,
        help="measure nothing; put OUTPUT/bench.json into this file, between the marks "
        "`<!-- NAME begin -->` and `<!-- NAME end -->`, NAME being the folder's",
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    options = parse(arguments)
    try:
        if options.docs:
            results.write_docs(options.docs, options.output)
        else:
            report = measure(options.only or list(SECTIONS), options.scale, options.output)
            print(report.markdown())
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
