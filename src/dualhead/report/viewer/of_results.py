"""Pages of trained and scored networks: read off their results, without running any of them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, zip_longest
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dualhead.arrays import Array, Integers
from dualhead.data.store import Store
from dualhead.files import read_record
from dualhead.report.figures.inputs import Inputs
from dualhead.report.results import (
    Cell,
    Result,
    fusion_of,
    members_of,
    read_result_attention,
    read_result_scores,
    refuse_other_samples,
)
from dualhead.report.titles import benchmark_title, stream_title, variant_title
from dualhead.report.viewer.content import (
    Network,
    Page,
    Recording,
    Seen,
    by_rounds,
    stored_recording,
)
from dualhead.runs.scores import REMEDY, Attention, Scores, attention_to, has_attention, softmax
from dualhead.settings.formats import check_metrics, read_grid, read_run
from dualhead.settings.params import Settings

ROLES = ("variant", "baseline")
HEADS = ("fusion", "coarse", "fine")
PAPER = "softmax"
"""The kind of scores that the paper averages over both heads."""
LATEST = "grid.json"
DEPTH = 4
"""Folders from results to a run's or an ensemble's own: kind, benchmark, variant, stream."""


class Scored(NamedTuple):
    """A result, the folder of its workspace's results, and what its page needs of its settings."""

    title: str
    results: Path
    result: Result
    store: str  # address of its store; empty where nothing tells


class Table(NamedTuple):
    """The scores of one network by head, its samples in the order of the first network's."""

    names: list[str]
    labels: Integers
    class_names: tuple[str, ...]
    heads: dict[str, Array]  # (samples, classes), probabilities
    attention: Attention | None


def page_of_workspace(
    grid: Settings, results: Path, stores: Path, *, title: str, count: int
) -> Page:
    """Return the page of a workspace: the variant and the baseline that its figures compare.

    Args:
        grid: the content of grid.json.
        results: the folder that holds runs/ and ensembles/.
        stores: the folder of stores.
        title: the workspace's name.
        count: recordings whose skeletons are shown.

    Raises:
        ValueError: if a run is missing, or a result is not what its address says.
    """
    inputs = Inputs(grid, results, stores)
    own = inputs.benchmark_cells()
    chosen = [cell for cell in map(inputs.cell, ROLES) if cell in own] or own[:1]
    if not chosen:
        raise ValueError(
            f"figures.benchmark: no table asks for a result on {inputs.choice['benchmark']}; name a "
            "benchmark of the tables in params.yaml"
        )
    scored = []
    for cell in dict.fromkeys(chosen):
        result = inputs.require(cell, "explorer")[0]
        shown = f"{variant_title(cell.variant)}, {stream_title(cell.stream)}"
        scored.append(Scored(shown, results, result, _store_in(grid, result.address)))
    facts = [("Benchmark", benchmark_title(grid, inputs.choice["benchmark"]))]
    return page_of(scored, stores / f"{scored[0].store}.h5", title=title, facts=facts, count=count)


def scored_in(folder: Path) -> Scored:
    """Return the result in a run's or an ensemble's folder.

    Which fusion of both heads counts is told by the workspace's grid.json; without it, the paper's does.

    Raises:
        ValueError: if the folder holds no result.
    """
    path = folder / "metrics.json"
    if not path.is_file() or len(path.resolve().parents) <= DEPTH + 1:
        raise ValueError(
            f"{folder}: expected the folder of a run or an ensemble, with metrics.json and scores.h5; "
            "found none: name one such as results/runs/ntu60_xsub/dualhead/joint/seed1-3f2a91c4"
        )
    results = folder.resolve().parents[DEPTH]
    address = folder.resolve().relative_to(results).as_posix()
    metrics = read_record(path, REMEDY)
    check_metrics(metrics, path, of_run=address.startswith("runs/"))
    cell = Cell(metrics["benchmark"], metrics["variant"], metrics["stream"])
    shown = f"{variant_title(cell.variant)}, {stream_title(cell.stream)}"
    fusion, store = _asked_for(results, address) or _told_by(folder, metrics)
    return Scored(shown, results, Result(str(metrics["seed"]), address, fusion, metrics), store)


def _asked_for(results: Path, address: str) -> tuple[str, str] | None:
    """Return fusion and store of a result that the workspace's grid asks for; None if it does not."""
    if not (results / LATEST).is_file():
        return None
    grid = read_grid(results / LATEST)
    kind, _, identity = address.partition("/")
    known = grid["fusion"] if kind == "runs" else grid["ensembles"]
    if identity not in known:
        return None
    return fusion_of(grid, address), _store_in(grid, address)


def _told_by(folder: Path, metrics: Settings) -> tuple[str, str]:
    """Return fusion and store as far as a result's own files tell them."""
    config = folder / "config.yaml"
    store = read_run(config).store if config.is_file() else ""
    return str(metrics.get("fusion", PAPER)), store


def _store_in(grid: Settings, address: str) -> str:
    return str(grid["runs"][members_of(grid, address)[0]]["store"])


