"""Counts of outcomes, as a table for people and for docs/reliability.md."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dualhead.files import write_text
from tests.torture.verdicts import FAULTS, Outcome, Verdict

BEGIN, END = "<!-- torture begin -->", "<!-- torture end -->"
HEADER = ("tried", *Outcome)
WANTED = {"recordings": 10_000, "results": 1_000, "kills": 1_000}
"""Part -> cases that a version of the package should have been through."""


@dataclass
class Counts:
    """Outcomes of a target's cases, and the faults among them with how to repeat each."""

    outcomes: Counter[Outcome] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0
    cases: int = 0

    def add(self, verdict: Verdict, case: str) -> None:
        """Count a case, and keep what is needed to repeat one that is a fault."""
        self.cases += 1
        self.outcomes[verdict.outcome] += verdict.count
        if verdict.outcome in FAULTS:
            self.faults.append(f"{verdict.outcome}: {case}\n    {verdict.text[-1500:]}")


Outcomes = Mapping[str, Counter[Outcome]]
"""`PART: TARGET` -> how many cases of it ended in which outcome."""


def table(outcomes: Outcomes) -> str:
    """Return a Markdown table with a row for each target and their sum."""
    total = sum(outcomes.values(), Counter[Outcome]())
    lines = ["| what | tried | " + " | ".join(Outcome) + " |", "|---" + "|---:" * len(HEADER) + "|"]
    for name, found in [*outcomes.items(), ("all", total)]:
        numbers = (found.total(), *(found[outcome] for outcome in Outcome))
        lines.append(" | ".join([f"| {name}", *(f"{number:,}" for number in numbers)]) + " |")
    return "\n".join(lines)


def parts_table(outcomes: Outcomes) -> str:
    """Return a Markdown table with a row for each part: how much was tried, and its faults."""
    lines = [" | ".join(["| part | wanted | tried", *FAULTS]) + " |", "|---" + "|---:" * 6 + "|"]
    for part in dict.fromkeys(name.partition(": ")[0] for name in outcomes):
        found = sum(
            (one for name, one in outcomes.items() if name.startswith(f"{part}: ")),
            Counter[Outcome](),
        )
        wanted = f"{WANTED[part]:,}" if part in WANTED else ""
        numbers = (found.total(), *(found[fault] for fault in FAULTS))
        cells = [f"| {part}", wanted, *(f"{number:,}" for number in numbers)]
        lines.append(" | ".join(cells) + " |")
    return "\n".join(lines)


def read_table(text: str) -> dict[str, Counter[Outcome]]:
    """Return the outcomes that `table` wrote somewhere in a text."""
    found = {}
    for line in text.splitlines():
        name, *cells = line.strip("| ").split(" | ")
        cells = [cell.replace(",", "") for cell in cells]
        if len(cells) == len(HEADER) and all(map(str.isdecimal, cells)) and name != "all":
            numbers = map(int, cells[1:])
            found[name] = Counter(dict(zip(Outcome, numbers, strict=True)))
    return found


def add_to_docs(path: Path, outcomes: Outcomes, about: str) -> None:
    """Add the counts of a run, and a line about it, to those between the two marks of a document.

    Raises:
        ValueError: if the marks are not there.
    """
    document = path.read_text(encoding="utf-8")
    if BEGIN not in document or END not in document:
        raise ValueError(f"{path}: expected {BEGIN} and {END}, found none")
    (head, _, rest), tail = document.partition(BEGIN), document.partition(END)[2]
    before = rest.partition(END)[0]
    total = read_table(before)
    for name, found in outcomes.items():
        total[name] = total.get(name, Counter[Outcome]()) + found
    runs = [line for line in before.splitlines() if line.startswith("* ")] + [f"* {about}"]
    parts = [parts_table(total), "\n".join(runs), table(total)]
    write_text(path, "\n\n".join([f"{head}{BEGIN}", *parts, f"{END}{tail}"]))
