"""A small results folder in the true formats, with accuracies that are made up on purpose."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import numpy as np

from dualhead.data.datasets import DATASETS
from dualhead.data.records import Header, Record, write_store
from dualhead.data.store import Store
from dualhead.files import digest_of, write_csv, write_json, write_record
from dualhead.layout import LAYOUTS, SkeletonLayout
from dualhead.runs.ensemble import ensemble
from dualhead.runs.partition import split_positions
from dualhead.runs.scores import (
    Attention,
    Scored,
    Selection,
    fuse_heads,
    measure,
    write_classes,
    write_scores,
)
from dualhead.settings import checks, params
from dualhead.settings.grid import resolve
from dualhead.settings.params import Settings
from dualhead.settings.run import RunConfig

EPOCHS = 12
ACTIONS = (
    *("drink water", "brush teeth", "drop", "pick up", "throw", "sit down", "stand up", "clap"),
    *(
        "read",
        "write",
        "tear up paper",
        "put on jacket",
        "wave",
        "kick something",
        "hop",
        "jump up",
    ),
    *("phone call", "type on a keyboard", "point to something", "take a selfie", "rub two hands"),
)
LAYOUT_OF = {"kinetics": "openpose18", "nw_ucla": "kinect20"}
MODALITY_SKILL = {"joint": 0.0, "bone": 0.15, "joint_motion": -0.5, "bone_motion": -0.45}
VARIANT_SKILL = {"ms_g3d": -0.4, "no_attention": -0.2, "fine_quarter": -0.3, "coarse_g3d_0": -0.1}
BONUS = {"last": (EPOCHS, 0.0), "best_on_validation": (10, 0.05), "best_on_test": (9, 0.15)}
"""Selection -> its epoch, and how much better it is."""
PARAMETERS = {"ms_g3d": 3_194_595, "fine_full": 4_874_149, "fine_quarter": 2_543_701}


class Fake(NamedTuple):
    """A folder of results and the grid it belongs to."""

    grid: Settings
    results: Path
    stores: Path


def paper_params(**changes: object) -> Settings:
    """Return the paper's own settings, with top-level sections replaced."""
    content = checks.load(params.packaged_params())
    return copy.deepcopy(content) | copy.deepcopy(changes)


def synthetic_params(**changes: object) -> Settings:
    """Return the settings of a small synthetic workspace like the demo."""
    tables = {
        "comparison": {
            "kind": "comparison",
            "benchmarks": ["synthetic_xsub"],
            "variant": "dualhead",
            "streams": ["joint", "bone", "two_stream", "four_stream"],
            "metrics": ["top1"],
        },
        "table4": {
            "kind": "ablation",
            "benchmark": "synthetic_xsub",
            "stream": "joint",
            "rows": ["ms_g3d", "no_attention", "temporal_attention", "dualhead"],
        },
    }
    figures = {"benchmark": "synthetic_xsub", "variant": "dualhead", "baseline": "ms_g3d"}
    synthetic = {
        "seeds": [1],
        "datasets": {
            "synthetic": {"kind": "synthetic", "raw": ["data/raw/synthetic"], "partial": False}
        },
        "benchmarks": {"synthetic_xsub": {"dataset": "synthetic", "split": "xsub"}},
        "tables": tables,
        "figures": figures | {"stream": "joint"},
    }
    return paper_params(**(synthetic | changes))


def held_out_params(**changes: object) -> Settings:
    """Return the same with a table of a variant that holds subjects out, and fitted weights."""
    settings = synthetic_params(**changes)
    settings["tables"]["selection"] = {
        "kind": "comparison",
        "title": "How the epoch and the weights are chosen",
        "published": False,
        "benchmarks": ["synthetic_xsub"],
        "variant": "held_out",
        "streams": ["joint", "bone", "two_stream", "two_stream_fitted"],
    }
    return settings


def nothing_is_missing(run: str) -> bool:
    """Say that a run exists."""
    return True


