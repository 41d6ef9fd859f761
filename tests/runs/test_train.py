import csv
import itertools
import json
import math
import multiprocessing
import os
import signal
import sys
from contextlib import contextmanager, suppress
from unittest import mock

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from dualhead.data.store import Store
from dualhead.runs import train as train_module
from dualhead.runs.batches import epoch_order, load_split, make_batch
from dualhead.runs.evaluate import evaluate
from dualhead.runs.partition import split_positions
from dualhead.runs.state import Training, forget
from dualhead.runs.step import learning_rate, make_optimizer, training_step
from dualhead.runs.stopping import STOP_SIGNALS, stop_requests
from dualhead.runs.train import REQUEUE
from dualhead.settings import checks
from dualhead.settings.run import RunConfig, TrainSettings
from dualhead.workspace.rules import DIVERGED
from tests.builders.edits import edited_store
from tests.builders.tiny import (
    TinyNetwork,
    signal_at,
    tiny_config,
    train_in,
    train_tiny,
    write_tiny_store,
)

STEPS = 18 // 4  # of an epoch: 18 training samples
AUGMENTED = {
    "resample": "uniform",
    "random_rotation": 20,
    "random_scale": [0.8, 1.2],
    "random_move": True,
}


@pytest.fixture
def folder(tmp_path):
    write_tiny_store(tmp_path / "store.h5")
    return tmp_path


def augmented_config():
    config = tiny_config()
    return {**config, "input": {**config["input"], **AUGMENTED}}


@pytest.fixture
def config():
    return augmented_config()


def result(folder):
    """Return what a training left: its checkpoint without times, and its history without them."""
    checkpoint = torch.load(folder / "checkpoint.pt", weights_only=True)
    return checkpoint["selections"], [
        {key: value for key, value in row.items() if key != "seconds"} for row in history(folder)
    ]


def history(folder):
    with (folder / "history.csv").open(newline="") as text:
        return list(csv.DictReader(text))


def assert_same_bits(expected, found):
    """Compare two trainings, to the last bit."""
    assert expected[1] == found[1]
    assert expected[0].keys() == found[0].keys()
    for name, selection in expected[0].items():
        assert selection["epoch"] == found[0][name]["epoch"]
        for key, tensor in selection["model"].items():
            assert torch.equal(tensor, found[0][name]["model"][key]), (name, key)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """The end of a training that nothing disturbed."""
    folder = tmp_path_factory.mktemp("unbroken")
    write_tiny_store(folder / "store.h5")
    assert train_tiny(folder, augmented_config()) == 0
    return result(folder)


def test_two_trainings_of_one_seed_end_in_the_same_bits(folder, config, unbroken):
    train_tiny(folder, config)
    assert_same_bits(unbroken, result(folder))


def test_another_seed_ends_elsewhere(folder, config, unbroken):
    train_tiny(folder, {**config, "seed": 4})
    ours, theirs = result(folder)[0]["last"]["model"], unbroken[0]["last"]["model"]
    assert not torch.equal(ours["hidden.weight"], theirs["hidden.weight"])


@pytest.fixture(autouse=True)
def _signals_that_are_heard():
    """Undo that `nohup` and a shell's background let their programs ignore signals."""
    defaults = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in defaults.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP])
@pytest.mark.parametrize("step", [1, 3, STEPS, STEPS + 2, 3 * STEPS])
def test_a_training_asked_to_end_at_any_step_ends_in_the_same_bits(
    folder, config, unbroken, step, number
):
    with signal_at(step, number):
        assert train_tiny(folder, config) == REQUEUE
    assert (folder / "state.pt").exists()
    assert not (folder / "checkpoint.pt").exists()
    assert train_tiny(folder, config) == 0
    assert_same_bits(unbroken, result(folder))


def test_little_is_lost_when_it_is_asked_to_end(folder, config):
    with signal_at(STEPS + 2, signal.SIGTERM):
        train_tiny(folder, config)
    state = torch.load(folder / "state.pt", weights_only=True)
    assert (state["epoch"], len(state["records"])) == (1, 2)


