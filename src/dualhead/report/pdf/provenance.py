"""Provenance of the numbers: settings, cost, and a row for each run and ensemble."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from dualhead.report.pdf.runs import (
    Grid,
    Run,
    grouped,
    listed,
    made,
    number,
    table,
    without_repeats,
)
from dualhead.report.results import cells, read_results
from dualhead.report.text import device_text, duration_text
from dualhead.report.titles import SELECTIONS, benchmark_title, stream_title, variant_title
from dualhead.settings.params import Settings

COST = ("train_seconds", "train_samples_per_second", "peak_memory_mb")


def settings_tables(grid: Grid, runs: Sequence[Run]) -> Settings:
    """Return one run's complete settings, and how every other (benchmark, variant) differs."""
    base = next(
        (run for run in runs if run.config["variant"] == grid["figures"]["variant"]), runs[0]
    )
    reference = flat(base.config)
    rows = [[key, value_text(value)] for key, value in reference.items() if "." in key]
    half = -(-len(rows) // 2)
    pairs = [
        [*left, *right] for left, right in zip(rows[:half], [*rows[half:], ["", ""]], strict=False)
    ]
    differing = []
    for (benchmark, variant), group in grouped(runs, _kind_of_run).items():
        own = flat(group[0].config)
        changes = [
            f"{key}: {value_text(own.get(key, 'none'))}"
            for key in {**reference, **own}
            if "." in key and own.get(key) != reference.get(key) and key in own
        ]
        if changes:
            where = benchmark_title(grid, benchmark)
            differing.append([where, variant_title(variant), "; ".join(changes)])
    name = f"{variant_title(base.config['variant'])} on "
    name += benchmark_title(grid, base.config["benchmark"])
    columns = [("Setting", "left"), ("Value", "left")] * 2
    names = [("Benchmark", "left"), ("Variant", "left"), ("Differs in", "left")]
    return {"name": name, "base": table(columns, pairs), "others": table(names, differing)}


def _kind_of_run(run: Run) -> tuple[str, str]:
    return run.config["benchmark"], run.config["variant"]


def flat(settings: Settings, prefix: str = "") -> Settings:
    """Return nested settings as one level with dotted keys."""
    found: Settings = {}
    for key, value in settings.items():
        nested = isinstance(value, Mapping)
        found |= flat(dict(value), f"{prefix}{key}.") if nested else {f"{prefix}{key}": value}
    return found


def value_text(value: object) -> str:
    """Return a setting as a reader says it: `yes`, `40, 60`."""
    if isinstance(value, list):
        return listed(map(str, value)) or "none"
    return (
        {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)
    )


def cost_table(grid: Grid, runs: Sequence[Run]) -> Settings:
    """Return parameters, MACs, time, speed and memory of each cell, mean over seeds."""
    rows = []
    for (benchmark, variant, modality), group in grouped(runs, _cell_of_run).items():
        found = [metrics for _, metrics in made(group)]
        if not found:
            continue
        seconds, speed, memory = (np.mean([metrics[key] for metrics in found]) for key in COST)
        rows.append(
            [
                benchmark_title(grid, benchmark),
                variant_title(variant),
                modality.replace("_", " "),
                f"{found[0]['parameters']:,}",
                f"{found[0]['gmacs']:.2f}",
                duration_text(float(seconds)),
                f"{speed:.0f}",
                f"{memory / 1000:.1f}",
                device_text(str(found[0]["device"])),
            ]
        )
    columns = [("Benchmark", "left"), ("Variant", "left"), ("Modality", "left")]
    columns += [("Parameters", "right"), ("GMACs", "right"), ("Time", "right")]
    columns += [("Samples/s", "right"), ("GB", "right"), ("Device", "left")]
    return table(columns, without_repeats(rows))


def _cell_of_run(run: Run) -> tuple[str, str, str]:
    config = run.config
    return config["benchmark"], config["variant"], config["modality"]


def provenance(grid: Grid, runs: Sequence[Run]) -> Settings:
    """Return a row for each run that was made: address, epochs, result, code, environment."""
    environments = list(dict.fromkeys(_environment(metrics) for _, metrics in made(runs)))
    others = [
        key
        for key in SELECTIONS
        if key != "last" and any(metrics.get(key) for _, metrics in made(runs))
    ]
    rows = [
        [
            run.address,
            number(run.result.accuracy("top1"), "{:.2f}") if run.result else "",
            metrics["last"]["epoch"],
            *(metrics.get(key, {}).get("epoch", "") for key in others),
            f"{metrics['final_loss']:.4f}",
            duration_text(metrics["train_seconds"]),
            f"{metrics['git'] or 'none'}{', published' * run.is_kept}",
            chr(ord("A") + environments.index(_environment(metrics))),
        ]
        for run, metrics in made(runs)
    ]
    columns = [("Run", "left"), ("Top-1", "right"), ("Epoch", "right")]
    columns += [(SELECTIONS[key].column, "right") for key in others]
    columns += [("Final loss", "right"), ("Time", "right"), ("Commit", "left"), ("Env.", "left")]
    names = [[chr(ord("A") + index), text] for index, text in enumerate(environments)]
    missing = [
        f"{_cell_title(grid, cell)} (seed {', '.join([str(run.config['seed']) for run in group])})"
        for cell, group in grouped([run for run in runs if not run.result], _cell_of_run).items()
    ]
    return {"runs": table(columns, rows), "environments": names, "missing": missing}


def _cell_title(grid: Grid, cell: Sequence[str]) -> str:
    benchmark, variant, modality = cell
    title = benchmark_title(grid, benchmark)
    return f"{title}, {variant_title(variant)}, {stream_title(modality)}"


def _environment(metrics: Settings) -> str:
    versions = [f"{name} {version}" for name, version in metrics["versions"].items()]
    return listed([*versions, device_text(str(metrics["device"]))])


def ensembles(grid: Grid, results: Path) -> Settings | None:
    """Return a row for each ensemble that was made: address, members' weights, what was summed."""
    rows = []
    for cell in cells(grid):
        for result in read_results(grid, results, cell):
            if result.address.startswith("ensembles/"):
                weights = result.metrics["weights"]
                parts = [f"{name} {weight:g}" for name, weight in weights.items()]
                parts += ["fitted on held-out subjects"] * result.metrics.get(
                    "weights_fitted", False
                )
                top1 = number(result.accuracy("top1"), "{:.2f}")
                address = result.address.partition("/")[2]
                rows.append([address, top1, result.fusion, listed(parts)])
    columns = [("Ensemble", "left"), ("Top-1", "right"), ("Sum of", "left"), ("Weights", "left")]
    return table(columns, rows) if rows else None