def build(
    folder: Path,
    settings: Settings,
    *,
    classes: int = 6,
    num_test: int = 120,
    copied: int = 0,
    exists: Callable[[str], bool] = nothing_is_missing,
) -> Fake:
    """Write stores, runs and ensembles of a workspace, but for the runs that do not `exist`.

    The bodies of the first `copied` test recordings are those of training recordings.
    """
    grid = resolve(settings)
    fake = Fake(grid, folder / "results", folder / "results" / "store")
    for address, store in grid["stores"].items():
        _write_store(fake.stores / f"{address}.h5", store, classes, num_test, copied)
    stored: dict[tuple[object, ...], Stored] = {}
    for run, config in grid["runs"].items():
        if exists(run):
            key = (config["store"], config["split"], config["train"]["validation"], config["seed"])
            if key not in stored:
                stored[key] = _read_store(fake, config)
            _write_run(fake, run, config, stored[key])
    for address, entry in grid["ensembles"].items():
        if all(exists(member) for member in entry["members"].values()):
            _write_ensemble(fake, address, entry)
    write_json(fake.results / "grid.json", grid)
    return fake


def _write_store(path: Path, store: Settings, classes: int, num_test: int, copied: int) -> None:
    layout = LAYOUTS[LAYOUT_OF.get(store["kind"], "ntu25")]
    names = tuple(
        ACTIONS[index] if index < len(ACTIONS) else f"action {index + 1}"
        for index in range(classes)
    )
    counts = {
        "kept": 3 * num_test,
        "reused": 0,
        "dropped_samples": {"unreadable": 1},
        "dropped_bodies": {"third_body": 4, "short": 2},
    }
    header = Header(
        dataset=store["kind"],
        layout=layout,
        class_names=names,
        padding="loop",
        max_bodies=store["prepare"]["max_bodies"],
        units="meters",
        settings=store["prepare"],
        partial=store["partial"],
        fingerprint="0123456789abcdef",
        counts=lambda: counts,
    )
    dataset = DATASETS[store["kind"]]
    records = _with_copies(
        _records(layout, classes, num_test, dataset.meta_columns), classes, copied
    )
    first = next(iter(dataset.splits.values()))
    splits = dict.fromkeys(("xsub", "xview", "xset", "val"), first) | dict(dataset.splits)
    write_store(path, records, header=header, splits=splits)
    rows = [("S001C001P001R001A001", "", "unreadable", "the file ends in frame 3")]
    rows += [
        (f"S001C001P001R001A00{index}", "72057594037931101", "third_body", "weakest of three")
        for index in range(2, 6)
    ]
    write_csv(path.with_suffix(".dropped.csv"), ("name", "body", "reason", "detail"), rows)


TEST_META = {"subject": 6, "camera": 1, "setup": 1, "view": 3, "training": 0}
TRAINING_META = ({"subject": 1, "camera": 2}, {"subject": 5, "camera": 3})
"""Whatever the protocol, every dataset's own splits make the same third of the samples the test."""


def _meta(columns: Sequence[str], group: int) -> dict[str, int]:
    plain = {"setup": 2, "view": 1, "training": 1, "replication": 1, "repetition": 0}
    known = plain | (TRAINING_META[group - 1] if group else TEST_META)
    return {column: known[column] for column in columns}


def _records(
    layout: SkeletonLayout, classes: int, num_test: int, columns: Sequence[str]
) -> list[Record]:
    rng = np.random.default_rng(3)
    records = []
    for index in range(3 * num_test):
        label, group = index % classes, index // classes % 3
        frames = int(rng.integers(20, 60))
        bodies = (_walk(layout, frames, label, rng),)
        name = f"S{index:05d}A{label + 1:03d}"
        records.append(Record(name, label, _meta(columns, group), bodies, frames))
    return records


