"""Checkpoints: what is written is read back whole, published weights fit or are refused by name."""

import copy
import shutil
from pathlib import Path

import pytest
import torch

from dualhead.layout import LAYOUTS, SkeletonLayout
from dualhead.models.checkpoint import (
    digest_of_weights,
    layout_of,
    load,
    load_checkpoint,
    save_checkpoint,
    write_tensors,
)
from dualhead.models.convert import convert_weights
from tests.models.test_models import CLASSES, build_pair, make_input, small_settings

EXTRA = {"variant": "tiny", "modality": "joint", "max_bodies": 2, "input": {}}


@pytest.fixture(scope="module")
def pair():
    return build_pair("dualhead", frames=9)


@pytest.fixture(scope="module")
def two_epochs(pair, tmp_path_factory):
    """A checkpoint of two epochs."""
    path = tmp_path_factory.mktemp("two_epochs") / "checkpoint.pt"
    weights = {name: tensor.clone() for name, tensor in pair[1].state_dict().items()}
    other = {name: tensor * 1.5 for name, tensor in weights.items()}
    save_checkpoint(
        path,
        config={**EXTRA, "model": {"name": "dualhead", **small_settings("dualhead")}},
        layout=LAYOUTS["ntu25"],
        class_names=[f"class {number}" for number in range(CLASSES)],
        preparation={"normalize": "rotate"},
        selections={
            "last": {"epoch": 2, "model": weights},
            "best_on_test": {"epoch": 1, "model": other},
        },
        training={"seconds": 1.5},
    )
    return path


@pytest.fixture
def saved(two_epochs, tmp_path):
    """A copy of it, to be changed."""
    return Path(shutil.copy(two_epochs, tmp_path / "checkpoint.pt"))


def test_load_returns_the_network_in_eval_mode(pair, saved):
    model = load(saved)
    assert not model.training
    assert (model.layout.name, model.config["variant"]) == ("ntu25", "tiny")
    x = make_input(pair[2])
    with torch.no_grad():
        torch.testing.assert_close(model.double()(x), pair[1].eval()(x), rtol=1e-5, atol=1e-5)


def test_load_takes_a_selection(saved):
    last, best = load(saved), load(saved, "best_on_test")
    assert torch.equal(1.5 * last.classify_fine.weight, best.classify_fine.weight)


def test_load_leaves_the_random_state_alone(saved):
    before = torch.random.get_rng_state()
    load(saved)
    assert torch.equal(before, torch.random.get_rng_state())


def test_load_names_the_selections_that_there_are(saved):
    with pytest.raises(ValueError, match="no selection 'first'; there are last, best_on_test"):
        load(saved, "first")


def test_load_checkpoint_returns_all_that_was_saved(saved):
    content = load_checkpoint(saved)
    assert {
        *("format", "config", "layout", "num_classes", "class_names", "preparation"),
        *("selections", "training", "digest"),
    } == content.keys()
    assert (CLASSES, {"seconds": 1.5}) == (content["num_classes"], content["training"])
    assert ("class 0", {"normalize": "rotate"}) == (
        content["class_names"][0],
        content["preparation"],
    )


def test_a_checkpoint_needs_no_trust(saved):
    assert torch.load(saved, weights_only=True)["format"] == 2


def test_nothing_but_the_checkpoint_is_left_behind(saved):
    assert [saved] == list(saved.parent.iterdir())


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"absent\.pt: no such file"):
        load(tmp_path / "absent.pt")


def test_a_truncated_file_is_named(saved):
    saved.write_bytes(saved.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"checkpoint\.pt: expected tensors"):
        load(saved)


def of_format_1(saved, layout):
    """Turn a checkpoint into one as the first version wrote it."""
    content = load_checkpoint(saved)
    for key in ("class_names", "preparation", "digest"):
        del content[key]
    torch.save({**content, "format": 1, "layout": layout}, saved)
    return saved


