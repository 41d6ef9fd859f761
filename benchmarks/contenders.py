"""Both networks at work: what a worker process does to time, compare and profile them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from tests.reference.network import DualHead
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.processes import status_bytes
from benchmarks.recordings import paper_settings
from benchmarks.timing import (
    Work,
    cpu_seconds,
    cuda_seconds,
    say,
    take_turns,
    wall_seconds,
)
from dualhead.layout import LAYOUTS
from dualhead.models import bodies, build_model, ops
from dualhead.models.convert import published_views
from dualhead.models.fold import fold
from dualhead.runs.inference import autocast, precision
from dualhead.runs.step import make_optimizer
from dualhead.settings import checks
from dualhead.settings.params import Settings
from dualhead.settings.run import TrainSettings

DEMO = Path(__file__).resolve().parents[1] / "demo" / "params.yaml"
NUM_CLASSES = 60
MATRIX = 512
SHARE_OF_SECOND_BODIES = 0.2
MEASURES = {"cpu": cpu_seconds, "wall": wall_seconds, "cuda": cuda_seconds}


class Situation(NamedTuple):
    """Circumstances that a network is measured in; the arguments of a worker's task."""

    workspace: str = "paper"  # paper | demo: whose network
    samples: int = 5
    frames: int = 300
    device: str = "cpu"
    clock: str = "cpu"  # a key of MEASURES
    threads: int = 1
    rounds: int = 1
    warm_ups: int = 1
    passes: tuple[str, ...] = ("evaluation", "training")
    contenders: tuple[str, ...] = ("reference fp32", "ours fp32")


class Pair(NamedTuple):
    """Both networks with the same weights, and a batch for them."""

    networks: dict[str, nn.Module]  # reference, ours
    joints: Tensor
    labels: Tensor
    settings: Settings  # the workspace's


def make_pair(situation: Situation, dtype: torch.dtype = torch.float32) -> Pair:
    """Return both networks and a batch."""
    torch.manual_seed(1)
    settings = checks.load(DEMO) if situation.workspace == "demo" else paper_settings()
    layout, sizes = LAYOUTS["ntu25"], settings["dualhead"]
    reference = DualHead(layout.edges, layout.num_joints, NUM_CLASSES, **sizes)
    scramble(reference)
    ours = build_model("dualhead", sizes, layout, NUM_CLASSES, in_channels=3, num_bodies=2)
    copy_weights(reference, ours)
    where = torch.device(situation.device)
    networks = {"reference": reference, "ours": ours}
    return Pair(
        {name: network.to(where, dtype) for name, network in networks.items()},
        make_batch(situation.samples, situation.frames).to(where, dtype),
        torch.randint(NUM_CLASSES, (situation.samples,)).to(where),
        settings,
    )


def copy_weights(reference: nn.Module, ours: nn.Module) -> None:
    """Give ours the reference's weights and statistics."""
    views = published_views(ours, ours.state_dict())
    for name, values in reference.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            views[name].copy_(values)


@torch.no_grad()
def scramble(network: nn.Module) -> None:
    """Make all parameters and statistics count: at the beginning many of them are 0 or 1."""
    for name, values in [*network.named_parameters(), *network.named_buffers()]:
        if name.endswith("A_res"):
            values.normal_(0, 0.02)
        elif name.endswith("running_var"):
            values.uniform_(0.5, 1.5)
        elif name.endswith("running_mean") or name.endswith("bias"):
            values.normal_(0, 0.1)
        elif values.dim() == 1 and values.is_floating_point():
            values.uniform_(0.5, 1.5)
        elif "conv_ta" in name:
            values.normal_(0, 0.05)


def make_batch(samples: int, frames: int) -> Tensor:
    """Return recordings of 40 to 130 frames, looped: (N, 3, T, 25, 2), a fifth with two bodies."""
    lengths = torch.randint(40, 131, (samples,)).tolist()
    joints = torch.stack(
        [torch.randn(3, length, 25, 2)[:, torch.arange(frames) % length] for length in lengths]
    )
    present = max(1, round(SHARE_OF_SECOND_BODIES * samples))
    joints[present:, ..., 1] = 0
    return joints[torch.randperm(samples)]


def evaluation(network: nn.Module, pair: Pair, kind: str) -> Work:
    """Return the work of scoring a batch; ours as `infer` does, folded."""
    network = network.eval() if isinstance(network, DualHead) else fold(network)

    def work() -> Mapping[str, Tensor]:
        with torch.inference_mode(), autocast(kind, pair.joints.device):
            return dict(network(pair.joints))

    return work


