"""Scale of the measurements: enough for a look, or enough for a quotation."""

from __future__ import annotations

from typing import NamedTuple


class Scale(NamedTuple):
    """Numbers that decide how long the benchmarks take."""

    name: str
    rounds: int  # of short measurements
    network_rounds: int  # each takes half a minute
    large_rounds: int  # of training steps of 16 samples, each a minute and a half; none if 0
    memory_rounds: int
    files: int  # that the reference reads and normalizes in one round
    recordings: int  # of the smaller dataset; the larger has four times as many
    prepare_rounds: int


QUICK = Scale(
    "quick",
    rounds=5,
    network_rounds=3,
    large_rounds=0,
    memory_rounds=1,
    files=20,
    recordings=1000,
    prepare_rounds=3,
)
FULL = Scale(
    "full",
    rounds=15,
    network_rounds=9,
    large_rounds=5,
    memory_rounds=3,
    files=100,
    recordings=5000,
    prepare_rounds=3,
)
