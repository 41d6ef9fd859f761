"""Content of the report's tables: verdicts, steps, the field, abbreviations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import pandas as pd

from dualhead.report.pdf.runs import Grid, Run, number, table, without_repeats
from dualhead.report.pdf.seen import table_text
from dualhead.report.published import is_partial
from dualhead.report.statistics import LEVEL, NOT_RUN
from dualhead.report.text import note_of, printed, records
from dualhead.report.titles import STREAMS, dataset_title, split_title
from dualhead.settings.params import Settings

Tables = Mapping[str, pd.DataFrame]
Text = Callable[[Settings], str]
CELL = ("benchmark", "variant", "stream", "metric")
VERDICTS = ("verdict", "verdict_best")
MAX_GROUPS = 2  # column groups that fit on a page; one where each has its verdicts
APOSTROPHE = "\N{RIGHT SINGLE QUOTATION MARK}"
DASH = "\N{EN DASH}"


def verdicts(tables: Tables) -> list[list[str]]:
    """Return each verdict with how often last epochs got it, and best ones; a cell of several tables counts once."""
    cells = {
        tuple(record[key] for key in CELL): record
        for frame in tables.values()
        for record in records(frame)
        if record["ours"] and record["verdict"] and record["paper"] is not None
    }
    last, best = (Counter(cell[key] for cell in cells.values()) for key in VERDICTS)
    return [[verdict, str(last[verdict]), str(best[verdict])] for verdict in (last + best)]


# --- the tables ------------------------------------------------------------------------


def printed_tables(tables: Tables) -> list[Settings]:
    """Return each table in parts that fit a page, with its note."""
    found = []
    for name, frame in tables.items():
        parts = [
            {
                "columns": [column._asdict() for column in part.columns],
                "rows": part.rows if part.columns[0].title else without_repeats(part.rows),
                "ours": [ours and not all(part.ours) for ours in part.ours],
                "citations": part.citations,
            }
            for part in printed(frame, max_groups=1 if has_published({name: frame}) else MAX_GROUPS)
        ]
        title = str(frame["title"].iloc[0])
        note = note_of(frame)
        kind = frame["kind"].iloc[0]
        seen = table_text(frame)
        found.append(
            {"name": name, "title": title, "parts": parts, "note": note, "kind": kind, "seen": seen}
        )
    return found


def steps(tables: Tables) -> Settings | None:
    """Return the ablations' steps from the reference with their tests: a row for each step of each table.

    The first column holds names of tables, for which the template sets their numbers.
    """
    found = [
        record
        for frame in tables.values()
        for record in records(frame)
        if record["reference"] is not None
    ]
    columns = [("Table", "left"), ("Variant", "left"), (f"Paper{APOSTROPHE}s step", "right")]
    columns += [("Our step", "right"), ("95 % interval", "right"), ("p", "right")]
    columns += [("p (Holm)", "right"), ("Test", "left"), ("Shown?", "left")]
    columns += [("Seeds needed", "right")]
    rows = [_step_row(record) for record in found]
    if not any(record["step_paper"] is not None for record in found):
        columns, rows = [*columns[:2], *columns[3:]], [[*row[:2], *row[3:]] for row in rows]
    return table(columns, without_repeats(rows)) if rows else None


def has_published(tables: Tables) -> bool:
    """Return whether any table holds a published number."""
    return any(bool(frame["paper"].notna().any()) for frame in tables.values())


def _step_row(record: Settings) -> list[str]:
    low, high = (number(record[key], "{:+.2f}") for key in ("step_low", "step_high"))
    needed = record["seeds_needed"]
    return [
        str(record["table"]),
        str(record["group"] + ": " if record["group"] else "") + str(record["label"]),
        number(record["step_paper"], "{:+.1f}"),
        number(record["step"], "{:+.2f}"),
        f"{low} to {high}" if low else "",
        _p_text(record["step_p"]),
        _p_text(record["step_p_holm"]),
        str(record["step_test"] or ""),
        _shown(record),
        "" if needed is None else f"{int(needed):,}",
    ]


def _p_text(value: float | None) -> str:
    return "" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"


def _shown(record: Settings) -> str:
    """Return whether a step is shown to be one of methods; one run each never shows that."""
    if record["step_p"] is None:
        return NOT_RUN
    seeds = int(record["step_seeds"])
    if seeds == 1:
        return "one run each"
    return f"{'yes' if record['step_p_holm'] < LEVEL else 'no'}, {seeds} seeds each"


# --- the field -------------------------------------------------------------------------

MARKS = {"2nd": "†", "unverified": "‡"}


def field(published: Settings) -> Settings:
    """Return the published state of the field, inputs of Kinetics apart."""
    source = published["field"]
    heads = [key.split("/") for key in source["benchmarks"]]
    columns = [("Method", "left"), ("Venue", "left")]
    columns += [(f"{dataset_title(kind)}|{split_title(split)}", "right") for kind, split in heads]
    rows = [_field_row(method) for method in source["methods"]]
    found = table([*columns, ("Read in", "left")], rows)
    found |= {"citations": [method["citation"] for method in source["methods"]]}
    found |= {"ours": [bool(method.get("ours")) for method in source["methods"]]}
    kinetics = [(name, _field_kinetics(rows)) for name, rows in source["kinetics"].items()]
    return {"table": found, "kinetics": kinetics, "note": source["note"]}


def _field_row(method: Settings) -> list[str]:
    numbers = [
        DASH if value is None else _digits(value) + MARKS.get(mark, "")
        for value, mark in zip(method["top1"], method["marks"], strict=True)
    ]
    return [method["label"], method["venue"], *numbers, method["source"]]


def _digits(value: float) -> str:
    """Return an accuracy with one decimal, or two where its source gives two."""
    return f"{value:.1f}" if round(value, 1) == value else f"{value:.2f}"


def _field_kinetics(methods: Sequence[Settings]) -> Settings:
    columns = [("Method", "left"), ("Venue", "left"), ("Top-1", "right"), ("Read in", "left")]
    rows = [
        [
            method["label"],
            method["venue"],
            method["top1"] + MARKS.get(method["mark"], ""),
            method["source"],
        ]
        for method in methods
    ]
    found = table(columns, rows)
    found["citations"] = [method["citation"] for method in methods]
    found["ours"] = [bool(method.get("ours")) for method in methods]
    return found


def concerns_the_paper(grid: Grid, runs: Sequence[Run]) -> bool:
    """Return whether any run is on a complete dataset that the paper or the field reports."""
    return any(
        run.config["kind"] != "synthetic" and not is_partial(grid, run.config["benchmark"])
        for run in runs
    )


# --- abbreviations ---------------------------------------------------------------------


def abbreviations(tables: Tables) -> str:
    """Return the meaning of each abbreviation in the tables' rows."""
    labels = " ".join(str(label) for frame in tables.values() for label in frame["label"])
    words = set(labels.replace(",", " ").split())
    known = {title.short: title.long for title in STREAMS.values() if " " not in title.short}
    known |= {
        "TA": "temporal attention",
        "SA": "spatial attention",
        "G3D": "a pathway of graph convolutions in windows of frames",
    }
    told = [f"{short}: {long}" for short, long in known.items() if short in words]
    return "; ".join(told)
