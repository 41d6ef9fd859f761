"""Files that are read back, each by one schema: grid, run config, metrics, published numbers, checkpoint settings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from dualhead.settings.defaults import (
    BENCHMARK,
    DATASET,
    EVALUATE,
    FIGURES,
    FUSION,
    HARDWARE,
    INPUT,
    METRIC_NAMES,
    MODELS,
    PREPARE,
    PROTOCOL,
    RECORDINGS,
    SEED,
    SEEDS,
    SYNTHESIZE,
    TABLES,
    TRAIN,
    WEIGHTS,
    Fields,
)
from dualhead.settings.params import MODALITY_NAMES, Settings, address, locate
from dualhead.settings.reading import Located, read_json
from dualhead.settings.run import RunConfig
from dualhead.settings.schema import (
    FLAG,
    MOST,
    NAME,
    NOTHING,
    TEXT,
    Field,
    Kind,
    Place,
    choice,
    either,
    list_of,
    number,
    record,
    table_of,
    tagged,
    whole,
)

MODALITY: Final = choice(*MODALITY_NAMES)
RUN: Final[Fields] = {
    "benchmark": Field(NAME),
    "variant": Field(NAME),
    "modality": Field(MODALITY),
    "seed": Field(SEED),
    "recipe": Field(whole(1)),
    "dataset": Field(NAME),
    "kind": Field(TEXT),
    "split": Field(TEXT),
    "store": Field(TEXT),
    "max_bodies": Field(whole(1)),
    "model": Field(tagged("name", MODELS)),
    "input": Field(record(INPUT)),
    "train": Field(record(TRAIN)),
    "evaluate": Field(record({"fusion_weight": EVALUATE["fusion_weight"]})),
}
"""All that a run is made from (config.yaml)."""
TRAINED: Final[Fields] = {
    "modality": RUN["modality"],
    "max_bodies": RUN["max_bodies"],
    "model": Field(record({"name": Field(choice(*MODELS))}, more=True)),
    "input": Field(record({}, more=True)),
}
"""Settings that a checkpoint must hold to be used; it may be older than a setting, or come from others."""
STORE: Final[Fields] = {
    "dataset": Field(NAME),
    "raw": Field(list_of(TEXT)),
    "kind": Field(TEXT),
    "partial": Field(FLAG),
    "release": Field(whole(1)),
    "reuse": Field(either(TEXT, NOTHING)),
    "prepare": Field(record(PREPARE)),
    "synthesize": Field(either(record(SYNTHESIZE), NOTHING)),
    "recordings": Field(record(RECORDINGS), optional=True),
}
ENSEMBLE: Final[Fields] = {
    "benchmark": Field(NAME),
    "variant": Field(NAME),
    "stream": Field(NAME),
    "seed": Field(SEED),
    "fusion": Field(FUSION),
    "members": Field(table_of(TEXT, keys=MODALITY)),
    "weights": Field(WEIGHTS),
}
CELL: Final[Fields] = {
    "table": Field(NAME),
    "benchmark": Field(NAME),
    "variant": Field(NAME),
    "stream": Field(NAME),
    "seeds": Field(table_of(TEXT, keys=TEXT)),
}
GRID: Final[Fields] = {
    "stores": Field(table_of(record(STORE), keys=TEXT)),
    "runs": Field(table_of(record(RUN), keys=TEXT)),
    "ensembles": Field(table_of(record(ENSEMBLE), keys=TEXT)),
    "fusion": Field(table_of(FUSION, keys=TEXT)),
    "cells": Field(list_of(record(CELL))),
    "protocol": Field(PROTOCOL),
    "recipe": Field(whole(1)),
    "seeds": Field(SEEDS),
    "tables": Field(table_of(tagged("kind", TABLES))),
    "figures": Field(record(FIGURES)),
    "datasets": Field(table_of(record(DATASET))),
    "benchmarks": Field(table_of(record(BENCHMARK))),
    "hardware": Field(record(HARDWARE), optional=True),
    "parents": Field(table_of(TEXT, keys=TEXT), "digest -> path of a checkpoint", optional=True),
    "address": Field(TEXT, optional=True),
}
"""The plan of a workspace (grid.json), as `dualhead.settings.grid.resolve` returns it."""
PERCENT: Final = number(0, 100)
BY_BENCHMARK: Final = table_of(PERCENT, keys=TEXT)
METRICS: Final[Fields] = {name: Field(BY_BENCHMARK, optional=True) for name in METRIC_NAMES}
CITATION: Final = Field(either(TEXT, NOTHING), "key in references.bib")
METHOD: Final[Fields] = {
    "label": Field(TEXT),
    "publisher": Field(TEXT),
    "citation": CITATION,
    "mark": Field(TEXT, "points to the table's note", optional=True),
    **METRICS,
}
OURS: Final[Fields] = {
    **METRICS,
    "rival": Field(record(METRICS), "what it improves on", optional=True),
}
ROW: Final[Fields] = {
    "variant": Field(NAME),
    "label": Field(TEXT),
    "group": Field(TEXT, optional=True),
    "parameters": Field(number(), "millions", optional=True),
    "top1": Field(PERCENT),
}
ABOUT: Final[Fields] = {
    "title": Field(TEXT),
    "source": Field(TEXT, "key in references.bib", optional=True),
    "note": Field(TEXT, optional=True),
}
PUBLISHED_TABLES: Final[Mapping[str, Fields]] = {
    "comparison": {
        **ABOUT,
        "methods": Field(list_of(record(METHOD)), optional=True),
        "ours": Field(table_of(table_of(record(OURS))), "variant -> stream", optional=True),
    },
    "ablation": {
        **ABOUT,
        "benchmark": Field(TEXT, "kind/split"),
        "stream": Field(NAME),
        "rows": Field(list_of(record(ROW), least=1)),
    },
}
STANDING: Final[Fields] = {
    "label": Field(TEXT),
    "venue": Field(TEXT),
    "citation": CITATION,
    "source": Field(TEXT, "where the numbers were read"),
    "ours": Field(FLAG, optional=True),
}
FIELD: Final[Fields] = {
    "note": Field(TEXT),
    "benchmarks": Field(list_of(TEXT), "kind/split of each column"),
    "methods": Field(
        list_of(
            record(
                {
                    **STANDING,
                    "top1": Field(list_of(either(PERCENT, NOTHING)), "of `benchmarks`, in order"),
                    "marks": Field(list_of(TEXT)),
                }
            )
        )
    ),
    "kinetics": Field(
        table_of(list_of(record({**STANDING, "top1": Field(TEXT), "mark": Field(TEXT)})), keys=TEXT)
    ),
}
PUBLISHED: Final[Fields] = {
    "margin": Field(number(0, 1), "share of a claimed gain within which a result is reproduced"),
    "tables": Field(table_of(tagged("kind", PUBLISHED_TABLES))),
    "contradictions": Field(list_of(TEXT)),
    "field": Field(record(FIELD)),
}
"""Results that papers report (published.yaml)."""
ACCURACIES: Final = record({name: Field(PERCENT) for name in METRIC_NAMES})
SELECTION: Final = record(
    {
        "epoch": Field(either(whole(), NOTHING), "none where members differ"),
        "fusion": Field(table_of(ACCURACIES, keys=FUSION, least=1), "of both heads"),
    },
    more=True,
)
RESULT: Final[Fields] = {
    "num_test": Field(whole(1)),
    "last": Field(SELECTION, "accuracies of the last epoch"),
    "best_on_validation": Field(SELECTION, optional=True),
    "best_on_test": Field(SELECTION, optional=True),
}
"""Measurements of an ensemble, and of a run among other things (metrics.json)."""
RUN_RESULT: Final[Fields] = {
    **RESULT,
    "parameters": Field(whole(1)),
    "gmacs": Field(number()),
    "train_seconds": Field(number()),
    "train_samples_per_second": Field(number()),
    "device": Field(TEXT),
    "peak_memory_mb": Field(number()),
    "final_loss": Field(number(-MOST)),
    "git": Field(TEXT),
    "versions": Field(table_of(TEXT, keys=TEXT)),
}
ADDRESS: Final = re.compile(r"[0-9a-f]{8}")
"""Form of a frozen grid's name."""
GRID_REMEDY: Final = (
    "the next `snakemake` that has something to do writes a workspace's results/grid.json anew"
)


