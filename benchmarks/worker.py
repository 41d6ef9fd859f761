"""A process that measures one thing: `python -m benchmarks.worker TASK SETTINGS OUTPUT`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks import contenders, counted, loading
from benchmarks.contenders import Situation


def situation_of(settings: Mapping[str, Any]) -> Situation:
    """Return what JSON made of a situation, with its tuples."""
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()
    }
    return Situation(**values)


def time_loading(settings: dict[str, Any]) -> object:
    """Run the task of the same name."""
    store = Path(settings.pop("store"))
    return loading.time_loading(situation_of(settings), store)


TASKS: Mapping[str, Callable[[dict[str, Any]], object]] = {
    "time_passes": lambda settings: contenders.time_passes(situation_of(settings)),
    "compare": lambda settings: contenders.compare(situation_of(settings)),
    "largest_batch": lambda settings: contenders.largest_batch(situation_of(settings)),
    "step_memory": lambda settings: contenders.step_memory(situation_of(settings)),
    "profile": lambda settings: contenders.profile(situation_of(settings)),
    "matmul_speed": lambda settings: contenders.matmul_speed(**settings),
    "time_loading": time_loading,
    "count": lambda settings: counted.count(**settings),
}

if __name__ == "__main__":
    task, text, output = sys.argv[1:]
    Path(output).write_text(json.dumps(TASKS[task](json.loads(text))))
