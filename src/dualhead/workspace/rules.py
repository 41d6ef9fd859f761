"""The beginning of a call of the workflow, and what its rules ask of Python: raw data, settings as options."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from dualhead.progress import write_any_character
from dualhead.settings.formats import read_grid
from dualhead.settings.params import Settings
from dualhead.workspace import grids, recovery
from dualhead.workspace.gpu import visible_gpus

RESULTS, REPORTS = Path("results"), Path("reports")
SNAKEMAKE = Path(".snakemake")
FROZEN = "frozen_grid"
"""The one setting that the jobs of a run get: where its grid lies."""
DRY = {"-n", "--dry-run", "--dryrun"}


class Run(NamedTuple):
    """One call of the workflow: what it is to make, and on what."""

    grid: Settings
    grid_file: Path  # the frozen grid, which its jobs read
    hardware: Settings
    gpus: int  # that this process sees and may use
    at_once: int  # trainings that fit on them; 0 without GPUs
    locks: recovery.Locks  # Snakemake's, before this call had its own


def begin(workflow: Any) -> Run:
    """Return the work of this process: the grid that params.yaml asks for, or in a job its run's frozen one.

    Nothing is written, except that a Snakemake that is known to be gone loses its locks.

    Args:
        workflow: Snakemake's, whose jobs are told where the grid will lie.

    Raises:
        ValueError: for a setting that is refused.
    """
    write_any_character()
    _refuse_reader()
    for folder in (RESULTS, REPORTS):
        _refuse_file(folder)
    grid = _planned(workflow) if workflow.is_main_process else _frozen(workflow)
    hardware = grid["hardware"]
    gpus = 0 if hardware["device"] == "cpu" else len(visible_gpus(os.environ))
    places = gpus * hardware["trainings_per_gpu"]
    if gpus and "gpu" not in workflow.global_resources:
        workflow.register_resource("gpu", places)
    at_once = places // hardware["gpus_per_training"]
    path = grids.frozen_path(grid, RESULTS)
    return Run(grid, path, hardware, gpus, at_once, recovery.locks_in(SNAKEMAKE))


def _refuse_reader() -> None:
    """Refuse a user who may only read the workspace: Snakemake keeps notes there, also while it plans."""
    for path in (SNAKEMAKE, SNAKEMAKE / "locks", SNAKEMAKE / "iocache"):
        there = next(it for it in (path, *path.parents) if it.exists())
        if not os.access(there, os.W_OK | os.X_OK):
            raise ValueError(
                f"{there.absolute()}: this user may not write here, where Snakemake keeps notes also while it plans; "
                "`dualhead status` and `dualhead explain` only read, or plan in a copy of the workspace"
            )


def _refuse_file(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise ValueError(
            f"{folder}: expected a folder, found a file; move it away, for results are written below it"
        )


def refuse_unwritable(products: Iterable[str]) -> None:
    """Refuse what is to be made in a folder where this user may not write: Snakemake would end in a traceback.

    Raises:
        ValueError: naming the first such folder, or the file in its place.
    """
    for folder in sorted({Path(product).parent for product in products}):
        there = next(it for it in (folder, *folder.parents) if it.exists())
        _refuse_file(there)
        if not os.access(there, os.W_OK | os.X_OK):
            raise ValueError(
                f"{there}: expected a folder that this user may write to, found one that may only be read; let its "
                "owner allow it (chmod), or work in a copy of the workspace"
            )


def _planned(workflow: Any) -> Settings:
    """Return the grid of the settings as they are now, and let jobs get that one and no settings."""
    given = workflow.config_settings
    grid = grids.plan(
        Path(),
        configfiles=given.configfiles,
        overrides=given.config,
        replace=given.replace_workflow_config,
    )
    given.config_args = [f"{FROZEN}={grids.frozen_path(grid, RESULTS)}"]
    given.configfiles = ()
    if DRY.isdisjoint(sys.argv):
        recovery.clear(SNAKEMAKE)
    return grid


def _frozen(workflow: Any) -> Settings:
    path = workflow.config_settings.overwrite_config.get(FROZEN, RESULTS / grids.LATEST)
    return read_grid(Path(path))


def start(run: Run) -> None:
    """Freeze the grid and clear up after others, once Snakemake has locked the workspace."""
    grids.freeze(run.grid, RESULTS)
    grids.note_workspace(Path(), RESULTS)
    date_now([RESULTS, REPORTS])
    (RESULTS / "ensembles").mkdir(
        exist_ok=True
    )  # an out of DVC's, also where no table asks for one
    recovery.cancel_left_jobs(SNAKEMAKE)
    recovery.register(SNAKEMAKE, run.locks)


def date_now(folders: Iterable[Path]) -> None:
    """Date what a clock ahead has dated: Snakemake takes a new file for a failure if its input is newer."""
    now = time.time()
    for folder in folders:
        for path in folder.rglob("*"):
            with suppress(PermissionError, FileNotFoundError):  # another user's, or removed since
                if path.lstat().st_mtime > now:
                    os.utime(path, follow_symlinks=False)


def end(*, failed: bool) -> None:
    """Leave the workspace; a call that failed cancels the jobs that it leaves on a cluster."""
    recovery.unregister(SNAKEMAKE)
    if failed:
        recovery.cancel_left_jobs(SNAKEMAKE)


DIVERGED = "dualhead train: the loss is "
"""Begin of the last line of a training whose loss is no number any more, which it will be again."""


def is_worth_a_retry(logs: Iterable[str]) -> bool:
    """Return whether a job that failed may end otherwise when it is submitted again, by its log."""
    for path in map(Path, logs):
        with suppress(OSError):
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
            if lines and lines[-1].startswith(DIVERGED):
                return False
    return True


ENDINGS = (".zip", ".tar.gz", ".tgz", ".tar", "")
"""Endings of names of the same recordings: archives, and the folder unpacked from one."""


def located(path: str) -> str:
    """Return the place of recordings: the path in params.yaml, or the same with another of `ENDINGS`."""
    stem = next(path.removesuffix(it) for it in ENDINGS if path.endswith(it))
    found = (name for name in (path, *(stem + it for it in ENDINGS)) if Path(name).exists())
    return next(found, path)


def signature(raw: Iterable[Path]) -> str:
    """Return a digest of the name, size and date of each file, or of none if some of it is not there."""
    paths = list(raw)
    if not paths or not all(path.exists() for path in paths):
        return ""
    digest = hashlib.sha256()
    for path in paths:
        for name, state in _files(path):
            digest.update(f"{name} {state.st_size} {state.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _files(path: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Yield each file of a folder and of the folders linked there by name, or the one file that it is."""
    if not path.is_dir():
        yield path.name, path.stat()
        return
    entered = set()
    for folder, below, names in os.walk(path, followlinks=True):
        status = Path(folder).stat()
        if (status.st_dev, status.st_ino) in entered:
            below.clear()  # a link to a folder above, or to one that was seen
            continue
        entered.add((status.st_dev, status.st_ino))
        below.sort()
        for name in sorted(names):
            if not name.startswith("."):
                file = Path(folder, name)
                yield str(file.relative_to(path)), file.stat()