def read_grid(path: Path) -> Settings:
    """Return the grid in a file, which is the one that its own address, or a frozen one's name, says.

    Raises:
        ValueError: if it is missing, cut, edited, or holds something else.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file; {GRID_REMEDY}")
    grid = read_json(path, GRID_REMEDY)
    try:
        _check(record(GRID), Located(grid, str(path)))
        _check_addresses(grid, path)
        stated = grid.pop("address", path.stem if ADDRESS.fullmatch(path.stem) else None)
        if stated not in (None, address(grid)):
            raise ValueError(f"{path}: expected the grid {stated}, found {address(grid)}")
    except ValueError as error:
        raise ValueError(f"{error}; is it a grid? {GRID_REMEDY}") from None
    return grid


def _check_addresses(grid: Settings, path: Path) -> None:
    """Refuse a grid whose cells or ensembles are made of what it does not hold."""
    known = {f"{kind}/{name}" for kind in ("runs", "ensembles") for name in grid[kind]}
    cells = {address for cell in grid["cells"] for address in cell["seeds"].values()}
    members = {f"runs/{run}" for it in grid["ensembles"].values() for run in it["members"].values()}
    stores = {f"stores/{run['store']}" for run in grid["runs"].values()}
    known |= {f"stores/{name}" for name in grid["stores"]}
    known -= {f"runs/{name}" for name in grid["runs"] if name not in grid["fusion"]}
    if missing := sorted((cells | members | stores) - known):
        raise ValueError(f"{path}: expected {missing[0]} among its own, found none")


def read_run(path: Path) -> RunConfig:
    """Return a run's complete settings (config.yaml).

    Raises:
        ValueError: if the file is missing, or is not what `dualhead configure` writes.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file; `dualhead configure` writes one run's settings")
    run = locate(path)
    if "tables" in run.content or "extends" in run.content:
        raise ValueError(
            f"{path}: expected one run's settings, found a params file; `dualhead configure` writes one run's"
        )
    _check(record(RUN), run)
    return RunConfig.of(run.content)