def test_ctrl_c_saves_the_state_and_stops(folder, config, unbroken):
    with signal_at(2, signal.SIGINT), pytest.raises(KeyboardInterrupt):
        train_tiny(folder, config)
    train_tiny(folder, config)
    assert_same_bits(unbroken, result(folder))


def test_the_second_signal_acts_as_it_always_did(folder, config):
    handlers = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    with stop_requests() as stop:
        os.kill(os.getpid(), signal.SIGUSR1)
        assert stop() == signal.SIGUSR1
        assert handlers == {number: signal.getsignal(number) for number in handlers}


def test_a_signal_that_is_ignored_stays_ignored(folder, config):
    """As SIGHUP is under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_requests() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert stop() == 0
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.builders.tiny"])  # torch is imported once for all of them


def train_with_a_signal(folder, config, step, number):
    with signal_at(step, number):
        sys.exit(train_tiny(folder, config))


def run_until(folder, config, step, number):
    """Train in another process, which gets a signal at one of its steps; return its exit code."""
    arguments = folder, config, step, number
    process = PROCESSES.Process(target=train_with_a_signal, args=arguments)
    process.start()
    process.join(600)
    return process.exitcode


def test_a_training_killed_again_and_again_ends_in_the_same_bits(folder, config, unbroken, rng):
    """SIGKILL loses what came after the last epoch, SIGTERM nothing."""
    codes = [run_until(folder, config, STEPS + int(rng.integers(1, STEPS)), signal.SIGKILL)]
    codes.append(run_until(folder, config, int(rng.integers(1, STEPS)), signal.SIGTERM))
    codes.append(run_until(folder, config, int(rng.integers(1, STEPS)), signal.SIGKILL))
    assert codes == [-signal.SIGKILL, REQUEUE, -signal.SIGKILL]
    assert not (folder / "checkpoint.pt").exists()
    assert run_until(folder, config, 1000, signal.SIGKILL) == 0
    assert_same_bits(unbroken, result(folder))


class Killed(BaseException):
    """Ends a training where it is, as SIGKILL does: nothing is written any more."""


@contextmanager
def killed_at(step):
    plain, steps = train_module.training_step, itertools.count(1)

    def training_step(*arguments):
        if next(steps) == step:
            raise Killed
        return plain(*arguments)

    with mock.patch.object(train_module, "training_step", training_step), suppress(Killed):
        yield


def test_a_training_ended_at_ten_random_moments_ends_in_the_same_bits(
    folder, config, tmp_path_factory, rng
):
    """Every other time it is asked to end and saves its state, the rest without a word."""
    config["train"]["epochs"] = 24
    unbroken = tmp_path_factory.mktemp("long")
    write_tiny_store(unbroken / "store.h5")
    assert train_tiny(unbroken, config) == 0
    for step in rng.integers(1, 2 * STEPS + 1, size=5):
        with signal_at(int(step), signal.SIGTERM):
            assert train_tiny(folder, config) == REQUEUE
        with killed_at(int(step)):
            train_tiny(folder, config)
            raise AssertionError("was not killed")
    assert not (folder / "checkpoint.pt").exists()
    assert train_tiny(folder, config) == 0
    assert_same_bits(result(unbroken), result(folder))


NETWORKS = {
    "dualhead": {
        **{"gcn_scales": 3, "g3d_scales": 2, "coarse_windows": [3], "fine_windows": [3]},
        **{"coarse_channels": [12, 24, 48], "fine_channels": [12, 24, 48]},
    },
    "ms_g3d": {"gcn_scales": 3, "g3d_scales": 2, "channels": [12, 24, 48], "windows": [3]},
}


@pytest.mark.workflow  # train, kill, train, evaluate, with the networks themselves
@pytest.mark.parametrize("name", NETWORKS)
def test_the_networks_themselves_resume_and_are_scored(tmp_path, config, name):
    section = checks.defaults()[name]
    config = {**config, "model": {"name": name, **section, **NETWORKS[name]}}
    config["train"] = {**config["train"], "epochs": 2}
    folders = tmp_path / "unbroken", tmp_path / "broken"
    for folder in folders:
        folder.mkdir()
        write_tiny_store(folder / "store.h5")
    assert train_in(folders[0], config) == 0
    with signal_at(STEPS + 2, signal.SIGTERM):
        assert train_in(folders[1], config) == REQUEUE
    assert train_in(folders[1], config) == 0
    assert_same_bits(*map(result, folders))
    outputs = {key: folders[1] / key for key in ("scores", "metrics", "classes")}
    inputs = folders[1] / "checkpoint.pt", folders[1] / "store.h5"
    evaluate(*inputs, **outputs, device="cpu", batch_size=5)
    measured = json.loads(outputs["metrics"].read_text())["last"]["fusion"]["softmax"]["top1"]
    assert measured == float(history(folders[1])[-1]["test_fusion_top1"])


def test_a_state_that_was_half_written_is_not_taken(folder, config, unbroken):
    with signal_at(STEPS + 1, signal.SIGTERM):
        train_tiny(folder, config)
    (folder / ".state.pt.partial").write_bytes((folder / "state.pt").read_bytes()[:1000])
    train_tiny(folder, config)
    assert_same_bits(unbroken, result(folder))


def test_a_finished_training_whose_outputs_were_removed_writes_them_again(folder, config):
    train_tiny(folder, config)
    names = ("checkpoint.pt", "history.csv")
    written = {name: (folder / name).read_bytes() for name in names}
    for name in names:
        (folder / name).unlink()
    with mock.patch.object(train_module, "training_step", side_effect=AssertionError("trained")):
        train_tiny(folder, config)
    assert {name: (folder / name).read_bytes() for name in names} == written


def test_a_finished_training_of_other_settings_is_passed_over(folder, config):
    train_tiny(folder, config)
    before = (folder / "checkpoint.pt").read_bytes()
    train_tiny(folder, {**config, "seed": 4})
    assert (folder / "checkpoint.pt").read_bytes() != before


def test_the_state_goes_with_the_evaluation_unless_a_newer_training_is_at_work(tmp_path):
    state, checkpoint = tmp_path / "state.pt", tmp_path / "checkpoint.pt"
    forget(state, checkpoint)
    checkpoint.touch()
    state.touch()
    os.utime(checkpoint, (1000, 1000))
    forget(state, checkpoint)
    assert state.exists()
    os.utime(state, (999, 999))
    forget(state, checkpoint)
    assert not state.exists()


def test_a_checkpoint_that_cannot_be_written_loses_nothing(folder, config, unbroken):
    with (
        mock.patch.object(train_module, "save_checkpoint", side_effect=OSError("disk full")),
        pytest.raises(OSError, match="disk full"),
    ):
        train_tiny(folder, config)
    assert not (folder / "checkpoint.pt").exists()
    with mock.patch.object(train_module, "training_step", side_effect=AssertionError("trained")):
        train_tiny(folder, config)
    assert_same_bits(unbroken, result(folder))


def test_the_state_of_another_run_is_refused(folder, config):
    with signal_at(1, signal.SIGTERM):
        train_tiny(folder, config)
    with pytest.raises(ValueError, match=r"state\.pt: expected the state of run .* Remove it"):
        train_tiny(folder, {**config, "seed": 4})


def test_a_file_that_is_no_state_is_refused(folder, config):
    (folder / "state.pt").write_text("no state")
    with pytest.raises(ValueError, match=r"state\.pt: expected tensors and plain values"):
        train_tiny(folder, config)


def train_settings(**changes):
    return TrainSettings.of(tiny_config(**changes)["train"])


@pytest.mark.parametrize(
    ("epoch", "expected"), [(0, 0.02), (4, 0.1), (39, 0.1), (40, 0.01), (59, 0.01), (60, 0.001)]
)
def test_the_learning_rate_warms_up_and_drops_after_each_milestone(epoch, expected):
    settings = train_settings(learning_rate=0.1, milestones=[40, 60], warmup_epochs=5)
    assert expected == pytest.approx(learning_rate(epoch, settings))


def test_the_schedule_is_that_of_torch():
    settings = train_settings(learning_rate=0.05, milestones=[4, 6])
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.05)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [4, 6])
    for epoch in range(9):
        assert scheduler.get_last_lr()[0] == pytest.approx(learning_rate(epoch, settings))
        optimizer.step()
        scheduler.step()


def run_of(network, config):
    return Training(network, make_optimizer(network, config.train), torch.Generator())


@pytest.fixture
def split(folder):
    with Store(folder / "store.h5") as store:
        return load_split(store, store.split("thirds")[0], torch.device("cpu"))


def make_network():
    torch.manual_seed(0)
    return TinyNetwork(3, 3)


@pytest.mark.parametrize(("loss", "share"), [("sum", 1.0), ("mean", 0.5)])
def test_three_steps_are_those_of_nesterov_by_hand(split, loss, share):
    config = RunConfig.of(tiny_config(loss=loss))
    ours, network = make_network(), make_network()
    run = run_of(ours, config)
    velocity = {name: torch.zeros_like(value) for name, value in network.named_parameters()}
    for index in torch.arange(12).split(4):
        record = training_step(run, split, index, config)
        batch = make_batch(split, index, modality="joint", settings=config.input, generator=None)
        labels = split.labels[index]
        outputs = network(batch)
        value = share * sum(cross_entropy(outputs[head], labels) for head in ("coarse", "fine"))
        gradients = torch.autograd.grad(value, list(network.parameters()))
        assert value.item() == pytest.approx(record["loss"].item(), rel=1e-5)
        with torch.no_grad():
            for (name, weight), slope in zip(network.named_parameters(), gradients, strict=True):
                slope = slope + 0.001 * weight
                velocity[name] = 0.9 * velocity[name] + slope
                weight -= 0.05 * (slope + 0.9 * velocity[name])
    for expected, found in zip(network.parameters(), ours.parameters(), strict=True):
        torch.testing.assert_close(expected, found, rtol=1e-5, atol=1e-7)


def test_accumulated_gradients_are_those_of_the_whole_batch(split):
    """Without batch statistics, parts of any size make the same step."""
    weights = []
    for size in (10, 4, 1):
        network = make_network()
        network.norm = nn.Identity()
        config = RunConfig.of(tiny_config(batch_size=10, forward_batch_size=size))
        record = training_step(run_of(network, config), split, torch.arange(10), config)
        weights.append([*network.parameters(), record["loss"], record["train_top1"]])
    for other in weights[1:]:
        for expected, found in zip(weights[0], other, strict=True):
            torch.testing.assert_close(expected, found, rtol=1e-5, atol=1e-6)


def test_every_parameter_decays():
    groups = make_optimizer(make_network(), train_settings()).param_groups
    assert len(groups) == 1
    assert groups[0]["weight_decay"] == 0.001
    assert groups[0]["nesterov"]


def test_the_loss_of_an_epoch_is_the_mean_over_its_steps(folder):
    config = tiny_config(epochs=1, learning_rate=0.0, weight_decay=0.0)
    train_tiny(folder, config)
    config = RunConfig.of(config)
    with Store(folder / "store.h5") as store:
        split = load_split(store, store.split("thirds")[0], torch.device("cpu"))
    torch.manual_seed(config.seed)
    network, losses = TinyNetwork(3, 3), []
    for index in epoch_order(18, 4, 1, torch.Generator().manual_seed(config.seed)):
        batch = make_batch(split, index, modality="joint", settings=config.input, generator=None)
        heads = network(batch)
        losses.append([cross_entropy(heads[head], split.labels[index]).item() for head in heads])
    row = history(folder)[0]
    assert np.mean(losses, 0)[0] == pytest.approx(float(row["loss_coarse"]), rel=1e-5)
    assert np.sum(losses) / 4 == pytest.approx(float(row["loss"]), rel=1e-5)


def test_history_has_a_row_an_epoch_and_tests_where_asked(folder):
    train_tiny(folder, tiny_config(epochs=5, evaluate_every=2))
    rows = history(folder)
    assert list(rows[0]) == [
        *("epoch", "learning_rate", "loss", "loss_coarse", "loss_fine", "train_top1"),
        *("test_coarse_top1", "test_fine_top1", "test_fusion_top1", "seconds"),
    ]
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4", "5"]
    assert [bool(row["test_fusion_top1"]) for row in rows] == [False, True, False, True, True]
    assert [float(row["learning_rate"]) for row in rows] == pytest.approx([0.05] * 2 + [0.005] * 3)


def test_the_best_on_test_is_the_first_epoch_with_the_highest_accuracy(folder):
    train_tiny(folder, tiny_config(epochs=6))
    accuracy = [float(row["test_fusion_top1"]) for row in history(folder)]
    selections = result(folder)[0]
    assert selections["best_on_test"]["epoch"] == accuracy.index(max(accuracy)) + 1
    assert selections["last"]["epoch"] == 6


def test_looking_at_the_test_set_changes_no_weight(folder):
    train_tiny(folder, tiny_config(evaluate_every=1))
    often = result(folder)[0]["last"]["model"]
    train_tiny(folder, tiny_config(evaluate_every=3))
    for key, value in result(folder)[0]["last"]["model"].items():
        assert torch.equal(often[key], value)


def test_it_learns(folder):
    train_tiny(folder, tiny_config(epochs=12, milestones=[10]))
    rows = history(folder)
    assert float(rows[-1]["loss"]) < 0.6 * float(rows[0]["loss"])


def test_checkpoint_tells_of_its_training(folder, config):
    train_tiny(folder, config)
    checkpoint = torch.load(folder / "checkpoint.pt", weights_only=True)
    assert checkpoint["config"] == config
    assert (checkpoint["layout"]["name"], checkpoint["num_classes"]) == ("kinect20", 3)
    assert (checkpoint["class_names"], checkpoint["preparation"]) == (["wave", "sit", "jump"], {})
    facts = checkpoint["training"]
    assert facts["parameters"] == sum(value.numel() for value in TinyNetwork(3, 3).parameters())
    assert facts["gmacs"] == 0.0015
    assert facts["epochs"] == 3
    assert facts["final_loss"] == pytest.approx(float(history(folder)[-1]["loss"]))
    assert facts["seconds"] > 0
    assert facts["samples_per_second"] > 0
    assert facts["peak_memory_mb"] > 50


def test_a_loss_that_is_not_finite_stops_with_a_line_that_says_where(folder):
    with pytest.raises(
        ValueError, match=r"the loss is (nan|inf) in epoch \d, step \d of 4, at lear"
    ):
        train_tiny(folder, tiny_config(learning_rate=1e30))


def test_the_workflow_knows_the_line_of_a_loss_that_is_not_finite(folder):
    with pytest.raises(ValueError) as refused:
        train_tiny(folder, tiny_config(learning_rate=1e30))
    assert f"dualhead train: {refused.value}".startswith(DIVERGED)


def test_a_diverged_training_is_never_saved(folder):
    with pytest.raises(ValueError, match="the loss is"):
        train_tiny(folder, tiny_config(learning_rate=1e30))
    state = folder / "state.pt"
    weights = torch.load(state, weights_only=True)["model"] if state.exists() else {}
    assert all(math.isfinite(float(value.sum())) for value in weights.values())


def test_too_little_memory_names_the_setting(folder):
    error = torch.cuda.OutOfMemoryError("CUDA out of memory")
    with (
        mock.patch.object(TinyNetwork, "forward", side_effect=error),
        pytest.raises(
            ValueError, match=r"out of memory on cpu: lower train\.forward_batch_size, no"
        ),
    ):
        train_tiny(folder, tiny_config())


def test_other_runtime_errors_are_not_called_memory_errors(folder):
    with (
        mock.patch.object(TinyNetwork, "forward", side_effect=RuntimeError("shapes")),
        pytest.raises(RuntimeError, match="shapes"),
    ):
        train_tiny(folder, tiny_config())


def test_a_set_smaller_than_a_batch_trains_on_all_of_it(folder, capsys):
    train_tiny(folder, tiny_config(batch_size=64, forward_batch_size=64))
    assert "only 18 training samples an epoch" in capsys.readouterr().err


def test_a_split_without_samples_is_refused(folder):
    write_tiny_store(folder / "store.h5", count=3)
    with pytest.raises(ValueError, match="split thirds has no test samples"):
        train_tiny(folder, tiny_config())


def test_a_crop_of_more_frames_than_there_are_is_refused(folder):
    config = tiny_config()
    config["input"]["random_crop"] = 13
    with pytest.raises(ValueError, match=r"random_crop: 13 frames cannot be cut from the 12"):
        train_tiny(folder, config)


def test_the_log_has_plain_lines(folder, capsys):
    train_tiny(folder, tiny_config())
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert lines[-1].startswith("epoch 3/3  lr 0.005  loss ")
    assert "samples/s" in lines[-1]


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_other_precisions_train(folder, precision):
    train_tiny(folder, tiny_config(precision=precision))
    weights = result(folder)[0]["last"]["model"]
    assert all(value.dtype != torch.bfloat16 for value in weights.values())
    assert not torch.backends.cuda.matmul.allow_tf32


# --- subjects held out of the training


def held_out_names(folder, config):
    with Store(folder / "store.h5") as store:
        return {
            store.names[index] for index in split_positions(store, RunConfig.of(config)).validation
        }


def test_held_out_subjects_never_train(folder, config):
    config["train"]["validation"] = 0.4
    trained, plain = set(), train_module.training_step

    def training_step(run, split, index, settings):
        trained.update(split.names[position] for position in index)
        return plain(run, split, index, settings)

    with mock.patch.object(train_module, "training_step", training_step):
        train_tiny(folder, config)
    held_out = held_out_names(folder, config)
    with Store(folder / "store.h5") as store:
        names = {store.names[index] for index in store.split("thirds")[0]}
    assert held_out
    assert trained == names - held_out


def test_looking_at_held_out_subjects_changes_no_weight(folder, config, tmp_path_factory):
    """The same training on a store in which those samples are in neither split."""
    config["train"]["validation"] = 0.4
    train_tiny(folder, config)
    without = tmp_path_factory.mktemp("without")
    write_tiny_store(without / "store.h5")
    held_out = held_out_names(folder, config)
    with edited_store(without / "store.h5") as file:
        names = file["names"].asstr()[:]
        file["splits/thirds"][...] = np.where(
            np.isin(names, [*held_out]), -1, file["splits/thirds"][:]
        )
    train_tiny(without, {**config, "train": {**config["train"], "validation": 0.0}})
    expected, found = (result(place)[0] for place in (without, folder))
    for selection in ("last", "best_on_test"):
        assert expected[selection]["epoch"] == found[selection]["epoch"]
        for key, value in expected[selection]["model"].items():
            assert torch.equal(value, found[selection]["model"][key])


def test_the_best_on_validation_is_the_first_epoch_with_the_highest_accuracy(folder):
    train_tiny(folder, tiny_config(epochs=6, validation=0.4))
    accuracy = [float(row["validation_fusion_top1"]) for row in history(folder)]
    selections = result(folder)[0]
    assert set(selections) == {"last", "best_on_validation", "best_on_test"}
    assert selections["best_on_validation"]["epoch"] == accuracy.index(max(accuracy)) + 1


def test_there_is_no_best_on_validation_where_all_subjects_train(folder):
    train_tiny(folder, tiny_config())
    assert set(result(folder)[0]) == {"last", "best_on_test"}
    assert not [key for key in history(folder)[0] if key.startswith("validation")]


@pytest.mark.parametrize("step", [2, 5])
def test_a_training_with_held_out_subjects_resumes_in_the_same_bits(
    folder, config, tmp_path_factory, step
):
    config["train"]["validation"] = 0.4
    unbroken = tmp_path_factory.mktemp("unbroken")
    write_tiny_store(unbroken / "store.h5")
    train_tiny(unbroken, config)
    with signal_at(step, signal.SIGTERM):
        assert train_tiny(folder, config) == REQUEUE
    train_tiny(folder, config)
    assert_same_bits(result(unbroken), result(folder))


def test_the_log_tells_of_held_out_subjects(folder, capsys):
    train_tiny(folder, tiny_config(validation=0.4))
    assert "  validation coarse " in capsys.readouterr().err.splitlines()[-1]
