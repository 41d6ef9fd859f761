import pytest
import torch

from tests.models.ops.compare import IMPLEMENTATIONS, assert_same, random


def slow_graph_conv(x, adjacency, weight):
    """Sum over scales and joints, one at a time."""
    scales, joints, _ = adjacency.shape
    by_scale = weight.chunk(scales, dim=1)
    frames = [
        sum(
            adjacency[k, v, u] * (x[:, :, u] @ by_scale[k].t())
            for k in range(scales)
            for u in range(joints)
        )
        for v in range(joints)
    ]
    return torch.stack(frames, dim=2)


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
@pytest.mark.parametrize(("channels", "out"), [(3, 8), (16, 5), (40, 24)])
def test_graph_conv_equals_the_sum_over_scales_and_joints(name, channels, out):
    adjacency, weight = random(3, 5, 5, seed=2), random(out, 3 * channels, seed=3)
    assert_same(
        lambda x: IMPLEMENTATIONS[name].graph_conv(x, adjacency, weight),
        lambda x: (slow_graph_conv(x, adjacency, weight), []),
        random(2, 7, 5, channels),
        [adjacency, weight],
    )


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_a_bias_is_added_to_every_joint(name):
    adjacency, weight, bias = random(2, 5, 5), random(4, 12, seed=2), random(4, seed=3)
    assert_same(
        lambda x: IMPLEMENTATIONS[name].graph_conv(x, adjacency, weight, bias),
        lambda x: (slow_graph_conv(x, adjacency, weight) + bias, []),
        random(2, 7, 5, 6),
        [adjacency, weight, bias],
    )


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_the_adjacency_is_read_from_row_to_column(name):
    adjacency = torch.zeros(1, 3, 3)
    adjacency[0, 0, 2] = 1  # joint 0 gathers from joint 2
    x = torch.tensor([5.0, 6.0, 7.0]).view(1, 1, 3, 1)
    found = IMPLEMENTATIONS[name].graph_conv(x, adjacency, torch.ones(1, 1))
    assert [7, 0, 0] == found.flatten().tolist()
