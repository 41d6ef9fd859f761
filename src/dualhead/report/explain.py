"""Explanation of one number of a table: everything behind it, as text or as values for programs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from dualhead.data.store import Store
from dualhead.report import statistics
from dualhead.report.copies import accuracy_without, copied_tests
from dualhead.report.pdf.provenance import flat, value_text
from dualhead.report.pdf.runs import counted
from dualhead.report.published import (
    benchmark_key,
    is_partial,
    methods,
    published_cell,
    published_margin,
)
from dualhead.report.query import Found, find
from dualhead.report.results import (
    Cell,
    Result,
    check_result,
    fusion_of,
    members_of,
    read_result,
    read_result_scores,
    selections_of,
)
from dualhead.report.tables import verdicts
from dualhead.report.text import device_text, duration_text, signed, verdict_text
from dualhead.report.titles import METRICS, SELECTIONS
from dualhead.settings import checks
from dualhead.settings.params import Settings, dump
from dualhead.workspace.kept import FOLDER, is_kept

LABEL = 16  # characters of a fact's name
JUDGED = ("last", "best_on_test")
"""Selections that are compared with published numbers."""
Spreads = Mapping[str, statistics.Spread]


def explain(
    grid: Settings,
    results: Path,
    query: str,
    *,
    published: Settings | None = None,
    complete: bool = False,
) -> str:
    """Return everything behind one number, as text.

    Args:
        grid: the content of grid.json.
        results: the folder that holds runs/, ensembles/ and store/.
        query: a cell, as `find` takes it.
        published: the content of published.yaml; None leaves the paper's number out.
        complete: every setting, not only those that differ from the defaults.

    Raises:
        ValueError: if the query is not one cell, or a result is not what its address says.
    """
    found = find(grid, query)
    read = {
        seed: read_result(grid, results, address, found.cell, seed)
        for seed, address in found.seeds.items()
    }
    made = [result for result in read.values() if result]
    copied = _copied(grid, results, made[0]) if made else frozenset()
    lines = _head(grid, found, made, published)
    if made and published:
        lines += _judged(grid, results, found.cell, made, published, copied)
    lines += _values(found, read, results, copied)
    runs = [run for address in found.seeds.values() for run in members_of(grid, address)]
    for run in dict.fromkeys(runs):
        lines += ["", *_run_lines(grid, results, run, complete)]
    return "\n".join(lines)


def behind(
    grid: Settings, results: Path, query: str, *, published: Settings | None = None
) -> Settings:
    """Return everything behind one number, as plain values for programs.

    Args:
        grid: the content of grid.json.
        results: the folder that holds runs/ and ensembles/.
        query: a cell, as `find` takes it.
        published: the content of published.yaml; None leaves the paper's number out.

    Returns:
        `benchmark`, `variant`, `stream`, `tables`; `ours` (top-1 of each seed, in percent) and `paper` (None where it
        says none); `seeds`: seed -> `address`, `metrics` (metrics.json's content, None if not run) and `checked`
        (whether the scores beside it bear its accuracies out); `runs`: address -> settings.

    Raises:
        ValueError: if the query is not one cell, or a result is not what its address says.
    """
    found = find(grid, query)
    seeds = {
        seed: _behind_seed(grid, results, found.cell, seed, it) for seed, it in found.seeds.items()
    }
    made = {seed: it["metrics"] for seed, it in seeds.items() if it["metrics"]}
    fusion = fusion_of(grid, next(iter(found.seeds.values())))
    paper = published_cell(grid, found.cell, "top1", published) if published else float("nan")
    runs = [run for address in found.seeds.values() for run in members_of(grid, address)]
    return {
        **found.cell._asdict(),
        "tables": list(found.tables),
        "ours": {seed: metrics["last"]["fusion"][fusion]["top1"] for seed, metrics in made.items()},
        "paper": None if np.isnan(paper) else paper,
        "seeds": seeds,
        "runs": {run: grid["runs"][run] for run in dict.fromkeys(runs)},
    }


def _behind_seed(grid: Settings, results: Path, cell: Cell, seed: str, address: str) -> Settings:
    result = read_result(grid, results, address, cell, seed)
    metrics, checked = (result.metrics, check_result(results, result)) if result else (None, False)
    return {"address": address, "metrics": metrics, "checked": checked}


def _head(
    grid: Settings, found: Found, made: Sequence[Result], published: Settings | None
) -> list[str]:
    """Return the cell's name and its number as the tables print it."""
    where = f"  (in {', '.join(found.tables)})" if found.tables else "  (in no table by itself)"
    lines = [f"{found.cell}{where}"]
    fusion = fusion_of(grid, next(iter(found.seeds.values())))
    what = f"top-1 at the last epoch, by fused {fusion}"
    if made:
        values = np.array([result.accuracy("top1") for result in made])
        spread = f" ± {values.std(ddof=1):.2f}" if len(values) > 1 else ""
        seeds = f"{len(made)} of {len(found.seeds)} seeds"
        lines.append(_fact("ours", f"{values.mean():.2f}{spread}  ({what}; {seeds})"))
    else:
        lines.append(_fact("ours", f"not run  ({what})"))
    paper = published_cell(grid, found.cell, "top1", published) if published else float("nan")
    return lines if np.isnan(paper) else [*lines, _fact("the paper's", f"{paper:.1f}")]


def _judged(
    grid: Settings,
    results: Path,
    cell: Cell,
    made: Sequence[Result],
    published: Settings,
    copied: frozenset[str],
) -> list[str]:
    """Return the verdicts on the paper's number, with and without copied test samples; else who published one."""
    ours = {selection: _spread(results, made, selection) for selection in JUDGED}
    others = {it: _spread(results, made, it, copied) for it in JUDGED} if copied else ours
    parts = f"without {len(copied)} copied test samples"
    if np.isnan(paper := published_cell(grid, cell, "top1", published)):
        is_ensemble = made[0].address.startswith("ensembles/")  # as the published are
        return is_ensemble * [
            _fact("published", f"{name} {value:.1f}: {_apart(value, ours, others, parts)}")
            for name, value in _rivals(grid, cell, published)
        ]
    if is_partial(grid, cell.benchmark):
        return [_fact("verdict", f"{statistics.NOT_COMPARABLE}: the dataset is partial")]
    margin = published_margin(grid, cell, "top1", published)
    lines = []
    for what, spreads in (("all test samples", ours), (parts, others)):
        row: Settings = {"seeds_to_decide": None, "seeds_to_decide_best": None}
        row |= verdicts(spreads["last"], spreads["best_on_test"], paper, margin)
        told = f"{verdict_text()(row)} (last epoch), {verdict_text('_best')(row)} (best on test)"
        lines.append(_fact("verdict", f"{told}; {what}, margin {margin:.2f}"))
    return lines[: 2 if copied else 1]


def _spread(
    results: Path, made: Sequence[Result], selection: str, copied: frozenset[str] = frozenset()
) -> statistics.Spread:
    """Return mean and spread over seeds, on the test samples that are not copied."""
    if not copied:
        values = [result.accuracy("top1", selection) for result in made]
        return statistics.spread(values, int(made[0].metrics["num_test"]))
    scored = [read_result_scores(results, result, selection) for result in made]
    found = [accuracy_without(scores, copied) for scores in scored]
    values = [value for value in found if value is not None]
    return statistics.spread(values, len(scored[0].names) - len(copied))


def _rivals(grid: Settings, cell: Cell, published: Settings) -> list[tuple[str, float]]:
    """Return the methods with a published accuracy on a cell's benchmark; none where there is no such table."""
    key = benchmark_key(grid, cell.benchmark)
    found = [(one["label"], one["top1"].get(key)) for one in methods(published, None)]
    return [(str(name), float(value)) for name, value in found if value is not None]


def _apart(value: float, ours: Spreads, others: Spreads, parts: str) -> str:
    """Return the distance of our last epochs from a published accuracy, on all test samples and on some."""
    told = f"ours {ours['last'].mean - value:+.2f}"
    if others is not ours:
        told += f", {others['last'].mean - value:+.2f} {parts}"
    return signed(told) + "; no verdict, as it is another method's"


def _fact(name: str, text: str) -> str:
    return f"  {name:<{LABEL}}{text}"


def _values(
    found: Found, read: Mapping[str, Result | None], results: Path, copied: frozenset[str]
) -> list[str]:
    """Return each seed's accuracies under each selection, and where they lie."""
    lines = []
    for seed, result in read.items():
        lines += ["", f"seed {seed}: {results / found.seeds[seed]}"]
        if result is None:
            lines.append(_fact("not run", "no metrics.json there"))
            continue
        for selection in selections_of(result.metrics):
            lines.append(_fact(selection, _selection_text(result, selection)))
        if "weights" in result.metrics:
            parts = [f"{name} {weight:g}" for name, weight in result.metrics["weights"].items()]
            lines.append(_fact("weights", f"{', '.join(parts)}; the sum of {result.fusion}"))
        lines.append(_fact("test samples", f"{result.metrics['num_test']:,}"))
        checked = check_result(results, result)
        told = "borne out by the scores beside them" if checked else "unchecked: no scores.h5 there"
        lines.append(_fact("accuracies", told))
        lines += _without_copies(results, result, copied) if checked else []
    return lines


def _copied(grid: Settings, results: Path, result: Result) -> frozenset[str]:
    """Return the test samples of a result whose content was trained on; none where the store or scores are gone."""
    config = grid["runs"][members_of(grid, result.address)[0]]
    path = results / "store" / f"{config['store']}.h5"
    if not path.is_file() or not check_result(results, result):
        return frozenset()
    with Store(path) as store:
        return copied_tests(store)[config["split"]]


def _without_copies(results: Path, result: Result, copied: frozenset[str]) -> list[str]:
    """Return the accuracy without test samples whose content was trained on; nothing if none is."""
    without = accuracy_without(read_result_scores(results, result), copied)
    if without is None:
        return []
    told = f"{len(copied):,} test samples have the content of a training one"
    return [_fact("WARNING", f"{told}; top1 without them {without:.2f}")]


def _selection_text(result: Result, selection: str) -> str:
    """Return `top1 90.12, top5 98.80, mean_class 90.03; epoch 80: the last epoch (...)`."""
    numbers = [f"{name} {result.accuracy(name, selection):.2f}" for name in METRICS]
    epoch = result.metrics[selection]["epoch"]
    when = "of each member's own epoch" if epoch is None else f"epoch {epoch}"
    return f"{', '.join(numbers)}; {when}: {SELECTIONS[selection].explanation}"


def _run_lines(grid: Settings, results: Path, run: str, complete: bool) -> list[str]:
    """Return the sources, settings and cost of one run."""
    config = grid["runs"][run]
    lines = [f"run {results / 'runs' / run}"]
    cell = Cell(config["benchmark"], config["variant"], config["modality"])
    result = read_result(grid, results, f"runs/{run}", cell, str(config["seed"]))
    facts = _made_with(result.metrics) if result else [("not run", "no metrics.json there")]
    if is_kept(results, run):
        facts.insert(0, ("trained", f"elsewhere: taken from {FOLDER}/ as it was published there"))
    facts += _data(grid, results, config, result.metrics if result else {})
    everything = [_fact("settings", "all:"), *(f"    {line}" for line in dump(config).splitlines())]
    settings = everything if complete else _differing(config)
    return lines + [_fact(*fact) for fact in facts] + settings


def _made_with(metrics: Settings) -> list[tuple[str, str]]:
    """Return code, packages, device and cost of a run."""
    versions = [f"{name} {version}" for name, version in metrics["versions"].items()]
    return [
        ("code", _commit(metrics["git"])),
        ("packages", ", ".join(versions)),
        ("device", device_text(str(metrics["device"]))),
        ("wall time", f"{duration_text(metrics['train_seconds'])}; {_device_hours(metrics)}"),
        ("speed", f"{metrics['train_samples_per_second']:,.1f} training samples/s"),
        ("peak memory", f"{metrics['peak_memory_mb'] / 1000:.2f} GB"),
        ("network", f"{metrics['parameters']:,} parameters, {metrics['gmacs']:.3f} GMACs a sample"),
        ("final loss", signed(f"{metrics['final_loss']:.4f}")),
    ]


def _commit(git: str) -> str:
    if not git:
        return "commit unknown: it did not run in a repository"
    commit = git.removesuffix("-dirty")
    dirty = "DIRTY: changed since that commit" if git.endswith("-dirty") else "clean"
    return f"commit {commit}, {dirty}"


def _device_hours(metrics: Settings) -> str:
    """Return `1.50 GPU-hours`, or `3.00 CPU-hours` (wall time times threads)."""
    hours = metrics["train_seconds"] / 3600
    threads = re.fullmatch(r"CPU, (\d+) threads", str(metrics["device"]))
    if threads:
        return f"{hours * int(threads[1]):.2f} CPU-hours on {counted(int(threads[1]), 'thread', 'threads')}"
    return f"{hours:.2f} GPU-hours"


def _data(
    grid: Settings, results: Path, config: Settings, metrics: Settings
) -> list[tuple[str, str]]:
    """Return the store, its fingerprint and the raw files it was made from."""
    entry = grid["stores"][config["store"]]
    path = results / "store" / f"{config['store']}.h5"
    raw = ", ".join(entry["raw"]) if entry["synthesize"] is None else "generated, not recorded"
    return [
        ("data", f"{config['dataset']}, split {config['split']}: {path}"),
        ("raw data", raw),
        ("fingerprint", _fingerprint(path, metrics)),
        ("prepared", ", ".join(f"{key} {value}" for key, value in entry["prepare"].items())),
    ]


def _fingerprint(path: Path, metrics: Settings) -> str:
    """Return the fingerprint of the raw files: as the run saw it, else as the store has it now."""
    known = metrics.get("data", {}).get("fingerprint")
    if known:
        return f"{known}, as the training saw it"
    if not path.is_file():
        return "unknown: the store is not here"
    with Store(path) as store:
        return f"{store.attributes['fingerprint']}, of the store as it is now"


def _differing(config: Settings) -> list[str]:
    """Return the settings that are not the paper's defaults."""
    sections = {key: value for key, value in config.items() if isinstance(value, Mapping)}
    own, default = flat(sections), flat(_defaults(config))
    changes = [
        f"{key}: {value_text(value)} (default {value_text(default.get(key, 'none'))})"
        for key, value in own.items()
        if value != default.get(key)
    ]
    first, *rest = changes or ["all as the defaults"]
    return [_fact("settings", first), *(_fact("", change) for change in rest)]


def _defaults(config: Settings) -> Settings:
    """Return the defaults of params.yaml in the shape of a run's settings."""
    defaults = checks.defaults()
    name = config["model"]["name"]
    return defaults | {"model": {"name": name, **defaults[name]}}
