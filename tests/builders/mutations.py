"""Seeded mistakes in settings: in a file's text, and in the values that it stands for."""

from __future__ import annotations

import copy
import random
from typing import Any

ODD_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2, 0.5, -0.5, 10**30, float("inf"), float("nan")),
    *("", "none", "joint", "dualhead", "../x", ".", "a/b", "{x}", "1e-5", "fitted", "paper", "ü"),
    *([], [1], [0.5, 2], ["joint"], [None], [[1]], {}, {"joint": 1}, {"x": None}),
)
ODD_TEXTS = (
    *("\t", "\0", "[", "]", "{", "}", ":", ": ", "- ", "#", "'", '"', "&a ", "*a", "<<: ", "!!x "),
    *("\n", "\r", "\ufeff", "\u2028", "---\n", "? ", "|\n", "@", "%", ",", "1e400", "~", "\ud7ff"),
)


def mutate_text(text: str, rng: random.Random) -> str:
    """Return a text with one to three mistakes of typing or copying."""
    for _ in range(rng.randint(1, 3)):
        at, end = sorted(rng.randrange(len(text) + 1) for _ in range(2))
        end = min(end, at + rng.choice((1, 1, 5, 200)))
        piece = rng.choice(("", text[at:end] * 2, text[at:end][::-1], rng.choice(ODD_TEXTS)))
        text = text[:at] + piece + text[end:]
    return text


def mutate_values(settings: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """Return settings with one to three values replaced, removed, renamed or doubled."""
    settings = copy.deepcopy(settings)
    for _ in range(rng.randint(1, 3)):
        within: Any = settings
        while True:
            keys = [*within] if isinstance(within, dict) else [*range(len(within))]
            if not keys:
                break
            key = rng.choice(keys)
            if not isinstance(within[key], dict | list) or rng.random() < 0.2:
                _change(within, key, rng)
                break
            within = within[key]
    return settings


def _change(within: Any, key: Any, rng: random.Random) -> None:
    what = rng.choice(("replace", "replace", "remove", "rename"))
    value = within.pop(key) if isinstance(within, dict) else within[key]
    if what == "replace":
        within[key] = copy.deepcopy(rng.choice(ODD_VALUES))
    elif what == "rename" and isinstance(within, dict):
        within[rng.choice((f"{key}s", "", f"{key}"[1:], "a/b", "..", "joint"))] = value
    elif isinstance(within, list):
        within.extend([value] if rng.random() < 0.5 else within[:])
