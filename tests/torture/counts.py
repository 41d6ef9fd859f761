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


def table(counts: Mapping[str, Counts]) -> str:
    """Return a Markdown table with a row for each target and their sum."""
    total = sum((one.outcomes for one in counts.values()), Counter[Outcome]())
    rows = [*((name, one.outcomes) for name, one in counts.items()), ("all", total)]
    lines = [" | ".join(["| what", *HEADER]) + " |", "|---" + "|---:" * len(HEADER) + "|"]
    for name, found in rows:
        numbers = (found.total(), *(found[outcome] for outcome in Outcome))
        lines.append(" | ".join([f"| {name}", *(f"{number:,}" for number in numbers)]) + " |")
    return "\n".join(lines)


def write_docs(path: Path, text: str) -> None:
    """Put a text between the two marks of a document.

    Raises:
        ValueError: if the marks are not there.
    """
    document = path.read_text(encoding="utf-8")
    if BEGIN not in document or END not in document:
        raise ValueError(f"{path}: expected {BEGIN} and {END}, found none")
    head, tail = document.partition(BEGIN)[0], document.partition(END)[2]
    write_text(path, f"{head}{BEGIN}\n\n{text}\n\n{END}{tail}")
