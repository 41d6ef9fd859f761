"""A training step counted without a GPU: launches, bytes and operations of what a GPU would be given.

Nothing runs: operators are recorded on tensors without values, and what torch.compile makes of a network is the code
that Inductor generates for an H100 that is not there (`inductor`). Every time made of these counts is computed.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import torch
from tests.reference import network as reference
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from benchmarks.contenders import NUM_CLASSES, loss_of, make_batch
from benchmarks.kernels import (
    GPUS,
    PRODUCTS,
    REACHED,
    SMALL,
    EagerKernels,
    Kernel,
    SavedBytes,
    bound,
    expected,
    fake_copy,
)
from benchmarks.processes import DEFAULT_MALLOC, call
from benchmarks.recordings import paper_settings
from benchmarks.results import Findings, Row, Target
from benchmarks.scale import Scale
from benchmarks.timing import Spread, say
from dualhead.layout import LAYOUTS
from dualhead.models import bodies, build_model, ops
from dualhead.models.ops import encoder

SECTION = "counted"
SAMPLES, FRAMES = 64, 300
HOW = f"counted; batch of {SAMPLES}, {FRAMES} frames, forward and backward"


class Contender(NamedTuple):
    """A formulation of the network, and the precision that it is run in.

    Attributes:
        whose: reference | plain | compiled; the latter two are ours.
        precision: fp32 | bf16.
    """

    whose: str
    precision: str


CONTENDERS: Mapping[str, Contender] = {
    "authors' formulation, fp32": Contender("reference", "fp32"),
    "authors' formulation, AMP bf16": Contender("reference", "bf16"),
    "ours, not compiled, bf16": Contender("plain", "bf16"),
    "ours, compiled, bf16": Contender("compiled", "bf16"),
}
AUTHORS = "authors' formulation, AMP bf16"
OURS = "ours, compiled, bf16"
TARGETS = {  # of OURS, the first and the second
    "launches": (800, 650),
    "MB/row": (1350, 1120),
}


class Count(NamedTuple):
    """Counts of one training step.

    Attributes:
        rows: bodies that are computed.
        kernels: in order.
        saved: bytes that wait for the backward pass.
        graphs: that torch.compile made for the step.
        breaks: between them.
        again: graphs that another batch, of other bodies and as many rows, took.
    """

    rows: int
    kernels: list[Kernel]
    saved: int
    graphs: int = 0
    breaks: int = 0
    again: int = 0

    @property
    def moved(self) -> int:
        """Return the bytes that all kernels read and write."""
        return sum(kernel.moved for kernel in self.kernels)

    @property
    def small(self) -> int:
        """Return the number of launches that move less than `SMALL`."""
        return sum(kernel.moved < SMALL for kernel in self.kernels)


def measure(scale: Scale, folder: Path) -> Findings:
    """Count every contender, each in a process of its own."""
    counts, remarks = {}, [METHOD]
    for name, contender in CONTENDERS.items():
        if contender.whose == "compiled" and importlib.util.find_spec("triton") is None:
            remarks.append(f"{name}: not counted, because {NO_TRITON}")
            say(f"{SECTION}: {remarks[-1]}")
            continue
        say(f"{SECTION}: {name}")
        counts[name] = call_count(contender)
    return Findings(rows_of(counts), [table(counts), *remarks])


NO_TRITON = "Triton is not installed; `pip install -e '.[bench]'` in this environment brings it"


def rows_of(counts: Mapping[str, Count]) -> list[Row]:
    """Return a row for each target; without a result if it was not counted."""
    return [
        _row(unit, target, counts.get(OURS), counts[AUTHORS])
        for unit, targets in TARGETS.items()
        for target in targets
    ]


def _row(unit: str, target: float, ours: Count | None, authors: Count) -> Row:
    what = "launches of a training step" if unit == "launches" else "moved by a training step"
    note = f"reference: {AUTHORS}, {authors.rows} rows"
    own = None
    if ours is not None:
        own, note = _in_unit(unit, ours), f"{note}; ours: {OURS}, {ours.rows} rows"
    goal, theirs = Target("at most", target), _in_unit(unit, authors)
    return Row(SECTION, what, HOW, own, unit, goal, own, theirs, unit, note)


def _in_unit(unit: str, count: Count) -> Spread:
    found = len(count.kernels) if unit == "launches" else count.moved / count.rows / 1e6
    return Spread.of([found])


def call_count(contender: Contender, samples: int = SAMPLES, frames: int = FRAMES) -> Count:
    """Count a contender's training step in a process of its own."""
    settings = {**contender._asdict(), "samples": samples, "frames": frames}
    found = call("count", settings, threads=1, malloc=DEFAULT_MALLOC)
    return Count(found[0], [Kernel(*kernel) for kernel in found[1]], *found[2:])


def count(whose: str, precision: str, samples: int, frames: int) -> Count:
    """Return the count of a training step of both heads, forward and backward, without the optimizer."""
    torch.manual_seed(1)
    joints = make_batch(samples, frames)
    network = (_reference() if whose == "reference" else _ours()).train()
    recorded, known = EagerKernels(), [_distinct(joints), _distinct(_without_one(joints))]
    with FakeTensorMode():
        fake_copy(network)
        if whose == "compiled":
            return _compiled(network, joints.shape, known, precision, recorded)
        rows = joints.shape[0] * joints.shape[4]
        as_published = mock.patch.object(reference, "at_frames", _official_frames)
        with as_published, ops.use("plain"):
            saved = _step(network, joints.shape, precision, recorded)
    return Count(rows, recorded.kernels, saved)


