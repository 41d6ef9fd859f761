"""Passes that are recorded, by a stand-in; and where nothing can be recorded, the same gradients and one line."""

import itertools

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from dualhead.models import bodies, ops
from dualhead.models.ops import encoder
from dualhead.runs.inference import infer
from dualhead.runs.replay import WARM_UPS, Passes, Recorder


def make_network():
    torch.manual_seed(3)
    return nn.Linear(3, 2).double()


def test_passes_add_up_the_gradients_of_weighted_losses(capsys):
    network, plain = make_network(), make_network()
    passes = Passes(network, lambda x: {"loss": network(x).square().mean(), "other": x.sum()})
    batches = torch.arange(24, dtype=torch.float64).view(2, 4, 3) / 7
    for _ in range(WARM_UPS + 1):
        network.zero_grad(set_to_none=False)
        for weight, batch in zip((0.25, 0.75), batches, strict=True):
            found = passes(weight, batch)
    for weight, batch in zip((0.25, 0.75), batches, strict=True):
        loss = plain(batch).square().mean()
        (weight * loss).backward()
    assert found == {"loss": pytest.approx(loss.item()), "other": float(batches[1].sum())}
    for a, b in zip(network.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad)
    (said,) = capsys.readouterr().err.splitlines()
    assert "cannot be recorded" in said


def test_frozen_weights_get_no_gradient_so_that_none_decays_them():
    network = make_network()
    network.bias.requires_grad_(False)
    passes = Passes(network, lambda x: {"loss": network(x).square().mean()})
    passes(1.0, torch.ones(4, 3, dtype=torch.float64))
    assert network.bias.grad is None
    assert network.weight.grad.abs().sum() > 0


def test_known_bodies_are_filled_up_and_give_the_same_features():
    class Squares(nn.Module):
        def encode(self, x):
            return (x.square(),)

    present = torch.tensor([[True, False], [True, True], [True, False]])
    x = torch.randn(3, 2, 4, 5, 3) * present[..., None, None, None]
    known = bodies.filled_rows(present)
    assert (8, 6.0) == (len(known.rows), float(known.counts.sum()))
    with ops.use("cpu"):
        expected = bodies.encode_bodies(Squares(), x, present)
        with bodies.known_bodies(known):
            found = bodies.encode_bodies(Squares(), x, torch.ones_like(present))
    torch.testing.assert_close(found, expected)


class Line(nn.Module):
    """A network with an encoder and a classifier."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(4)
        self.inner, self.outer = nn.Linear(3, 4), nn.Linear(4, 2)

    def encode(self, x):
        return (self.inner(x),)

    def forward(self, x):
        (features,) = bodies.encode_bodies(self, x, torch.ones(len(x), 1, dtype=torch.bool))
        return {"loss": self.outer(features).square().mean()}


@pytest.mark.parametrize("wrong", [False, True])
def test_a_compiler_whose_gradients_are_wrong_is_left(monkeypatch, capsys, wrong):
    def encode(network, rows, counts):
        (found,) = network.encode(rows)
        features = found.mean((1, 2))
        return (features.detach() + 0 * features if wrong else features,)

    monkeypatch.setattr(encoder, "encode", encode)
    monkeypatch.setattr(encoder, "_failed", [])
    network, plain = Line(), Line()
    x = torch.randn(5, 1, 2, 6, 3)
    with ops.use("compiled"):
        Passes(network, network)(1.0, x)
    with ops.use("plain"):
        plain(x)["loss"].backward()
    for a, b in zip(network.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad)
    assert wrong == ("gradients are wrong" in capsys.readouterr().err)
    assert wrong == encoder.has_failed()


class Tape(TorchDispatchMode):
    """Stands in for a CUDA graph: notes operators, and runs them again on the same tensors."""

    def __init__(self, graph=None, **_):
        super().__init__()
        self.calls = [] if graph is None else graph.calls

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        in_place = function.overloadpacket.__name__.endswith("_")  # not done as it is recorded
        result = None if in_place else function(*args, **(kwargs or {}))
        self.calls.append((function, args, kwargs or {}, result))
        return result

    def pool(self):
        return None

    @torch.no_grad()
    def replay(self):
        for function, args, kwargs, result in self.calls:
            again = function(*args, **kwargs)
            if isinstance(result, torch.Tensor):
                result.copy_(again)


@pytest.fixture
def tapes(monkeypatch):
    """Let what would be recorded on a GPU be recorded here; the tapes that were made."""
    made = []
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: made.append(Tape()) or made[-1])
    monkeypatch.setattr(torch.cuda, "graph", Tape)
    return made


def test_recorded_calls_have_the_results_of_their_own_inputs(tapes):
    calls = []

    def run(factor, x):
        calls.append(factor)
        return {"sum": (factor * x).sum()}

    recorder = Recorder(run, "a sum", repeatable=True)
    found = [float(recorder(f, torch.full((n,), f))["sum"]) for n in (2, 3) for f in [2.0] * 5]
    found += [float(recorder(2.0, torch.tensor([1.0, 4.0]))["sum"])]
    assert [8.0] * 5 + [12.0] * 5 + [10.0] == found
    assert len(tapes) == 2
    assert len(calls) == 2 * (WARM_UPS + 2)  # while it is recorded, and to compare


def test_passes_that_are_recorded_add_up_the_same_gradients(tapes):
    network, plain = make_network(), make_network()
    passes = Passes(network, lambda x: {"loss": network(x).square().mean()})
    batches = torch.arange(48, dtype=torch.float64).view(8, 2, 3) / 7
    for batch in batches:
        passes(0.5, batch)
        (0.5 * plain(batch).square().mean()).backward()
    assert len(tapes) == 1
    for a, b in zip(network.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad)


def test_what_gives_other_results_when_recorded_is_called(tapes, capsys):
    count = itertools.count()
    recorder = Recorder(lambda x: {"n": x + next(count)}, "a count", repeatable=True)
    found = [float(recorder(torch.zeros(1))["n"]) for _ in range(WARM_UPS + 2)]
    assert [0, 1, 4, 5] == found  # 2 was recorded, 3 compared with it
    assert "a count cannot be recorded (a recorded one gives other" in capsys.readouterr().err


class Scores(Line):
    """A network with one head, of (N, C, T, V, M)."""

    def forward(self, x):
        (features,) = bodies.encode_bodies(self, x.permute(0, 4, 2, 3, 1), bodies.is_present(x))
        return {"coarse": self.outer(features)}


def test_evaluation_replays_what_it_recorded(tapes, monkeypatch):
    monkeypatch.setattr(
        encoder, "encode", lambda network, rows, counts: (network.encode(rows)[0].mean((1, 2)),)
    )
    network, batches = Scores(), [torch.randn(5, 3, 2, 6, 2) for _ in range(WARM_UPS + 3)]
    with ops.use("compiled"):
        found = infer(network, batches)["coarse"]
    with ops.use("plain"):
        expected = infer(network, batches)["coarse"]
    assert found == pytest.approx(expected, rel=1e-5)
    assert len(tapes) == 1
