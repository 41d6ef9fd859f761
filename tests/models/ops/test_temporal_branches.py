import pytest
import torch
from torch import nn

from tests.models.ops.compare import IMPLEMENTATIONS, assert_same, make_norm, random, slow_norm

WIDTH = 3


def make_parts(dilations, stride, channels=6):
    torch.manual_seed(2)
    embed = nn.Linear(channels, WIDTH * (len(dilations) + 2)).double()
    convs = nn.ModuleList(
        nn.Conv2d(WIDTH, WIDTH, (3, 1), stride=(stride, 1), padding=(d, 0), dilation=(d, 1))
        for d in dilations
    ).double()
    return embed, make_norm(WIDTH * (len(dilations) + 1)), convs


def slow_branches(x, embed, norm, convs, stride):
    """Visit every output frame of every branch, not normalized; of equal frames the first is the maximum."""
    embedded = x @ embed.weight.t()
    inner, running = slow_norm(embedded[..., :-WIDTH], norm, embed.bias[:-WIDTH])
    *parts, pooled = inner.relu().split(WIDTH, dim=3)
    frames = x.shape[1]
    results = []
    for t in range(0, frames, stride):
        row = [slow_dilated(part, conv, t) for part, conv in zip(parts, convs, strict=True)]
        best = pooled[:, max(t - 1, 0)]
        for other in range(max(t - 1, 0) + 1, min(t + 2, frames)):
            best = torch.where(pooled[:, other] > best, pooled[:, other], best)
        results.append(torch.cat([*row, best, embedded[:, t, :, -WIDTH:]], dim=2))
    return torch.stack(results, dim=1), [running]


def slow_dilated(part, conv, t):
    places = [t + (tap - 1) * conv.dilation[0] for tap in range(3)]
    inside = [(tap, place) for tap, place in enumerate(places) if 0 <= place < part.shape[1]]
    return sum(part[:, place] @ conv.weight[:, :, tap, 0].t() for tap, place in inside)


def compare(name, x, dilations, stride, *, counts=None, training=True):
    """Compare the branches, normalized and cut off at zero as what they are added to."""
    embed, norm, convs = make_parts(dilations, stride)
    last, offset = make_norm(len(embed.weight)), random(len(embed.weight), seed=7)
    norms, run = [norm.train(training), last.train(training)], IMPLEMENTATIONS[name]

    def ours(x):
        found = run.temporal_branches(x, embed, norm, convs, last, offset, stride=stride)
        return run.relu_sum(found)

    def slow(x):
        branches, inner = slow_branches(x, embed, norm, convs, stride)
        y, running = slow_norm(branches, last, offset)
        return y.relu(), [*inner, running]

    weights = [offset, *(conv.weight for conv in convs)]
    parameters = [p for module in (embed, norm, last) for p in module.parameters()]
    assert_same(ours, slow, x, [*parameters, *weights], norms=norms, counts=counts)


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
@pytest.mark.parametrize("frames", [2, 9, 10])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("dilations", [(1, 2, 3, 4), (1, 2), ()])
def test_branches_equal_a_visit_of_every_frame(name, frames, stride, dilations):
    compare(name, random(3, frames, 4, 6), dilations, stride)


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
@pytest.mark.parametrize("frames", [1, 2, 3])
def test_a_dilation_may_reach_beyond_all_frames(name, frames):
    compare(name, random(3, frames, 4, 6), (1, 7), 1)


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
@pytest.mark.parametrize("stride", [1, 2])
def test_of_equal_frames_the_first_gets_the_gradient(name, stride):
    x = random(2, 5, 4, 6).detach().repeat_interleave(2, dim=1)[:, :9].requires_grad_()
    compare(name, x, (1, 2), stride)


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_rows_count_as_often_as_they_are_said_to(name):
    compare(name, random(4, 5, 4, 6), (1, 2), 2, counts=[1, 1, 3, 0])


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_evaluation_uses_running_statistics(name):
    compare(name, random(2, 5, 4, 6), (1, 2), 2, training=False)
