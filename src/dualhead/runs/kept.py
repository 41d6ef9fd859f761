"""Copies of finished runs without their weights, to be kept with a workspace and taken from there."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from dualhead.files import check_beside, check_seal, read_record, replacing
from dualhead.runs.scores import IDENTITY, identity_of, refuse_foreign
from dualhead.settings.formats import check_metrics, read_run
from dualhead.settings.params import Settings
from dualhead.settings.run import RunConfig

SMALL: Final = ("config.yaml", "history.csv", "scores.h5", "classes.csv")
"""Files of a run that are kept beside metrics.json, which names their digests."""
REMEDY: Final = "restore the folder as it was committed, or remove it to train the run here"


def keep_run(run: str, config: Settings, source: Path, target: Path) -> None:
    """Copy a finished run, all but its weights, after checking that it is whole and the one asked for.

    Args:
        run: its address.
        config: the settings that the grid has for it.
        source: the folder of runs that has it.
        target: the folder of runs that gets it.

    Raises:
        ValueError: for a run that is not there, is damaged, or was made with other settings.
    """
    origin = source / run
    _check(origin, run, config)
    for name in (*SMALL, "metrics.json"):  # which vouches for the others, and is the last
        _copy(origin / name, target / run / name)


def _check(origin: Path, run: str, config: Settings) -> None:
    """Refuse a run whose files are not whole, or not those of the run asked for."""
    for name in (*SMALL, "metrics.json"):
        if not (origin / name).is_file():
            raise ValueError(f"{origin}: expected a finished run, found no {name}; {REMEDY}")
    path = origin / "metrics.json"
    metrics = read_record(path, REMEDY)
    check_metrics(metrics, path, of_run=True)
    asked = RunConfig.of(config)
    names = (asked.benchmark, asked.variant, asked.modality, str(asked.seed), asked.address)
    expected = dict(zip(IDENTITY, names, strict=True))
    if (found := identity_of(metrics)) != expected:
        told = " ".join(found.values())
        raise ValueError(
            f"{path}: expected the result of run {run}, found that of {told}; {REMEDY}"
        )
    if read_run(origin / "config.yaml").address != asked.address:
        raise ValueError(f"{origin}/config.yaml: found the settings of another run; {REMEDY}")
    check_seal(origin / "scores.h5", REMEDY)
    for name in SMALL:
        check_beside(origin / name, metrics, REMEDY)
    refuse_foreign(origin / "scores.h5", metrics)


def _copy(source: Path, target: Path) -> None:
    with replacing(target) as temporary:
        shutil.copyfile(source, temporary)
