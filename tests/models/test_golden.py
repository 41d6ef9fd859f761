"""Outputs and training steps of the authors' own code, reproduced from their weights; and our own losses, kept."""

import json
from itertools import product

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

import dualhead
from dualhead.layout import LAYOUTS
from dualhead.models import build_model
from dualhead.models.convert import convert_weights, published_views
from tests.models.test_models import SMALL
from tests.reference import network

HEADS = ("fine", "coarse")
TOLERANCE = {"f64": 1e-9, "f32": 1e-4}
DTYPES = {"f64": torch.float64, "f32": torch.float32}


@pytest.fixture(scope="module")
def golden(shared):
    folder = shared / "golden"
    with np.load(folder / "authors_dualhead_ntu60.npz") as arrays:
        recorded = json.loads((folder / "authors_dualhead_ntu60.json").read_text())
        yield (
            folder / "authors_dualhead_ntu60.pt",
            dict(arrays),
            recorded["training"]["f64"]["steps"],
        )


@pytest.fixture
def reference(golden):
    layout = LAYOUTS["ntu25"]
    model = network.DualHead(layout.edges, 25, 60, gcn_scales=9, g3d_scales=6)
    model.load_state_dict(torch.load(golden[0], weights_only=True))
    return model


@pytest.fixture
def converted(golden, tmp_path):
    checkpoint = tmp_path / "checkpoint.pt"
    convert_weights(golden[0], checkpoint, model="dualhead", layout="ntu25", num_classes=60)
    return dualhead.load(checkpoint)


FULL = pytest.mark.workflow  # a network of full size, of whose outputs one tells within seconds


@pytest.mark.parametrize(
    ("which", "frames", "precision"),
    [
        pytest.param(*case, marks=[] if case == ("converted", "xodd", "f64") else FULL)
        for case in product(["reference", "converted"], ["x64", "xodd", "x300"], ["f64", "f32"])
    ],
)
def test_logits_equal_the_authors(golden, which, frames, precision, request):
    model = request.getfixturevalue(which).to(DTYPES[precision]).eval()
    arrays = golden[1]
    with torch.inference_mode():
        logits = model(torch.from_numpy(arrays[frames]).to(DTYPES[precision]))
    for head in HEADS:
        expected = torch.from_numpy(arrays[f"{frames}_{head}_{precision}"])
        torch.testing.assert_close(logits[head], expected, rtol=0, atol=TOLERANCE[precision])


@FULL
@pytest.mark.parametrize("which", ["reference", "converted"])
def test_three_training_steps_equal_the_authors(golden, which, request):
    model = request.getfixturevalue(which).double().train()
    _, arrays, steps = golden
    x, labels = torch.from_numpy(arrays["xtrain"]).double(), torch.from_numpy(arrays["ytrain"])
    optimizer = torch.optim.SGD(
        model.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=5e-4
    )
    for expected in steps:
        logits = model(x)
        loss = torch.stack([cross_entropy(logits[head], labels) for head in HEADS]).mean()
        optimizer.zero_grad()
        loss.backward()
        assert expected["loss"] == pytest.approx(loss.item(), abs=1e-8)
        norms = {name: grad.norm().item() for name, grad in gradients(model).items()}
        for name, norm in expected["grad_norm"].items():
            assert norm < 1e-9 or norm == pytest.approx(norms[name], rel=1e-8), name
        optimizer.step()


def gradients(model):
    own = {name: parameter.grad for name, parameter in model.named_parameters()}
    return own if isinstance(model, network.Network) else published_views(model, own)


@pytest.mark.parametrize("name", ["dualhead", "ms_g3d"])
def test_five_training_steps_give_the_recorded_losses(root, name):
    recorded = json.loads((root / "tests" / "golden" / "losses.json").read_text())
    assert recorded[name] == pytest.approx(five_losses(name), rel=1e-5)


def five_losses(name):
    """Train a small network on fixed random recordings, a third of which have no second body."""
    torch.manual_seed(1)
    model = build_model(name, SMALL[name], LAYOUTS["ntu25"], 7).double()  # no machine's rounding
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(6, 3, 24, 25, 2, generator=generator).double()
    x[::3, ..., 1] = 0
    labels = torch.randint(7, (6,), generator=generator)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=5e-4
    )
    losses = []
    for _ in range(5):
        loss = torch.stack([cross_entropy(v, labels) for v in model(x).values()]).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses
