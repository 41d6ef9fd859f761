"""One process of a GPU's visit: a pass in one precision, each section measured alone and written as it comes.

`python -m benchmarks.lane LANE SITUATION FOLDER`, as `benchmarks.gpu` starts it.
"""

from __future__ import annotations

import copy
import ctypes
import gc
import json
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from benchmarks import contenders, loading, results
from benchmarks.card import hold
from benchmarks.contenders import MEASURES, OPERATIONS, Pair, Situation, make_pair
from benchmarks.network import PASSES
from benchmarks.results import Findings, Report, Row, Target, number
from benchmarks.timing import Spread, Work, say, speedup, take_turns
from benchmarks.worker import situation_of
from dualhead.data.store import Store
from dualhead.models import bodies, ops
from dualhead.models.convert import published_views
from dualhead.models.fold import fold
from dualhead.models.ops import encoder
from dualhead.runs.inference import autocast, choose_device, precision

SECTION = "gpu"
FAULTS = (
    *(ArithmeticError, AssertionError, AttributeError, ImportError, LookupError),
    *(MemoryError, OSError, RuntimeError, TypeError, ValueError),
)
"""Errors after which a process goes on with its next section, since a GPU that is lent is not lent again."""
HOW = {"cuda": "CUDA events", "wall": "wall time", "cpu": "CPU time"}
TARGETS = {
    ("evaluation", "bf16"): 6.0,
    ("training", "bf16"): 8.0,
    ("evaluation", "tf32"): 6.0,
    ("training", "tf32"): 4.0,
    ("evaluation", "fp32"): 2.0,
    ("training", "fp32"): 2.0,
}
"""How many times faster than the authors' formulation in the same precision ours should be, in its fastest way."""
APART = {"bf16": 0.05, "tf32": 0.01, "fp32": 1e-4}
"""How far logits of a batch may be from those of the authors' formulation in fp32, as a share of the largest."""
GRADIENTS_APART = {"bf16": 0.1, "tf32": 0.1, "fp32": 0.02}
"""How far a step's gradients may be from those, as a share of their norm; wrong ones are about 1 apart."""


class Lane(NamedTuple):
    """A process of the visit."""

    kind: str  # training | evaluation | exactness
    precision: str

    @property
    def name(self) -> str:
        """Return what findings call it."""
        return f"{self.kind}, {self.precision}"


class Section(NamedTuple):
    """A part of a lane."""

    name: str
    find: Callable[[], Findings]
    alone: bool = True  # nothing else may run on the card


def run_sections(lane: Lane, sections: Iterable[Section], folder: Path) -> None:
    """Measure and write sections, each guarded; try once more at the end what did not fit into the memory."""
    todo, again = list(sections), set()
    for position, section in enumerate(todo):
        say(f"{SECTION}: {lane.name}: {section.name}")
        try:
            with hold(folder) if section.alone else nullcontext():
                found = section.find()
                free_memory()
        except (*FAULTS, encoder.failure()) as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0][:300]
            del error
            free_memory()
            if "out of memory" in reason and section.name not in again:
                again.add(section.name)
                todo.append(section)  # others have given back what they held by then
                continue
            found = Findings([], [f"{lane.name}: {section.name}: not measured: {reason}"])
        output = folder / lane.name / f"{position:02}"
        results.write(Report({"section": section.name}, found.rows, found.remarks), output)


