"""The fast networks against the slow one in float64: outputs, gradients and running statistics, for every variant."""

import copy
from functools import cache
from itertools import product
from typing import NamedTuple

import pytest
import torch
from torch.nn.functional import cross_entropy

from dualhead.layout import LAYOUTS
from dualhead.models import MODELS, build_model, ops
from dualhead.models.attention import attention_maps
from dualhead.models.bodies import distinct_rows, is_present
from dualhead.models.convert import published_views
from dualhead.models.dualhead import at_frames
from dualhead.models.fold import fold
from dualhead.runs.inference import precision
from dualhead.settings import defaults
from tests.reference import network

SMALL = {
    "dualhead": {
        "gcn_scales": 4,
        "g3d_scales": 3,
        "coarse_channels": [12, 16, 24],
        "fine_channels": [5, 12, 18],
        "coarse_windows": [3],
        "fine_windows": [3, 5],
        "coarse_dilations": [1, 2],
        "fine_dilations": [1, 2, 3, 4],
        "subsample": 2,
        "temporal_attention": "cross",
        "spatial_attention": "cross",
        "attention_kernel": 9,
    },
    "ms_g3d": {
        "gcn_scales": 5,
        "g3d_scales": 3,
        "channels": [12, 18, 24],
        "windows": [3, 5],
        "dilations": [1, 2, 3, 4],
    },
}
VARIANTS = {
    "dualhead": ("dualhead", {}),
    "ms_g3d": ("ms_g3d", {}),
    "no_attention": ("dualhead", {"temporal_attention": "none", "spatial_attention": "none"}),
    "temporal_attention": ("dualhead", {"spatial_attention": "none"}),
    "fine_full": ("dualhead", {"fine_channels": [12, 18, 24]}),
    "coarse_g3d_0": ("dualhead", {"coarse_windows": []}),
    "coarse_g3d_2": ("dualhead", {"coarse_windows": [3, 5]}),
    "subsample_1": ("dualhead", {"subsample": 1}),
    "subsample_4": ("dualhead", {"subsample": 4}),
    "self_temporal": ("dualhead", {"temporal_attention": "self"}),
    "self_spatial": ("dualhead", {"spatial_attention": "self"}),
    "wide_windows": ("ms_g3d", {"windows": [7]}),
}
CLASSES = 7
NETWORKS = {"dualhead": network.DualHead, "ms_g3d": network.MSG3D}


def small_settings(variant):
    name, changes = VARIANTS[variant]
    return {**SMALL[name], **changes}


def build_pair(variant, *, layout="ntu25", frames=13, samples=4, bodies=2):
    """Return the slow network, the fast one with the same randomized weights, and an input's shape.

    Both are those of the last call, with their first weights: who changes more than weights takes a copy.
    """
    networks, states = _pair(variant, layout, bodies)
    for built, state in zip(networks, states, strict=True):
        built.load_state_dict(state)
        built.zero_grad()
    return *networks, (samples, 3, frames, LAYOUTS[layout].num_joints, bodies)


@cache
def _pair(variant, layout, bodies):
    torch.manual_seed(3)
    name, settings, skeleton = VARIANTS[variant][0], small_settings(variant), LAYOUTS[layout]
    reference = NETWORKS[name](
        skeleton.edges, skeleton.num_joints, CLASSES, **settings, num_bodies=bodies
    ).double()
    model = build_model(name, settings, skeleton, CLASSES, num_bodies=bodies).double()
    randomize(reference)
    copy_weights(reference, model)
    networks = reference, model
    return networks, [copy.deepcopy(network.state_dict()) for network in networks]


@torch.no_grad()
def randomize(model):
    """Change every tensor so that each path matters."""
    for name, tensor in model.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 2)
        elif name.endswith("A_res"):
            tensor.normal_(std=0.02)
        elif tensor.is_floating_point() and (tensor.dim() < 2 or "conv_ta" in name):
            tensor.add_(0.3 * torch.randn_like(tensor))


@torch.no_grad()
def copy_weights(reference, model):
    weights = reference.state_dict()
    views = published_views(model, model.state_dict())
    assert views.keys() == {name for name in weights if "num_batches" not in name}
    for name, view in views.items():
        view.copy_(weights[name])


def make_input(shape, absent=((1, 1), (2, 1), (3, 1))):
    """Return random recordings in which the bodies (n, m) of `absent` are zeros."""
    x = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    for sample, body in absent:
        if sample < shape[0] and body < shape[4]:
            x[sample, ..., body] = 0
    return x


