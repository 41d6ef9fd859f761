"""Recordings on their way to a trained network: from a store, from raw files, or frame by frame."""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePath
from typing import NamedTuple, TextIO

import numpy as np

from dualhead.data.archives import lying_in
from dualhead.data.dataset import WHOLE, Dropped, Prepared, RawSample
from dualhead.data.datasets.motion import Said, Wanted, cut, prepare_motion
from dualhead.data.datasets.skeletons import (
    SKELETONS,
    content_of_sample,
    list_recordings,
    read_class_names,
    read_or_nobody,
    said_of,
    wanted_of,
)
from dualhead.data.forms import FORMS, tell
from dualhead.data.forms.base import Content, Motion, content_of
from dualhead.data.listing import place_of
from dualhead.data.pool import opened, read_task
from dualhead.data.records import Header, Record, write_store
from dualhead.data.store import Store
from dualhead.layout import SkeletonLayout
from dualhead.progress import progress
from dualhead.settings.params import Settings

WAIT = 0.05
"""Seconds between two looks at a file that grows."""
BY_LINE = ("kinect", "azure_kinect", "kinetics", "openpose", "mmpose", "mediapipe", "csv")
"""Forms that can be written a line a frame."""


class Piece(NamedTuple):
    """A recording, or a window of it, as it is answered for."""

    name: str
    first: int  # frame, from 0, of the recording as its file has it
    last: int  # frame, the last of the piece
    label: int  # 0-based class of the network; -1 where not known


class Windows(NamedTuple):
    """Windows that recordings are cut into: their frames, and frames between the starts of two."""

    length: int  # 0: each recording is one piece
    stride: int


class Source(NamedTuple):
    """The preparation that makes raw recordings fit for a network."""

    said: Said
    wanted: Wanted
    settings: Settings  # `prepare`
    windows: Windows


def source_for(
    layout: SkeletonLayout, preparation: Settings, recordings: Settings, windows: Windows
) -> Source:
    """Return the preparation of recordings for a network of this layout, as those that it was trained on.

    Args:
        layout: the network's.
        preparation: the settings that its recordings were prepared with.
        recordings: settings of the files; see `recordings` of a dataset in params.yaml.
        windows: length and stride of windows.
    """
    wanted = wanted_of(recordings)
    wanted = replace(wanted, layout=layout, fps=preparation.get("to_fps", 0.0))
    return Source(said_of(recordings), wanted, preparation, windows)


def window_starts(num_frames: int, windows: Windows) -> list[tuple[int, int]]:
    """Return first and last frame of each window; the last window ends with the recording.

    A recording shorter than a window is one piece.
    """
    length = windows.length
    if not length or num_frames <= length:
        return [(0, max(num_frames, 1) - 1)]
    starts = [*range(0, num_frames - length + 1, windows.stride)]
    if starts[-1] + length < num_frames:
        starts.append(num_frames - length)
    return [(start, start + length - 1) for start in starts]


@contextmanager
def prepared_store(
    paths: Sequence[Path], source: Source, class_names: Sequence[str]
) -> Iterator[tuple[Store, list[Piece]]]:
    """Yield a store of raw recordings for as long as it is needed, and what its samples are.

    A recording that cannot be read is said and left out.

    Args:
        paths: files, folders or archives of recordings.
        source: their preparation.
        class_names: the network's, among which labels are looked up.

    Raises:
        ValueError: if there is no recording, or not one can be read.
    """
    samples, _ = list_recordings(paths, settings={})
    if not samples:
        listed = ", ".join(map(str, paths))
        raise ValueError(
            f"{listed}: expected recordings, found none, {lying_in(paths)}{SKELETONS.where}"
        )
    names = read_class_names(paths)
    classes = {name: number for number, name in enumerate(class_names)}
    shared = {name for name, count in Counter(one.name for one in samples).items() if count > 1}
    pieces: list[Piece] = []
    with tempfile.TemporaryDirectory(prefix="dualhead-") as folder, opened(samples) as tasks:

        def records() -> Iterator[Record]:
            errors = []
            notes: list[Dropped] = []
            for task in progress(tasks, total=len(tasks), label="read", unit="recordings"):
                label = classes.get(names[task.sample.label], -1) if task.sample.label >= 0 else -1
                try:
                    found = _prepared(read_task(task), task.sample, source)
                except ValueError as error:
                    errors.append(str(error))
                    continue
                name = task.sample.name
                name = PurePath(place_of(task.sample)).name if name in shared else name
                notes += (row for _, one in found for row in one.dropped if row.body == WHOLE)
                for (first, last), one in found:
                    pieces.append(Piece(name, first, last, label))
                    yield Record(f"{len(pieces):09d}", label, {}, one.bodies, one.num_frames)
            _say_left_out(errors, all_of_them=not pieces)
            _say_notes(notes)

        path = Path(folder, "recordings.h5")
        write_store(path, records(), header=header_for(source, class_names), splits={})
        with Store(path) as store:
            yield store, pieces


def _say_left_out(errors: Sequence[str], *, all_of_them: bool) -> None:
    if errors and all_of_them:
        more = f" ({len(errors) - 1} more cannot be read)" if errors[1:] else ""
        raise ValueError(f"{errors[0]}{more}")
    if errors:
        print(f"recordings left out: {len(errors)}; the first: {errors[0]}", file=sys.stderr)


