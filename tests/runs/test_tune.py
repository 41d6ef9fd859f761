"""Fine-tuning: what a training takes of a checkpoint, what stays frozen, how classes count, and how it resumes."""

import copy
import re

import pytest
import torch
from torch.nn.functional import cross_entropy

from dualhead.data.store import Store
from dualhead.files import digest_of
from dualhead.layout import LAYOUTS
from dualhead.models.checkpoint import load_checkpoint
from dualhead.runs.batches import balanced_order, epoch_order
from dualhead.runs.step import _losses, learning_rate
from dualhead.runs.train import REQUEUE, begin
from dualhead.runs.tune import class_weights, is_classifier
from dualhead.settings import checks
from dualhead.settings.run import RunConfig, TrainSettings
from tests.builders.checkpoints import SMALL, write_checkpoint
from tests.builders.tiny import signal_at, tiny_config, train_in, write_tiny_store

MODEL = {**checks.defaults()["dualhead"], **SMALL["dualhead"]}
FIVE = ("a", "b", "c", "d", "e")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A store of three classes, and checkpoints of five: of its skeleton, another modality, another skeleton."""
    folder = tmp_path_factory.mktemp("tune")
    write_tiny_store(folder / "store.h5")
    write_checkpoint(folder / "parent.pt", class_names=FIVE)
    write_checkpoint(folder / "bone.pt", class_names=FIVE, modality="bone")
    write_checkpoint(folder / "ntu25.pt", class_names=FIVE, layout=LAYOUTS["ntu25"])
    write_checkpoint(folder / "wide.pt", class_names=FIVE, fine_channels=[6, 6, 18])
    return folder


def config_of(folder, parent="parent.pt", **train):
    """Return the settings of a run that begins with a checkpoint."""
    start = {"from": digest_of(folder / parent)} if parent else {}
    return tiny_config(**start, **train) | {"model": {"name": "dualhead", **MODEL}}


def start(folder, config, parent=None):
    with Store(folder / "store.h5") as store:
        path = folder / parent if parent else None
        return begin(RunConfig.of(config), store, torch.device("cpu"), parent=path)


def test_all_weights_but_the_classifiers_are_those_of_the_checkpoint(folder):
    run = start(folder, config_of(folder), "parent.pt")
    own, parent = run.model.state_dict(), load_checkpoint(folder / "parent.pt")
    weights = parent["selections"]["last"]["model"]
    for name, tensor in own.items():
        assert is_classifier(name) or torch.equal(tensor, weights[name]), name
    assert ((5, 12), (3, 12)) == (
        *(tuple(one["classify_fine.weight"].shape) for one in (weights, own)),
    )
    fresh = start(folder, config_of(folder, None)).model.state_dict()
    assert torch.equal(fresh["classify_fine.weight"], own["classify_fine.weight"])  # of the seed
    assert {"from": digest_of(folder / "parent.pt"), "weights": parent["digest"], "anew": []} == (
        run.tuned
    )


def test_what_belongs_to_joints_begins_anew_on_another_skeleton(folder, capsys):
    run = start(folder, config_of(folder, "ntu25.pt"), "ntu25.pt")
    own = run.model.state_dict()
    weights = load_checkpoint(folder / "ntu25.pt")["selections"]["last"]["model"]
    taken = {name for name in own if name in weights and own[name].shape == weights[name].shape}
    taken = {name for name in taken if torch.equal(own[name], weights[name])}
    missing = {name.rpartition(".")[0] for name in own.keys() - taken if not is_classifier(name)}
    assert set(run.tuned["anew"]) == missing >= {"bodies.norm", "attend_joints.0.conv"}
    assert all(re.search(r"graph|pathways|bodies|attend_joints", name) for name in missing)
    assert "begun anew are attend_joints.0.conv" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("of", "given", "message"),
    [
        ("parent.pt", None, "train.from: expected the checkpoint .*, found no --parent"),
        ("parent.pt", "gone.pt", "found no file .*gone.pt"),
        ("parent.pt", "wide.pt", "wide.pt: expected the checkpoint .{8}... that the run"),
        ("wide.pt", "wide.pt", r"wide.pt: its fine\.1\..* expected shape .*, found"),
        ("bone.pt", "bone.pt", "expected weights of dualhead for joint, found .* for bone"),
        (None, "parent.pt", "parent.pt: the run begins with no checkpoint"),
    ],
)
def test_another_checkpoint_is_refused_in_one_line(folder, of, given, message):
    with pytest.raises(ValueError, match=message) as refused:
        start(folder, config_of(folder, of), given)
    assert "\n" not in str(refused.value)


def test_frozen_parts_have_no_gradient(folder):
    run = start(folder, config_of(folder, freeze=["backbone", "fine.0"]), "parent.pt")
    frozen = {name for name, weight in run.model.named_parameters() if not weight.requires_grad}
    names = [name for name, _ in run.model.named_parameters()]
    assert frozen == {name for name in names if name.startswith(("backbone.", "fine.0."))}


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (["back"], r"expected parts of the network, such as bodies, backbone, .*, found 'back'"),
        (
            [
                *("bodies", "backbone", "embed_fine", "fine", "coarse", "classify_coarse"),
                *("classify_fine", "attend_frames", "attend_joints"),
            ],
            "expected a part that is left to train",
        ),
    ],
)
def test_parts_that_cannot_be_frozen_are_refused(folder, parts, message):
    with pytest.raises(ValueError, match=message):
        start(folder, config_of(folder, freeze=parts), "parent.pt")


def test_classifiers_may_have_a_learning_rate_of_their_own(folder):
    run = start(folder, config_of(folder, head_learning_rate=0.5), "parent.pt")
    body, head = run.optimizer.param_groups
    own = {id(weight) for name, weight in run.model.named_parameters() if is_classifier(name)}
    assert own == {id(weight) for weight in head["params"]}
    assert len(own) + len(body["params"]) == len(list(run.model.parameters()))
    assert 0.5 == pytest.approx(
        head["factor"] * learning_rate(0, RunConfig.of(tiny_config()).train)
    )


def test_balanced_weights_let_classes_count_alike(folder):
    labels, settings = torch.tensor([0, 0, 0, 0, 1, 1]), {"class_weights": "balanced"}
    with Store(folder / "store.h5") as store:
        found = class_weights(TrainSettings.of(settings), labels, store, torch.device("cpu"))
        given = class_weights(
            TrainSettings.of({"class_weights": [1, 2, 4]}), labels, store, torch.device("cpu")
        )
        with pytest.raises(ValueError, match=r"one for each of the 3 classes of .*, found 2"):
            class_weights(
                TrainSettings.of({"class_weights": [1, 2]}), labels, store, torch.device("cpu")
            )
        assert class_weights(TrainSettings.of({}), labels, store, torch.device("cpu")) is None
    assert [0.75, 1.5, 0.0] == found.tolist()  # 6 samples of 2 classes
    assert [1.0, 2.0, 4.0] == given.tolist()


def test_weighted_losses_of_parts_add_up():
    generator = torch.Generator().manual_seed(1)
    logits, labels = torch.randn(6, 3, generator=generator), torch.tensor([0, 1, 2, 2, 0, 1])
    weights = torch.tensor([1.0, 2.0, 4.0])
    one_by_one = [cross_entropy(logits[i : i + 1], labels[i : i + 1]) for i in range(6)]
    expected = sum(weights[labels[i]] * one_by_one[i] for i in range(6)) / 6
    whole = _losses({"fine": logits}, labels, "mean", weights)["loss"]
    parts = [
        _losses({"fine": logits[i]}, labels[i], "mean", weights)["loss"]
        for i in (slice(4), slice(4, 6))
    ]
    torch.testing.assert_close(whole, expected)
    torch.testing.assert_close(parts[0] * 4 / 6 + parts[1] * 2 / 6, expected)


def test_a_balanced_epoch_has_as_many_batches_and_all_classes_alike():
    labels = torch.tensor([0] * 900 + [1] * 90 + [2] * 10)
    order = balanced_order(labels, 64, 2, torch.Generator().manual_seed(1))
    again = balanced_order(labels, 64, 2, torch.Generator().manual_seed(1))
    assert torch.equal(order, again)
    assert order.shape == epoch_order(1000, 64, 2, torch.Generator()).shape
    shares = labels[order].flatten().bincount() / order.numel()
    assert (shares - 1 / 3).abs().max() < 0.05  # within 4 standard deviations


def test_a_killed_tuning_ends_in_the_same_bits(folder, tmp_path):
    config = config_of(
        folder,
        epochs=1,
        freeze=["backbone"],
        head_learning_rate=0.2,
        class_weights="balanced",
        balanced_sampler=True,
        batch_size=6,
    )
    ends = []
    for name, kills in (("whole", []), ("killed", [2])):
        own = tmp_path / name
        own.mkdir()
        (own / "store.h5").hardlink_to(folder / "store.h5")
        for step in kills:
            with signal_at(step, 15):
                assert REQUEUE == train_in(own, config, parent=folder / "parent.pt")
        assert 0 == train_in(own, config, parent=folder / "parent.pt")
        ends.append(load_checkpoint(own / "checkpoint.pt"))
    whole, killed = ends
    assert whole["digest"] == killed["digest"]
    assert whole["training"]["tuned"]["from"] == digest_of(folder / "parent.pt")
    weights = load_checkpoint(folder / "parent.pt")["selections"]["last"]["model"]
    last = whole["selections"]["last"]["model"]
    assert torch.equal(weights["backbone.graph.mix.weight"], last["backbone.graph.mix.weight"])
    assert not torch.equal(weights["fine.0.graph.mix.weight"], last["fine.0.graph.mix.weight"])
    assert whole["config"] == config


def test_settings_that_came_later_leave_addresses_alone():
    plain = RunConfig.of(tiny_config())
    assert plain.to_mapping() == tiny_config()
    said = tiny_config(freeze=[], class_weights="none", balanced_sampler=False)
    assert RunConfig.of(said).address == plain.address
    changes = ({"from": "0" * 64}, {"freeze": ["fine"]}, {"head_learning_rate": 1.0})
    changes += ({"class_weights": [1.0, 2.0, 1.0]}, {"balanced_sampler": True})
    others = {RunConfig.of(tiny_config(**change)).address for change in changes}
    assert len(changes) == len(others - {plain.address})
    for change in changes:
        mapping = tiny_config(**copy.deepcopy(change))
        assert mapping == RunConfig.of(mapping).to_mapping()
