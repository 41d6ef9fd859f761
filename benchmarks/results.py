"""Measurements, as JSON to keep and as a Markdown table to read."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NamedTuple

from benchmarks.timing import Spread
from dualhead.files import write_json, write_text

HEADER = ("what", "how", "ours", "reference", "result", "target", "", "checked beside it")


class Target(NamedTuple):
    """Value that a result should reach, in the result's unit."""

    relation: str  # "at least" | "at most"
    value: float

    def is_met(self, result: float) -> bool:
        """Return whether a result reaches it."""
        return result >= self.value if self.relation == "at least" else result <= self.value


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        section: where it belongs, a key of `SECTIONS`.
        what: is measured.
        how: threads, clock, malloc.
        result: what is judged; None if it could not be measured.
        unit: of the result; x is a ratio.
        target: what it should be; None if nothing was asked for.
        ours: in `base`, where the result is a ratio.
        reference: likewise.
        base: unit of those two.
        note: what was checked in the same run, or why there is no result.
    """

    section: str
    what: str
    how: str
    result: Spread | None
    unit: str
    target: Target | None = None
    ours: Spread | None = None
    reference: Spread | None = None
    base: str = ""
    note: str = ""

    @property
    def verdict(self) -> str:
        """Say whether the target is met; nothing where there is none."""
        if self.result is None:
            return "not measured"
        if self.target is None:
            return ""
        return "met" if self.target.is_met(self.result.median) else "**not met**"


@dataclass(frozen=True)
class Findings:
    """Findings of a section.

    Attributes:
        rows: of the table.
        remarks: Markdown paragraphs that follow it.
    """

    rows: list[Row]
    remarks: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Report:
    """All that one run of the benchmarks found, and where."""

    machine: dict[str, str]
    rows: list[Row]
    remarks: list[str]

    def markdown(self) -> str:
        """Return machine, table and remarks."""
        machine = "; ".join(f"{key}: {value}" for key, value in self.machine.items())
        return "\n\n".join([f"Measured on: {machine}.", table(self.rows), *self.remarks])


def table(rows: Sequence[Row]) -> str:
    """Return a Markdown table."""
    lines = [HEADER, ["---"] * len(HEADER), *map(cells, rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def cells(row: Row) -> list[str]:
    """Return a row's texts, as `HEADER` names them."""
    target = (
        f"{row.target.relation} {show(Spread.of([row.target.value]), row.unit)}"
        if row.target
        else ""
    )
    return [
        f"{row.section}: {row.what}",
        row.how,
        show(row.ours, row.base),
        show(row.reference, row.base),
        show(row.result, row.unit),
        target,
        row.verdict,
        row.note,
    ]


def show(spread: Spread | None, unit: str) -> str:
    """Return `3.1 ms (2.9 to 3.3)`, without the range where there is none."""
    if spread is None:
        return ""
    median, low, high = map(number, spread)
    space = "" if unit == "x" else " "
    text = f"{median}{space}{unit}".rstrip()
    return text if low == high else f"{text} ({low} to {high})"


def number(value: float) -> str:
    """Return three digits: 0.0123, 1.23, 12,300."""
    if value >= 1000:
        digits = len(str(int(value)))
        return f"{round(value, 3 - digits):,.0f}"
    return f"{value:.3g}"


def write(report: Report, folder: Path) -> None:
    """Write bench.json and bench.md."""
    rows = [{**asdict(row), "verdict": row.verdict} for row in report.rows]
    content = {"machine": report.machine, "rows": rows, "remarks": report.remarks}
    write_json(folder / "bench.json", content)
    write_text(folder / "bench.md", report.markdown())


def read(path: Path) -> Report:
    """Return what `write` wrote as JSON.

    Raises:
        ValueError: if it is not there.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file; `make bench` writes it")
    content = json.loads(path.read_text(encoding="utf-8"))
    return Report(content["machine"], [_row(row) for row in content["rows"]], content["remarks"])


def _row(content: Mapping[str, object]) -> Row:
    tuples = {"result": Spread, "ours": Spread, "reference": Spread, "target": Target}
    values = {key: value for key, value in content.items() if key != "verdict"}
    for key, kind in tuples.items():
        value = values[key]
        values[key] = kind(*value) if isinstance(value, list) else None
    return Row(**values)  # type: ignore[arg-type]  # as written by `write`


def replace_block(text: str, name: str, content: str) -> str:
    """Return text with new content between `<!-- NAME begin -->` and `<!-- NAME end -->`.

    Raises:
        ValueError: if the text has no such marks.
    """
    begin, end = f"<!-- {name} begin -->", f"<!-- {name} end -->"
    if begin not in text or end not in text:
        raise ValueError(f"expected the lines {begin} and {end}; put them where the table belongs")
    pattern = f"{re.escape(begin)}.*?{re.escape(end)}"
    return re.sub(pattern, lambda _: f"{begin}\n\n{content}\n\n{end}", text, flags=re.DOTALL)


def write_docs(docs: Path, folder: Path) -> None:
    """Put a folder's bench.json into the block of `docs` that has the folder's name."""
    report = read(folder / "bench.json")
    try:
        text = replace_block(docs.read_text(encoding="utf-8"), folder.name, report.markdown())
    except ValueError as error:
        raise ValueError(f"{docs}: {error}") from None
    write_text(docs, text)
