"""Text of a table's frame: the same columns for Markdown, LaTeX, the terminal and the report."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

import pandas as pd
from rich.console import Console
from rich.table import Table as RichTable

from dualhead.progress import terminal
from dualhead.report import statistics
from dualhead.report.titles import SELECTIONS
from dualhead.settings.params import Settings


class Column(NamedTuple):
    """One printed column; columns of one group stand under a common title."""

    group: str
    title: str
    align: str  # left | right


class Printed(NamedTuple):
    """A table as text, ready for any format."""

    columns: list[Column]
    rows: list[list[str]]
    ours: list[bool]
    citations: list[str | None]


class Field(NamedTuple):
    """A printed column: its title, alignment, and text of a record of the frame."""

    title: str
    align: str
    text: Callable[[Settings], str]


def printed(frame: pd.DataFrame, *, max_groups: int | None = None) -> list[Printed]:
    """Return a table as text, in parts of at most `max_groups` column groups."""
    rows = _rows(frame)
    titles = list(dict.fromkeys(frame["column"]))
    step = max_groups or len(titles)
    return [_part(rows, titles[start : start + step]) for start in range(0, len(titles), step)]


def records(frame: pd.DataFrame) -> list[Settings]:
    """Return the frame's rows as mappings, None where a number is missing."""
    objects = frame.astype(object).where(frame.notna(), None)
    return [{str(key): value for key, value in row.items()} for row in objects.to_dict("records")]


def _rows(frame: pd.DataFrame) -> list[list[Settings]]:
    """Return the records of each printed row, one per column group."""
    found = records(frame)
    starts = [record["column"] == found[0]["column"] for record in found]
    numbers = [sum(starts[: index + 1]) for index in range(len(found))]
    pairs = groupby(zip(numbers, found, strict=True), key=lambda pair: pair[0])
    return [[record for _, record in group] for _, group in pairs]


def _part(rows: list[list[Settings]], titles: Sequence[str]) -> Printed:
    everything = [record for row in rows for record in row]
    fields, values = row_fields(everything), value_fields(everything)
    columns = [Column("", field.title, field.align) for field in fields]
    columns += [Column(title, field.title, field.align) for title in titles for field in values]
    texts = [
        [field.text(row[0]) for field in fields]
        + [
            field.text(record)
            for title in titles
            for record in row
            if record["column"] == title
            for field in values
        ]
        for row in rows
    ]
    ours = [bool(row[0]["ours"]) for row in rows]
    return Printed(columns, texts, ours, [row[0]["citation"] for row in rows])


def row_fields(found: Sequence[Settings]) -> list[Field]:
    """Return the fields that are printed once a row: its names, and parameters where there are any."""
    is_ablation = found[0]["kind"] == "ablation"
    fields = [
        ("group", Field("", "left", _plain("group"))),
        ("label", Field("Variant" if is_ablation else "Method", "left", label_text)),
        ("publisher", Field("Publisher", "left", _plain("publisher"))),
        ("parameters_paper", Field("Params, paper", "right", _millions("parameters_paper", 1))),
        ("parameters", Field("Params", "right", _millions("parameters", 3))),
    ]
    names = ("parameters", "parameters_paper") if not is_ablation else ()
    return [field for key, field in fields if key not in names and _has(found, key)]


def value_fields(found: Sequence[Settings]) -> list[Field]:
    """Return the fields of each number; ours alone where nothing is published.

    Ours is the last epoch's. The epochs chosen on held-out subjects and on the test set stand beside it, and so do
    the verdicts on the published value, one for the last epoch and one for the epoch that was chosen as the paper's.
    """
    paper = _number("paper", "{:.1f}")
    on_test = _mean("best_on_test", "best_std")
    best = [Field(SELECTIONS["best_on_test"].column, "right", on_test)]
    ours = Field(SELECTIONS["last"].column, "right", mean_text)
    if _has(found, "best_on_validation"):
        on_validation = _number("best_on_validation", "{:.2f}")
        best.insert(0, Field(SELECTIONS["best_on_validation"].column, "right", on_validation))
    if not _has([record for record in found if record["ours"]], "paper"):
        published = [Field("Published", "right", paper)] if _has(found, "paper") else []
        return [*published, ours, Field("95 % interval", "right", interval_text), *best]
    return [
        Field("Paper", "right", paper),
        ours,
        Field("Diff.", "right", _number("difference", "{:+.2f}")),
        Field("Verdict (last)", "left", verdict_text()),
        *best,
        Field("Verdict (best)", "left", verdict_text("_best")),
    ]


