"""One operation against a slow and obvious one: values, all gradients and running statistics, in float64."""

import torch

from dualhead.models.ops import compiled, cpu, plain
from dualhead.models.ops.norm import BatchNorm, row_counts

IMPLEMENTATIONS = {"plain": plain, "cpu": cpu, "compiled": compiled}
TOLERANCE = {"rtol": 1e-10, "atol": 1e-11}


def random(*shape, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.float64, generator=generator).requires_grad_()


def make_norm(channels):
    norm = BatchNorm(channels).double()
    with torch.no_grad():
        norm.weight.copy_(1 + 0.3 * random(channels, seed=2))
        norm.bias.copy_(0.3 * random(channels, seed=3))
        norm.running_mean.copy_(random(channels, seed=4))
        norm.running_var.copy_(0.5 + random(channels, seed=5).square())
    return norm


def slow_norm(x, norm, offset=None):
    """Normalize the last axis by the formula; return running statistics as they should become, too."""
    x = x if offset is None else x + offset
    rows = x.reshape(-1, x.shape[-1])
    mean, variance = rows.mean(0), rows.var(0, unbiased=False)
    if not norm.training:
        mean, variance = norm.running_mean, norm.running_var
    y = (x - mean) / (variance + 1e-5).sqrt() * norm.weight + norm.bias
    running = 0.9 * norm.running_mean + 0.1 * mean, 0.9 * norm.running_var + 0.1 * rows.var(0)
    return y, [value.detach() for value in running]


def assert_same(ours, slow, x, parameters, *, norms=(), counts=None):
    """Compare two functions of x.

    Args:
        ours: to a tensor.
        slow: to a tensor and the running means and variances that every norm should have afterwards.
        x: float64, requires a gradient.
        parameters: tensors that the functions know.
        norms: those whose running statistics move.
        counts: how many rows each row stands for; the slow function gets all of them.
    """
    repeats = torch.ones(len(x), dtype=torch.int64) if counts is None else torch.tensor(counts)
    expected, running = slow(x.repeat_interleave(repeats, 0))
    with row_counts(None if counts is None else repeats.double()):
        found = ours(x).repeat_interleave(repeats, 0)
    torch.testing.assert_close(found, expected, **TOLERANCE)
    leaves = [x, *parameters]
    grad = random(*expected.shape, seed=9).detach()
    wanted = torch.autograd.grad(expected, leaves, grad, allow_unused=True)
    given = torch.autograd.grad(found, leaves, grad, allow_unused=True)
    scale = max(float(value.abs().max()) for value in wanted if value is not None)
    for a, b, leaf in zip(given, wanted, leaves, strict=True):
        zero = torch.zeros_like(leaf)
        a, b = (zero if value is None else value for value in (a, b))
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12 * scale)
    for norm, (mean, variance) in zip(norms, running, strict=True):
        if norm.training:
            torch.testing.assert_close(norm.running_mean, mean, **TOLERANCE)
            torch.testing.assert_close(norm.running_var, variance, **TOLERANCE)
