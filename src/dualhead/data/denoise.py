"""Choice of people among the tracker's bodies: the authors' energy rule, and CTR-GCN's denoising."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from dualhead.arrays import Array, Floats, Integers, Mask

MIN_FRAMES = 12  # CTR-GCN: a body seen for fewer is noise
MAX_SPREAD = 0.8  # CTR-GCN: a frame is noise if the body is wider than this share of its height
MAX_NOISY = 0.69754  # CTR-GCN: a body is noise if this share of its frames is


class Removed(NamedTuple):
    """A body that was left out."""

    body: str
    reason: str  # a short word that can be counted
    detail: str


class Track(NamedTuple):
    """One body, by the tracker's ID."""

    start: int  # the frame where it was first seen, of those that hold a body at all
    joints: Array  # (3, n, V), meters: its frames one after the other, without gaps

    @property
    def end(self) -> int:
        """Last frame of the body."""
        return self.start + len(self.joints[0]) - 1


def energy(body: Floats) -> float:
    """Return the spread of a body's joints: the standard deviations of x, y and z, added.

    The authors' measure: taken over all joints of all frames in which the body is there, so the
    body's size counts beside its motion.

    Args:
        body: (3, T, V), meters; a frame is empty if all of it is exactly 0. Official code: if it
            adds up to 0, which cancelling coordinates do too.

    Returns:
        Meters; 0 for a body that is never there.
    """
    seen = body[:, np.flatnonzero((body != 0).any(axis=(0, 2)))]
    return float(sum(axis.std() for axis in seen)) if seen.size else 0.0


def select_by_energy(slots: Floats, max_bodies: int) -> tuple[list[int], list[Removed]]:
    """Choose the slots of highest energy (the authors' rule, with two of them).

    Args:
        slots: (3, S, T, V), meters: a body's slot is its place within the frame, whatever its ID.
        max_bodies: number of bodies to keep.

    Returns:
        The slots kept, highest energy first, of equal ones the lower number (the official code
        leaves that to the processor's sort); and the others that are not empty.
    """
    present = [slot for slot in range(slots.shape[1]) if slots[:, slot].any()]
    if len(present) < 2:
        return present[:max_bodies], []
    energies = {slot: energy(slots[:, slot]) for slot in present}
    order = sorted(present, key=lambda slot: -energies[slot])
    removed = [
        Removed(
            f"slot {slot}",
            "low_energy",
            f"energy {energies[slot]:.4g} m is number {rank + 1} of {len(present)}; "
            f"{max_bodies} are kept",
        )
        for rank, slot in enumerate(order)
        if rank >= max_bodies
    ]
    return order[:max_bodies], removed


def find_tracks(
    frames: Integers, ids: Sequence[str], joints: Floats
) -> tuple[dict[str, Track], list[Removed]]:
    """Gather the rows of each ID, as CTR-GCN does.

    Frames without a body are left out. A body's frames are counted without gaps from where it was
    first seen, so that what follows an absence comes earlier (as in CTR-GCN).

    Args:
        frames: (R,) of each row, increasing.
        ids: R of them; of two rows with one frame and one ID the first counts.
        joints: (3, R, V), meters.

    Returns:
        The tracks by ID, in the order in which they were first seen; and the IDs that came twice.
    """
    inhabited = np.unique(frames)
    rows: dict[str, list[int]] = {}
    twice: dict[str, int] = {}
    for row, body in enumerate(ids):
        seen = rows.setdefault(body, [])
        if seen and frames[seen[-1]] == frames[row]:
            twice[body] = twice.get(body, 0) + 1
        else:
            seen.append(row)
    tracks = {
        body: Track(
            int(np.searchsorted(inhabited, frames[seen[0]])), joints[:, seen].astype(np.float32)
        )
        for body, seen in rows.items()
    }
    removed = [
        Removed(body, "same_id", f"{count} frames have a second body of this ID")
        for body, count in twice.items()
    ]
    return tracks, removed


