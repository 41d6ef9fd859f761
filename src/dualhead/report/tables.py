"""Tables of ours beside the published numbers, and the summaries that DVC compares."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from dualhead.files import replacing, write_json
from dualhead.report import statistics
from dualhead.report.captions import table_caption, table_note
from dualhead.report.published import (
    benchmark_key,
    is_partial,
    methods,
    published_ablation,
    published_cell,
    published_comparison,
    published_margin,
)
from dualhead.report.results import (
    Cell,
    Result,
    cells,
    check_result,
    read_correct,
    read_history,
    read_results,
    refuse_other_samples,
)
from dualhead.report.text import latex_text, markdown_text
from dualhead.report.titles import METRICS, benchmark_title, stream_short, variant_title
from dualhead.settings.params import Settings

COLUMNS = (
    *("table", "title", "note", "kind", "row", "group", "label", "mark", "publisher", "citation"),
    *("ours", "benchmark", "variant", "stream", "column", "metric", "paper", "margin"),
    *("num_seeds", "mean", "std", "low", "high", "difference", "verdict", "seeds_to_decide"),
    *("best_on_validation", "best_on_test", "best_std", "verdict_best", "seeds_to_decide_best"),
    *("num_test", "parameters_paper", "parameters", "gmacs", "reference", "step_paper", "step"),
    *("step_low", "step_high", "step_p", "step_p_holm", "step_test", "step_seeds", "step_std"),
    *("step_sample_variance", "seeds_needed"),
)
"""Of every table's CSV. A step is the difference from the reference row, paired if it is ours.

