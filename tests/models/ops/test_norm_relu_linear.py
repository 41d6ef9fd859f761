import pytest

from dualhead.models.ops.norm import Term
from tests.models.ops.compare import IMPLEMENTATIONS, assert_same, make_norm, random, slow_norm

CHANNELS = 4


def compare(name, window, *, offset=True, counts=None, training=True):
    norm, weight = make_norm(CHANNELS).train(training), random(7, window * CHANNELS, seed=3)
    bias = random(CHANNELS, seed=4) if offset else None

    def slow(x):
        normalized, running = slow_norm(x.unflatten(3, (window, CHANNELS)), norm, bias)
        return normalized.relu().flatten(3) @ weight.t(), [running]

    assert_same(
        lambda x: IMPLEMENTATIONS[name].norm_relu_linear(Term(x, norm, bias), weight),
        slow,
        random(4, 3, 5, window * CHANNELS),
        [*norm.parameters(), weight, *([bias] if offset else [])],
        norms=[norm],
        counts=counts,
    )


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
@pytest.mark.parametrize("window", [1, 3])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("offset", [True, False])
def test_norm_relu_linear_equals_its_formula(name, window, training, offset):
    compare(name, window, training=training, offset=offset)


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
@pytest.mark.parametrize("counts", [[1, 2, 1, 1], [2, 2, 5, 0], [1, 1, 1, 1]])
def test_rows_count_as_often_as_they_are_said_to(name, counts):
    compare(name, 3, counts=counts)
