"""Fair timing: contenders take turns, and what is reported are medians with the spread."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

Work = Callable[[], object]
Measure = Callable[[Work], float]
"""Does a piece of work and returns the seconds that it took."""


class Spread(NamedTuple):
    """Spread of several measurements of one thing."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Return median, smallest and largest."""
        ordered = sorted(values)
        return cls(statistics.median(ordered), ordered[0], ordered[-1])

    def times(self, factor: float) -> Spread:
        """Return the same in another unit; the factor is positive."""
        return Spread(*(value * factor for value in self))


def stopwatch(clock: Callable[[], float]) -> Measure:
    """Return a measure by a clock that is read before and after."""

    def measure(work: Work) -> float:
        begin = clock()
        work()
        return clock() - begin

    return measure


cpu_seconds = stopwatch(time.process_time)  # of all threads; being descheduled costs nothing
wall_seconds = stopwatch(time.perf_counter)


def cuda_seconds(work: Work) -> float:
    """Return the seconds between two events on the GPU's stream, with the work between them."""
    import torch

    begin = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    end = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    begin.record()
    work()
    end.record()
    end.synchronize()
    return float(begin.elapsed_time(end)) / 1000


def take_turns(
    contenders: Mapping[str, Work], *, rounds: int, measure: Measure, warm_ups: int = 1
) -> dict[str, list[float]]:
    """Return the seconds of each contender in each round: A B C A B C ..., after warm-ups."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(warm_ups + rounds):
        for name, work in contenders.items():
            spent = measure(work)
            if turn >= warm_ups:
                seconds[name].append(spent)
    return seconds


def speedup(reference: Sequence[float], ours: Sequence[float]) -> Spread:
    """Return how many times faster ours is: the ratio of medians, and the range over the rounds."""
    rounds = [theirs / own for theirs, own in zip(reference, ours, strict=True)]
    ratio = statistics.median(reference) / statistics.median(ours)
    return Spread(ratio, min(rounds), max(rounds))


def say(line: str) -> None:
    """Tell a person who waits what is being measured."""
    print(f"{time.strftime('%H:%M:%S')}  {line}", file=sys.stderr, flush=True)
