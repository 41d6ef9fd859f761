"""Normalizations of two processes, which count as one batch."""

import multiprocessing
from pathlib import Path

import pytest
import torch
from torch import distributed

from dualhead.models.ops.norm import Term, row_counts, synchronize
from tests.models.ops.compare import IMPLEMENTATIONS, make_norm, random
from tests.models.ops.test_temporal_branches import make_parts

ROWS, COUNTS = 5, torch.tensor([1.0, 2, 1, 4, 0])
SHARES = slice(0, 2), slice(2, ROWS)  # of unequal size


def run(name, own, group=None):
    """Return outputs, gradients of own rows, summed gradients of parameters, and running statistics."""
    embed, inner, convs = make_parts((1, 2), 2)
    norms = [make_norm(6), make_norm(len(embed.weight)), inner]
    weight = random(6, 6, seed=8)
    parameters = [weight, *(p for norm in norms for p in norm.parameters()), embed.weight]
    if group is not None:
        synchronize(torch.nn.ModuleList(norms), group)
    ops, x = IMPLEMENTATIONS[name], random(ROWS, 7, 4, 6)
    with row_counts(COUNTS[own]):
        y = ops.norm_relu_linear(Term(x[own], norms[0]), weight)
        offset = torch.zeros_like(norms[1].bias)
        y = ops.temporal_branches(y, embed, inner, convs, norms[1], offset, stride=2)
        y = ops.relu_sum(y)
    grad = random(ROWS, *y.shape[1:], seed=9).detach() * COUNTS.view(-1, 1, 1, 1)
    grad_x, *grads = torch.autograd.grad(y, [x, *parameters], grad[own])
    if group is not None:
        for value in grads:
            distributed.all_reduce(value, group=group)
    moved = [buffer for norm in norms for buffer in norm.buffers()]
    return {"own": [y.detach(), grad_x[own]], "common": [*grads, *moved]}


def be_one(rank, folder):
    """Run one of two processes; write the results of each implementation."""
    meeting = f"file://{folder}/meeting"
    distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=2)
    found = {name: run(name, SHARES[rank], distributed.group.WORLD) for name in IMPLEMENTATIONS}
    torch.save(found, Path(folder) / f"{rank}.pt")
    distributed.destroy_process_group()


@pytest.mark.workflow  # it starts processes
def test_two_processes_normalize_as_one(tmp_path):
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=be_one, args=(rank, str(tmp_path))) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        assert 0 == process.exitcode
    parts = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    for name in IMPLEMENTATIONS:
        whole = run(name, slice(None))
        for rank, part in enumerate(parts):
            expected = [value[SHARES[rank]] for value in whole["own"]] + whole["common"]
            for a, b in zip([*part[name]["own"], *part[name]["common"]], expected, strict=True):
                torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-11)
