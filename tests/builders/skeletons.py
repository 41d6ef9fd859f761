"""Recordings in the format of NTU RGB+D's `.skeleton` files, written from numbers."""

from collections.abc import Sequence

import numpy as np

REST = "277.419 191.8218 1036.233 519.1677 -0.2059419 0.05349901 0.9692109 -0.1239193 2"
Body = tuple[str, np.ndarray]  # the tracker's ID, and joints (V, 3)


def skeleton_file(frames: Sequence[Sequence[Body]], newline: str = "\r\n") -> bytes:
    """Return a `.skeleton` file whose frames hold these bodies."""
    lines = [str(len(frames))]
    for bodies in frames:
        lines.append(str(len(bodies)))
        for body, joints in bodies:
            lines += [f"{body} 0 1 1 1 1 0 0.02764709 0.05745083 2", str(len(joints))]
            lines += [f"{x!r} {y!r} {z!r} {REST}" for x, y, z in np.asarray(joints).tolist()]
    return (newline.join(lines) + newline).encode()


def one_body(joints: np.ndarray, body: str = "7") -> list[list[Body]]:
    """Return frames in which one body is, from joints (T, V, 3)."""
    return [[(body, frame)] for frame in joints]


def looped(bodies: Sequence[np.ndarray], num_frames: int = 300) -> np.ndarray:
    """Return the authors' array (3, num_frames, 25, 2) from the rows of each body."""
    padded = np.zeros((2, num_frames, 25, 3), np.float32)
    for slot, body in enumerate(bodies):
        if len(body):
            padded[slot] = body[np.arange(num_frames) % len(body)]
    return padded.transpose(3, 1, 2, 0)