def test_a_checkpoint_of_the_first_format_loads(saved):
    expected = load(saved).state_dict()
    found = load(of_format_1(saved, "ntu25")).state_dict()
    assert all(torch.equal(values, found[name]) for name, values in expected.items())
    content = load_checkpoint(saved)
    assert (content["class_names"], content["preparation"]) == ([], None)


def test_an_old_checkpoint_whose_layout_is_elsewhere_says_so(saved):
    with pytest.raises(ValueError, match=r"checkpoint\.pt: its skeleton layout: .*mine\.yaml"):
        load(of_format_1(saved, "mine.yaml"))


def test_a_checkpoint_with_an_own_layout_loads_anywhere(pair, tmp_path, monkeypatch):
    """The layout's file is gone and the folder another one."""
    plain = LAYOUTS["ntu25"].to_mapping()
    layout = SkeletonLayout.from_mapping({**plain, "name": "mine", "center": plain["edges"][0][0]})
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(
        path,
        config={**EXTRA, "model": {"name": "dualhead", **small_settings("dualhead")}},
        layout=layout,
        class_names=["one"] * CLASSES,
        preparation={},
        selections={"last": {"epoch": 1, "model": pair[1].state_dict()}},
        training={},
    )
    monkeypatch.chdir(tmp_path)
    assert layout == load(path).layout == layout_of(load_checkpoint(path), path)


@pytest.mark.parametrize("key", ["config", "layout", "selections", "training"])
@pytest.mark.parametrize("version", [1, 2])
def test_a_checkpoint_that_lacks_a_part_is_refused(saved, key, version):
    content = {**load_checkpoint(saved), "format": version}
    del content[key]
    write_tensors(saved, content)
    with pytest.raises(ValueError, match=rf"checkpoint\.pt: .* found none of {key}; restore it"):
        load(saved)


def test_equal_weights_have_an_equal_digest_whatever_else_differs(saved):
    content = load_checkpoint(saved)
    assert content["digest"] == digest_of_weights(content["selections"])
    again = {
        name: {"epoch": 7, "model": {key: value.clone() for key, value in kept["model"].items()}}
        for name, kept in reversed(content["selections"].items())
    }
    assert content["digest"] == digest_of_weights(again)
    next(iter(again["last"]["model"].values())).view(-1)[0] += 1
    assert content["digest"] != digest_of_weights(again)


def test_a_checkpoint_that_was_saved_by_other_means_is_refused(saved):
    torch.save(load_checkpoint(saved), saved)
    with pytest.raises(ValueError, match=r"checkpoint\.pt: expected a sealed file"):
        load(saved)


def test_a_bare_state_dict_is_no_checkpoint(pair, tmp_path):
    torch.save(pair[0].state_dict(), tmp_path / "bare.pt")
    with pytest.raises(ValueError, match="convert-weights"):
        load(tmp_path / "bare.pt")


def test_weights_that_do_not_fit_the_settings_are_refused(saved):
    content = load_checkpoint(saved)
    content["config"]["model"]["gcn_scales"] = 3
    write_tensors(saved, content)
    with pytest.raises(ValueError, match="do not fit"):
        load(saved)


def convert(weights, tmp_path, *, model="dualhead", layout="ntu25", num_classes=CLASSES):
    torch.save(weights, tmp_path / "weights.pt")
    output = tmp_path / "converted.pt"
    convert_weights(
        tmp_path / "weights.pt", output, model=model, layout=layout, num_classes=num_classes
    )
    return output


