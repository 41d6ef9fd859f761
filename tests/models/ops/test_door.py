"""The choice of who computes the operations, and what torch may record of them."""

import pytest
import torch

from dualhead.layout import LAYOUTS
from dualhead.models import build_model, ops
from dualhead.models.fold import fold
from tests.models.test_models import CLASSES, small_settings


@pytest.fixture(scope="module", params=["dualhead", "ms_g3d"])
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


@pytest.mark.parametrize("name", ["cpu", "compiled"])
def test_fast_operations_are_not_exported(model, name):
    with ops.use(name), pytest.raises(ValueError, match="plain"):
        torch.export.export(model.eval(), (make_bodies(2, 9),))


def test_a_folded_network_is_not_exported(model):
    with pytest.raises(ValueError, match="fold"):
        torch.export.export(fold(model), (make_bodies(2, 9),))


@pytest.mark.parametrize("name", ["auto", *ops.IMPLEMENTATIONS])
def test_tracing_is_refused(model, name):
    with ops.use(name), pytest.raises(ValueError, match=r"torch\.export"):
        torch.jit.trace(model.eval(), make_bodies(2, 9))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_tracing_exporter_of_onnx_is_refused(model, tmp_path):
    with pytest.raises(ValueError, match=r"torch\.export"):
        torch.onnx.export(model.eval(), (make_bodies(2, 9),), tmp_path / "model.onnx", dynamo=False)
    assert not (tmp_path / "model.onnx").exists()


def test_a_folded_network_is_not_traced(model):
    with pytest.raises(ValueError, match=r"torch\.export"):
        torch.jit.trace(fold(model), make_bodies(2, 9))