def _with_copies(records: list[Record], classes: int, copied: int) -> list[Record]:
    """Return the records with the bodies of training recordings in the first test recordings."""
    tests = [index for index in range(len(records)) if index // classes % 3 == 0]
    for index in tests[:copied]:
        other = records[index + classes]  # of the same class, in training
        records[index] = records[index]._replace(bodies=other.bodies, num_frames=other.num_frames)
    return records


@lru_cache
def _stance(layout: SkeletonLayout) -> tuple[np.ndarray, np.ndarray]:
    """Return where a stick figure's joints stand, (V, C), and which of them move, (V,)."""
    pose = {"head": (0, 1.0), "neck": (0, 0.8), "nose": (0, 0.95), "hip": (0, 0)}
    pose |= {"base": (0, 0.0), "mid": (0, 0.3), "shoulder": (0, 0.75), "spine": (0, 0.3)}
    limbs = {"shoulder": (0.2, 0.75), "elbow": (0.35, 0.5), "wrist": (0.4, 0.25), "hip": (0.1, 0)}
    limbs |= {"hand": (0.42, 0.18), "tip": (0.43, 0.1), "thumb": (0.4, 0.12), "knee": (0.12, -0.4)}
    limbs |= {"ankle": (0.13, -0.8), "foot": (0.15, -0.85), "eye": (0.04, 1.0), "ear": (0.08, 0.95)}
    points = []
    for joint in layout.joints:
        side = -1 if joint.startswith("left") else 1 if joint.startswith("right") else 0
        known = limbs if side else pose
        x, z = next(place for key, place in known.items() if key in joint)
        points.append((side * x, 0.05 * side, z))
    moving = [joint.split("_")[-1] in ("wrist", "hand") for joint in layout.joints]
    return np.array(points), np.array(moving)


def _walk(layout: SkeletonLayout, frames: int, label: int, rng: np.random.Generator) -> np.ndarray:
    """Return a stick figure whose arms move with the class; (T, V, C)."""
    stance, moving = _stance(layout)
    points = np.broadcast_to(stance, (frames, *stance.shape)).astype(np.float32)
    swing = 0.4 * np.sin(np.arange(frames) / 10 * (1 + label))
    points[..., 2] += np.outer(swing, moving)
    if layout.name == "openpose18":
        points = points[..., [0, 2, 1]] * np.array([0.3, -0.3, 0], np.float32)
        points[..., 2] = 0.9
    return (points + rng.normal(0, 0.01, points.shape)).astype(np.float32)


def _logits(
    config: Mapping[str, object], labels: np.ndarray, classes: int, skill: float
) -> dict[str, np.ndarray]:
    """Return scores that are right for most samples; the same samples are hard in every run."""
    hard = np.random.default_rng(11).normal(size=len(labels))
    rng = np.random.default_rng(crc32(repr(sorted(config.items(), key=str)).encode()))
    heads = ("fusion",) if config["variant"] == "ms_g3d" else ("coarse", "fine")
    own = np.arange(len(labels))
    logits = {}
    for offset, head in zip((0.0, 0.2), heads, strict=False):
        values = rng.normal(size=(len(labels), classes))
        values[own, (labels + 1) % classes] += 1.6
        values[own, labels] += 4.4 + skill + offset - 1.2 * hard
        logits[head] = values.astype(np.float32)
    return logits


def _scored(
    config: Settings, samples: list[tuple[str, int]], classes: int, chosen: list[str]
) -> Scored:
    """Return made-up scores of (name, label) samples under the chosen selections."""
    names, labels = [name for name, _ in samples], np.array([label for _, label in samples])
    skill = MODALITY_SKILL[config["modality"]] + VARIANT_SKILL.get(config["variant"], 0.0)
    identity = {key: config[key] for key in ("benchmark", "variant", "modality", "seed")}
    selections = {}
    for selection in chosen:
        epoch, bonus = BONUS[selection]
        logits = _logits(identity, labels, classes, skill + bonus)
        selections[selection] = Selection(epoch, fuse_heads(logits, 0.5))
    return Scored(names, labels, selections)


class Stored(NamedTuple):
    """The part of a store that a run's results speak of."""

    test: list[tuple[str, int]]  # name and label
    held_out: list[tuple[str, int]]
    class_names: list[str]
    size: tuple[int, int]  # bodies, joints


def _read_store(fake: Fake, config: Settings) -> Stored:
    with Store(fake.stores / f"{config['store']}.h5") as store:
        test, held_out = (
            [(store.names[index], int(store.labels[index])) for index in part]
            for part in split_positions(store, RunConfig.of(config))[:0:-1]
        )
        size = store.max_bodies, store.layout.num_joints
        return Stored(test, held_out, store.class_names, size)


def _write_run(fake: Fake, run: str, config: Settings, stored: Stored) -> None:
    folder = fake.results / "runs" / run
    test, held_out, class_names, size = stored
    chosen = [name for name in BONUS if held_out or name != "best_on_validation"]
    names, labels, selections = _scored(config, test, len(class_names), chosen)
    validation = _scored(config, held_out, len(class_names), ["last"]) if held_out else None
    facts = _facts(config, len(names), len(class_names))
    write_scores(
        folder / "scores.h5",
        names=names,
        labels=labels,
        class_names=class_names,
        selections=selections,
        validation=validation,
        attention=_attention(names[:8], *size) if config["model"]["name"] == "dualhead" else None,
        identity=facts,
    )
    write_classes(
        folder / "classes.csv", selections=selections, labels=labels, class_names=class_names
    )
    measured = measure(selections, labels)
    _write_history(folder / "history.csv", config, measured)
    files = {name: digest_of(folder / name) for name in ("scores.h5", "classes.csv", "history.csv")}
    write_record(folder / "metrics.json", {**facts, **measured}, files)


def _attention(names: list[str], num_bodies: int, num_joints: int) -> Attention:
    """Return maps of each body: over its joints, and over 10 and 5 times of a 20-frame input."""
    rng = np.random.default_rng(5)
    lengths = {"frames_1": 10, "frames_2": 5, "joints_1": num_joints, "joints_2": num_joints}
    maps = {
        name: rng.random((len(names), num_bodies, length), dtype=np.float32)
        for name, length in lengths.items()
    }
    return Attention(names, np.tile(np.arange(20), (len(names), 1)), maps)


def _facts(config: Settings, num_test: int, num_classes: int) -> Settings:
    return {
        "benchmark": config["benchmark"],
        "variant": config["variant"],
        "stream": config["modality"],
        "seed": config["seed"],
        "address": params.address(config),
        "num_test": num_test,
        "num_classes": num_classes,
        "train_seconds": 5400.0 + 60 * config["seed"],
        "train_samples_per_second": 612.4,
        "parameters": PARAMETERS.get(config["variant"], 3_015_253),
        "gmacs": 32.772 if config["variant"] == "ms_g3d" else 18.937,
        "device": "CPU, 2 threads",
        "peak_memory_mb": 1843.2,
        "final_loss": 0.0312,
        "git": "0123456789ab",
        "versions": {"python": "3.11.7", "torch": "2.13.0", "numpy": "2.4.6"},
    }


def _write_history(path: Path, config: Settings, measured: Settings) -> None:
    heads = [head for head in measured["last"] if head != "epoch"]
    losses = [f"loss_{head}" for head in heads if head != "fusion"]
    rows = []
    rng = np.random.default_rng(config["seed"])
    for epoch in range(1, EPOCHS + 1):
        progress = 1 - np.exp(-epoch / 3)
        tests = [
            round(progress * measured["last"][head]["softmax"]["top1"] + rng.normal(), 4)
            for head in heads
        ]
        rate = 0.1 * 0.1 ** sum(epoch > milestone for milestone in (6, 9))
        loss = round(float(3 * (1 - progress) + 0.05), 5)
        rows.append((epoch, rate, loss, *[loss / 2] * len(losses), 99 * progress, *tests, 41.5))
    names = [f"test_{head}_top1" for head in heads]
    header = ("epoch", "learning_rate", "loss", *losses, "train_top1", *names, "seconds")
    write_csv(path, header, rows)


def _write_ensemble(fake: Fake, address: str, entry: Settings) -> None:
    folder = fake.results / "ensembles" / address
    ensemble(
        {
            modality: fake.results / "runs" / run / "scores.h5"
            for modality, run in entry["members"].items()
        },
        entry["weights"],
        fusion=entry["fusion"],
        scores=folder / "scores.h5",
        metrics=folder / "metrics.json",
        classes=folder / "classes.csv",
        identity={key: entry[key] for key in ("benchmark", "variant", "stream", "seed")}
        | {"address": address.rsplit("-", 1)[1]},
    )