@pytest.mark.parametrize(
    ("variant", "layout", "wrap"),
    [
        ("dualhead", "ntu25", "plain"),
        ("dualhead", "ntu25", "module"),
        ("dualhead", "ntu25", "state_dict"),
        ("ms_g3d", "ntu25", "plain"),
        ("ms_g3d", "openpose18", "module"),
        ("dualhead", "kinect20", "plain"),
        ("no_attention", "ntu25", "plain"),
        ("coarse_g3d_0", "ntu25", "plain"),
        ("self_spatial", "ntu25", "plain"),
    ],
)
def test_published_weights_give_the_same_logits(variant, layout, wrap, tmp_path):
    reference, _, shape = build_pair(variant, layout=layout, frames=9)
    weights = reference.state_dict()
    if wrap != "plain":
        weights = {f"module.{name}": tensor for name, tensor in weights.items()}
    if wrap == "state_dict":
        weights = {"epoch": 3, "state_dict": weights}
    name = "ms_g3d" if variant == "ms_g3d" else "dualhead"
    model = load(convert(weights, tmp_path, model=name, layout=layout)).double()
    x = make_input(shape)
    with torch.no_grad():
        rounded = copy.deepcopy(reference).float().double()
        expected, actual = rounded.eval()(x), model(x)
    for head, logits in expected.items():
        torch.testing.assert_close(actual[head], logits, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("variant", ["dualhead", "coarse_g3d_2", "self_temporal", "ms_g3d"])
def test_settings_are_read_off_the_shapes(variant, tmp_path):
    name = "ms_g3d" if variant == "ms_g3d" else "dualhead"
    reference, _, _ = build_pair(variant)
    found = load_checkpoint(convert(reference.state_dict(), tmp_path, model=name))["config"][
        "model"
    ]
    expected = {"name": name, **small_settings(variant)}
    if variant == "self_temporal":  # both heads look at as many channels: nothing tells them apart
        expected["temporal_attention"] = "self"
    assert expected == found


def test_one_body_is_read_off_the_data_normalization(tmp_path):
    reference, _, _ = build_pair("dualhead", bodies=1)
    assert load_checkpoint(convert(reference.state_dict(), tmp_path))["config"]["max_bodies"] == 1


def test_missing_weights_are_named(pair, tmp_path):
    weights = pair[0].state_dict()
    del weights["sgcn1.1.branches.0.3.conv.weight"]
    with pytest.raises(ValueError, match=r"1 weights are missing: sgcn1\.1\.branches\.0\.3\.conv"):
        convert(weights, tmp_path)


def test_unexpected_weights_are_named(pair, tmp_path):
    weights = {**pair[0].state_dict(), "extra.weight": torch.zeros(2)}
    with pytest.raises(ValueError, match=r"1 weights are unexpected: extra\.weight"):
        convert(weights, tmp_path)


def test_another_number_of_classes_is_named(pair, tmp_path):
    with pytest.raises(ValueError, match=r"of another shape: fc_.* instead of \(9.*--classes"):
        convert(pair[0].state_dict(), tmp_path, num_classes=9)


def test_another_skeleton_is_named(pair, tmp_path):
    with pytest.raises(ValueError, match=r"weights\.pt: .* 25 joints, layout openpose18 has 18"):
        convert(pair[0].state_dict(), tmp_path, layout="openpose18")


def test_another_network_is_named(pair, tmp_path):
    with pytest.raises(ValueError, match=r"weights of ms_g3d.*--model"):
        convert(pair[0].state_dict(), tmp_path, model="ms_g3d")


def test_what_is_no_state_dict_is_refused(tmp_path):
    with pytest.raises(ValueError, match="expected a state dict"):
        convert([1, 2], tmp_path)


@pytest.mark.parametrize(
    ("length", "found"),
    [(0, "an empty file"), (3, "."), (100, "a file that is cut"), (5000, "a file that is cut")],
)
def test_a_file_that_was_cut_is_refused_with_a_remedy(tmp_path, length, found):
    whole, cut = tmp_path / "whole.pt", tmp_path / "cut.pt"
    torch.save({"weights": torch.zeros(5000)}, whole)
    cut.write_bytes(whole.read_bytes()[:length])
    with pytest.raises(ValueError, match=rf"cut\.pt: expected tensors.*found {found}.*restore it"):
        load_checkpoint(cut)
