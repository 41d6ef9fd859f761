import ctypes
import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from dualhead.runs.inference import (
    autocast,
    choose_device,
    head_logits,
    infer,
    memory_error,
    precision,
)

CPU = torch.device("cpu")


class Halves(nn.Module):
    """Its answer is known: half the input, and a third of it."""

    def forward(self, x):
        assert not self.training
        return {"coarse": x / 2, "fine": x / 3}


def test_batches_are_joined_in_order():
    batches = [torch.full((2, 3), 1.0), torch.full((1, 3), 2.0)]
    logits = infer(Halves().train(), batches)
    assert logits["coarse"].tolist() == [[0.5] * 3] * 2 + [[1.0] * 3]
    assert set(logits) == {"coarse", "fine"}


def test_the_only_head_of_a_network_is_called_fusion():
    heads = head_logits(lambda x: {"logits": x.bfloat16()}, torch.ones(1, 2))
    assert list(heads) == ["fusion"]
    assert heads["fusion"].dtype == torch.float32


@pytest.mark.parametrize(
    ("gpus", "name", "expected", "warned"),
    [
        (0, "auto", "cpu", True),
        (0, "auto:1", "cpu", True),
        (2, "auto", "cuda:0", False),
        (2, "cuda", "cuda:0", False),
        (2, "auto:1", "cuda:1", False),
        (2, "cpu", "cpu", False),
    ],
)
def test_auto_takes_a_gpu_where_there_is_one(gpus, name, expected, warned, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    assert choose_device(name) == torch.device(expected)
    assert bool(capsys.readouterr().err) == warned


def test_auto_takes_no_gpu_that_is_not_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ValueError, match=r"auto:1 asked for, but torch sees 1 GPUs"):
        choose_device("auto:1")


def test_a_gpu_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match=r"hardware\.device: cuda:99 asked for, but torch sees"):
        choose_device("cuda:99")


@pytest.mark.parametrize(("name", "allowed"), [("fp32", False), ("tf32", True), ("bf16", False)])
def test_precision_holds_in_the_block_alone(name, allowed):
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    with precision(name):
        inside = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    assert inside == (allowed, allowed)
    assert before == (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32)


@pytest.mark.parametrize(("name", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_only_bf16_casts_the_forward_pass(name, dtype):
    with autocast(name, CPU):
        assert dtype == (torch.ones(2, 2) @ torch.ones(2, 2)).dtype


@pytest.mark.parametrize(
    "error",
    [
        torch.cuda.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"),
    ],
)
def test_too_little_memory_becomes_advice(error):
    with (
        pytest.raises(ValueError, match="out of memory on cpu: buy more"),
        memory_error(CPU, "buy more"),
    ):
        raise error


def test_any_other_error_stays_what_it_is():
    with pytest.raises(RuntimeError, match="shapes"), memory_error(CPU, "buy more"):
        raise RuntimeError("shapes")


FAULTS = """
import resource, torch
from dualhead.runs.inference import use_cpu
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(2**24)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
anew = min(faults() for _ in range(16))
use_cpu(1)
print(anew, min(faults() for _ in range(16)), torch.get_num_threads())
"""


def page_faults(**environment):
    """Return how often 64 MB are asked of the system anew, before and after `use_cpu`, and the threads."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("MALLOC_")}
    command = [sys.executable, "-c", FAULTS]
    done = subprocess.run(command, env=clean | environment, check=True, capture_output=True)
    return [int(word) for word in done.stdout.split()]


@pytest.mark.workflow  # it starts processes that load torch
@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="not glibc's malloc")
def test_freed_memory_is_kept_for_the_next_tensor():
    anew, kept, threads = page_faults()
    assert anew > 10 * kept
    assert threads == 1
    anew, left_alone, _ = page_faults(MALLOC_ARENA_MAX="4")
    assert left_alone > anew / 2
