"""From a batch of recordings to its bodies and back: absent bodies are computed once, not once each.

An absent body is all zeros, and after the data normalization all absent bodies of one slot are still the same. In
training one of them stands for all, with its number in the batch statistics; at evaluation its features are a constant
that is kept. Both are exact, and found in the data: a body that an augmentation has moved is not absent.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from dualhead.models.norm import Batch, BatchNorm, Cache, Rows, Term, normalized_sum, slabs

Features = dict[str, Tensor]
"""Of each head, (B, C)."""

Encoder = Callable[[Tensor, Batch], Features]
"""From bodies, (B, T, V, C), and what the rows stand for, to features."""


class Bodies(nn.Module):
    """Normalize each coordinate of each joint of each body slot, encode each body, average over bodies."""

    def __init__(self, num_bodies: int, num_joints: int, in_channels: int) -> None:
        super().__init__()
        self.norm = BatchNorm(num_bodies * num_joints * in_channels)  # (M, V, C)
        self.absent = Cache()

    def forward(self, x: Tensor, encode: Encoder, model: nn.Module) -> Features:
        """Return each head's features of each recording, (N, C).

        Args:
            x: (N, C, T, V, M).
            encode: the network between the two steps.
            model: whose weights decide the features of an absent body.
        """
        bodies, present = self.normalized(x), is_present(x)
        if torch.is_grad_enabled() or self.training:
            if x.requires_grad:  # every body has a gradient of its own then
                present = torch.ones_like(present)
            rows, batch, index = distinct_rows(present)
            features = self._encode(bodies.flatten(0, 1)[rows], batch, encode)
            return {head: values[index].mean(1) for head, values in features.items()}
        return self._evaluate(bodies, present, encode, model)

    def normalized(self, x: Tensor) -> Tensor:
        """Return the normalized bodies, (N, M, T, V, C)."""
        samples, channels, frames, joints, bodies = x.shape
        x = x.permute(0, 2, 4, 3, 1).reshape(samples, frames, -1)
        if self.training:
            terms = [Term(x, self.norm, None)]
            x = normalized_sum(terms, (Rows(0, samples, 1),), activation=False)
        else:
            scale, shift = self.norm.folded()
            x = torch.addcmul(shift, x, scale)
        return x.view(samples, frames, bodies, joints, channels).transpose(1, 2)

    def _evaluate(
        self, bodies: Tensor, present: Tensor, encode: Encoder, model: nn.Module
    ) -> Features:
        """Encode the bodies that are present; look the others up."""
        kept: dict[tuple[object, ...], Features] = self.absent.get(model, dict)
        alone = (Rows(0, 1, 1),)
        parts = [self._encode(bodies[present], alone, encode)] if present.any() else []
        order = torch.arange(present.numel(), device=present.device).view(present.shape)
        index = [order[present]]
        for slot in torch.nonzero(~present.all(0)).flatten().tolist():
            missing = ~present[:, slot]
            key = (slot, bodies.shape[2], _working_dtype(bodies))
            if key not in kept:
                kept[key] = self._encode(bodies[missing, slot][:1], alone, encode)
            parts.append({head: f.expand(int(missing.sum()), -1) for head, f in kept[key].items()})
            index.append(order[missing, slot])
        back = torch.cat(index).argsort().view(present.shape)
        return {head: torch.cat([f[head] for f in parts])[back].mean(1) for head in parts[0]}

    def _encode(self, rows: Tensor, batch: Batch, encode: Encoder) -> Features:
        """Encode bodies, at evaluation as many at a time as stay in the cache of a CPU."""
        device = rows.device.type
        rows = rows.to(_working_dtype(rows))
        with torch.autocast(device, enabled=False):
            if self.training:
                return encode(rows, batch)
            parts = [encode(rows[i], batch) for i in slabs(rows)]
        return {head: torch.cat([part[head] for part in parts]) for head in parts[0]}


def is_present(x: Tensor) -> Tensor:
    """Return which bodies of (N, C, T, V, M) are not all zeros, (N, M)."""
    return x.ne(0).flatten(1, 3).any(1)


def distinct_rows(present: Tensor) -> tuple[Tensor, Batch, Tensor]:
    """Return the bodies to compute, such that of a slot's absent ones there is only one.

    Args:
        present: (N, M).

    Returns:
        Their numbers n * M + m; what each stands for; and of each body, (N, M), which of them it is.
    """
    absent = ~present.cpu()
    shared = absent & (absent.sum(0) > 1)
    rows = [torch.nonzero(~shared.flatten()).flatten()]
    index = (~shared.flatten()).cumsum(0).view(shared.shape) - 1
    batch = [Rows(0, len(rows[0]), 1)] if len(rows[0]) else []
    for slot in torch.nonzero(shared.any(0)).flatten().tolist():
        samples = torch.nonzero(shared[:, slot]).flatten()
        place = batch[-1].stop if batch else 0
        rows.append(samples[:1] * shared.shape[1] + slot)
        index[samples, slot] = place
        batch.append(Rows(place, place + 1, len(samples)))
    return torch.cat(rows).to(present.device), tuple(batch), index.to(present.device)


def _working_dtype(x: Tensor) -> torch.dtype:
    """Return what a forward pass is computed in: that of autocast, if it is on."""
    device = x.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype


def pooled(x: Tensor) -> Tensor:
    """Return the mean over frames and joints of (B, T, V, C), in float32 or more."""
    return x.mean((1, 2), dtype=torch.promote_types(x.dtype, torch.float32))
