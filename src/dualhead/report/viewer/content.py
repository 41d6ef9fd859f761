"""Content of a page of recordings, and its form in the page: numbers as 16 bits, in base64."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dualhead.arrays import Array, Integers
from dualhead.data.store import Store
from dualhead.layout import SkeletonLayout
from dualhead.report.skeletons import is_flat, stand, visible
from dualhead.runs.metrics import accuracies, label_ranks
from dualhead.runs.scores import Attention
from dualhead.settings.params import Settings

LARGEST = 32767
"""Of a joint's 16-bit coordinate; a recording's own size is spread over it."""
UNSEEN = -32768
"""Coordinate of a joint that was not seen."""
SHARE = 65535
"""A probability of 1, in 16 bits."""
LONGEST = 900
"""Frames of a recording that a page shows; half a minute at 30 a second."""


class Network(NamedTuple):
    """A network whose scores are shown."""

    title: str
    values: Array | None  # (samples, classes), its fused probabilities of all samples; None: none


class Windows(NamedTuple):
    """Scores of a recording's windows."""

    bounds: Sequence[tuple[int, int]]  # first and last frame of each
    values: Array  # (windows, classes)


class Seen(NamedTuple):
    """One network's view of one recording."""

    heads: Mapping[str, Array]  # fusion, and coarse and fine where there are two heads: (classes,)
    windows: Windows | None = None
    attention: Attention | None = None  # of this recording alone: n is 1


class Recording(NamedTuple):
    """A recording whose skeletons are shown."""

    name: str
    joints: Array  # (C, T, V, M)
    num_frames: int  # of the whole recording, of which T may be the first
    seen: Sequence[Seen] = ()  # one for each network


def stored_recording(store: Store, position: int, seen: Sequence[Seen] = ()) -> Recording:
    """Return a recording of a store with what networks make of it; of a very long one the first frames."""
    frames = max(int(store.num_frames[position]), 1)
    joints = store.padded(position, min(frames, LONGEST))
    return Recording(store.names[position], joints, frames, seen)


def by_rounds(places: Sequence[int], kinds: Sequence[object]) -> list[int]:
    """Return places in a new order: the first of each kind before the second of any."""
    seen: dict[object, int] = {}
    turns: list[tuple[int, int, int]] = []
    for place, kind in zip(places, kinds, strict=True):
        turns.append((seen.get(kind, 0), len(turns), place))
        seen[kind] = seen.get(kind, 0) + 1
    return [place for _, _, place in sorted(turns)]


class Page(NamedTuple):
    """Content of a page."""

    title: str
    facts: Sequence[tuple[str, str]]  # what it was made from, by name
    layout: SkeletonLayout
    class_names: Sequence[str]
    networks: Sequence[Network]
    names: Sequence[str]  # of all samples that have scores or skeletons
    labels: Integers  # (samples,), 0-based; -1 where not known
    recordings: Sequence[Recording]
    command: str  # that shows a recording whose skeletons are not here


def as_json(page: Page) -> Settings:
    """Return a page as JSON can hold it."""
    labelled = page.labels >= 0
    return {
        "title": page.title,
        "facts": [list(fact) for fact in page.facts],
        "layout": _layout(page.layout),
        "classes": list(page.class_names),
        "networks": [_network(one, page.labels, labelled) for one in page.networks],
        "names": list(page.names),
        "labels": _packed(page.labels, "<i2"),
        "recordings": [_recording(one, page.layout) for one in page.recordings],
        "command": page.command,
    }


def _layout(layout: SkeletonLayout) -> Settings:
    """Return joints, bones, and the side that each joint is on: -1 left, 1 right, 0 neither."""
    sides = [joint.startswith("right_") - joint.startswith("left_") for joint in layout.joints]
    names = [joint.replace("_", " ") for joint in layout.joints]
    return {"joints": names, "edges": layout.edges, "sides": sides, "flat": is_flat(layout)}


