"""Classes, people, cameras and splits of own recordings: from labels.csv, or a folder for each class."""

from __future__ import annotations

import csv
import hashlib
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np

from dualhead.arrays import Integers
from dualhead.data.forms.base import decode
from dualhead.settings.params import Settings

LABELS = "labels.csv"
COLUMNS = ("name", "label", "subject", "camera", "part")
PARTS = {
    **dict.fromkeys(("train", "training", "1"), 1),
    **dict.fromkeys(("test", "val", "validation", "0"), 0),
    **dict.fromkeys(("", "-1", "none"), -1),
}
SPLITS = ("part", "subject", "camera", "share")
"""By list (the column `part`), by people, by cameras, and by share."""
SPLIT_DEFAULTS: Mapping[str, object] = {"train_share": 0.7, "split_seed": 1}
LARGEST = 32767  # of a number in a store's meta columns


class Label(NamedTuple):
    """The known facts of one recording; empty where one is not known."""

    label: str = ""
    subject: str = ""
    camera: str = ""
    part: int = -1


class Labeled(NamedTuple):
    """The classes, and of each recording its class and meta columns."""

    class_names: tuple[str, ...]
    labels: list[int]  # 0-based; -1 where not known
    meta: list[dict[str, int]]


def read_labels(content: bytes, place: str) -> dict[str, Label]:
    """Return the rows of a labels.csv by the recording's name, its folders in front if it has any.

    Raises:
        ValueError: for a file without the columns `name` and `label`, a name that stands there
            twice, or a part that is none.
    """
    lines = decode(content).lstrip().splitlines(keepends=True)
    mark = next((mark for mark in ";\t" if lines and mark in lines[0]), ",")
    rows = csv.DictReader(lines, delimiter=mark)
    header = [(name or "").strip().lower() for name in rows.fieldnames or ()]
    if not {"name", "label"} <= set(header) or set(header) - set(COLUMNS):
        raise ValueError(
            f"{place}: expected the columns name, label, and of subject, camera, part those that "
            f"are known; found {', '.join(header) or 'none'}. Correct its first line."
        )
    rows.fieldnames = header
    found: dict[str, Label] = {}
    for row in rows:
        if beyond := row.get(None):  # where csv puts what has no column
            raise ValueError(
                f"{place}:{rows.line_num}: expected {len(header)} values, found {len(header) + len(beyond)}. Put a "
                "label that holds the mark between them in quotes."
            )
        values = {key: " ".join((row[key] or "").split()) for key in header}
        values["name"] = (row["name"] or "").strip()
        if not any(values.values()):
            continue
        name = key_of(PurePosixPath(values.pop("name").replace("\\", "/")))
        part = values.pop("part", "").lower()
        if name in found or part not in PARTS:
            wrong = f"part {part!r}" if part not in PARTS else f"{name} twice"
            raise ValueError(
                f"{place}:{rows.line_num}: expected each recording once, in part train, test or "
                f"none; found {wrong}. Correct the line."
            )
        found[name] = Label(part=PARTS[part], **values)
    return found


def key_of(path: PurePosixPath) -> str:
    """Return the path of a recording without its ending, by which labels.csv may name it.

    Accents are one character each, however a system of files writes them.
    """
    path = PurePosixPath(unicodedata.normalize("NFC", path.as_posix()))
    name = path.name
    for suffix in (".txt", path.suffix if path.suffix.lower() != ".txt" else "", ".skeleton"):
        name = name.removesuffix(suffix) if suffix else name
    return (path.parent / name).as_posix()


def label_of(names: Sequence[str], rows: Mapping[str, Label]) -> Label:
    """Return the row of a recording that goes by any of some names; an empty one if there is none."""
    return next((rows[name] for name in names if name in rows), Label())


def number_labels(names: Sequence[str], rows: Sequence[Label], settings: Settings) -> Labeled:
    """Number the classes, people and cameras, and assign each recording to a part of each split.

    Classes are sorted, by value if all are numbers. A recording without a class is in no part.

    Args:
        names: the recordings' names.
        rows: the recordings' labels, in the same order.
        settings: `train_share` and `split_seed` of split `share`, `train_subjects`,
            `train_cameras`; where these are not given, `train_share` of people or cameras train.
    """
    settings = {**SPLIT_DEFAULTS, **settings}
    classes = _sorted({row.label for row in rows if row.label})
    labels = [classes.index(row.label) if row.label else -1 for row in rows]
    people = _numbers([row.subject for row in rows])
    cameras = _numbers([row.camera for row in rows])
    columns = {"subject": people, "camera": cameras}
    known = np.array(labels, np.int64) >= 0
    parts = {
        "part": np.array([row.part for row in rows], np.int64),
        "subject": _by_value(people, settings.get("train_subjects"), settings, "subject"),
        "camera": _by_value(cameras, settings.get("train_cameras"), settings, "camera"),
        "share": _by_share(names, labels, settings),
    }
    columns |= {f"in_{name}": np.where(known, values, -1) for name, values in parts.items()}
    meta = [{name: int(values[i]) for name, values in columns.items()} for i in range(len(rows))]
    return Labeled(tuple(classes), labels, meta)


def _sorted(words: set[str]) -> list[str]:
    if all(word.isdecimal() for word in words):
        return sorted(words, key=int)
    return sorted(words)


def _numbers(words: Sequence[str]) -> Integers:
    """Return people or cameras as numbers: their own if all have one, else by name from 1; -1: unknown."""
    known = {word for word in words if word}
    if all(word.isdecimal() and int(word) <= LARGEST for word in known):
        return np.array([int(word) if word else -1 for word in words], np.int64)
    order = {word: number for number, word in enumerate(_sorted(known), start=1)}
    return np.array([order.get(word, -1) for word in words], np.int64)


def _by_value(values: Integers, chosen: object, settings: Settings, what: str) -> Integers:
    """Return 1 where a person or camera trains, 0 where another one is, -1 where none is known."""
    known = sorted(set(values[values >= 0].tolist()))
    if isinstance(chosen, list):
        absent = [one for one in chosen if one not in known]
        if absent:
            raise ValueError(
                f"train_{what}s: expected {what}s that are there ({known}); found {absent}. "
                "Correct the list."
            )
        training = chosen
    else:
        order = sorted(known, key=lambda one: _draw(settings["split_seed"], f"{what} {one}"))
        training = order[: _share_of(len(order), settings["train_share"])]
    return np.where(values < 0, -1, np.isin(values, training)).astype(np.int64)


def _by_share(names: Sequence[str], labels: Sequence[int], settings: Settings) -> Integers:
    """Return 1 for the share of each class's recordings that a seed draws for training, else 0."""
    parts = np.zeros(len(names), np.int64)
    for label in set(labels):
        own = [i for i, one in enumerate(labels) if one == label]
        own.sort(key=lambda i: _draw(settings["split_seed"], names[i]))
        parts[own[: _share_of(len(own), settings["train_share"])]] = 1
    return parts


def _share_of(count: int, share: float) -> int:
    """Return the number of training members of a group: at least one, and not all of two or more."""
    return min(max(round(share * count), 1), max(count - 1, 1))


def _draw(seed: object, name: str) -> bytes:
    """Return a number drawn by a seed and a name alone, so that other recordings change nothing."""
    return hashlib.sha256(f"{seed} {name}".encode()).digest()
