"""CTR-GCN's NTU60_CS.npz and its kin: nameless recordings of two actors, translated and padded with zeros."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from dualhead.arrays import Columns, Integers, Parts
from dualhead.data.archives import list_files
from dualhead.data.bodies import prepare_chosen
from dualhead.data.dataset import Dataset, Dropped, Prepared, RawSample
from dualhead.data.datasets.ntu import LAYOUT, parse_name
from dualhead.data.prepared_arrays.base import (
    ArrayForm,
    Numbers,
    numbers_in_npz,
    read_npy_content,
)
from dualhead.layout import LAYOUTS
from dualhead.settings.params import Settings

PARTS = {"train": 1, "test": 0}
SPLITS = {
    "ntu60": {"_cs": "xsub", "_cv": "xview"},
    "ntu120": {"_csub": "xsub", "_cset": "xset"},
}
COLUMNS = {"xsub": "subject", "xview": "camera", "xset": "setup"}
NAME_LISTS = ("skes_available_name.txt", "statistics/skes_available_name.txt")
SOURCE = "CTR-GCN's choice of actors, moved to the first frame's spine"
COORDINATES = 150  # of two actors of 25 joints


def _fits(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() == ".npz"


def _split(dataset: Dataset, path: Path) -> str:
    found = [
        split
        for end, split in SPLITS.get(dataset.kind, {}).items()
        if path.stem.lower().endswith(end)
    ]
    if not found:
        known = ", ".join(f"NTU60{end.upper()}.npz" for end in SPLITS["ntu60"])
        raise ValueError(
            f"{path}: expected a name that tells the split, such as {known}, NTU120_CSub.npz or "
            f"NTU120_CSet.npz, with --dataset ntu60 or ntu120; found {path.name} as {dataset.kind}."
        )
    return found[0]


def _arrays(path: Path, folder: Path) -> dict[str, Numbers]:
    """Return the places of x and y of both parts."""
    expected = [f"{axis}_{part}" for part in PARTS for axis in "xy"]
    members = [file.path.stem for file in list_files(path)]
    if missing := sorted(set(expected) - set(members)):
        raise ValueError(
            f"{path}: expected CTR-GCN's arrays {', '.join(expected)}; found {', '.join(members[:6])}, "
            f"no {', '.join(missing)}."
        )
    found = {name: numbers_in_npz(path, name, folder) for name in expected}
    for part in PARTS:
        x, y = found[f"x_{part}"].shape, found[f"y_{part}"].shape
        if len(x) != 3 or x[2] != COORDINATES or not y or y[0] != x[0] or len(y) > 2:
            raise ValueError(
                f"{path}: expected x_{part} (N, frames, {COORDINATES}) and y_{part} (N, classes); "
                f"found {x} and {y}."
            )
    return found


def _labels(y: Numbers) -> Integers:
    """Return 0-based classes out of one-hot rows, or as they are.

    Raises:
        ValueError: for a row that is not one 1 among zeros.
    """
    values = y.read()
    if values.ndim == 2 and not ((values == 1).sum(axis=1) == 1).all():
        raise ValueError(
            f"{y.path}: expected one class, a 1 among zeros, in each row of its labels; found none or "
            "several in some."
        )
    found: Integers = (values.argmax(axis=1) if values.ndim == 2 else values).astype(np.int64)
    return found


def _dataset(dataset: Dataset, path: Path) -> Dataset:
    split = _split(dataset, path)
    names = _published_names(dataset, path, split)
    changed = replace(
        dataset,
        list_samples=partial(_list_samples, names=names),
        prepare_sample=_prepare,
        splits={split: dataset.splits[split]},
        expected={split: dataset.expected[split]},
        apart={split: dataset.apart[split]},
        source=SOURCE,
    )
    if names:
        return changed
    return replace(
        changed,
        meta_columns=("training",),
        splits={split: _as_listed},
        apart={split: "training"},
        source=f"{SOURCE}; recordings numbered, their names are not known",
    )


def _as_listed(columns: Columns) -> Parts:
    return columns["training"].astype(np.int8)


def _published_names(dataset: Dataset, path: Path, split: str) -> dict[str, list[str]] | None:
    """Return the names of both parts by CTR-GCN's list beside the file, if counts and labels agree.

    A part's recordings follow the list, those of each person, camera or setup after the last one's.
    """
    lists = [path.parent / name for name in NAME_LISTS if (path.parent / name).is_file()]
    if not lists:
        return None
    listed = lists[0].read_text(encoding="utf-8", errors="replace").split()
    metas = [(name, parse_name(name)) for name in listed]
    known = [(name, meta) for name, meta in metas if meta is not None]
    if len(known) != len(listed) or not known:
        return None
    columns = {key: np.array([meta[key] for _, meta in known]) for key in known[0][1]}
    part_of, order = (
        dataset.splits[split](columns),
        np.argsort(columns[COLUMNS[split]], kind="stable"),
    )
    found = {}
    with TemporaryDirectory(prefix="dualhead-") as folder:
        arrays = _arrays(path, Path(folder))
        for part, number in PARTS.items():
            chosen = [int(place) for place in order if part_of[place] == number]
            labels = columns["action"][chosen] - 1
            if not np.array_equal(labels, _labels(arrays[f"y_{part}"])):
                return None
            found[part] = [known[place][0] for place in chosen]
    return found


def _list_samples(
    raw: Sequence[Path], names: Mapping[str, Sequence[str]] | None
) -> tuple[list[RawSample], list[Dropped]]:
    path, samples = raw[0], []
    with TemporaryDirectory(prefix="dualhead-") as folder:
        arrays = _arrays(path, Path(folder))
        for part, training in PARTS.items():
            size = arrays[f"x_{part}"].item(0).size
            for index, label in enumerate(_labels(arrays[f"y_{part}"]).tolist()):
                name = names[part][index] if names else f"{part}_{index:06d}"
                meta = parse_name(name) or {"training": training, "action": 0}
                meta.pop("action")
                member = f"{part}/{index}"
                samples.append(RawSample(name, label, meta, path, member, size, is_array=True))
    return samples, []


def _prepare(content: bytes, sample: RawSample, settings: Settings) -> Prepared:
    """Prepare rows (frames, 150); `first_frame` is done already.

    NTU RGB+D 120's arrays hold a lone actor twice; here it is one.

    Raises:
        ValueError: for settings that need the camera's coordinates.
    """
    if settings["normalize"] == "none":
        raise ValueError(
            f"{sample.name}: these arrays are moved to the first frame's spine, so prepare.normalize "
            "must be first_frame or rotate; found none."
        )
    rows = read_npy_content(content)
    joints = rows.reshape(len(rows), 2, 25, 3).transpose(1, 0, 2, 3)
    twice = np.array_equal(joints[0], joints[1]) and joints.any()
    done = settings["normalize"] == "first_frame"
    prepared = prepare_chosen(
        joints[: 1 if twice else 2],
        sample.name,
        LAYOUTS[LAYOUT],
        {**settings, "normalize": "none" if done else settings["normalize"]},
    )
    if not twice:
        return prepared
    copy = Dropped(
        sample.name, "actor 2", "copy", "equals the first actor: one person, given twice"
    )
    return prepared._replace(dropped=(*prepared.dropped, copy))


def _places(path: Path, folder: Path) -> Mapping[str, Numbers]:
    arrays = _arrays(path, folder)
    return {
        f"{part}/{index}": arrays[f"x_{part}"].item(index)
        for part in PARTS
        for index in range(arrays[f"x_{part}"].shape[0])
    }


CTR_GCN = ArrayForm("ctr_gcn", _fits, _dataset, _places)
