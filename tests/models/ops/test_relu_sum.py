import pytest
import torch

from dualhead.models.ops.norm import Term
from tests.models.ops.compare import IMPLEMENTATIONS, assert_same, make_norm, random, slow_norm

CHANNELS = 6


def compare(name, terms, *, plain=True, counts=None, training=True):
    """Add up `terms` multiples of x, normalized by as many norms, and twice x as it is."""
    norms = [make_norm(CHANNELS).train(training) for _ in range(terms)]
    biases = [random(CHANNELS, seed=20 + i) if i % 2 else None for i in range(terms)]

    def ours(x):
        parts = [Term(x * (i + 1), norms[i], biases[i]) for i in range(terms)]
        return IMPLEMENTATIONS[name].relu_sum(*parts, *([2 * x] if plain else []))

    def slow(x):
        pairs = [slow_norm(x * (i + 1), norms[i], biases[i]) for i in range(terms)]
        total = sum(y for y, _ in pairs) + (2 * x if plain else 0)
        return torch.where(total > 0, total, 0), [running for _, running in pairs]

    parameters = [p for norm in norms for p in norm.parameters()]
    parameters += [bias for bias in biases if bias is not None]
    x = random(4, 3, 5, CHANNELS)
    assert_same(ours, slow, x, parameters, norms=norms, counts=counts)


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
@pytest.mark.parametrize("terms", [1, 2, 4])
@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_relu_sum_equals_its_formula(name, terms, plain, training):
    compare(name, terms, plain=plain, training=training)


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
@pytest.mark.parametrize("counts", [[1, 2, 1, 1], [2, 2, 5, 0]])
@pytest.mark.parametrize("plain", [True, False])
def test_rows_count_as_often_as_they_are_said_to(name, counts, plain):
    compare(name, 2, plain=plain, counts=counts)


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_what_is_added_up_is_left_as_it_was(name):
    norm, x, plain = make_norm(CHANNELS), random(2, 3, 5, CHANNELS), random(2, 3, 5, CHANNELS)
    before = x.detach().clone(), plain.detach().clone()
    IMPLEMENTATIONS[name].relu_sum(Term(x, norm), plain).sum().backward()
    assert torch.equal(before[0], x)
    assert torch.equal(before[1], plain)