def step(model, x):
    """Run one training step's two passes; return the loss."""
    labels = torch.arange(len(x)) % CLASSES
    loss = sum(cross_entropy(logits, labels) for logits in model.train()(x).values())
    model.zero_grad()
    loss.backward()
    return loss.item()


class Judge(NamedTuple):
    """All that a slow network gives for an input: logits in evaluation, then one training step's results."""

    logits: dict
    loss: float
    gradients: dict
    state: dict

    @classmethod
    def of(cls, reference, x):
        with torch.no_grad():
            logits = reference.eval()(x)
        return cls.of_step(reference, x)._replace(logits=logits)

    @classmethod
    def of_step(cls, reference, x):
        loss = step(reference, x)
        gradients = {name: p.grad for name, p in reference.named_parameters()}
        return cls({}, loss, gradients, reference.state_dict())


def assert_same_step(reference, model, x):
    """Compare loss, gradients and running statistics after one training step."""
    assert_judged_step(Judge.of_step(reference, x), model, x)


def assert_judged_step(judge, model, x):
    assert judge.loss == pytest.approx(step(model, x), rel=1e-12)
    ours = published_views(model, {name: p.grad for name, p in model.named_parameters()})
    assert ours.keys() == judge.gradients.keys()
    norms = norms_of(judge.gradients)
    differences = norms_of({name: ours[name] - grad for name, grad in judge.gradients.items()})
    # before a normalization, a bias has no gradient and a weight hardly one: sums that cancel
    allowed = 1e-12 * norms.clamp(min=0.05 * norms.norm())
    assert [] == [
        n for n, ok in zip(judge.gradients, differences <= allowed, strict=True) if not ok
    ]
    state = published_views(model, model.state_dict())
    running = [name for name in judge.state if "running" in name]
    found, expected = (torch.cat([it[name] for name in running]) for it in (state, judge.state))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def norms_of(tensors):
    return torch.stack(torch._foreach_norm([*tensors.values()]))


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_training_step_and_an_evaluation_equal_the_reference(variant):
    reference, model, shape = build_pair(variant)
    x = make_input(shape)
    judge = Judge.of(reference, x)
    state, folded = copy.deepcopy(model.state_dict()), fold(model)
    for who in ("auto", "plain"):
        model.load_state_dict(state)
        with ops.use(who):
            assert_judged_evaluation(judge, (model.eval(), folded), x)
            assert_judged_step(judge, model, x)


@pytest.mark.parametrize("layout", ["openpose18", "kinect20"])
@pytest.mark.parametrize("name", ["dualhead", "ms_g3d"])
def test_other_skeletons_equal_the_reference(layout, name):
    reference, model, shape = build_pair(name, layout=layout, frames=17)
    assert_same_step(reference, model, make_input(shape))


@pytest.mark.parametrize(
    ("variant", "frames"),
    [
        *product(["dualhead", "subsample_4"], [1, 2, 3, 5, 8]),
        *product(["subsample_1", "ms_g3d"], [1, 2, 3]),
    ],
)
def test_any_number_of_frames_equals_the_reference(variant, frames):
    reference, model, shape = build_pair(variant, frames=frames, samples=3)
    x, state = make_input(shape), copy.deepcopy(model.state_dict())
    judge = Judge.of_step(reference, x)
    for who in ("auto", "plain") if variant == "dualhead" else ("auto",):
        model.load_state_dict(state)
        with ops.use(who):
            assert_judged_step(judge, model, x)


def assert_same_evaluation(reference, model, x):
    """Compare the logits of both networks, and of the folded one."""
    with torch.no_grad():
        logits = reference.eval()(x)
    assert_judged_evaluation(Judge(logits, 0.0, {}, {}), (model.eval(), fold(model)), x)


@torch.no_grad()
def assert_judged_evaluation(judge, networks, x):
    for ours in networks:
        actual = ours(x)
        assert judge.logits.keys() == actual.keys()
        for head, logits in judge.logits.items():
            torch.testing.assert_close(actual[head], logits, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("bodies", "absent"),
    [
        (1, ()),
        (2, ()),
        (2, ((0, 1),)),
        (2, ((0, 1), (1, 1), (2, 1), (3, 1))),
        (2, ((0, 0), (1, 0), (2, 1), (3, 1))),
        (2, ((0, 0), (0, 1), (1, 0), (1, 1))),
        (3, ((0, 2), (1, 1), (1, 2), (2, 1), (2, 2), (3, 2))),
    ],
)
def test_absent_bodies_count_as_often_as_they_occur(bodies, absent):
    reference, model, shape = build_pair("dualhead", bodies=bodies, frames=5)
    x = make_input(shape, absent)
    judge = Judge.of(reference, x)
    assert_judged_evaluation(judge, (model.eval(), fold(model)), x)
    assert_judged_step(judge, model, x)