def check_trained(config: object, path: Path) -> None:
    """Raise ValueError for a checkpoint's settings that no network can be used with."""
    if not isinstance(config, dict):
        raise ValueError(f"{path}: expected a run's settings as `config`, found {config!r:.60}")
    _check(record(TRAINED, more=True), Located({"config": config}, str(path)), "config")


def check_model(settings: Mapping[str, Any], path: Path) -> None:
    """Raise ValueError for a checkpoint's `model` settings that are not those of its network."""
    content = {"config": {"model": dict(settings)}}
    _check(tagged("name", MODELS), Located(content, str(path)), "config", "model")


def check_metrics(metrics: Settings, path: Path, *, of_run: bool) -> None:
    """Raise ValueError for a metrics.json that lacks something, or has it in another form."""
    fields = RUN_RESULT if of_run else RESULT
    _check(record(fields, more=True), Located(metrics, str(path)))


def read_published(path: Path) -> Settings:
    """Return published accuracies.

    Raises:
        ValueError: if the file is missing, or holds something else; with the line.
    """
    published = locate(path)
    _check(record(PUBLISHED), published)
    return published.content


def _check(kind: Kind, source: Located, *keys: str) -> None:
    value, place = source.content, Place(source)
    for key in keys:
        value, place = value[key], place / key
    kind.check(value, place)
