"""Recordings whose file names tell their class, people and camera."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from dualhead.data.archives import list_files
from dualhead.data.dataset import Dropped, RawSample


class Named(NamedTuple):
    """All that a file's name tells of its recording."""

    name: str
    label: int  # counted from 0
    meta: dict[str, int]


def list_named(
    raw: Sequence[Path], suffixes: Sequence[str], parse: Callable[[str], Named | str], rule: str
) -> tuple[list[RawSample], list[Dropped]]:
    """Return the recordings in raw paths, and a row for each file of another name.

    Args:
        raw: archives, or folders that are searched to the bottom.
        suffixes: endings of the files, in lower case; the first that fits is cut off.
        parse: function from a file's name without its ending to all that it tells, or, for a wrong name, to more words
            of the reason.
        rule: names that are taken, as the end of a sentence.

    Raises:
        ValueError: for a path with nothing there, or an archive that was cut short.
    """
    samples: list[RawSample] = []
    dropped: list[Dropped] = []
    for file in (file for path in raw for file in list_files(path, *suffixes)):
        ending = next(it for it in suffixes if file.path.name.lower().endswith(it))
        name = file.path.name[: -len(ending)]
        named = parse(name)
        if isinstance(named, str):
            detail = f"{file.path} is not named like {rule}{named}"
            dropped.append(Dropped(name, "", "unknown_name", detail))
        else:
            samples.append(RawSample(*named, file.source, file.member, file.size))
    return samples, dropped
