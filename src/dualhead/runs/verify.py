"""Verification of a results folder: every digest that its files hold, compared with their bytes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from dualhead.data.store import Store
from dualhead.files import check_beside, check_seal, read_record
from dualhead.models import checkpoint
from dualhead.runs import scores, state
from dualhead.runs.scores import HISTORY_REMEDY
from dualhead.settings.formats import read_grid, read_run
from dualhead.settings.reading import read_json

SEALED = {
    "checkpoint.pt": checkpoint.REMEDY,
    "scores.h5": scores.REMEDY,
    "state.pt": state.REMEDY,
}
DROPPED = ".dropped.csv"
LOST_REMEDY = (
    "restore it, or remove metrics.json: `snakemake` then makes both again without training"
)
GRID, GRIDS = "grid.json", "grids"
RECORDED = {"classes.csv": scores.REMEDY, "history.csv": HISTORY_REMEDY}
"""Files whose digest stands in the record beside them alone, and what to do about a wrong one."""


def verify_results(results: Path, say: Callable[[str], None]) -> str:
    """Check all files of a results folder that hold a digest, or that a record beside them names.

    Args:
        results: the folder that holds store/, runs/ and ensembles/.
        say: prints the line of a file that is not as it was written.

    Returns:
        How many files are as they were written, and of how many nothing tells, as an older version
        wrote them or they were not evaluated yet.

    Raises:
        ValueError: if there are no results, or a file is damaged.
    """
    told: list[bool] = []
    damaged = 0
    for path in _files(results) if results.is_dir() else ():
        try:
            told.append(_is_told(path))
        except ValueError as error:
            say(str(error))
            damaged += 1
        except OSError as error:
            say(f"{path}: cannot be read: {error.strerror or error}")
            damaged += 1
    count = len(told) + damaged
    if not count:
        found = "no results" if results.is_dir() else "no folder"
        raise ValueError(
            f"{results}: {found}; give the folder that holds runs/ and store/, or raw recordings by "
            "--dataset and --raw"
        )
    if damaged:
        raise ValueError(f"{results}: {damaged} of {count} files are not as they were written")
    return (
        f"{results}: {sum(told)} of {count} files are as they were written, of {count - sum(told)} "
        "nothing tells"
    )


def _files(results: Path) -> Iterator[Path]:
    names = ("config.yaml", "metrics.json", *SEALED, *RECORDED)
    yield from sorted(results.glob("store/*.h5"))
    yield from sorted(results.glob(f"store/*{DROPPED}"))
    yield from sorted([*results.glob(GRID), *results.glob(f"{GRIDS}/*.json")])
    for kind in ("runs", "ensembles"):
        yield from sorted(path for path in _below(results / kind) if path.name in names)


def _below(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder; one that cannot be looked into is not passed over."""
    for place, _, names in os.walk(folder, onerror=_unless_absent):
        yield from (Path(place, name) for name in names)


def _unless_absent(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _is_told(path: Path) -> bool:
    """Return whether a digest tells that a file is as it was written; refuse one that is not."""
    if path.suffix == ".h5" and path.name not in SEALED:
        with Store(path) as store:
            store.check(np.arange(len(store)))
            return store.checksums is not None
    if path.name.endswith(DROPPED):
        beside = path.with_name(f"{path.name.removesuffix(DROPPED)}.h5")
        return beside.is_file() and Store(beside).check_dropped(path)
    if path.name == GRID or path.parent.name == GRIDS:
        read_grid(path)
        return path.parent.name == GRIDS or "address" in read_json(path, scores.REMEDY)
    if path.name == "config.yaml":
        stated, found = scores.address_of(path).get("address"), read_run(path).address
        if stated not in (None, found):
            raise ValueError(
                f"{path}: expected the settings of run {stated}, found those of {found}"
            )
        return stated is not None
    if path.name == "metrics.json":
        return _is_record_told(path)
    is_sealed = path.name in SEALED and check_seal(path, SEALED[path.name])
    record = path.with_name("metrics.json")
    if path.name == "state.pt" or not record.is_file():
        return is_sealed
    files = read_record(record, scores.REMEDY).get("files", {})
    check_beside(path, {"files": files}, {**SEALED, **RECORDED}[path.name])
    return is_sealed or path.name in files


def _is_record_told(path: Path) -> bool:
    """Return whether a metrics.json holds digests; refuse one of another run or ensemble than its folder names."""
    record = read_record(path, scores.REMEDY)
    stated, expected = record.get("address"), scores.address_of(path).get("address")
    if stated and expected not in (None, stated):
        raise ValueError(
            f"{path}: expected the result of {expected}, found that of {stated}; it was copied or swapped; "
            f"{scores.REMEDY}"
        )
    files = record.get("files", {})
    lost = [name for name in files if name != "checkpoint.pt" and not path.with_name(name).exists()]
    if lost:  # a kept run has no checkpoint
        remedy = RECORDED["history.csv"] if "history.csv" in lost else LOST_REMEDY
        raise ValueError(f"{path}: names {', '.join(lost)} beside it, found none; {remedy}")
    return "files" in record
