"""Verdicts on cases: what an attempt ended in, and whether that is a fault."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tests.builders.damage import mutants
from tests.builders.mutations import mutate_text

KINDS_OF_DAMAGE = 6  # of `mutants`, in turn


class Outcome(StrEnum):
    """Outcomes of a case; those below OTHER are faults."""

    SAME = "same result"
    REFUSED = "refused in one line"
    OTHER = "another valid file"
    TRACEBACK = "traceback"
    HANG = "hang"
    ACCEPTED = "accepted, differs"
    LOST = "lost work"


FAULTS = (Outcome.TRACEBACK, Outcome.HANG, Outcome.ACCEPTED, Outcome.LOST)


class Verdict(NamedTuple):
    """The end of one case."""

    outcome: Outcome
    text: str = ""
    count: int = 1  # of kills or damaged files in the case


Attempt = Callable[[int], Verdict]
"""Tries the case of a number, which seeds all that is random in it."""
Target = Callable[[Path], Attempt]
"""Builds what is to be tortured in a folder, once; returns what tries a case of it."""


def seed_of(seed: int, target: str, number: int) -> int:
    """Return what seeds one case, the same on any machine."""
    state = np.random.SeedSequence([seed, zlib.crc32(target.encode()), number])
    return int(state.generate_state(1)[0])


def damage(content: bytes, seed: int) -> bytes:
    """Return a copy with one damage of a disk, or one to three mistakes of typing."""
    rng = random.Random(seed)
    kind = rng.randrange(KINDS_OF_DAMAGE + 2)
    if kind >= KINDS_OF_DAMAGE and b"\0" not in content:
        changed = mutate_text(content.decode("latin-1"), rng)
        return changed.encode("utf-8", errors="replace")
    copies = mutants(content, KINDS_OF_DAMAGE, seed)
    return [damaged for _, damaged in copies][kind % KINDS_OF_DAMAGE]


def refusal(error: Exception, named: str) -> Verdict:
    """Return the verdict on a ValueError: it must be one line that names the file or the recording."""
    text = str(error)
    fault = "not one line" if "\n" in text else "" if named in text else f"{named} is not named"
    if fault:
        return Verdict(Outcome.TRACEBACK, f"{fault}: {text}")
    return Verdict(Outcome.REFUSED, text)


def judge(read: Callable[[], object], expected: object, named: str, *, tells: bool) -> Verdict:
    """Read something damaged; return whether it was refused, the same, or is another.

    Args:
        read: returns what the file holds; raises ValueError to refuse it.
        expected: what the undamaged file holds.
        named: what a refusal must name.
        tells: whether the form can tell damage: then nothing else may be accepted.
    """
    try:
        found = read()
    except ValueError as error:
        return refusal(error, named)
    if same(found, expected):
        return Verdict(Outcome.SAME)
    return Verdict(Outcome.ACCEPTED if tells else Outcome.OTHER, f"{named} was accepted")


def same(a: object, b: object) -> bool:
    """Return whether two values hold the same, to the last bit."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if hasattr(a, "shape") and hasattr(b, "shape"):
        return np.array_equal(np.asarray(a), np.asarray(b), equal_nan=_is_real(a))
    return type(a) is type(b) and a == b


def _is_real(array: object) -> bool:
    return np.asarray(array).dtype.kind in "fc"