def _official_frames(logits: Tensor, step: float, length: int) -> Tensor:
    """Take no logits between frames, as the official code."""
    return logits


def _step(network: nn.Module, shape: Sequence[int], precision: str, recorded: EagerKernels) -> int:
    """Record the kernels of a step on a batch without values; return the bytes saved in between."""
    joints, labels = torch.empty(shape), torch.empty(shape[0], dtype=torch.long)
    saved = SavedBytes([*network.parameters(), *network.buffers(), joints])
    with recorded:
        with saved, torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            logits = network(joints)
        loss_of(logits, labels).backward()  # type: ignore[no-untyped-call]
    return saved.total


Bodies = tuple[Tensor, ...]
"""Which bodies of a batch are computed, as `bodies.distinct_rows` returns it."""


def _distinct(joints: Tensor) -> Bodies:
    return bodies.distinct_rows(bodies.is_present(joints))


def _without_one(joints: Tensor) -> Tensor:
    """Return a batch without the second body of one sample."""
    pairs = joints[..., 1].flatten(1).any(1).nonzero().flatten()
    changed = joints.clone()
    changed[pairs[0], ..., 1] = 0
    return changed


def _compiled(
    network: nn.Module,
    shape: Sequence[int],
    known: Sequence[Bodies],
    precision: str,
    recorded: EagerKernels,
) -> Count:
    """Count a step as it is compiled, and the graphs that a batch of other bodies takes after it."""
    from benchmarks.inductor import CompiledKernels  # seconds, which no other task needs

    backend = CompiledKernels(encoder.OPTIONS, recorded)
    # an error here, where a training would go on eagerly
    as_error = mock.patch.object(encoder, "failure", lambda: ())
    with mock.patch.object(encoder, "BACKEND", backend), as_error, ops.use("compiled"):
        with _known_bodies(known[0]):
            saved = _step(network, shape, precision, recorded)
        kernels, graphs = list(recorded.kernels), backend.graphs
        with _known_bodies(known[1]):
            _step(network, shape, precision, recorded)
    breaks = sum(torch._dynamo.utils.counters["graph_break"].values())
    rows = -(-len(known[0][0]) // encoder.BUCKET) * encoder.BUCKET
    return Count(rows, kernels, saved, graphs, breaks, backend.graphs - graphs)


@contextmanager
def _known_bodies(known: Bodies) -> Iterator[None]:
    """Let ours know which bodies there are, though the batch has no values."""
    fakes = tuple(torch.empty(part.shape, dtype=part.dtype) for part in known)
    with mock.patch.object(bodies, "distinct_rows", lambda present: fakes):
        yield


def _reference() -> nn.Module:
    layout = LAYOUTS["ntu25"]
    sizes = paper_settings()["dualhead"]
    return reference.DualHead(layout.edges, layout.num_joints, NUM_CLASSES, **sizes)


def _ours() -> nn.Module:
    sizes = paper_settings()["dualhead"]
    options = {"in_channels": 3, "num_bodies": 2}
    return build_model("dualhead", sizes, LAYOUTS["ntu25"], NUM_CLASSES, **options)


HEADER = (
    "training step",
    "rows",
    "launches",
    "of them below 1 MiB",
    "MB a row",
    "MB a sample",
    "GB a step",
    "saved, MB a row",
    "TFLOP",
    "graphs, breaks, recompilations",
    *(f"{gpu.name}: bound, expected" for gpu in GPUS),
)


def table(counts: Mapping[str, Count]) -> str:
    """Return what was counted, and the times computed of it, as a Markdown table."""
    lines = [HEADER, ["---"] * len(HEADER)]
    lines += [_cells(name, found) for name, found in counts.items()]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cells(name: str, found: Count) -> list[str]:
    times = [
        f"{bound(found.kernels, gpu) * 1e3:.0f}, {expected(found.kernels, gpu) * 1e3:.0f} ms"
        for gpu in GPUS
    ]
    return [
        name,
        str(found.rows),
        f"{len(found.kernels):,}",
        f"{found.small:,}",
        f"{found.moved / found.rows / 1e6:,.0f}",
        f"{found.moved / SAMPLES / 1e6:,.0f}",
        f"{found.moved / 1e9:,.0f}",
        f"{found.saved / found.rows / 1e6:,.0f}",
        f"{sum(kernel.flop for kernel in found.kernels) / 1e12:.1f}",
        f"{found.graphs}, {found.breaks}, {found.again}" if found.graphs else "",
        *times,
    ]


METHOD = (
    "All of it is counted and the times are computed, none was measured: operators are recorded on "
    f"tensors without values. A batch has {SAMPLES} samples of {FRAMES} frames, a fifth of them "
    "with two bodies; a row is one body. An eager operator reads each input and writes each output "
    "once, a generated kernel what its indices reach under their masks. Optimizer and augmentation are not in it. "
    "*Bound* is the bytes at the speed of a copy ("
    + ", ".join(f"{gpu.name}: {gpu.bandwidth / 1e12:.1f} TB/s" for gpu in GPUS)
    + "); *expected* adds up, over the kernels, the longer of moving at "
    f"{REACHED:.0%} of it and multiplying at {PRODUCTS / 1e12:.0f} TFLOP/s (bf16; for fp32 that is "
    "too fast), both assumptions. Launches cost time only where a GPU waits for them: about 5 to "
    "15 µs each for a Python program. *Recompilations*: graphs that a batch took whose bodies are "
    "others, but whose rows are filled up to as many."
)