`verdict` compares our last epochs with the paper, `verdict_best` our epochs that do best on the test set, as the
paper's do.
"""
NAN = float("nan")


def build_table(grid: Settings, name: str, results: Path, published: Settings) -> pd.DataFrame:
    """Return one table: a row of the frame for each row, benchmark and metric of the table.

    Args:
        grid: the content of grid.json.
        name: a key of its `tables`.
        results: the folder that holds runs/ and ensembles/.
        published: the content of published.yaml.

    Raises:
        ValueError: if the grid has no such table, or a result is not what its address says.
    """
    if name not in grid["tables"]:
        raise ValueError(f"table {name!r}: not in params.yaml, which has {sorted(grid['tables'])}")
    kind = grid["tables"][name]["kind"]
    names = {"table": name, "kind": kind, "title": table_caption(grid, name, published)}
    names |= {"note": table_note(grid, name, published)}
    build = _comparison if kind == "comparison" else _ablation
    rows = [names | row for row in build(grid, name, results, published)]
    return pd.DataFrame(rows, columns=[*COLUMNS])


def csv_text(frame: pd.DataFrame) -> str:
    """Return one table as CSV."""
    return str(frame.round(6).to_csv(index=False, lineterminator="\n"))


def write_table(frame: pd.DataFrame, *, csv: Path, markdown: Path, latex: Path) -> None:
    """Write one table: CSV for machines, Markdown and LaTeX (booktabs) to paste."""
    for path, text in (
        (csv, csv_text(frame)),
        (markdown, markdown_text(frame)),
        (latex, latex_text(frame)),
    ):
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")


# --- comparison: every published method, then our streams ------------------------------


def _comparison(grid: Settings, name: str, results: Path, published: Settings) -> Iterator[Row]:
    table = grid["tables"][name]
    metrics = table.get("metrics", ["top1"])
    columns = [
        (benchmark, metric, _column(grid, benchmark, metric if len(metrics) > 1 else "", published))
        for benchmark in table["benchmarks"]
        for metric in metrics
    ]
    source = published_comparison(grid, name, published)
    if table.get("published", True):
        yield from _published_rows(grid, columns, methods(published, source))
    for variant in table.get("variants") or [table.get("variant", "dualhead")]:
        for stream in table["streams"]:
            label = f"{stream_short(stream)} {variant_title(variant)}"
            for benchmark, metric, column in columns:
                cell = Cell(benchmark, variant, stream)
                row = {"row": f"{variant}/{stream}", "label": f"{label} (ours)", "column": column}
                paper = published_cell(grid, cell, metric, published)
                yield row | _measured(grid, results, cell, metric, paper, published)


Row = Settings
Columns = Sequence[tuple[str, str, str]]
"""Benchmark, metric, and the title of the column group where that number stands."""


def _column(grid: Settings, benchmark: str, metric: str, published: Settings) -> str:
    title = benchmark_title(grid, benchmark)
    return f"{title}, {METRICS.get(metric, metric)}" if metric else title


def _published_rows(grid: Settings, columns: Columns, entries: Sequence[Settings]) -> Iterator[Row]:
    for method in entries:
        numbers = [
            method.get(metric, {}).get(benchmark_key(grid, benchmark), NAN)
            for benchmark, metric, _ in columns
        ]
        if np.isnan(numbers).all():
            continue
        names = {key: method.get(key) for key in ("label", "mark", "publisher", "citation")}
        for (benchmark, metric, column), number in zip(columns, numbers, strict=True):
            where = {"benchmark": benchmark, "metric": metric, "column": column}
            yield {"row": method["label"], "ours": False, "paper": number} | names | where


# --- ablation: variants of one network -------------------------------------------------


def _ablation(grid: Settings, name: str, results: Path, published: Settings) -> Iterator[Row]:
    table = grid["tables"][name]
    entries = _ablation_entries(grid, name, published)
    reference = reference_variant(grid, name)
    of_reference = next(entry for entry in entries if entry["variant"] == reference)
    column = _column(grid, table["benchmark"], "", published)
    rows = []
    for entry in entries:
        cell = Cell(table["benchmark"], entry["variant"], table["stream"])
        row = {"row": entry["variant"], "label": entry["label"], "group": entry.get("group")}
        row |= {"column": column, "parameters_paper": entry.get("parameters", NAN)}
        row |= _measured(grid, results, cell, "top1", entry["top1"], published)
        if entry["variant"] != reference:
            row |= {"reference": reference, "step_paper": entry["top1"] - of_reference["top1"]}
            row |= _step(grid, results, cell, cell._replace(variant=reference))
        rows.append(row)
    yield from _judged_together(rows)


def _judged_together(rows: Sequence[Row]) -> Iterator[Row]:
    """Yield an ablation's rows with what takes all of them: corrected p-values, and seeds needed.

    Seeds needed are those of the published step, or of ours where none is published, at the spread of all rows.
    """
    corrected = statistics.holm([row.get("step_p", NAN) for row in rows])
    stds, counts = ([row.get(key, NAN) for row in rows] for key in ("step_std", "step_seeds"))
    std = statistics.pooled_std(stds, counts)
    num_steps = sum("reference" in row for row in rows)
    for row, p_value in zip(rows, corrected, strict=True):
        if "reference" in row:
            published = not np.isnan(row["step_paper"])
            step = row["step_paper"] if published else row.get("step", NAN)
            variance = row.get("step_sample_variance", 0.0)
            needed = statistics.seeds_needed(step, std, variance=variance, num_tests=num_steps)
            yield row | {"step_p_holm": p_value, "seeds_needed": needed}
        else:
            yield row


def reference_variant(grid: Settings, name: str) -> str:
    """Return the variant that the others of an ablation are compared with: ours, or the first."""
    rows, ours = grid["tables"][name]["rows"], grid["figures"].get("variant")
    return str(ours if ours in rows else rows[0])


def _ablation_entries(grid: Settings, name: str, published: Settings) -> list[Settings]:
    """Return variant, label, group and the published numbers of each row."""
    source, same_benchmark = published_ablation(grid, name, published)
    if source and same_benchmark:
        return list(source["rows"])
    unknown = {"top1": NAN, "parameters": NAN}
    if source:
        return [entry | unknown for entry in source["rows"]]
    return [
        {"variant": variant, "label": variant_title(variant)} | unknown
        for variant in grid["tables"][name]["rows"]
    ]


def _step(grid: Settings, results: Path, cell: Cell, reference: Cell) -> Row:
    """Return our difference between two variants, on the same test samples and the seeds that both have."""
    first, second = _same_seeds(*(read_results(grid, results, it) for it in (cell, reference)))
    if not first:
        return {}
    names, right = read_correct(results, first)
    other_names, other_right = read_correct(results, second)
    refuse_other_samples(names, other_names, results / first[0].address)
    step = statistics.compare(right, other_right)
    return {
        "step": step.difference,
        "step_low": step.low,
        "step_high": step.high,
        "step_p": step.p_value,
        "step_test": step.test,
        "step_seeds": step.num_seeds,
        "step_std": step.std,
        "step_sample_variance": step.sample_variance,
    }


def _same_seeds(
    first: Sequence[Result], second: Sequence[Result]
) -> tuple[list[Result], list[Result]]:
    """Return the results of the seeds that both have, in one order."""
    others = {result.seed: result for result in second}
    common = [result for result in first if result.seed in others]
    return common, [others[result.seed] for result in common]


# --- one number ------------------------------------------------------------------------


def _measured(
    grid: Settings, results: Path, cell: Cell, metric: str, paper: float, published: Settings
) -> Row:
    """Return our measurements of one cell, beside the paper's value (nan where there is none)."""
    row: Row = {"ours": True, **cell._asdict(), "metric": metric, "paper": paper}
    row["margin"] = published_margin(grid, cell, metric, published) if not np.isnan(paper) else NAN
    found = read_results(grid, results, cell)
    if not found:
        not_run = statistics.NOT_RUN
        return row | {"num_seeds": 0, "verdict": not_run, "verdict_best": not_run}
    for result in found:
        check_result(results, result)
    num_test = int(found[0].metrics["num_test"])
    last, best = (
        statistics.spread([result.accuracy(metric, selection) for result in found], num_test)
        for selection in ("last", "best_on_test")
    )
    on_validation = [result.accuracy(metric, "best_on_validation") for result in found]
    row |= last._asdict() | {"difference": last.mean - paper}
    row |= {"best_on_validation": float(np.mean(on_validation))}
    row |= {"best_on_test": best.mean, "best_std": best.std}
    row |= {key: found[0].metrics.get(key) for key in ("parameters", "gmacs")}
    if np.isnan(paper):
        return row
    if is_partial(grid, cell.benchmark):
        return row | dict.fromkeys(("verdict", "verdict_best"), statistics.NOT_COMPARABLE)
    return row | verdicts(last, best, paper, row["margin"])


