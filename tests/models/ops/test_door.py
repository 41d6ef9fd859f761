"""The choice of who computes the operations, and what torch may record of them."""

import pytest
import torch

from dualhead.layout import LAYOUTS
from dualhead.models import build_model, ops
from dualhead.models.fold import fold
from tests.models.test_models import CLASSES, small_settings


@pytest.fixture(params=["dualhead", "ms_g3d"])
def model(request):
    torch.manual_seed(4)
    return build_model(request.param, small_settings(request.param), LAYOUTS["ntu25"], CLASSES)


def make_bodies(samples, frames):
    x = torch.randn(samples, 3, frames, 25, 2, generator=torch.Generator().manual_seed(frames))
    x[0, ..., 1] = 0
    return x


def test_a_cpu_has_its_own_operations():
    x = torch.zeros(1)
    assert "cpu" == ops.chosen(x)
    with ops.use("plain"):
        assert "plain" == ops.chosen(x)
        with ops.use("auto"):
            assert "cpu" == ops.chosen(x)
    assert "cpu" == ops.chosen(x)
    assert "plain" == ops.chosen(x.to("meta"))


def test_an_unknown_implementation_is_refused():
    with pytest.raises(ValueError, match="plain, cpu"), ops.use("fpga"):
        pass


@pytest.mark.workflow  # torch traces the whole network with unknown sizes: half a minute
def test_what_is_exported_holds_for_other_sizes(model):
    batch, frames = torch.export.Dim("batch", min=2), torch.export.Dim("frames", min=9)
    exported = torch.export.export(
        model.eval(),
        (make_bodies(3, 21),),
        dynamic_shapes=({0: batch, 2: frames},),
        prefer_deferred_runtime_asserts_over_guards=True,  # torch cannot prove that (T + 1) // 2 is (T - 1) // 2 + 1
    ).module()
    for samples, length in ((3, 21), (2, 34), (5, 9)):
        x = make_bodies(samples, length)
        with torch.no_grad():
            torch.testing.assert_close(exported(x), model(x), rtol=1e-4, atol=1e-5)


def test_the_operations_of_a_cpu_are_not_exported(model):
    with ops.use("cpu"), pytest.raises(ValueError, match="plain"):
        torch.export.export(model.eval(), (make_bodies(2, 9),))


def test_a_folded_network_is_not_exported(model):
    with pytest.raises(ValueError, match="fold"):
        torch.export.export(fold(model), (make_bodies(2, 9),))


def test_tracing_is_refused(model):
    with pytest.raises(ValueError, match=r"torch\.export"):
        torch.jit.trace(model.eval(), make_bodies(2, 9))