def is_checked(raw: Iterable[str], stamp: Path) -> bool:
    """Return whether a stamp of `dualhead verify` says that raw data as it is now was compared with its store."""
    try:
        lines = stamp.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return False
    return f"signature: {signature(map(Path, raw))}" in lines


def as_options(settings: Mapping[str, object]) -> list[str]:
    """Return {num_frames: 300, range: [1, 2]} as --num-frames 300 --range 1 2, word by word."""
    words = []
    for name, value in settings.items():
        values = value if isinstance(value, list) else [value]
        words += [f"--{name.replace('_', '-')}", *map(str, values)]
    return words


def prepare_options(store: Settings) -> list[str]:
    """Return the options of `dualhead prepare` for one store of the grid."""
    settings = {key: value for key, value in store["prepare"].items() if key != "recipe"}
    said = as_options(store.get("recordings", {}))
    return as_options(settings) + ["--partial"] * store["partial"] + said


def missing_data(stores: Mapping[str, Settings]) -> str:
    """Return the downloads that these stores lack; empty if none."""
    downloaded = [store for store in stores.values() if store["synthesize"] is None]
    texts = [_missing(store) for store in downloaded if not all(map(_exists, store["raw"]))]
    return "\n\n".join(["Raw data is missing; nothing was started.", *texts]) if texts else ""


def _missing(store: Settings) -> str:
    from dualhead.data.datasets import DATASETS

    absent = [str(Path(path).absolute()) for path in store["raw"] if not _exists(path)]
    return f"{store['dataset']}: no {' and '.join(absent)}\n{DATASETS[store['kind']].where}"


def _exists(path: str) -> bool:
    return Path(located(path)).exists()