def test_a_batch_without_any_body_equals_the_reference():
    reference, model, shape = build_pair("dualhead", frames=9)
    x = torch.zeros(shape, dtype=torch.float64)
    assert_same_evaluation(reference, model, x)


def test_absent_bodies_are_encoded_once(monkeypatch):
    _, model, shape = build_pair("dualhead")
    folded, x = fold(model), make_input(shape)  # five bodies and three absences
    assert [6] == encoded_rows(model.train(), x)
    assert [6] == encoded_rows(model.eval(), x)
    with torch.no_grad():
        assert 6 == sum(encoded_rows(folded, x))
        assert [5] == encoded_rows(folded, x)
    with ops.use("plain"):
        assert [8] == encoded_rows(model, x)


def encoded_rows(model, x):
    """Return how many bodies each call of a network's encoder gets."""
    seen, encode = [], model.encode
    model.encode = lambda rows: seen.append(len(rows)) or encode(rows)
    model(x)
    del model.encode
    return seen


def test_a_body_that_moves_at_all_is_present():
    x = torch.zeros(2, 3, 4, 5, 2)
    x[1, 2, 3, 4, 1] = 1e-30
    assert [[False, False], [False, True]] == is_present(x).tolist()


def test_distinct_rows_keep_one_absent_body_a_slot():
    present = torch.tensor([[True, False], [True, False], [False, True]])
    rows, counts, index = distinct_rows(present)
    # the one absent body of the first slot stands for itself
    assert [0, 2, 4, 5, 1] == rows.tolist()
    assert [1, 1, 1, 1, 2] == counts.tolist()
    assert [[0, 4], [1, 4], [2, 3]] == index.tolist()


def test_evaluation_with_gradients_equals_the_reference():
    reference, model, shape = build_pair("dualhead", frames=11)
    x = make_input(shape, absent=()).requires_grad_()  # where all frames are equal, maxima tie
    twin = x.detach().clone().requires_grad_()
    sum(v.square().sum() for v in reference.eval()(x).values()).backward()
    sum(v.square().sum() for v in model.eval()(twin).values()).backward()
    torch.testing.assert_close(twin.grad, x.grad, rtol=1e-10, atol=1e-12)
    ours = published_views(model, {name: p.grad for name, p in model.named_parameters()})
    for name, parameter in reference.named_parameters():
        assert (ours[name] - parameter.grad).norm() <= 1e-11 * parameter.grad.norm() + 1e-13, name


def test_a_folded_network_is_a_copy():
    _, model, shape = build_pair("dualhead", frames=9)
    before, x = copy.deepcopy(model.state_dict()), make_input(shape)
    folded = fold(model.train())
    expected = folded(x)["fine"]
    assert model.training
    assert not any(p.requires_grad for p in folded.parameters())
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
    step(model, x)
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    assert torch.equal(expected, folded(x)["fine"])
    assert not torch.allclose(expected, fold(model)(x)["fine"])


def test_a_copy_of_a_network_belongs_to_no_group():
    model = copy.deepcopy(build_pair("dualhead")[1])
    model.bodies.norm.group = object()
    assert copy.deepcopy(model).bodies.norm.group is None
    assert model.bodies.norm.group is not None


def test_training_twice_gives_the_same_bits():
    _, model, shape = build_pair("dualhead", frames=9)
    x = make_input(shape).float()
    model, twin = (copy.deepcopy(model).float() for _ in range(2))
    assert step(model, x) == step(twin, x)
    for a, b in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(a.grad, b.grad)


@pytest.mark.parametrize("variant", VARIANTS)
def test_gradient_reaches_every_parameter(variant):
    model = build_model(VARIANTS[variant][0], small_settings(variant), LAYOUTS["ntu25"], CLASSES)
    step(model, torch.randn(3, 3, 12, 25, 2))
    assert all(parameter.grad is not None for parameter in model.parameters())
    silent = {name for name, p in model.named_parameters() if not p.grad.any()}
    before_normalization = ("mix.bias", "embed.bias", "collapse.bias", "residual.bias")
    assert {
        n for n in silent if not n.endswith(before_normalization) and ".convs." not in n
    } == set()