def _network(network: Network, labels: Integers, labelled: npt.NDArray[np.bool_]) -> Settings:
    """Return a network's best class for each sample, and its accuracies where labels are known."""
    if network.values is None:
        return {"title": network.title, "best": "", "shares": "", "right": "", "accuracy": None}
    right = np.zeros(len(labels), np.bool_)
    right[labelled] = label_ranks(network.values[labelled], labels[labelled]) < 1
    known = accuracies(network.values[labelled], labels[labelled]) if labelled.any() else None
    return {
        "title": network.title,
        "best": _packed(network.values.argmax(axis=1), "<u2"),
        "shares": _shares(network.values.max(axis=1)),
        "right": _packed(right, "u1"),
        "accuracy": known,
    }


def _recording(recording: Recording, layout: SkeletonLayout) -> Settings:
    present = np.flatnonzero(recording.joints.any(axis=(0, 1, 2)))
    joints = recording.joints[
        ..., : max(present, default=0) + 1
    ]  # without empty slots after the last body
    coordinates, step = packed_joints(joints, layout)
    return {
        "name": recording.name,
        "frames": recording.joints.shape[1],
        "whole": recording.num_frames,
        "bodies": joints.shape[3],
        "step": step,
        "joints": _packed(coordinates, "<i2"),
        "seen": [_seen(one) for one in recording.seen],
    }


def packed_joints(joints: Array, layout: SkeletonLayout) -> tuple[npt.NDArray[np.int16], float]:
    """Return joints as 16-bit numbers around the middle of a recording, and the unit of these numbers.

    Args:
        joints: (C, T, V, M).
        layout: the skeleton's layout.

    Returns:
        (T, M, V, 3) to the right, up and towards the viewer, `UNSEEN` for a joint that was not
        seen; and what a step of 1 is in the unit of `joints`.
    """
    seen = np.moveaxis(visible(joints, layout), 2, 1)[..., None]  # (T, M, V, 1)
    placed = np.moveaxis(stand(joints, layout), (0, 3), (3, 1)).astype(np.float64)
    seen = seen & np.isfinite(placed).all(axis=-1, keepdims=True)
    low = np.where(seen, placed, np.inf).min(axis=(0, 1, 2), initial=np.inf)
    high = np.where(seen, placed, -np.inf).max(axis=(0, 1, 2), initial=-np.inf)
    if not seen.any():
        low = high = np.zeros(3)
    step = max(float((high - low).max()) / 2 / LARGEST, 1e-9)
    steps = np.rint((np.where(seen, placed, 0) - (low + high) / 2) / step)
    return np.where(seen, steps, UNSEEN).astype(np.int16), step


def _seen(seen: Seen) -> Settings:
    found: Settings = {"heads": {head: _shares(values) for head, values in seen.heads.items()}}
    if seen.windows is not None:
        found["windows"] = {
            "bounds": [list(bound) for bound in seen.windows.bounds],
            "values": _shares(seen.windows.values),
        }
    if seen.attention is not None:
        times, maps = seen.attention.times[0], seen.attention.maps
        found["attention"] = {
            "frames": {name: _frames(maps[name][0], times) for name in maps if "frames" in name},
            "joints": {name: maps[name][0].round(5).tolist() for name in maps if "joints" in name},
        }
    return found


def _frames(values: Array, times: Integers) -> dict[str, list[Any]]:
    """Return each body's temporal attention (M, T'), and the recording's frames that it is paid to.

    The input may begin the recording anew; that repetition is left out.
    """
    count = values.shape[1]
    at = times[np.arange(count) * len(times) // count]
    once = np.append(np.flatnonzero(np.diff(at) < 0) + 1, count)[0]
    return {"at": at[:once].tolist(), "values": values[:, :once].round(5).tolist()}


def _shares(values: Array) -> str:
    """Return probabilities in 16 bits each."""
    return _packed(np.rint(np.clip(values, 0, 1) * SHARE), "<u2")


def _packed(values: npt.NDArray[Any], kind: str) -> str:
    return base64.b64encode(np.ascontiguousarray(values).astype(kind).tobytes()).decode("ascii")
