"""Any number of processes takes the same step as one."""

import json
import os
import signal
import time
from functools import partial
from pathlib import Path
from unittest import mock

import pytest
import torch

from dualhead.data.store import Store
from dualhead.runs.batches import load_split
from dualhead.runs.distributed import ALONE, Share, run_shared
from dualhead.runs.step import training_step
from dualhead.runs.train import REQUEUE, begin, train
from dualhead.settings import checks
from dualhead.settings.run import RunConfig
from tests.builders.tiny import tiny_config, write_tiny_store
from tests.conftest import ROOT

BATCH = 16
pytestmark = pytest.mark.workflow  # it starts processes


def config(model: str) -> dict:
    """Return a small run of a real network, augmented, with second bodies that are often absent."""
    settings = checks.load(ROOT / "demo/params.yaml")
    run = tiny_config(epochs=2, batch_size=BATCH, forward_batch_size=8, evaluate_every=1)
    run["model"] = {"name": model, **settings[model]}
    run["input"] |= {"random_rotation": 20, "random_scale": [0.8, 1.2]}
    return run


def double_logits(network, batch):
    """Return the logits as they are: rounded to float32 they would hide how equal gradients are."""
    return {head.replace("logits", "fusion"): x for head, x in network(batch.double()).items()}


def one_step(
    store: Path, output: Path, model: str, *, device: str, share: Share = ALONE, requested=None
) -> int:
    """Take a step in float64 and save gradients, statistics and the record."""
    torch.set_num_threads(1)
    with Store(store) as source:
        split = load_split(source, source.split("thirds")[0], torch.device(device))
        run = begin(RunConfig.of(config(model)), source, torch.device(device), share)
    run.model.double().train()
    with mock.patch("dualhead.runs.step.head_logits", double_logits):
        record = training_step(run, split, torch.arange(BATCH), RunConfig.of(config(model)))
    gradients = {f"grad {name}": p.grad for name, p in run.model.named_parameters()}
    torch.save(gradients | run.model.state_dict() | record, output / f"{share.rank}.pt")
    return 0


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Recordings of none, one or two bodies."""
    return write_tiny_store(tmp_path_factory.mktemp("store") / "store.h5", count=36)


@pytest.mark.parametrize(("model", "size"), [("dualhead", 2), ("dualhead", 4), ("ms_g3d", 2)])
def test_shares_of_a_batch_give_the_gradients_of_the_whole(store, tmp_path, model, size):
    (tmp_path / "alone").mkdir()
    one_step(store, tmp_path / "alone", model, device="cpu")
    code = run_shared(partial(one_step, store, tmp_path, model), ["cpu"] * size, lambda: 0)
    assert code == 0
    expected = torch.load(tmp_path / "alone/0.pt", weights_only=True)
    for rank in range(size):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert found.keys() == expected.keys()
        for name, values in expected.items():
            if values.is_floating_point():
                scale = values.abs().max().clamp(min=1e-4)
                apart = float((found[name].double() - values.double()).abs().max() / scale)
                assert apart < 1e-12, name


def whole(folder: Path, *, device: str, share: Share = ALONE, requested=None) -> int:
    """Train in a folder, with the store beside it."""
    run = RunConfig.of(json.loads((folder / "config.json").read_text()))
    return train(
        run,
        folder / "store.h5",
        folder / "checkpoint.pt",
        history=folder / "history.csv",
        state=folder / "state.pt",
        device=device,
        evaluate_batch_size=8,
        threads=1,
        share=share,
        requested=requested,
    )


def make_folder(folder: Path, **changes: object) -> Path:
    """Write a store and a configuration."""
    write_tiny_store(folder / "store.h5", count=36)
    run = config("dualhead")
    run["train"] |= changes
    (folder / "config.json").write_text(json.dumps(run))
    return folder


def test_two_processes_stop_together_and_go_on(tmp_path):
    folder = make_folder(tmp_path)
    calls = iter([0, 0, 0, 0])
    work = partial(whole, folder)
    assert run_shared(work, ["cpu"] * 2, lambda: next(calls, signal.SIGTERM)) in (0, REQUEUE)
    assert (folder / "state.pt").exists()
    assert run_shared(work, ["cpu"] * 2, lambda: 0) == 0
    assert len((folder / "history.csv").read_text().splitlines()) == 3
    assert (folder / "checkpoint.pt").exists()


def test_a_part_of_a_batch_that_is_too_small_is_refused(tmp_path, capfd):
    folder = make_folder(tmp_path, batch_size=9, forward_batch_size=8)
    assert run_shared(partial(whole, folder), ["cpu"] * 2, lambda: 0) == 1
    assert "2 processes cannot share parts of a batch of 8 and 1 samples" in capfd.readouterr().err


def die(share_that_dies: int, *, device: str, share: Share, requested) -> int:
    """End one process as the kernel does when memory is short; the others wait for it."""
    if share.rank == share_that_dies:
        os.kill(os.getpid(), signal.SIGKILL)
    share.wait()
    return 0


@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_is_killed_takes_the_others_with_it(rank, capfd):
    begun = time.monotonic()
    assert run_shared(partial(die, rank), ["cpu"] * 2, lambda: 0) != 0
    assert time.monotonic() - begun < 90


def test_an_interface_that_is_not_there_is_one_line(monkeypatch, capfd):
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "nowhere0")
    assert run_shared(partial(die, 5), ["cpu"] * 2, lambda: 0) == 1
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("process ")]
    assert lines
    assert all("GLOO_SOCKET_IFNAME names an interface that is not here" in line for line in lines)
