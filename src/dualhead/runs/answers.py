"""Answers of networks, as they are written: CSV, JSON lines, and segments of one class."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import NamedTuple, TextIO

import numpy as np

from dualhead.arrays import Array
from dualhead.files import replacing, write_csv
from dualhead.runs.recordings import Piece

HEADER = ("name", "label", "predicted", "class_name", "probability", "top5")
WINDOW_HEADER = ("name", "first_frame", "last_frame", *HEADER[1:])
SEGMENT_HEADER = ("name", "first_frame", "last_frame", "predicted", "class_name", "probability")
BEST = 5


class Answer(NamedTuple):
    """The scores of one recording, or of one window of it."""

    piece: Piece
    scores: Array  # (classes,), softmax


class Output(NamedTuple):
    """Place and format of the answers."""

    path: Path | None  # None: standard output
    is_json: bool  # JSON lines in place of CSV


@contextmanager
def stream_of(output: Output) -> Iterator[TextIO]:
    """Open the file, or standard output, that answers are written to one by one."""
    if output.path is None:
        yield sys.stdout
    else:
        output.path.parent.mkdir(parents=True, exist_ok=True)
        with output.path.open("w", encoding="utf-8") as stream:
            yield stream


def write_answers(
    output: Output, answers: Sequence[Answer], class_names: Sequence[str], *, windowed: bool
) -> None:
    """Write all answers into a file, or to standard output."""
    text = text_of(answers, class_names, output, windowed=windowed)
    if output.path is None:
        sys.stdout.write(text)
        return
    with replacing(output.path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def text_of(
    answers: Sequence[Answer], class_names: Sequence[str], output: Output, *, windowed: bool
) -> str:
    """Return the answers as CSV with a header, or as JSON lines."""
    rows = [row_of(answer, class_names, windowed=windowed) for answer in answers]
    if output.is_json:
        return "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(WINDOW_HEADER if windowed else HEADER)
    writer.writerows(map(_as_csv, rows))
    return text.getvalue()


def row_of(answer: Answer, class_names: Sequence[str], *, windowed: bool) -> dict[str, object]:
    """Return an answer by column; classes are numbered from 1, as the datasets number theirs."""
    piece, scores = answer
    best = np.argsort(-scores, kind="stable")[:BEST].tolist()
    row: dict[str, object] = {"name": piece.name}
    if windowed:
        row |= {"first_frame": piece.first, "last_frame": piece.last}
    return row | {
        "label": piece.label + 1 if piece.label >= 0 else None,
        "predicted": best[0] + 1,
        "class_name": class_names[best[0]] if class_names else "",
        "probability": round(float(scores[best[0]]), 4),
        "top5": [{"class": k + 1, "probability": round(float(scores[k]), 4)} for k in best],
    }


def _as_csv(row: Mapping[str, object]) -> list[object]:
    values = dict(row)
    top = values.pop("top5")
    assert isinstance(top, list), "made by row_of"
    values["label"] = "" if values["label"] is None else values["label"]
    values["probability"] = f"{values['probability']:.4f}"
    return [*values.values(), " ".join(f"{one['class']}:{one['probability']:.4f}" for one in top)]


def write_segments(path: Path, answers: Iterable[Answer], class_names: Sequence[str]) -> None:
    """Write neighboring windows of one recording and class as one row of a CSV."""
    write_csv(path, SEGMENT_HEADER, _segment_rows(answers, class_names))


def _segment_rows(
    answers: Iterable[Answer], class_names: Sequence[str]
) -> Iterator[tuple[object, ...]]:
    """Yield neighboring windows of one recording and class as one row, with their mean probability."""
    for (name, best), group in groupby(
        answers, key=lambda answer: (answer.piece.name, int(answer.scores.argmax()))
    ):
        found = [*group]
        mean = np.mean([answer.scores[best] for answer in found])
        shown = class_names[best] if class_names else ""
        first, last = found[0].piece.first, found[-1].piece.last
        yield name, first, last, best + 1, shown, f"{mean:.4f}"
