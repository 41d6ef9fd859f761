import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from dualhead.layout import LAYOUTS
from dualhead.models import bfloat16, build_model
from dualhead.models.bfloat16 import Widened
from dualhead.models.fold import fold
from dualhead.models.ops.cpu.slabs import add_product
from dualhead.runs.inference import precision
from tests.models.test_models import CLASSES, small_settings

ULP = 2.0**-8  # of bfloat16


class Seen(TorchDispatchMode):
    """Notes which operators that multiply get bfloat16."""

    def __init__(self):
        super().__init__()
        self.products, self.all = set(), 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        rounded = any(isinstance(x, torch.Tensor) and x.dtype == torch.bfloat16 for x in args)
        self.all += rounded
        if rounded and any(word in str(func) for word in ("mm", "conv", "linear", "einsum")):
            self.products.add(str(func))
        return func(*args, **(kwargs or {}))


def rounded(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape))).bfloat16()


@pytest.mark.parametrize(
    "product",
    [
        lambda a, b: a @ b,
        lambda a, b: torch.mm(a, b, out=a.new_empty(len(a), b.shape[1])),
        lambda a, b: torch.addmm(b[0], a, b),
        lambda a, b: torch.addmm(b[0], a, b, out=a.new_empty(len(a), b.shape[1])),
        lambda a, b: b[:1].repeat(len(a), 1).addmm_(a, b),
        lambda a, b: torch.bmm(a[None], b[None]),
        lambda a, b: torch.bmm(a[None], b[None], out=a.new_empty(1, len(a), b.shape[1])),
        lambda a, b: nn.functional.linear(a, b.t().contiguous(), b[0]),
        lambda a, b: nn.functional.conv1d(a.t()[None], b.t().contiguous()[..., None]),
        lambda a, b: nn.functional.conv2d(a.t()[None, ..., None], b.t()[..., None, None]),
    ],
)
@pytest.mark.parametrize("inference", [False, True])
def test_a_product_is_the_exact_one_rounded_once(product, inference):
    a, b = rounded(40, 60), rounded(60, 30)
    exact = product(a.double(), b.double())
    with torch.inference_mode(inference), Widened():
        found = product(a, b)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.double(), exact, rtol=ULP, atol=1e-4)


def test_a_convolution_has_the_gradients_of_the_exact_one():
    grads = []
    for dtype in (torch.float64, torch.bfloat16):
        x = rounded(2, 8, 9, 3).to(dtype).requires_grad_()
        weight = rounded(8, 8, 3, 1).to(dtype).requires_grad_()
        with Widened():
            nn.functional.conv2d(x, weight, padding=(1, 0)).sum().backward()
        grads.append((x.grad.double(), weight.grad.double()))
    torch.testing.assert_close(grads[1], grads[0], rtol=2 * ULP, atol=1e-2)


@pytest.mark.parametrize("name", ["dualhead", "ms_g3d"])
def test_no_product_of_a_network_is_left_to_the_slow_kernels(name):
    model = build_model(name, small_settings(name), LAYOUTS["ntu25"], CLASSES)
    x = torch.randn(3, 3, 9, 25, 2)
    x[1:, ..., 1] = 0
    with Seen() as seen, Widened():
        with torch.autocast("cpu", torch.bfloat16):
            logits = model.train()(x)
        sum(values.square().sum() for values in logits.values()).backward()
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            fold(model)(x)
    assert seen.all > 1000
    assert seen.products == set()


def test_float32_is_left_alone():
    a, b = torch.randn(7, 5), torch.randn(5, 3)
    with Widened():
        assert torch.equal(torch.mm(a, b), a @ b)


@pytest.mark.parametrize(("native", "expected"), [(True, 1), (False, 0)])
def test_a_processor_with_the_instructions_uses_them(monkeypatch, native, expected):
    monkeypatch.setattr(bfloat16, "is_native", lambda: native)
    with Seen() as seen, precision("bf16"):
        rounded(2, 2) @ rounded(2, 2)
    assert len(seen.products) == expected


def test_long_sums_are_not_kept_in_bfloat16():
    total, one = torch.zeros(1, 1), torch.ones(1, 1, dtype=torch.bfloat16)
    with Widened():
        for _ in range(1000):
            add_product(total, one, one)
    assert total.item() == 1000  # in bfloat16, 256 + 1 is 256
