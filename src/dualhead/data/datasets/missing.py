"""NTU RGB+D's list of recordings without skeletons: the published one, or a file beside the data."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

NAME = r"S\d{3}C\d{3}P\d{3}R\d{3}A\d{3}"
LINE = re.compile(rf"^[\s,\"']*({NAME})(?:\.skeleton)?[\s,\"']*$", re.MULTILINE)
LAST_SETUP_OF_60 = 17


class MissingList(NamedTuple):
    """Names of recordings to leave out, and the list that they stand in."""

    names: frozenset[str]
    source: str


def find_missing_list(raw: Sequence[Path], setups: range) -> MissingList:
    """Return the recordings whose skeletons are missing or incomplete.

    A list in or beside the raw folders, under any of its common names, goes before the published
    one, which the package holds.

    Args:
        raw: folders and archives.
        setups: those of the dataset.

    Raises:
        ValueError: for a list without a name of a recording, or one of NTU RGB+D 60 where setups
            beyond it are asked for.
    """
    path = next(_lists_beside(raw), None)
    if path is None:
        return MissingList(published_names(), "the list that NTU publishes")
    names = LINE.findall(path.read_text(encoding="utf-8", errors="replace"))
    remedy = "Correct it, or move it elsewhere: dualhead knows the published list."
    if not names:
        raise ValueError(
            f"{path}: expected names of recordings without skeletons such as "
            f"S001C002P005R002A008, one a line; found none. {remedy}"
        )
    last = max(int(name[1:4]) for name in names)
    if last <= LAST_SETUP_OF_60 < setups[-1]:
        raise ValueError(
            f"{path}: expected the list of NTU RGB+D 120, of setups up to {setups[-1]}; found "
            f"{len(names)} names of setups up to {last}, as in NTU RGB+D 60's. {remedy}"
        )
    return MissingList(frozenset(names), str(path))


def _lists_beside(raw: Sequence[Path]) -> Iterator[Path]:
    """Yield files such as NTU_RGBD120_samples_with_missing_skeletons.txt, the nearest first."""
    folders = [folder for path in raw for folder in (path, path.parent) if folder.is_dir()]
    for folder in dict.fromkeys(folders):
        for path in sorted(folder.glob("*.txt")):
            name = path.name.lower()
            if "missing" in name and ("skeleton" in name or "ntu" in name):
                yield path


@cache
def published_names() -> frozenset[str]:
    """Return the 535 names that NTU RGB+D publishes, 302 of them of NTU RGB+D 60."""
    text = (files("dualhead") / "data/datasets/ntu_missing.txt").read_text(encoding="utf-8")
    return frozenset(re.findall(NAME, text))