def training(network: nn.Module, pair: Pair, kind: str) -> Work:
    """Return the work of a training step."""
    network.train()
    optimizer = make_optimizer(
        network, TrainSettings.of({**pair.settings["train"], "learning_rate": 1e-6})
    )

    def work() -> None:
        optimizer.zero_grad()
        with autocast(kind, pair.joints.device):
            logits = network(pair.joints)
        loss_of(logits, pair.labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return work


def loss_of(logits: Mapping[str, Tensor], labels: Tensor) -> Tensor:
    """Return the mean of the heads' cross entropies, as a step of both protocols has it (Sec. 3.6)."""
    losses = [
        cross_entropy(values if values.dtype == torch.float64 else values.float(), labels)
        for values in logits.values()
    ]
    return torch.stack(losses).mean()


MAKE_WORK: Mapping[str, Callable[[nn.Module, Pair, str], Work]] = {
    "evaluation": evaluation,
    "training": training,
}


@contextmanager
def matmul_precision(contenders: Sequence[str]) -> Iterator[None]:
    """Allow TF32 if the contenders are to use it; all of them in one run do, or none."""
    with precision("tf32" if any("tf32" in name for name in contenders) else "fp32"):
        yield


def time_passes(situation: Situation) -> dict[str, Any]:
    """Return the seconds of each contender in each pass, and how far their outputs are apart."""
    torch.set_num_threads(situation.threads)
    pair = make_pair(situation)
    found: dict[str, Any] = {}
    with matmul_precision(situation.contenders):
        for kind in situation.passes:
            say(f"network: {kind}, {', '.join(situation.contenders)}, {situation.rounds} rounds")
            works = _works(pair, kind, situation.contenders)
            apart = _apart(works) if kind == "evaluation" else {}
            seconds = take_turns(
                works,
                rounds=situation.rounds,
                measure=MEASURES[situation.clock],
                warm_ups=situation.warm_ups,
            )
            found[kind] = {"seconds": seconds, "apart": apart}
    return found


OPERATIONS = {"ours": "auto", "eager": "plain", "compiled": "compiled", "graphs": "compiled"}
"""The implementation of the operations that each way of running ours takes (`ops.use`)."""


def _works(pair: Pair, kind: str, contenders: Sequence[str]) -> dict[str, Work]:
    """Return each contender's work, on a network of its own; `ours bf16` is ours in bf16."""
    return {contender: make_work(pair, kind, contender) for contender in contenders}


def make_work(pair: Pair, kind: str, contender: str) -> Work:
    """Return the work of one contender: `reference` or a key of `OPERATIONS`, and a precision."""
    is_reference = contender.split()[0] == "reference"
    network = copy.deepcopy(pair.networks["reference" if is_reference else "ours"])
    if kind == "evaluation" and not is_reference:
        network = fold(network)
    return work_of(network, pair, kind, contender)


def work_of(network: nn.Module, pair: Pair, kind: str, contender: str) -> Work:
    """Return the work of one contender on a network, which is folded already if ours evaluates."""
    whose, how = contender.split()
    work = MAKE_WORK[kind](network, pair, how)
    if whose == "reference":
        return work

    def chosen() -> object:
        with ops.use(OPERATIONS[whose]):
            return work()

    return captured(chosen, pair.joints) if whose == "graphs" else chosen


def captured(work: Work, joints: Tensor) -> Work:
    """Return work that replays a CUDA graph of `work`, whose batch and bodies stay the same."""
    known = bodies.distinct_rows(bodies.is_present(joints))
    with bodies.known_bodies(known):
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch's
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                work()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            result = work()

    def replay() -> object:
        graph.replay()
        return result

    return replay


def _apart(works: Mapping[str, Work]) -> dict[str, float]:
    """Return how far each contender's outputs are from the first one's."""
    outputs = {contender: work() for contender, work in works.items()}
    first = next(iter(outputs.values()))
    return {name: difference(found, first) for name, found in outputs.items()}  # type: ignore[arg-type]


@torch.no_grad()
def difference(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> float:
    """Return the largest difference, as a share of the largest value."""
    largest = max(float(values.abs().max()) for values in expected.values())
    return max(float((found[key] - expected[key]).abs().max()) for key in expected) / largest


def compare(situation: Situation) -> dict[str, float]:
    """Return how far ours is from the reference in float64: outputs, gradients, statistics."""
    torch.set_num_threads(situation.threads)
    say("network: float64 against the reference")
    pair = make_pair(situation, torch.float64)
    scores = [evaluation(network, pair, "fp64")() for network in pair.networks.values()]
    outputs = []
    for network in pair.networks.values():
        network.train()
        outputs.append(network(pair.joints))
        loss_of(outputs[-1], pair.labels).backward()  # type: ignore[no-untyped-call]
    reference, ours = pair.networks.values()
    return {
        "evaluation": difference(scores[1], scores[0]),  # type: ignore[arg-type]
        "training": difference(outputs[1], outputs[0]),
        "gradients": relative(published_views(ours, gradients(ours)), gradients(reference)),
        "statistics": difference(published_views(ours, statistics(ours)), statistics(reference)),
    }


def gradients(network: nn.Module) -> dict[str, Tensor]:
    """Return the gradient of each parameter."""
    return {
        name: torch.zeros_like(values) if values.grad is None else values.grad
        for name, values in network.named_parameters()
    }


def statistics(network: nn.Module) -> dict[str, Tensor]:
    """Return the running statistics."""
    return {name: values for name, values in network.state_dict().items() if "running" in name}


def relative(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> float:
    """Return the distance of all values together, as a share of their norm."""
    apart = sum(float((found[name] - expected[name]).square().sum()) for name in expected)
    norm = sum(float(values.square().sum()) for values in expected.values())
    return float((apart / norm) ** 0.5)


def step_memory(situation: Situation) -> float:
    """Return the bytes that one training step of the only contender takes on top of the network."""
    torch.set_num_threads(situation.threads)
    pair = make_pair(situation)
    (work,) = _works(pair, "training", situation.contenders).values()
    if situation.device == "cpu":
        before = status_bytes("VmRSS")
        work()
        return status_bytes("VmHWM") - before
    with matmul_precision(situation.contenders):
        work()
        torch.cuda.reset_peak_memory_stats()
        work()
    return float(torch.cuda.max_memory_allocated())


def matmul_speed(threads: int) -> dict[str, float]:
    """Return the floating point operations per second of a large product, by precision."""
    torch.set_num_threads(threads)
    speeds = {}
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        factors = torch.randn(2, MATRIX, MATRIX).to(dtype)
        product: Work = partial(torch.matmul, factors[0], factors[1])
        seconds = take_turns({name: product}, rounds=3, measure=wall_seconds)[name]
        speeds[name] = 2 * MATRIX**3 / min(seconds)
    return speeds


def _added_flop(total: Sequence[int], a: Sequence[int], b: Sequence[int], **_: object) -> int:
    """Return the operations of `total += a @ b`, of whose in-place form torch's counter knows nothing."""
    return 2 * a[0] * a[1] * b[1]


IN_PLACE = {torch.ops.aten.addmm_: _added_flop}


def profiled(work: Work, situation: Situation) -> dict[str, Any]:
    """Return the milliseconds of work that is warm, and its kernels that take most: name, milliseconds, calls."""
    on_gpu = situation.device.startswith("cuda")
    activity = torch.profiler.ProfilerActivity
    with torch.profiler.profile(activities=[activity.CUDA if on_gpu else activity.CPU]) as profiler:
        work()
        if on_gpu:
            torch.cuda.synchronize()
    field = "self_device_time_total" if on_gpu else "self_cpu_time_total"
    spent = {e.key: (getattr(e, field) / 1e3, e.count) for e in profiler.key_averages()}
    heaviest = sorted(spent.items(), key=lambda item: -item[1][0])[:10]
    total = sum(milliseconds for milliseconds, _ in spent.values())
    return {"total": total, "kernels": [(name, *values) for name, values in heaviest]}


def largest_batch(situation: Situation) -> int:
    """Return the most samples, from a batch's on in doubles, with which a training step fits into the memory."""
    fits = 0
    samples = situation.samples
    with matmul_precision(situation.contenders):
        while True:
            try:
                (work,) = _works(
                    make_pair(situation._replace(samples=samples)),
                    "training",
                    situation.contenders,
                ).values()
                work()
            except torch.cuda.OutOfMemoryError:
                return fits
            fits, samples = samples, samples * 2
            del work
            torch.cuda.empty_cache()


def profile(situation: Situation) -> dict[str, dict[str, Any]]:
    """Return where our time goes: floating point operations, and the operators that take most.

    Of each operator the name, its share of all CPU time, and the number of calls.
    """
    torch.set_num_threads(situation.threads)
    pair = make_pair(situation)
    found = {}
    for kind in situation.passes:
        say(f"network: profile of {kind}")
        work = _works(pair, kind, ["ours fp32"])["ours fp32"]
        work()
        with FlopCounterMode(display=False, custom_mapping=IN_PLACE) as counter:
            work()
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
            work()
        events = profiler.key_averages()
        total = sum(event.self_cpu_time_total for event in events)
        events = sorted(events, key=lambda event: -event.self_cpu_time_total)[:10]
        found[kind] = {
            "flop": counter.get_total_flops(),
            "operators": [(e.key, e.self_cpu_time_total / total, e.count) for e in events],
        }
    return found