def free_memory() -> None:
    """Give what is not used back to the card."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


class Timed(NamedTuple):
    """Measurements of one way."""

    seconds: list[float]
    peak: float  # bytes on the device beyond what was there before it


class Bench:
    """Networks, batch and measurements that the sections of a lane share."""

    def __init__(self, lane: Lane, situation: Situation) -> None:
        self.lane, self.situation = lane, situation
        self.kind, self.how = lane
        self.ways = situation.contenders  # reference first
        self.main = next(way for way in self.ways if way != "reference")
        self.pair: Pair = make_pair(situation)
        self.networks = {"reference": self._copy("reference"), "ours": self._copy("ours")}
        self.timed: dict[str, Timed] = {}
        self.outputs: dict[str, dict[str, Tensor]] = {}
        self.gradients: dict[str, dict[str, Tensor]] = {}

    def _copy(self, whose: str) -> nn.Module:
        network = copy.deepcopy(self.pair.networks[whose])
        return fold(network) if (self.kind, whose) == ("evaluation", "ours") else network

    def sections(self, folder: Path) -> Iterator[Section]:
        """Yield the sections, those that are wanted most first."""
        yield Section(f"first pass, {self.main}", self.first_pass, alone=False)
        yield Section("distance from the authors' formulation", self.distance)
        for way in self.ways:
            yield Section(f"time, {way}", lambda way=way: self.time(way))
        if self.kind == "training":
            yield Section("memory", self.memory, alone=False)
            yield Section("kernels", self.kernels)
        if self.lane == Lane("training", "bf16"):
            yield Section("store", lambda: self.write_store(folder), alone=False)
            yield Section("loader", lambda: self.loader(folder))

    def work(self, way: str) -> Work:
        """Return the work of one way; the ways of ours share a network, so that it is compiled once."""
        network = self.networks["reference" if way == "reference" else "ours"]
        return contenders.work_of(network, self.pair, self.kind, f"{way} {self.how}")

    def one_pass(self, way: str, how: str) -> None:
        """Keep the outputs, and in training the gradients, of one pass, without a change of the weights."""
        network = self.networks["reference" if way == "reference" else "ours"]
        is_training = self.kind == "training"
        network.train(is_training).zero_grad()
        with (
            precision("tf32" if how == "tf32" else "fp32"),
            ops.use(OPERATIONS.get(way, "auto")),
            torch.inference_mode(not is_training),
        ):
            with autocast(how, self.pair.joints.device):
                logits = {key: values.float() for key, values in network(self.pair.joints).items()}
            if is_training:
                contenders.loss_of(logits, self.pair.labels).backward()  # type: ignore[no-untyped-call]
                found = contenders.gradients(network)
                found = found if way == "reference" else published_views(network, found)
                self.gradients[way] = {name: values.clone() for name, values in found.items()}
        self.outputs[way] = {key: values.detach().clone() for key, values in logits.items()}
        network.zero_grad()

    def first_pass(self) -> Findings:
        """Compile; run once more with bodies that are known, as a CUDA graph is recorded."""
        begin = time.perf_counter()
        self.one_pass(self.main, self.how)
        seconds = time.perf_counter() - begin
        if encoder.has_failed():
            raise RuntimeError("it could not be compiled; what follows is not compiled either")
        known = bodies.distinct_rows(bodies.is_present(self.pair.joints))
        with bodies.known_bodies(known), precision("tf32" if self.how == "tf32" else "fp32"):
            self.work(self.main)()
        text = f"{self.lane.name}, {self.main}: the first pass took {seconds:.0f} s."
        return Findings([], [text])

    def distance(self) -> Findings:
        """Compare with the authors' formulation in strict fp32, at full size."""
        self.one_pass("reference", "fp32")
        found, expected = self.outputs[self.main], self.outputs["reference"]
        what = f"{PASSES[self.kind]}, {self.main}, {self.how}, {self.situation.samples} samples"
        how = "distance from the authors' formulation in fp32"
        logits = contenders.difference(found, expected)
        row = Row(
            SECTION,
            f"logits of {what}",
            how,
            Spread.of([logits]),
            "of the largest",
            Target("at most", APART[self.how]),
        )
        if self.kind != "training":
            return Findings([row])
        apart = contenders.relative(self.gradients[self.main], self.gradients["reference"])
        self.gradients.clear()
        other = replace(
            row,
            what=f"gradients of {what}",
            result=Spread.of([apart]),
            unit="of their norm",
            target=Target("at most", GRADIENTS_APART[self.how]),
        )
        return Findings([row, other])

    def time(self, way: str) -> Findings:
        """Time one way, and note its memory; return its row if the authors' formulation has been timed."""
        on_gpu = self.pair.joints.is_cuda
        with contenders.matmul_precision([self.how]):
            work = self.work(way)
            if on_gpu:
                torch.cuda.reset_peak_memory_stats()
                before = torch.cuda.memory_allocated()
            seconds = take_turns(
                {way: work},
                rounds=self.situation.rounds,
                measure=MEASURES[self.situation.clock],
                warm_ups=self.situation.warm_ups,
            )[way]
            peak = float(torch.cuda.max_memory_allocated() - before) if on_gpu else 0.0
        self.timed[way] = Timed(seconds, peak)
        if way == "reference":
            return Findings([])
        step = Spread.of(seconds).times(1e3)
        reference = self.timed.get("reference")
        row = Row(
            SECTION,
            f"{PASSES[self.kind]}, {way}, {self.how}, {self.situation.samples} samples",
            HOW[self.situation.clock],
            speedup(reference.seconds, seconds) if reference else None,
            "x",
            None if way == "eager" else Target("at least", TARGETS[self.kind, self.how]),
            ours=step,
            reference=Spread.of(reference.seconds).times(1e3) if reference else None,
            base="ms",
        )
        return Findings([row])

    def memory(self) -> Findings:
        """Compare the memory that the timed steps took."""
        reference, own = self.timed["reference"].peak, self.timed[self.main].peak
        if not own:
            return Findings([])
        row = Row(
            SECTION,
            f"memory of a training step, {self.main}, {self.how}, {self.situation.samples} samples",
            "most that torch allocated beyond networks and batch",
            speedup([reference], [own]),
            "x less",
            Target("at least", 1.5),
            ours=Spread.of([own]).times(1e-9),
            reference=Spread.of([reference]).times(1e-9),
            base="GB",
        )
        return Findings([row])

    def kernels(self) -> Findings:
        """Profile a step."""
        with contenders.matmul_precision([self.how]):
            found = contenders.profiled(self.work(self.main), self.situation)
        heaviest = ", ".join(
            f"`{name[:60]}` {number(spent)} ms ({count})" for name, spent, count in found["kernels"]
        )
        line = (
            f"{self.lane.name}, {self.main}: kernels take {number(found['total'])} ms; "
            f"most (launches): {heaviest}."
        )
        return Findings([], [line])

    def write_store(self, folder: Path) -> Findings:
        """Prepare recordings for `loader`."""
        loading.write_small_store(folder)
        return Findings([])

    def loader(self, folder: Path) -> Findings:
        """Compare making a batch with the step that was timed."""
        step = self.timed[self.main].seconds
        situation = self.situation._replace(rounds=len(step))
        with Store(folder / "store.h5") as store:
            batches = loading.batches_of(store, self.pair, self.situation.device)
            seconds = take_turns(
                batches, rounds=len(step), measure=MEASURES[situation.clock], warm_ups=1
            )
        found = {name: [value / loading.PASSES for value in seconds[name]] for name in batches}
        row = loading.share_row({**found, "step": step}, situation, HOW[situation.clock])
        return Findings([replace(row, section=SECTION)])