def verdicts(last: statistics.Spread, best: statistics.Spread, paper: float, margin: float) -> Row:
    """Return both verdicts on a published accuracy, and the seeds that would decide where one is undecided."""
    found = {
        "": (last, statistics.verdict_of_last(last, best, paper, margin)),
        "_best": (best, statistics.verdict(best, paper, margin)),
    }
    row: Row = {}
    for suffix, (ours, verdict) in found.items():
        row[f"verdict{suffix}"] = verdict
        if verdict == statistics.UNDECIDED:
            row[f"seeds_to_decide{suffix}"] = statistics.seeds_to_decide(ours, paper, margin)
    return row


# --- for DVC ---------------------------------------------------------------------------


def write_summary(grid: Settings, results: Path, output: Path) -> None:
    """Write `summary` as JSON."""
    write_json(output, summary(grid, results))


def write_curves(grid: Settings, results: Path, output: Path) -> None:
    """Write `curves` as CSV."""
    with replacing(output) as temporary:
        curves(grid, results).to_csv(temporary, index=False, lineterminator="\n")


def summary(grid: Settings, results: Path) -> Settings:
    """Return benchmark -> variant -> stream -> mean accuracies over seeds, of what has been run."""
    tree: Settings = {}
    for cell in cells(grid):
        if found := read_results(grid, results, cell):
            branch = tree.setdefault(cell.benchmark, {}).setdefault(cell.variant, {})
            branch[cell.stream] = _means(found) | {"seeds": len(found)}
    return tree


def _means(found: Sequence[Result]) -> Settings:
    means = {
        metric: float(np.mean([result.accuracy(metric) for result in found])) for metric in METRICS
    }
    return {metric: round(mean, 4) for metric, mean in means.items() if not np.isnan(mean)}


def curves(grid: Settings, results: Path) -> pd.DataFrame:
    """Return the history of every run that exists, one below the other, for `dvc plots`."""
    frames = []
    for run, settings in grid["runs"].items():
        if (history := read_history(results, run)) is not None:
            names = {key: settings[key] for key in ("benchmark", "variant", "modality", "seed")}
            frames.append(history.assign(run=run, **names))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()
