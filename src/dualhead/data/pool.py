"""Worker processes that prepare recordings: in order, in bounded memory, gone with their parent."""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import wait
from pathlib import Path
from typing import NamedTuple, TypeVar

from dualhead.data.archives import (
    RawFile,
    ZipEntry,
    bundle,
    is_tar,
    read_entry,
    unpack,
    zip_entries,
)
from dualhead.data.dataset import Dropped, OtherData, Prepared, RawSample
from dualhead.data.prepared_arrays import array_form
from dualhead.data.prepared_arrays.base import Numbers
from dualhead.settings.params import Settings

PrepareSample = Callable[[bytes, RawSample, Settings], Prepared]

Entry = ZipEntry | Numbers
"""Place of a recording in a zip or in arrays."""

CHUNK = 16  # samples a worker takes at once
CHUNKS_AHEAD = 2  # for each worker: bounds what is in memory


class Task(NamedTuple):
    """A recording to be prepared, with its place if it lies in a zip."""

    sample: RawSample
    entry: Entry | None
    parts: tuple[tuple[RawFile, Entry | None], ...] = ()


class Outcome(NamedTuple):
    """Result of one recording: prepared, or dropped for a reason."""

    sample: RawSample
    result: Prepared | Dropped


@contextmanager
def opened(samples: Sequence[RawSample]) -> Iterator[list[Task]]:
    """Yield the samples with their places in zips and arrays; tar archives are unpacked meanwhile."""
    archives = {sample.source: sample for sample in samples if sample.member is not None}
    entries: dict[Path, Mapping[str, Entry]] = {}
    folders: dict[Path, Path] = {}
    with ExitStack() as stack:
        for path, sample in archives.items():
            form = array_form(path) if sample.is_array else None
            if form is None and not is_tar(path):
                entries[path] = zip_entries(path)
                continue
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dualhead-")))
            if form is not None:
                entries[path] = form.places(path, folder)
            else:
                unpack(path, folder)
                folders[path] = folder
        yield [_task(sample, entries, folders) for sample in samples]


def _task(
    sample: RawSample, entries: Mapping[Path, Mapping[str, Entry]], folders: Mapping[Path, Path]
) -> Task:
    if sample.parts:
        parts = tuple(_place(file, entries, folders) for file in sample.parts)
        return Task(sample, None, parts)
    file, entry = _place(RawFile(sample.source, sample.member, 0), entries, folders)
    return Task(sample._replace(source=file.source, member=file.member), entry)


def _place(
    file: RawFile, entries: Mapping[Path, Mapping[str, Entry]], folders: Mapping[Path, Path]
) -> tuple[RawFile, Entry | None]:
    """Return a file's present place, and its entry if that is in a zip."""
    if file.member is None:
        return file, None
    if file.source in folders:
        return RawFile(folders[file.source] / file.member, None, file.size), None
    return file, entries[file.source][file.member]


def read_task(task: Task) -> bytes:
    """Return the content of a recording.

    Raises:
        ValueError: if it is damaged; an error of the disk or of permissions stops the run instead,
            because it says nothing about the recording.
    """
    if task.parts:
        return bundle(
            (file.path.name, _read_file(file.source, file.member, entry))
            for file, entry in task.parts
        )
    return _read_file(task.sample.source, task.sample.member, task.entry)


def _read_file(source: Path, member: str | None, entry: Entry | None) -> bytes:
    if entry is None:
        return source.read_bytes()
    if isinstance(entry, Numbers):
        return entry.content()
    with source.open("rb") as archive:
        try:
            return read_entry(archive, entry)
        except ValueError as error:
            raise ValueError(f"{source}/{member}: {error}") from error


def prepare_chunk(
    prepare_sample: PrepareSample, settings: Settings, tasks: Sequence[Task]
) -> list[Outcome]:
    """Prepare some recordings, in a worker; a bad one becomes a row of the dropped CSV."""
    outcomes = []
    for task in tasks:
        try:
            result: Prepared | Dropped = prepare_sample(read_task(task), task.sample, settings)
        except OtherData as error:
            result = Dropped(task.sample.name, "", error.reason, str(error))
        except ValueError as error:
            result = Dropped(task.sample.name, "", "unreadable", str(error))
        outcomes.append(Outcome(task.sample, result))
    return outcomes


Result = TypeVar("Result")


def in_parallel(
    function: Callable[[Sequence[Task]], list[Result]], tasks: Sequence[Task], workers: int
) -> Iterator[Result]:
    """Yield the outcome of each task, in order, with a bounded number of them in memory.

    Workers are spawned, not forked: a fork would copy the locks of this process's threads.
    """
    chunks = [tasks[start : start + CHUNK] for start in range(0, len(tasks), CHUNK)]
    workers = min(workers, len(chunks))
    if workers < 2:
        for chunk in chunks:
            yield from function(chunk)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, initializer=_begin_worker)
    pending: deque[Future[list[Result]]] = deque()
    try:
        for chunk in chunks:
            pending.append(pool.submit(function, chunk))
            if len(pending) > CHUNKS_AHEAD * workers:
                yield from pending.popleft().result()
        while pending:
            yield from pending.popleft().result()
    except BrokenProcessPool as error:
        raise ValueError(
            "a worker process was killed, perhaps for want of memory; nothing was written. "
            "Try again with fewer --workers."
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def cores() -> int:
    """Return the processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _begin_worker() -> None:
    """Leave Ctrl-C to the parent, and end when the parent is gone, even if it was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None, "runs in workers only"

    def follow() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
