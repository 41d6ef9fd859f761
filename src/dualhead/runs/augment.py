"""Random changes to training samples, and the frames that a sample shows.

Draws come from a generator on the CPU, so that they are the same on every device; what they draw is applied where the
joints lie. 2s-AGCN's feeder augments whatever array it was given, bones and motions too; here the joints are augmented
and the modality is computed from them, so that a bone stays the difference of two joints.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from dualhead.settings.run import InputSettings

DRIFT_DEGREES = (-10.0, -5.0, 0.0, 5.0, 10.0)  # 2s-AGCN's random_move, for Kinetics' -0.5..0.5
DRIFT_SCALES = (0.9, 1.0, 1.1)
DRIFT_SHIFTS = (-0.2, -0.1, 0.0, 0.1, 0.2)


def choose_frames(
    num_frames: Tensor, settings: InputSettings, generator: Generator | None
) -> Tensor:
    """Return the frame of each recording at each time, (B, T) int64."""
    steps = settings.num_frames
    if settings.resample == "uniform":
        frames = _resample(num_frames.clamp(min=1), steps, generator)
    else:
        frames = torch.arange(steps).expand(len(num_frames), steps)
    if generator is None or not settings.random_crop:
        return frames
    kept = settings.random_crop
    begin = torch.randint(steps - kept + 1, (len(frames), 1), generator=generator)
    return frames.gather(1, begin + torch.arange(kept))


def _resample(num_frames: Tensor, steps: int, generator: Generator | None) -> Tensor:
    """Return evenly spaced frames, first and last among them; in training sorted random ones.

    Args:
        num_frames: (B,), at least 1.
        steps: number of frames to take, T.
        generator: draws the random ones, with repetition.

    Returns:
        (B, T) int64.
    """
    if generator is None:
        return torch.arange(steps) * (num_frames[:, None] - 1) // max(steps - 1, 1)
    draws = torch.rand(len(num_frames), steps, dtype=torch.float64, generator=generator)
    return (draws * num_frames[:, None]).long().sort(dim=1).values


def draw_turn(count: int, settings: InputSettings, generator: Generator | None) -> Tensor | None:
    """Return one random rotation times one random scale a sample, (B, 3, 3); None if there is none.

    Whole degrees about x and about y, uniform, as CTR-GCN draws them; y first.
    """
    limit, (low, high) = settings.random_rotation, settings.random_scale
    if generator is None or (limit == 0 and low == high == 1.0):
        return None
    degrees = torch.randint(-limit, limit + 1, (2, count), generator=generator)
    scale = low + (high - low) * torch.rand(count, generator=generator)
    x, y = torch.deg2rad(degrees.float())
    zero, one = torch.zeros(count), torch.ones(count)
    about_x = [one, zero, zero, zero, x.cos(), -x.sin(), zero, x.sin(), x.cos()]
    about_y = [y.cos(), zero, y.sin(), zero, one, zero, -y.sin(), zero, y.cos()]
    first, second = (torch.stack(cells, -1).view(-1, 3, 3) for cells in (about_y, about_x))
    turn: Tensor = scale[:, None, None] * (second @ first)
    return turn


def apply_turn(joints: Tensor, turn: Tensor) -> Tensor:
    """Apply (B, 3, 3) matrices to joints (B, T, M, V, 3)."""
    return torch.einsum("bij,btmvj->btmvi", turn, joints)


def min_max(joints: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Scale low..high to -1..1; a coordinate that never changes becomes 0."""
    spread = high - low
    return torch.where(spread > 0, (joints - low) / spread * 2 - 1, 0.0)


def draw_drift(count: int, steps: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """Return 2s-AGCN's random_move: a slow change of x and y from one random pose to another.

    Returns:
        Matrices (B, T, 2, 2) and shifts (B, T, 2).
    """

    def path(choices: tuple[float, ...]) -> Tensor:
        ends = torch.tensor(choices)[
            torch.randint(len(choices), (2, count, 1), generator=generator)
        ]
        return torch.lerp(ends[0], ends[1], torch.linspace(0, 1, steps))  # (B, T)

    angle, scale = torch.deg2rad(path(DRIFT_DEGREES)), path(DRIFT_SCALES)
    cos, sin = scale * angle.cos(), scale * angle.sin()
    matrices = torch.stack([cos, -sin, sin, cos], -1).view(count, steps, 2, 2)
    return matrices, torch.stack([path(DRIFT_SHIFTS), path(DRIFT_SHIFTS)], -1)


def apply_drift(joints: Tensor, matrices: Tensor, shifts: Tensor) -> Tensor:
    """Move x and y of joints (B, T, M, V, C) by matrices (B, T, 2, 2) and shifts (B, T, 2).

    2s-AGCN moves absent joints too, which puts a body where there is none; here a joint whose
    channels are all zero stays so, in training as in the test.
    """
    absent = (joints == 0).all(-1, keepdim=True)
    plane = torch.einsum("btij,btmvj->btmvi", matrices, joints[..., :2])
    plane = plane + shifts[:, :, None, None]
    return torch.cat([plane, joints[..., 2:]], -1).masked_fill_(absent, 0)