def label_text(record: Settings) -> str:
    """Return a row's name, with the mark of its footnote."""
    return str(record["label"]) + str(record["mark"] or "")


def verdict_text(suffix: str = "") -> Callable[[Settings], str]:
    """Return a text of a record's verdict: `reproduced`, or `undecided (6)` where six seeds would decide."""

    def text(record: Settings) -> str:
        verdict, seeds = record[f"verdict{suffix}"], record[f"seeds_to_decide{suffix}"]
        return str(verdict or "") + ("" if seeds is None else f" ({int(seeds):,})")

    return text


def _has(found: Sequence[Settings], key: str) -> bool:
    return any(record[key] is not None for record in found)


def _plain(key: str) -> Callable[[Settings], str]:
    return lambda record: "" if record[key] is None else str(record[key])


def _number(key: str, form: str) -> Callable[[Settings], str]:
    return lambda record: "" if record[key] is None else signed(form.format(record[key]))


def _millions(key: str, digits: int) -> Callable[[Settings], str]:
    """Print a count in millions; the published ones are in millions already."""

    def text(record: Settings) -> str:
        value = record[key]
        return "" if value is None else f"{value / (1e6 if value > 1000 else 1):.{digits}f} M"

    return text


def signed(text: str) -> str:
    """Return a number's text with a true minus sign."""
    return text.replace("-", "\N{MINUS SIGN}")


def mean_text(record: Settings) -> str:
    """Return `90.25 ± 0.11` (standard deviation over seeds), or the accuracy alone at one seed."""
    if record["mean"] is None:
        return statistics.NOT_RUN if record["ours"] else ""
    return _mean("mean", "std")(record)


def _mean(mean: str, std: str) -> Callable[[Settings], str]:
    def text(record: Settings) -> str:
        value, deviation = record[mean], record[std]
        shown = "" if value is None else f"{value:.2f}"
        return shown if deviation is None else f"{shown} ± {deviation:.2f}"

    return text


def interval_text(record: Settings) -> str:
    """Return `90.12–90.41`."""
    low, high = record["low"], record["high"]
    return "" if low is None else f"{low:.2f}\N{EN DASH}{high:.2f}"


def device_text(device: str) -> str:
    """Return a device as a reader says it: `CPU, 1 thread`."""
    return device.removesuffix("s") if device.endswith(", 1 threads") else device


def duration_text(seconds: float) -> str:
    """Return `1 h 30 min`, `12 min`, `41 s`."""
    minutes = round(seconds / 60)
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"


# --- Markdown and LaTeX ----------------------------------------------------------------


def markdown_text(frame: pd.DataFrame) -> str:
    """Return a table in Markdown below its title."""
    (part,) = printed(frame)
    header = [f"{group} {name}".strip() for group, name, _ in part.columns]
    rules = ["---:" if column.align == "right" else ":---" for column in part.columns]
    lines = [header, rules, *part.rows]
    title = str(frame["title"].iloc[0])
    rows = [f"| {' | '.join(map(_cell, line))} |" for line in lines]
    return "\n".join([title, "", *rows, *_note(frame), ""])


def _note(frame: pd.DataFrame) -> list[str]:
    """Return the note below a table and a blank line before it; nothing if it has none."""
    note = re.sub(r" @\w+", "", note_of(frame)).replace("*", r"\*")
    return ["", note] if note else []


