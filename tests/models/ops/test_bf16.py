"""A CPU's operations in bfloat16: exact ones of the same inputs, rounded as often as results are stored."""

import pytest
import torch

from dualhead.models.ops import cpu, plain
from dualhead.models.ops.cpu.slabs import add_scaled, affine
from dualhead.models.ops.norm import Term
from tests.models.ops.compare import make_norm, random

ULP = 2.0**-8  # half a step of bfloat16


def rounded(*shape, seed=1):
    return random(*shape, seed=seed).detach().bfloat16()


def test_an_affine_map_is_rounded_once():
    x, scale, shift = rounded(6, 40), torch.rand(40) + 0.5, torch.randn(40)
    exact = x.double() * scale + shift
    found = affine(x, scale, shift, torch.empty_like(x))
    torch.testing.assert_close(found.double(), exact, rtol=ULP, atol=1e-6)
    assert torch.equal(found, affine(x, scale, shift, x))


def test_a_scaled_sum_is_rounded_twice():
    total, x, scale = rounded(6, 40), rounded(6, 40, seed=2), torch.rand(40) + 0.5
    exact = total.double() + x.double() * scale
    add_scaled(total, x, scale)
    torch.testing.assert_close(total.double(), exact, rtol=2 * ULP, atol=2 * ULP)


@pytest.mark.parametrize(("window", "stride"), [(1, 1), (3, 1), (5, 2)])
def test_windows_have_the_values_and_gradients_of_exact_products(window, stride):
    joints, channels = 6, 16
    tensors = [
        rounded(2, 9, joints, channels),
        rounded(2, window * joints, window * joints, seed=2),
        rounded(channels, 2 * channels, seed=3),
    ]
    found = []
    for run, dtype in ((plain, torch.float64), (cpu, torch.bfloat16)):
        x, adjacency, weight = (tensor.to(dtype) for tensor in tensors)
        leaves = [
            x,
            *(t.to(torch.promote_types(t.dtype, torch.float32)) for t in (adjacency, weight)),
        ]
        leaves = [leaf.requires_grad_() for leaf in leaves]
        y = run.window_graph_conv(*leaves, window=window, stride=stride)
        found.append([y, *torch.autograd.grad(y, leaves, rounded(*y.shape, seed=4).to(dtype))])
    for exact, result in zip(*found, strict=True):
        apart = (result.double() - exact).norm() / exact.norm()
        assert apart < 2 * ULP


def test_a_normalized_sum_has_the_gradients_of_the_exact_one():
    tensors, grad = [rounded(3, 5, 4, 8, seed=i) for i in range(3)], rounded(3, 5, 4, 8, seed=9)
    found = []
    for run, dtype in ((plain, torch.float64), (cpu, torch.bfloat16)):
        norms = [make_norm(8).to(torch.promote_types(dtype, torch.float32)) for _ in range(2)]
        leaves = [tensor.to(dtype).requires_grad_() for tensor in tensors]
        y = run.relu_sum(*map(Term, leaves[:2], norms), leaves[2])
        parameters = [p for norm in norms for p in norm.parameters()]
        found.append([y, *torch.autograd.grad(y, [*leaves, *parameters], grad.to(dtype))])
    for exact, result in zip(*found, strict=True):
        # where the sum is about 0, rounding decides whether it is cut off
        assert (result.double() - exact).norm() < 0.05 * exact.norm()