def exactness(situation: Situation) -> Findings:
    """Compare the network as it runs on the device with the reference, in float64."""
    found = contenders.compare(situation)
    parts = ", ".join(f"{name} {value:.1e}" for name, value in found.items())
    if encoder.has_failed():
        parts += "; **not compiled**, because that failed"
    size = f"{situation.samples} samples, {situation.frames} frames"
    row = Row(
        SECTION,
        "difference from the reference in float64",
        f"on the device, {size}, both passes",
        Spread.of([max(found.values())]),
        "of the values",
        Target("at most", 1e-12),
        note=parts,
    )
    return Findings([row])


def main(lane_text: str, settings: str, folder: Path) -> None:
    """Measure one lane."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: end with the visit
    lane = Lane(*lane_text.split(", "))
    values: Mapping[str, Any] = json.loads(settings)
    situation = situation_of(values)
    situation = situation._replace(device=str(choose_device(situation.device)))
    torch.set_num_threads(situation.threads)
    if lane.kind == "exactness":
        few = situation._replace(
            samples=min(4, situation.samples), frames=min(64, situation.frames)
        )
        sections = iter([Section("float64", lambda: exactness(few), alone=False)])
    else:
        sections = Bench(lane, situation).sections(folder)
    run_sections(lane, sections, folder)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