@pytest.mark.parametrize("variant", ["dualhead", "self_temporal", "subsample_1"])
def test_temporal_attention_starts_at_one_half(variant):
    model = build_model("dualhead", small_settings(variant), LAYOUTS["ntu25"], CLASSES).eval()
    maps = attention_maps(model, torch.randn(2, 3, 12, 25, 2))
    assert {"frames_1", "frames_2", "joints_1", "joints_2"} == maps.keys()
    assert (maps["frames_1"] == 0.5).all()
    assert (maps["joints_1"] != 0.5).any()


def test_attention_maps_are_per_body_and_frame_or_joint():
    model = build_model("dualhead", small_settings("dualhead"), LAYOUTS["ntu25"], CLASSES).eval()
    maps = attention_maps(model, torch.randn(4, 3, 21, 25, 2))
    shapes = {name: tuple(values.shape) for name, values in maps.items()}
    assert (4, 2, 11) == shapes["frames_1"]
    assert (4, 2, 6) == shapes["frames_2"]
    assert (4, 2, 25) == shapes["joints_1"] == shapes["joints_2"]


def test_attention_is_refused_in_training():
    model = build_model("dualhead", small_settings("dualhead"), LAYOUTS["ntu25"], CLASSES)
    with pytest.raises(ValueError, match="eval"):
        attention_maps(model, torch.randn(2, 3, 12, 25, 2))


def test_a_network_without_attention_has_no_maps():
    settings = small_settings("no_attention")
    model = build_model("dualhead", settings, LAYOUTS["ntu25"], CLASSES).eval()
    assert {} == attention_maps(model, torch.randn(2, 3, 12, 25, 2))


def test_attention_at_rate_four_is_every_second_logit():
    logits = torch.arange(10.0)[None]
    assert [[0, 2, 4, 6, 8]] == at_frames(logits, 2.0, 5).tolist()


def test_attention_at_rate_one_is_the_mean_of_two_neighbors_in_between():
    logits = torch.tensor([[0.0, 4.0, 6.0]])
    assert [[0, 2, 4, 5, 6, 6]] == at_frames(logits, 0.5, 6).tolist()


def test_attention_at_rate_two_is_untouched():
    logits = torch.randn(2, 7)
    assert at_frames(logits, 1.0, 7) is logits


def test_channels_that_the_branches_do_not_divide_are_refused():
    settings = {**SMALL["dualhead"], "coarse_channels": [12, 18, 24]}
    with pytest.raises(ValueError, match=r"18 channels .* 4 temporal branches .*that 4 divides"):
        build_model("dualhead", settings, LAYOUTS["ntu25"], CLASSES)


def test_windows_without_a_middle_are_refused():
    with pytest.raises(ValueError, match="odd"):
        build_model("ms_g3d", {**SMALL["ms_g3d"], "windows": [4]}, LAYOUTS["ntu25"], CLASSES)


def test_every_network_has_settings():
    assert defaults.MODELS.keys() == MODELS.keys()


def test_an_unknown_model_is_refused():
    with pytest.raises(ValueError, match="dualhead, ms_g3d"):
        build_model("resnet", {}, LAYOUTS["ntu25"], CLASSES)


@pytest.mark.parametrize("name", ["dualhead", "ms_g3d"])
def test_autocast_stays_near_float32(name):
    _, model, shape = build_pair(name, frames=16)
    model = copy.deepcopy(model).float()
    x = make_input(shape).float()
    with torch.no_grad():
        exact = model.eval()(x)
        with precision("bf16"), torch.autocast("cpu", torch.bfloat16):
            rounded = model(x)
    for head, logits in exact.items():
        assert rounded[head].dtype == torch.float32
        assert (rounded[head] - logits).norm() < 0.05 * logits.norm()


def test_autocast_trains_no_worse_than_the_reference_does():
    def gradient(network, cast):
        network = copy.deepcopy(network).float()
        with precision("bf16"), torch.autocast("cpu", torch.bfloat16, enabled=cast):
            step(network, x)
        return torch.cat([p.grad.flatten() for p in network.parameters()])

    reference, model, shape = build_pair("dualhead", frames=16)
    x = make_input(shape).float()
    slow, fast = ((gradient(m, True) - gradient(m, False)).norm() for m in (reference, model))
    assert fast < 1.2 * slow


def test_input_gradients_reach_absent_bodies_too():
    reference, model, shape = build_pair("dualhead", frames=9)
    x, twin = (make_input(shape).requires_grad_() for _ in range(2))
    step_on(reference, x)
    step_on(model, twin)
    # over time, because where all frames are equal maxima tie
    torch.testing.assert_close(twin.grad.sum(2), x.grad.sum(2), rtol=1e-9, atol=1e-12)


def step_on(model, x):
    sum(v.square().sum() for v in model.train()(x).values()).backward()
