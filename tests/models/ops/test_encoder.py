"""A network's encoder as one graph: compiled as for a GPU, but for the kernels, which take one."""

import pytest
import torch
from torch import nn

from dualhead.layout import LAYOUTS
from dualhead.models import bodies, ops
from dualhead.models.dualhead import BlockShape, STGCBlock
from dualhead.models.fold import fold
from dualhead.models.ops import encoder
from dualhead.models.ops.compiled import FEW
from dualhead.models.ops.norm import Term, weighted_norm
from tests.models.ops.compare import make_norm, random

PRESENT = torch.tensor([[True, False], [True, True], [True, False]])


class OneBlock(nn.Module):
    """A network of one STGC block with windows, strides and dilations."""

    def __init__(self, channels=3):
        super().__init__()
        torch.manual_seed(7)
        shape = BlockShape((channels, 6, 6, 8), windows=[3], dilations=[1, 2], stride=2)
        self.block = STGCBlock(LAYOUTS["openpose18"], 2, 2, shape).double()

    def encode(self, x):
        return (self.block(x),)


@pytest.fixture
def counter(monkeypatch):
    """Compile for no machine, and count graphs."""
    from torch._dynamo.testing import CompileCounterWithBackend  # a second, in a test that compiles

    torch._dynamo.reset()
    counter = CompileCounterWithBackend("aot_eager")
    monkeypatch.setattr(encoder, "BACKEND", counter)
    monkeypatch.setattr(encoder, "_failed", [])
    return counter


def gradients(name, present, x):
    """Return features, gradients and running statistics of a training step by an implementation."""
    network = OneBlock()
    with ops.use(name):
        (found,) = bodies.encode_bodies(network, x, present)
    grad = random(*found.shape, seed=3).detach()
    grads = torch.autograd.grad(found, list(network.parameters()), grad)
    return [found, *grads, *network.buffers()]


@pytest.mark.workflow  # it compiles
def test_a_training_step_is_one_graph_whoever_is_absent(counter):
    x = random(3, 2, 7, 18, 3).detach()
    x[~PRESENT] = x[0, 1].clone()
    expected = gradients("plain", PRESENT, x)
    for present in (
        PRESENT,
        torch.ones_like(PRESENT),
    ):  # five distinct bodies, and six; both filled up to eight
        found = gradients("compiled", present, x)
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-12)
    assert 1 == counter.frame_count


@pytest.mark.workflow  # it compiles
def test_a_folded_network_is_compiled_also_where_one_frame_is_left(counter):
    x = random(3, 2, 2, 18, FEW).detach()  # of two, at a stride of two
    x[~PRESENT] = x[0, 1].clone()
    network = fold(OneBlock(channels=FEW))
    with torch.inference_mode():
        with ops.use("plain"):
            (expected,) = bodies.encode_bodies(network, x, PRESENT)
        with ops.use("compiled"):
            (found,) = bodies.encode_bodies(network, x, PRESENT)
    assert (1, []) == (counter.frame_count, encoder._failed)
    torch.testing.assert_close(found, expected)


@pytest.mark.workflow  # it compiles
def test_a_failure_to_compile_is_said_once_and_costs_only_time(monkeypatch, capsys):
    def no_compiler(graph, inputs):
        raise RuntimeError("no compiler here\nand more")

    torch._dynamo.reset()
    monkeypatch.setattr(encoder, "BACKEND", no_compiler)
    monkeypatch.setattr(encoder, "_failed", [])
    x = random(3, 2, 7, 18, 3).detach()
    x[~PRESENT] = x[0, 1].clone()
    expected = gradients("plain", PRESENT, x)
    for _ in range(2):
        for a, b in zip(gradients("compiled", PRESENT, x), expected, strict=True):
            assert torch.equal(a, b)
    said = capsys.readouterr().err.splitlines()
    assert 1 == len(said)
    assert "no compiler here" in said[0]


def test_rows_are_filled_up_with_such_as_do_not_count():
    rows, counts = encoder.filled_up(random(6, 2, 2, 1), torch.tensor([1.0, 1, 1, 1, 1, 5]))
    assert (8, 2, 2, 1) == rows.shape
    assert [1, 1, 1, 1, 1, 5, 0, 0] == counts.tolist()
    assert torch.equal(rows[6], rows[0])
    full = random(8, 2, 2, 1)
    assert encoder.filled_up(full, None)[0] is full


def test_a_release_of_torch_is_asked_for_no_setting_that_it_does_not_know():
    assert {"recompile_limit": 3} == encoder._known(
        torch._dynamo.config, {"recompile_limit": 3, "of_another_release": 4}
    )


def test_what_a_normalization_returns_is_not_converted_to_what_it_is():
    """Torch 2.11 compiles such a conversion, at the end of a function with a backward pass, to gradients of 0."""
    norm, seen = make_norm(4), []

    def keep(graph, inputs):
        passes = graph.children()  # forward and backward
        seen.extend(str(node.target) for part in passes for node in part.graph.nodes)
        return graph

    torch._dynamo.reset()
    torch.compile(lambda x: weighted_norm(Term(x, norm)), backend=keep)(random(2, 3, 4))
    assert "rsqrt" in seen
    assert "to" not in seen