def select_actors(tracks: Mapping[str, Track]) -> tuple[Array, list[Removed]]:
    """Choose two actors as CTR-GCN does: without short and sideways bodies, by motion.

    The body of largest motion is the first actor. Each next one goes to the first actor where they
    share at most one frame, else to the second on the same condition (whose span is counted from
    frame 0, as in CTR-GCN), else it is left out. CTR-GCN fails where every body is short; here they
    then all stay. CTR-GCN puts a lone actor in both places for NTU RGB+D 120; here it is one actor.

    Args:
        tracks: tracks that `find_tracks` found; with a single one nothing is filtered.

    Returns:
        (3, 2, T, V) float32 in meters, zero where an actor is not there, without the frames where
        neither is; and the bodies left out.
    """
    kept, removed = _remove_noise(tracks)
    num_frames = max((track.end for track in tracks.values()), default=-1) + 1
    num_joints = next((track.joints.shape[2] for track in tracks.values()), 0)
    actors = np.zeros((3, 2, num_frames, num_joints), np.float32)
    spans: list[tuple[int, int] | None] = [None, (0, 0)]  # first and last frame of either actor
    for body, track in kept.items():
        actor = next((actor for actor in (0, 1) if _shared_frames(spans[actor], track) < 2), None)
        if actor is None:
            detail = f"frames {track.start} to {track.end} overlap both actors'"
            removed.append(Removed(body, "overlap", detail))
            continue
        first, last = spans[actor] or (track.start, track.end)
        spans[actor] = min(first, track.start), max(last, track.end)
        actors[:, actor, track.start : track.end + 1] = track.joints
    return actors[:, :, actors.any(axis=(0, 1, 3))], removed


def _shared_frames(span: tuple[int, int] | None, track: Track) -> int:
    """Count the frames of a track within an actor's span; negative if they lie apart."""
    return min(span[1], track.end) - max(span[0], track.start) + 1 if span else 0


def _remove_noise(tracks: Mapping[str, Track]) -> tuple[dict[str, Track], list[Removed]]:
    """Remove short and sideways tracks, and sort the others by motion, the largest first."""
    kept, removed = _remove_short(tracks)
    motions = {body: motion(track.joints) for body, track in kept.items()}
    for body, track in list(kept.items()):
        if len(kept) == 1:
            break
        noisy = _is_sideways(track.joints)
        if noisy.mean() >= MAX_NOISY:
            del kept[body]
            detail = f"too wide for its height in {noisy.sum()} of {len(noisy)} frames"
            removed.append(Removed(body, "spread", detail))
        elif noisy.any():
            motions[body] = min(motions[body], motion(track.joints[:, ~noisy]))
    order = sorted(kept, key=lambda body: motions[body], reverse=True)
    return {body: kept[body] for body in order}, removed


def _remove_short(tracks: Mapping[str, Track]) -> tuple[dict[str, Track], list[Removed]]:
    """Remove tracks of few frames, unless all of them are, or there is but one."""
    lengths = {body: track.joints.shape[1] for body, track in tracks.items()}
    short = {body for body, length in lengths.items() if length < MIN_FRAMES}
    if len(tracks) == 1 or len(short) == len(tracks):
        return dict(tracks), []
    removed = [
        Removed(body, "short", f"{lengths[body]} frames; at least {MIN_FRAMES} are expected")
        for body in short
    ]
    return {body: track for body, track in tracks.items() if body not in short}, removed


def motion(joints: Array) -> float:
    """Return the variances of x, y and z over all joints and frames, added (CTR-GCN).

    Args:
        joints: (3, n, V), meters.

    Returns:
        Square meters.
    """
    positions = np.ascontiguousarray(joints.reshape(3, -1).T)  # added in CTR-GCN's order
    return float(positions.var(axis=0).sum())


def _is_sideways(joints: Array) -> Mask:
    """Mark the frames (n,) with a body too wide for its height."""
    x, y = joints[0], joints[1]
    sideways: Mask = np.ptp(x, axis=1) > MAX_SPREAD * np.ptp(y, axis=1)
    return sideways
