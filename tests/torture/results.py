"""Damaged results: what a run leaves, frozen grids, and tables with their records."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from dualhead.cli.runs import _run_config
from dualhead.report import made
from dualhead.report.results import read_history
from dualhead.runs.verify import verify_results
from dualhead.settings.formats import read_grid
from dualhead.settings.params import dump
from dualhead.workspace.grids import freeze, frozen_path
from tests.builders import fake_results
from tests.builders.readers import READERS, finish_run
from tests.builders.tiny import tiny_networks
from tests.torture.verdicts import Attempt, Target, Verdict, damage, judge


def damaged_file(path: Path, read: Callable[[Path], object], *, tells: bool = True) -> Attempt:
    """Read a file that is damaged in its place, and put it right again."""
    content = path.read_bytes()
    expected = read(path)

    def attempt(seed: int) -> Verdict:
        copy = path.with_name(f".{path.name}.damaged")
        copy.write_bytes(damage(content, seed))
        copy.replace(path)
        try:
            return judge(lambda: read(path), expected, str(path), tells=tells)
        finally:
            copy.write_bytes(content)
            copy.replace(path)

    return attempt


def run_file(name: str, folder: Path) -> Attempt:
    """Read one file of a run."""
    finish_run(folder)

    def read(path: Path) -> object:
        with tiny_networks():
            return READERS[name](path)

    return damaged_file(folder / name, read)


def _fake(folder: Path) -> fake_results.Fake:
    return fake_results.build(folder, fake_results.synthetic_params(), num_test=24, classes=3)


def history(folder: Path) -> Attempt:
    """Read the history of a run, which its metrics name."""
    fake = _fake(folder)
    run = next(iter(fake.grid["runs"]))
    path = fake.results / "runs" / run / "history.csv"
    return damaged_file(path, lambda _: read_history(fake.results, run))


def config(folder: Path) -> Attempt:
    """Read the settings of a run, which its folder is named after."""
    fake = _fake(folder)
    run, settings = next(iter(fake.grid["runs"].items()))
    path = fake.results / "runs" / run / "config.yaml"
    path.write_text(dump(settings))
    return damaged_file(path, _run_config)


def grid(folder: Path) -> Attempt:
    """Read a run's frozen grid, as its jobs do."""
    fake = _fake(folder)
    freeze(fake.grid, fake.results)
    return damaged_file(frozen_path(fake.grid, fake.results), read_grid)


def verified(name: str, folder: Path) -> Attempt:
    """Run `dualhead verify` over results of which one file is damaged."""
    fake = _fake(folder)
    for place in ("runs", "ensembles"):
        for run in fake.grid[place]:
            if place == "runs":
                (fake.results / place / run / "config.yaml").write_text(dump(fake.grid[place][run]))
    path = next(iter(sorted(fake.results.rglob(name))))
    said: list[str] = []

    def read(_: Path) -> object:
        said.clear()
        try:
            return verify_results(fake.results, said.append)
        except ValueError as error:
            raise ValueError(" | ".join([*said, str(error)])) from None

    return damaged_file(path, read)


def product(damaged: str, folder: Path) -> Attempt:
    """Ask whether a table is to be made again: it or its record is damaged."""
    fake = _fake(folder)
    name = next(iter(fake.grid["tables"]))
    table = fake.results / f"tables/{name}.csv"
    table.parent.mkdir()
    table.write_text("metric,ours\n" + "top1,50.0\n" * 20)
    record = fake.results / f"made/table/{name}.json"
    wanted = made.ingredients("table", name, fake.grid, fake.results)
    made.write_record(record, wanted, [table])

    def read(path: Path) -> object:
        told = made.damaged_products(fake.results)
        current = made.is_current(record, wanted, [table])
        if not current and path == table and not told:
            return "made again, but `dualhead verify` does not see it"
        if not current:
            raise ValueError(f"{path}: made again")
        return "current"

    return damaged_file({"table": table, "record": record}[damaged], read)


VERIFIED = (
    "checkpoint.pt",
    "scores.h5",
    "metrics.json",
    "classes.csv",
    "history.csv",
    "config.yaml",
)
TARGETS: dict[str, Target] = {
    **{name: partial(run_file, name) for name in READERS},
    "history.csv": history,
    "config.yaml": config,
    "frozen grid": grid,
    "table": partial(product, "table"),
    "record of a table": partial(product, "record"),
    **{f"verify: {name}": partial(verified, name) for name in (*VERIFIED[1:], "*-*.h5")},
}
