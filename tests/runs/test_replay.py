"""Passes of a training, where nothing can be recorded: the same gradients, and one line."""

import pytest
import torch
from torch import nn

from dualhead.models import bodies, ops
from dualhead.models.ops import encoder
from dualhead.runs.replay import WARM_UPS, Passes


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
