"""Bodies of one recording in meters: their choice and normalization, and notes on what is odd about them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from dualhead.arrays import Array, Floats
from dualhead.data.dataset import WHOLE, Dropped, Prepared
from dualhead.data.denoise import Removed, find_tracks, select_actors, select_by_energy
from dualhead.data.normalize import normalize, remove_empty_frames, remove_unpeopled_frames
from dualhead.data.skeleton_file import Recording
from dualhead.layout import SkeletonLayout
from dualhead.settings.params import Settings

EXTENT = (0.2, 8.0)  # meters; a body's largest side on the median of its frames
STILL = 0.01  # meters that a joint of something still moves about its place
LIVELIER = 3.0  # times; a body that moves so much more than a still one is an actor
SLOTS = 4  # bodies of a frame that the authors look at
LARGEST = float(np.finfo(np.float32).max)
NO_BODY = Removed(WHOLE, "no_body", "no frame holds a body: kept, as zeros")


def prepare_bodies(
    recording: Recording, name: str, layout: SkeletonLayout, settings: Settings
) -> Prepared:
    """Choose the bodies of a recording in meters, and normalize them; see `prepare_ntu_sample`."""
    recording, removed = _without_infinite(recording)
    removed += _implausible(recording)
    planes, unchosen = DENOISERS[settings["denoise"]](recording, settings["max_bodies"])
    return _finished(planes, [*removed, *unchosen], name, layout, settings)


def prepare_chosen(
    joints: Array, name: str, layout: SkeletonLayout, settings: Settings
) -> Prepared:
    """Normalize bodies that others chose; `denoise` has nothing to choose.

    Args:
        joints: (M, T, V, 3) float32, meters, the main body first; 0 where it is not there.
        name: the recording's name.
        layout: skeleton of the joints.
        settings: the `prepare` section; bodies beyond `max_bodies` are left out.
    """
    num_bodies, num_frames, num_joints, _ = joints.shape
    slots, frames = np.divmod(np.arange(num_bodies * num_frames), max(num_frames, 1))
    rows = joints.reshape(num_bodies * num_frames, num_joints, 3).transpose(2, 0, 1)
    everyone = Recording(num_frames, frames, slots, rows.astype(np.float64), b"", frames)
    recording, removed = _without_infinite(everyone)
    removed += _implausible(recording)
    planes = recording.joints.reshape(3, num_bodies, num_frames, num_joints).astype(np.float32)
    kept = settings["max_bodies"]
    removed += [
        Removed(f"slot {slot}", "beyond_max_bodies", f"{kept} bodies are kept")
        for slot in range(kept, num_bodies)
        if planes[:, slot].any()
    ]
    present = [slot for slot in range(min(kept, num_bodies)) if planes[:, slot].any()]
    return _finished(planes[:, present], removed, name, layout, settings)


def prepare_one(body: Array, name: str, layout: SkeletonLayout, settings: Settings) -> Prepared:
    """Normalize the only body of a recording; `denoise` and `max_bodies` have nothing to choose.

    Args:
        body: (T, V, 3) float32, meters, at least one frame.
        name: the recording's name.
        layout: skeleton of the joints.
        settings: the `prepare` section.
    """
    if body.any():
        sides = np.ptp(body, axis=1).max(axis=1)
        notes = _odd_extent(sides, "the body measures {} m: is its unit")
    else:
        notes = [NO_BODY]
    bodies = normalize([body], layout, settings["normalize"])
    return Prepared(tuple(bodies), len(body), tuple(Dropped(name, *note) for note in notes))


def _odd_extent(sides: Array | Floats, words: str) -> list[Removed]:
    """Note a size that no person has in meters: the median of the largest sides of bodies."""
    extent = float(np.median(sides)) if len(sides) else 1.0
    if EXTENT[0] <= extent <= EXTENT[1]:
        return []
    detail = f"{words.format(f'{extent:.4g}')} the meter, or mm or pixels? Kept"
    return [Removed(WHOLE, "extent", detail)]


def _finished(
    planes: Array, removed: list[Removed], name: str, layout: SkeletonLayout, settings: Settings
) -> Prepared:
    """Normalize the chosen bodies, (3, M, T, V) in meters, without the frames where nobody is."""
    removed += _cancelling(planes)
    bodies: list[Array] = [np.moveaxis(body, 0, -1) for body in np.moveaxis(planes, 1, 0)]
    if settings["normalize"] == "rotate":
        bodies = [remove_empty_frames(body) for body in bodies]
    else:
        bodies = remove_unpeopled_frames(bodies)
    if not planes.any():
        removed.append(NO_BODY)
    return Prepared(
        bodies=normalize(bodies, layout, settings["normalize"]),
        num_frames=max(map(len, bodies), default=0),
        dropped=tuple(Dropped(name, *body) for body in removed),
    )


def _without_infinite(recording: Recording) -> tuple[Recording, list[Removed]]:
    """Put joints that are not finite at 0, as joints that were not seen."""
    wrong = ~(np.abs(recording.joints) <= LARGEST).all(axis=0)
    if not wrong.any():
        return recording, []
    joints = np.where(wrong, 0.0, recording.joints)
    detail = f"{wrong.sum()} joints that are not finite count as not seen"
    return recording._replace(joints=joints), [Removed(WHOLE, "not_finite", detail)]


def _implausible(recording: Recording) -> list[Removed]:
    """Note bodies of a size that no person has in meters, and lines after the last frame."""
    notes = []
    if recording.joints.size:
        seen = recording.joints.any(axis=(0, 2))
        sides = np.ptp(recording.joints[:, seen], axis=2).max(axis=0)
        notes += _odd_extent(sides, "bodies measure {} m: is their unit")
    if recording.lines_after:
        detail = f"{recording.lines_after} lines after the last of {recording.num_frames} frames"
        notes.append(Removed(WHOLE, "lines_after", f"{detail} are passed over"))
    return notes


def _changing_ids(recording: Recording) -> list[Removed]:
    """Note IDs that come twice in a frame or change within a slot, which energy does not look at."""
    places = list(zip(recording.frames.tolist(), recording.body_ids(), strict=True))
    slots = set(zip(recording.slots.tolist(), (body for _, body in places), strict=True))
    notes = []
    if twice := len(places) - len(set(places)):
        detail = f"{twice} bodies have the ID of another of their frame: each is its slot's"
        notes.append(Removed(WHOLE, "same_id", detail))
    if changed := len(slots) - len({slot for slot, _ in slots}):
        detail = f"the ID of a slot changes ({changed} further IDs): a slot is one body here"
        notes.append(Removed(WHOLE, "id_changes", detail))
    return notes


def _still_first(slots: Floats, kept: Sequence[int]) -> list[Removed]:
    """Note a first body that stands still while another moves: a chair outranks the actor by size.

    Args:
        slots: (3, S, T, V), meters.
        kept: slots chosen, the first body's first.
    """
    if slots.shape[1] < 2 or not kept:
        return []
    motions = [
        float(body[:, body.any(axis=(0, 2))].std(axis=1).mean()) if body.any() else 0.0
        for body in np.moveaxis(slots, 1, 0)
    ]
    first, most = motions[kept[0]], max(motions)
    if first >= STILL or most < max(STILL, LIVELIER * first):
        return []
    detail = f"the first body's joints move by {first:.2g} m, another's by {most:.2g} m: kept first"
    return [Removed(WHOLE, "still_first", detail)]


def _by_energy(recording: Recording, max_bodies: int) -> tuple[Array, list[Removed]]:
    """Return the bodies of most energy, (3, M, T, V) float32; see `select_by_energy`."""
    slots, frames, joints = recording.slots, recording.frames, recording.joints
    used = slots < SLOTS
    removed = []
    if not used.all():
        detail = f"{(~used).sum()} bodies beyond the first {SLOTS} of their frame"
        removed.append(Removed(f"slot {SLOTS} and on", "fifth_body", detail))
        slots, frames, joints = slots[used], frames[used], joints[:, used]
    num_slots = int(slots.max(initial=-1)) + 1
    planes = np.zeros((3, num_slots, recording.num_frames, joints.shape[2]))
    planes[:, slots, frames] = joints
    kept, others = select_by_energy(planes, max_bodies)
    removed += [*others, *_changing_ids(recording), *_still_first(planes, kept)]
    return planes[:, kept].astype(np.float32), removed


def _by_ctr_gcn(recording: Recording, max_bodies: int) -> tuple[Array, list[Removed]]:
    """Return CTR-GCN's actors, (3, M, T, V) float32; see `select_actors`."""
    tracks, twice = find_tracks(recording.frames, recording.body_ids(), recording.joints)
    actors, removed = select_actors(tracks)
    present = [actor for actor in range(actors.shape[1]) if actors[:, actor].any()]
    unwanted = [
        Removed(f"actor {actor + 1}", "low_motion", f"{max_bodies} actors are kept")
        for actor in present[max_bodies:]
    ]
    return actors[:, present[:max_bodies]], [*twice, *removed, *unwanted]


DENOISERS: Mapping[str, Callable[[Recording, int], tuple[Array, list[Removed]]]] = {
    "energy": _by_energy,
    "ctr_gcn": _by_ctr_gcn,
}


def _cancelling(planes: Array) -> list[Removed]:
    """Count joints, frames and recordings of sum 0 with other values: absent in the official code, kept here.

    Args:
        planes: (3, M, T, V), meters.
    """
    sums = planes[0] + planes[1] + planes[2]
    seen = planes.any(axis=0)
    joints = int((seen & (sums == 0)).sum())
    frames = int((seen.any(axis=-1) & (sums.sum(axis=-1) == 0)).sum())
    whole = seen.any() and sums.sum(axis=(-1, -2)).sum() == 0
    if not (joints or frames or whole):
        return []
    counted = f"{joints} joints, {frames} frames" + (" and the recording" if whole else "")
    return [Removed(WHOLE, "cancelling_kept", f"{counted} add up to 0 without being 0: kept")]
