import pytest
import torch

from tests.models.ops.compare import IMPLEMENTATIONS, assert_same, random


def slow_window_graph_conv(x, adjacency, weight, window, stride):
    """Cut each window out by hand and gather in it."""
    bodies, frames, joints, channels = x.shape
    zeros = x.new_zeros(bodies, joints, channels)
    results = []
    for middle in range(0, frames, stride):
        places = range(middle - window // 2, middle + window // 2 + 1)
        cut = [x[:, t] if 0 <= t < frames else zeros for t in places]
        nodes = torch.cat(cut, dim=1)  # (B, W * V, C)
        mixed = torch.cat([scale @ nodes for scale in adjacency], dim=2) @ weight.t()
        results.append(torch.cat(mixed.chunk(window, dim=1), dim=2))
    return torch.stack(results, dim=1)


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
@pytest.mark.parametrize("frames", [1, 2, 7, 8])
@pytest.mark.parametrize(("window", "stride"), [(1, 1), (3, 1), (3, 2), (5, 2), (5, 3), (3, 5)])
@pytest.mark.parametrize(("channels", "out"), [(3, 8), (16, 16)])
def test_window_graph_conv_equals_gathering_in_each_window(
    name, frames, window, stride, channels, out
):
    joints, scales = 4, 2
    adjacency = random(scales, window * joints, window * joints, seed=2)
    weight = random(out, scales * channels, seed=3)
    settings = {"window": window, "stride": stride}
    assert_same(
        lambda x: IMPLEMENTATIONS[name].window_graph_conv(x, adjacency, weight, **settings),
        lambda x: (slow_window_graph_conv(x, adjacency, weight, window, stride), []),
        random(3, frames, joints, channels),
        [adjacency, weight],
    )