def page_of(
    scored: Sequence[Scored],
    store: Path,
    *,
    title: str,
    facts: Sequence[tuple[str, str]] = (),
    names: Sequence[str] = (),
    count: int,
) -> Page:
    """Return the page of some networks' test scores.

    Args:
        scored: one network or several, scored on the same recordings.
        store: the recordings.
        title: the page's.
        facts: more lines of its head.
        names: recordings whose skeletons are shown; none: `count` that tell most.
        count: number of recordings; see `telling`.

    Raises:
        ValueError: if the networks were scored on other recordings, or a result is another's.
    """
    tables = _tables(scored)
    first = tables[0]
    with Store(store) as source:
        absent = [name for name in first.names if name not in source]
        if absent:
            raise ValueError(
                f"{store}: {len(absent)} of the {len(first.names)} recordings that {scored[0].title} "
                f"was scored on are not in it, such as {absent[0]}; give the store that it was trained on"
            )
        wanted = [source.names[source.position(name)] for name in names] or telling(tables, count)
        shown = [_recording(source, name, tables) for name in wanted]
        layout = source.layout
    head = [*facts, ("Recordings", f"{len(first.names)} of the test, {len(shown)} with skeletons")]
    seeds = ", ".join(dict.fromkeys(one.result.seed for one in scored))
    head += [("Store", store.name), ("Weights", f"last epoch, seed {seeds}")]
    return Page(
        title=title,
        facts=head,
        layout=layout,
        class_names=first.class_names,
        networks=[
            Network(one.title, table.heads["fusion"])
            for one, table in zip(scored, tables, strict=True)
        ],
        names=first.names,
        labels=first.labels,
        recordings=shown,
        command="dualhead view RUN --name NAME makes a page with them.",
    )


def _tables(scored: Sequence[Scored]) -> list[Table]:
    """Return the scores of each network, in the first one's order."""
    tables: list[Table] = []
    for one in scored:
        heads = [head for head in HEADS if head in one.result.metrics["last"]]
        found = {head: read_result_scores(one.results, one.result, head=head) for head in heads}
        path = one.results / one.result.address
        order = np.arange(len(found["fusion"].names))
        if tables:
            refuse_other_samples(tables[0].names, found["fusion"].names, path)
            places = {name: place for place, name in enumerate(found["fusion"].names)}
            order = np.array([places[name] for name in tables[0].names])
        attention = (
            read_result_attention(one.results, one.result)
            if has_attention(path / "scores.h5")
            else None
        )
        fused = found["fusion"]
        values = {head: _probabilities(scores)[order] for head, scores in found.items()}
        names = [fused.names[place] for place in order]
        tables.append(Table(names, fused.labels[order], fused.class_names, values, attention))
    return tables


def _probabilities(scores: Scores) -> Array:
    """Return scores as probabilities: the softmax of logits, a sum of probabilities over its weight."""
    values = scores.values
    sums = values.sum(axis=1, keepdims=True)
    if (values >= 0).all() and np.allclose(sums, sums.mean(), rtol=1e-3):
        shares: Array = values / sums
        return shares
    return softmax(values)


def telling(tables: Sequence[Table], count: int) -> list[str]:
    """Return recordings that tell most about some networks, by turns.

    The surest mistakes of the first network, one of each kind of confusion, then the others; and of
    each class one that it gets right, whose attention is known if any is.
    """
    first = tables[0]
    fused = first.heads["fusion"]
    best, sure = fused.argmax(axis=1), -fused.max(axis=1)
    attended = {name for table in tables if table.attention for name in table.attention.names}
    is_attended = np.isin(first.names, [*attended])
    order = np.lexsort((sure, ~is_attended))
    wrong = [i for i in np.argsort(sure, kind="stable") if best[i] != first.labels[i] >= 0]
    right = [i for i in order if best[i] == first.labels[i] or first.labels[i] < 0]
    mistakes = by_rounds(wrong, [(int(first.labels[i]), int(best[i])) for i in wrong])
    classes = by_rounds(right, [int(best[i]) for i in right])
    both = (i for i in chain.from_iterable(zip_longest(classes, mistakes)) if i is not None)
    return [first.names[i] for i in dict.fromkeys(both)][:count]


def _recording(store: Store, name: str, tables: Sequence[Table]) -> Recording:
    if name not in tables[0].names:
        raise ValueError(
            f"{store.path}: {name} is no recording of the test; a page of test scores shows those"
        )
    place = tables[0].names.index(name)
    seen = [
        Seen(
            {head: values[place] for head, values in table.heads.items()},
            attention=_attention(table, name),
        )
        for table in tables
    ]
    return stored_recording(store, store.position(name), seen)


def _attention(table: Table, name: str) -> Attention | None:
    """Return the attention maps of one recording; None if there are none of it."""
    if table.attention is None or name not in table.attention.names:
        return None
    return attention_to(table.attention, table.attention.names.index(name))
