"""Findings in each figure and table: a sentence or two, computed from the same results."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from dualhead.report.figures.ablation import variant_sizes
from dualhead.report.figures.attention import attended, spatial_range, temporal_range
from dualhead.report.figures.classes import class_gains, confusions, head_accuracies
from dualhead.report.figures.inputs import Inputs
from dualhead.report.figures.strips import compared
from dualhead.report.figures.training import histories, selection_gains
from dualhead.report.pdf.runs import counted, listed, number
from dualhead.report.results import Cell
from dualhead.report.text import mean_text, records
from dualhead.report.titles import benchmark_title, stream_title, variant_title
from dualhead.settings.params import Settings

INERT = 0.02  # of attention: features are multiplied by 1 plus it
ARROW = "\N{RIGHTWARDS ARROW}"


def figure_text(name: str, inputs: Inputs) -> str:
    """Return the finding in one figure.

    Raises:
        ValueError: if a run that the figure shows is missing.
    """
    return FIGURES[name](inputs)


def _network(inputs: Inputs) -> str:
    found = inputs.require(inputs.cell(), "network")[0].metrics
    if "parameters" not in found:
        return "Features of the two heads cross twice in each direction."
    size = f"{found['parameters'] / 1e6:.3f} million parameters and {found['gmacs']:.2f} billion multiply-accumulates"
    return f"The network shown has {size} for one sample; attention crosses between its heads four times."


def _curves(inputs: Inputs) -> str:
    told: list[str] = []
    for cell, runs in histories(inputs).items():
        if not told or cell.variant != inputs.choice["variant"]:
            train, test = (
                float(np.mean([run[column].dropna().iloc[-1] for run in runs]))
                for column in ("train_top1", "test_fusion_top1")
            )
            told.append(
                f"{_name(cell)}, is right on {train:.2f} % of training and {test:.2f} % of test samples"
            )
    return f"In the last epoch {'; '.join(told)}."


def _name(cell: Cell) -> str:
    return f"{variant_title(cell.variant)}, {stream_title(cell.stream)}"


def _class_gain(inputs: Inputs) -> str:
    found = class_gains(inputs)
    best, worst = int(found.gain.argmax()), int(found.gain.argmin())
    apart = int(((found.low > 0) | (found.high < 0)).sum())
    text = (
        f"{counted(int((found.gain > 0).sum()), 'class gains', 'classes gain')}, {(found.gain < 0).sum()} "
        f"{'loses' if (found.gain < 0).sum() == 1 else 'lose'}, of {len(found.gain)}: from "
        f"{number(found.gain[worst], '{:+.2f}')} points ({found.names[worst]}) to "
        f"{number(found.gain[best], '{:+.2f}')} ({found.names[best]}). "
    )
    chance = 0.05 * len(found.gain)
    return (
        text
        + f"{counted(apart, 'interval leaves', 'intervals leave')} 0 out, where {chance:.1f} would by chance."
    )


def _heads(inputs: Inputs) -> str:
    _, series = head_accuracies(inputs)
    coarse, fine, fusion = series["coarse"], series["fine"], series["fusion"]
    return (
        f"The fine head is better in {counted(int((fine > coarse).sum()), 'class', 'classes')} and the coarse head in "
        f"{(coarse > fine).sum()}, of {len(fine)}; their fusion is at least as good as the better one in "
        f"{(fusion >= np.maximum(coarse, fine)).sum()}."
    )


def _confusion(inputs: Inputs) -> str:
    found = confusions(inputs)
    wrong = found.ours - np.diag(np.diag(found.ours))
    true, taken = divmod(int(wrong.argmax()), len(wrong))
    if not wrong.any():
        return "No test sample is taken for another class."
    text = f"Most often {found.names[true]} is taken for {found.names[taken]}"
    text += f", in {wrong[true, taken]:.2f} % of its samples"
    if found.theirs is None:
        return f"{text}."
    baseline = variant_title(inputs.choice["baseline"])
    return f"{text} ({baseline}: {found.theirs[true, taken]:.2f} %)."


def _strips(inputs: Inputs) -> str:
    shown = compared(inputs)
    right = [sum(pair[0] > pair[1] for pair in one.probabilities.values()) for one in shown]
    several = len(next(iter(shown)).probabilities) > 1
    if not several:
        return f"Shown are the {len(shown)} recordings, of different classes, of which the network is surest."
    resolved = sum(count == 1 for count in right)
    return (
        f"In {resolved} of the {len(shown)} recordings shown, one network gives the true class more than the confused "
        "one, and the other network less."
    )


def _attention(inputs: Inputs) -> str:
    shown = attended(inputs)
    told = []
    if any(sample.joints is not None and sample.seen.present.any() for sample in shown):
        told.append(_range_text("Spatial", spatial_range(shown)))
    if any(sample.frames for sample in shown):
        told.append(_range_text("Temporal", temporal_range(shown)))
    return " ".join(told)


def _range_text(kind: str, bounds: tuple[float, float]) -> str:
    """Return the range of one attention, and whether it does anything: features are multiplied by 1 plus it."""
    low, high = bounds
    text = f"{kind} attention lies between {low:.3f} and {high:.3f}"
    if high - low >= INERT:
        return f"{text}."
    return (
        f"{text}: it is inert here, as it scales the features of different "
        f"{'joints' if kind == 'Spatial' else 'frames'} by factors that differ by {100 * (high - low):.1f} % at most."
    )


def _parameters(inputs: Inputs) -> str:
    rows = sorted(variant_sizes(inputs), key=lambda row: -row[1].mean)
    (best, spread, _), smallest = rows[0], min(rows, key=lambda row: row[2])
    overlap = sum(row[1].high >= spread.low for row in rows[1:])
    if len(rows) == 1:
        return (
            f"{variant_title(best.variant)} has {spread.mean:.2f} % and {smallest[2] / 1e6:.2f} million parameters; "
            "no other variant was asked for."
        )
    return (
        f"The most accurate is {variant_title(best.variant)} ({spread.mean:.2f} %), and the intervals of {overlap} of "
        f"the other {len(rows) - 1} overlap its own; the smallest is {variant_title(smallest[0].variant)} "
        f"({smallest[2] / 1e6:.2f} M)."
    )


def _selection(inputs: Inputs) -> str:
    gains = {cell: row["best_on_test"] for cell, row in selection_gains(inputs).items()}
    most = max(gains, key=lambda cell: gains[cell])
    where = benchmark_title(inputs.grid, most.benchmark)
    if not gains[most]:
        return "Looking at the test set would change nothing here: the last epoch is also the best on it."
    return (
        f"Looking at the test set is worth {np.mean(list(gains.values())):.2f} points on average and up to "
        f"{gains[most]:.2f} ({_name(most)}, {where}): as much as many of the steps in the tables above."
    )


FIGURES: Mapping[str, Callable[[Inputs], str]] = {
    "network": _network,
    "curves": _curves,
    "class_gain": _class_gain,
    "heads": _heads,
    "confusion": _confusion,
    "strips": _strips,
    "attention": _attention,
    "parameters": _parameters,
    "selection": _selection,
}


# --- tables ----------------------------------------------------------------------------


def table_text(frame: pd.DataFrame) -> str:
    """Return the finding in a table: our best row of each column, or the best of an ablation."""
    ours = [record for record in records(frame) if record["ours"] and record["mean"] is not None]
    if not ours:
        return "None of our rows has been run."
    columns = dict.fromkeys(record["column"] for record in ours)
    best = [max((it for it in ours if it["column"] == column), key=_mean) for column in columns]
    if frame["kind"].iloc[0] == "comparison":
        told = [
            f"{it['label'].removesuffix(' (ours)')} with {mean_text(it)} % on {it['column']}"
            for it in best
        ]
        missing = len({(it["row"], it["column"]) for it in records(frame) if it["ours"]}) - len(
            {(it["row"], it["column"]) for it in ours}
        )
        return (
            f"Best of ours: {listed(told)}."
            + f" {missing} of our numbers are not there yet." * bool(missing)
        )
    return _ablation_text(ours, best[0])


def _mean(record: Settings) -> float:
    return float(record["mean"])


def _ablation_text(ours: list[Settings], best: Settings) -> str:
    reference = next((it for it in ours if it["reference"] is None), None)
    if reference is None:
        return f"The best row that has been run is {_row(best)} with {mean_text(best)} %."
    if _mean(reference) >= _mean(best):
        return f"{_row(reference)}, which the steps start from, is the best row, with {mean_text(reference)} %."
    gain = number(_mean(best) - _mean(reference), "{:.2f}")
    return (
        f"{_row(best)} is the best row, with {mean_text(best)} %: {gain} points above {_row(reference)}, which the "
        "steps start from."
    )


def _row(record: Settings) -> str:
    label = str(record["label"])
    label = label[0].upper() + label[1:]
    return f"{record['group']}, {label}" if record["group"] else label