def note_of(frame: pd.DataFrame) -> str:
    """Return the note below a table, with keys of references.bib as `@key`; a CSV without it is read as nan."""
    note = frame["note"].iloc[0]
    return note if isinstance(note, str) else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def latex_text(frame: pd.DataFrame) -> str:
    """Return a table in LaTeX (booktabs); it shrinks to the line if it is wider."""
    (part,) = printed(frame)
    name, title = re.sub(r"[^\w.-]", "-", frame["table"].iloc[0]), frame["title"].iloc[0]
    aligns = "".join(column.align[0] for column in part.columns)
    bold = [ours and not all(part.ours) for ours in part.ours]
    body = [_latex_row(*row) for row in zip(part.rows, bold, part.citations, strict=True)]
    if any(bold):
        body.insert(bold.index(True), r"\midrule")
    return "\n".join(
        [
            r"% needs \usepackage{booktabs, graphicx}",
            r"\begin{table*}[t]\centering\small",
            rf"\caption{{{_escape(title)}}}\label{{tab:{name}}}",
            r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
            rf"\begin{{tabular}}{{{aligns}}}",
            r"\toprule",
            *_latex_header(part.columns),
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}}",
            *_latex_note(note_of(frame)),
            r"\end{table*}",
            "",
        ]
    )


def _latex_note(note: str) -> list[str]:
    cited = re.sub(r" @(\w+)", r"~\\cite{\1}", _escape(note))
    return [rf"\par\smallskip {cited}"] if note else []


def _latex_header(columns: Sequence[Column]) -> list[str]:
    titles = " & ".join(_escape(column.title) for column in columns) + r" \\"
    tops, rules, start = [], [], 1
    for group, members in groupby(columns, key=lambda column: column.group):
        width = len(list(members))
        tops.append(rf"\multicolumn{{{width}}}{{c}}{{{_escape(group)}}}")
        rules += [rf"\cmidrule(lr){{{start}-{start + width - 1}}}"] if group else []
        start += width
    return [" & ".join(tops) + r" \\", "".join(rules), titles]


def _latex_row(row: Sequence[str], bold: bool, citation: str | None) -> str:
    texts = [_escape(text) for text in row]
    if bold:
        texts = [rf"\textbf{{{text}}}" if text else "" for text in texts]
    if citation:
        texts[0] += rf"~\cite{{{citation}}}"
    return " & ".join(texts) + r" \\"


LATEX = {
    **{character: f"\\{character}" for character in "&%_#${}"},
    **{"\\": r"\textbackslash{}", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}"},
    **{"\N{MINUS SIGN}": "$-$", "\N{EN DASH}": "--", "±": r"$\pm$"},
}
"""Characters that mean something to LaTeX, or that its fonts lack -> themselves in print."""


def _escape(text: str) -> str:
    return "".join(LATEX.get(character, character) for character in text)


# --- the terminal ----------------------------------------------------------------------

STYLES = {statistics.REPRODUCED: "green", statistics.ABOVE: "cyan", statistics.BELOW: "red"}


def show_tables(tables: Mapping[str, pd.DataFrame], console: Console | None = None) -> None:
    """Print our rows of each table beside the paper's, colored by the verdict on like numbers."""
    console = console or terminal()
    for name, frame in tables.items():
        ours = [record for record in records(frame) if record["ours"]]
        if ours:
            console.print(_rich_table(ours, f"{name}: {ours[0]['title']}"))


def _rich_table(ours: Sequence[Settings], title: str) -> RichTable:
    label = Field("Row", "left", lambda record: ": ".join(_names(record)))
    fields = [label, Field("Benchmark", "left", _plain("column")), *value_fields(ours)]
    table = RichTable(title=title, title_justify="left", title_style="bold")
    for field in fields:
        table.add_column(field.title, justify="left" if field.align == "left" else "right")
    for record in ours:
        style = STYLES.get(str(record["verdict_best"]), "")
        table.add_row(*(field.text(record) for field in fields), style=style)
    return table


def _names(record: Settings) -> list[str]:
    return [record[key] for key in ("group", "label") if record[key]]