def _say_notes(notes: Sequence[Dropped]) -> None:
    """Say of each thing that is odd in recordings how often it was, and where first."""
    for reason, count in sorted(Counter(note.reason for note in notes).items()):
        first = next(note for note in notes if note.reason == reason)
        what = f"{reason}: {count} noted; the first: {first.name}: {first.detail}"
        print(what, file=sys.stderr)


def header_for(source: Source, class_names: Sequence[str]) -> Header:
    """Return the header of a store for a network's eyes alone."""
    layout = source.wanted.layout
    assert layout is not None, "the network has one"
    return Header(
        dataset=SKELETONS.kind,
        layout=layout,
        class_names=tuple(class_names),
        padding="zero" if layout.confidence else "loop",
        max_bodies=source.settings["max_bodies"],
        units="",
        settings=source.settings,
        partial=True,
        fingerprint="",
        counts=dict,
    )


def _prepared(
    content: bytes, sample: RawSample, source: Source
) -> list[tuple[tuple[int, int], Prepared]]:
    """Return a recording's windows, each prepared as a recording of its own."""
    found = read_or_nobody(content_of_sample(content, sample), source.said, source.wanted)
    motion, layout = found
    return [
        (window, _prepare(motion, layout, window, sample.name, source))
        for window in window_starts(len(motion.joints), source.windows)
    ]


def _prepare(
    motion: Motion, layout: SkeletonLayout, window: tuple[int, int], name: str, source: Source
) -> Prepared:
    piece = cut(motion, window[0], window[1] + 1)
    return prepare_motion(piece, layout, name, source.wanted, source.settings)


class Frames(NamedTuple):
    """A window of frames that came in, prepared."""

    piece: Piece
    prepared: Prepared


def follow(lines: Iterator[str], name: str, source: Source) -> Iterator[Frames]:
    """Yield each window as soon as its last frame is there.

    A line is a frame, in a form of JSON or a table's row; the windows are those of the same lines
    in a file.

    Args:
        lines: lines as they come; the recording ends when they do.
        name: the recording's name.
        source: its preparation, with windows.
    """
    header, kept, begin, count = "", [], 0, 0
    length, stride = source.windows
    for line in lines:
        if not line.strip():
            continue
        if not count and not header and _is_header(line):
            header = line
            continue
        kept.append(line)
        count += 1
        if count == begin + length:
            yield _frames(header, kept[-length:], begin, name, source)
            begin += stride
            kept = kept[-max(length, length - stride) :]
    if not count:
        raise ValueError(f"{name}: expected a frame a line; found nothing.")
    if count < length or (count - length) % stride:
        first = max(count - length, 0)
        yield _frames(header, kept[-length:], first, name, source)


def _is_header(line: str) -> bool:
    """Return whether a line is the header of a table."""
    words = line.replace(";", " ").replace(",", " ").split()
    return not line.lstrip().startswith(("{", "[")) and not any(
        word.replace(".", "").replace("-", "").isdigit() for word in words
    )


def _refuse_whole_recordings(content: Content, said: str) -> None:
    """Refuse lines that are no frames: of a form that is not written so, or a whole recording on one."""
    try:
        form = FORMS[said] if said else tell(content)
    except ValueError as error:
        raise _no_frames(content.name, "lines of another form") from error
    if form.name not in BY_LINE:
        raise _no_frames(content.name, form.text)


def _no_frames(name: str, found: str) -> ValueError:
    return ValueError(
        f"{name}: expected a frame a line in a form among {', '.join(BY_LINE)}, which --follow reads; "
        f"found {found}. Give the finished file without --follow."
    )


def _frames(header: str, lines: Sequence[str], first: int, name: str, source: Source) -> Frames:
    content = content_of("\n".join([*([header] if header else []), *lines]).encode(), name)
    if content.document is not None and not isinstance(content.document, list):
        content = content._replace(document=[content.document])
    _refuse_whole_recordings(content, source.said.form)
    motion, layout = read_or_nobody(content, source.said, source.wanted)
    if len(motion.joints) != len(lines):
        raise ValueError(
            f"{name}: expected a frame a line; found {len(motion.joints)} frames on {len(lines)} "
            "lines. Give the finished file without --follow."
        )
    window = (0, len(lines) - 1)
    prepared = _prepare(motion, layout, window, name, source)
    return Frames(Piece(name, first, first + len(lines) - 1, -1), prepared)


def lines_of(stream: TextIO) -> Iterator[str]:
    """Yield the lines of a pipe as they come."""
    yield from iter(stream.readline, "")


def growing_lines(path: Path, idle: float) -> Iterator[str]:
    """Yield the lines of a file as they are written to it.

    Args:
        path: the file.
        idle: seconds without a new line that end it; infinite: it ends from the keyboard alone.
    """
    waited, begun = 0.0, ""
    with path.open(encoding="utf-8-sig") as file:
        while waited <= idle:
            text = file.readline()
            begun += text
            if begun.endswith("\n"):
                yield begun
                waited, begun = 0.0, ""
            elif not text:
                time.sleep(WAIT)
                waited += WAIT
    if begun:
        yield begun


def labels_of(pieces: Sequence[Piece]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return the label of each piece, (N,)."""
    return np.array([piece.label for piece in pieces], np.int64)
