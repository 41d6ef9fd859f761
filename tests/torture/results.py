"""Damaged results: what a run leaves, frozen grids, and tables with their records."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import h5py

from dualhead.cli.runs import _run_config
from dualhead.data.store import Store
from dualhead.files import SEAL
from dualhead.report import made
from dualhead.report.figures import draw
from dualhead.report.results import read_history
from dualhead.runs.verify import verify_results
from dualhead.settings.formats import read_grid
from dualhead.settings.params import dump
from dualhead.workspace.grids import LATEST, freeze, frozen_path
from tests.builders import fake_results, nw_ucla
from tests.builders.edits import make_older
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
    _run(folder)

    def read(path: Path) -> object:
        with tiny_networks():
            return READERS[name](path)

    return damaged_file(folder / name, read)


def _fake(folder: Path) -> fake_results.Fake:
    """Return a copy of fake results, which are built once for all targets."""
    base = folder.parent / "fake"
    if not base.exists():
        fake_results.build(base, fake_results.synthetic_params(), num_test=24, classes=3)
    results = shutil.copytree(base / "results", folder / "results")
    return fake_results.Fake(read_grid(results / LATEST), results, results / "store")


def _run(folder: Path) -> Path:
    """Fill a folder with a copy of a finished run, which is made once for all targets; return it."""
    base = folder.parent / "run"
    if not base.exists():
        base.mkdir()
        finish_run(base)
    return shutil.copytree(base, folder, dirs_exist_ok=True)


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


def latest_grid(folder: Path) -> Attempt:
    """Read the grid of the run that began last, as people's commands do."""
    fake = _fake(folder)
    freeze(fake.grid, fake.results)
    return damaged_file(fake.results / LATEST, read_grid)


def dropped(folder: Path) -> Attempt:
    """Read the CSV of what a preparation left out, which its store names."""
    raw = nw_ucla.write_raw(folder / "all_sqe")
    (raw / "a01_s99_e00_v01.json").write_text("[]")
    nw_ucla.prepare_part(raw, folder)

    def read(path: Path) -> object:
        Store(folder / "store.h5").check_dropped(path)
        return path.read_bytes()

    return damaged_file(folder / "store.dropped.csv", read)


def unsealed(name: str, folder: Path) -> Attempt:
    """Read a store or scores of an older version, which have no seal: HDF5 must not loop on them."""
    path = _run(folder) / name
    if name == "store.h5":
        make_older(path)
    else:
        path.write_bytes(path.read_bytes().partition(SEAL)[0])
        with h5py.File(path, "r+") as file:
            file.attrs["schema"] = 1
    return damaged_file(path, READERS[name], tells=False)


def _drawn(path: Path) -> dict[str, Path]:
    """Return where a figure is drawn, as PDF and SVG."""
    return {"pdf": path.with_suffix(".pdf"), "svg": path.with_suffix(".svg")}


def product(kind: str, damaged: str, folder: Path, *, record_too: bool = False) -> Attempt:
    """Ask whether a table, a figure or the PDF is to be made again: it or its record is damaged."""
    fake = _fake(folder)
    name = {"table": next(iter(fake.grid["tables"])), "figure": "curves"}.get(kind, "")
    table = (fake.results / made.PLACES[kind] / damaged).resolve()
    table.parent.mkdir(exist_ok=True)
    if table.suffix in (".pdf", ".svg"):
        draw("curves", fake.grid, fake.results, fake.stores, **_drawn(table))
    else:
        table.write_text("metric,ours\n" + "top1,50.0\n" * 20)
    record = fake.results / f"made/{kind}/{name or 'all'}.json"
    wanted = made.ingredients(kind, name, fake.grid, fake.results)
    made.write_record(record, wanted, [table])

    def read(path: Path) -> object:
        told = made.damaged_products(fake.results)
        current = made.is_current(record, wanted, [table])
        if not current and path == table and not told:
            return "made again, but `dualhead verify` does not see it"
        if not current:
            raise ValueError(f"{path}: made again")
        return "current"

    return damaged_file(record if record_too else table, read)


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
    "grid.json": latest_grid,
    "dropped.csv": dropped,
    "table": partial(product, "table", "comparison.csv"),
    "figure.pdf": partial(product, "figure", "curves.pdf"),
    "figure.svg": partial(product, "figure", "curves.svg"),
    "report.pdf": partial(product, "report", "report.pdf"),
    "record of a table": partial(product, "table", "comparison.csv", record_too=True),
    "record of the report": partial(product, "report", "report.pdf", record_too=True),
    **{f"unsealed {name}": partial(unsealed, name) for name in ("store.h5", "scores.h5")},
    **{f"verify: {name}": partial(verified, name) for name in (*VERIFIED[1:], "*-*.h5")},
}
