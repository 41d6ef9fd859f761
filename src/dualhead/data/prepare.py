"""Raw recordings to a store: list, check, prepare on all cores, write; and checks of raw data."""

from __future__ import annotations

import csv
import hashlib
import heapq
import json
import multiprocessing
import os
import re
import signal
import sys
import tempfile
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial as bind
from itertools import pairwise
from multiprocessing.connection import wait
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from dualhead.data.datasets import DATASETS
from dualhead.data.datasets.base import Dataset, Dropped, Prepared, RawSample
from dualhead.data.datasets.ntu import NO_LIST
from dualhead.data.download import ZipEntry, is_tar, read_entry, unpack, zip_entries
from dualhead.data.leakage import content_digest, copies, copies_text, equal_digests, refuse_shared
from dualhead.data.store import Header, Record, Store, write_store
from dualhead.files import replacing
from dualhead.layout import load_layout
from dualhead.params import Settings
from dualhead.progress import duration, progress

Columns = dict[str, npt.NDArray[np.int64]]
PrepareSample = Callable[[bytes, RawSample, Settings], Prepared]

STORE_NAME = re.compile(r".+-[0-9a-f]{8}")  # of a workspace: dataset and address
CHUNK = 16  # samples a worker takes at once
CHUNKS_AHEAD = 2  # for each worker: bounds what is in memory


class Task(NamedTuple):
    """A recording to be prepared, and where it lies if that is in a zip."""

    sample: RawSample
    entry: ZipEntry | None


class Outcome(NamedTuple):
    """What became of a recording: prepared, or dropped and why."""

    sample: RawSample
    result: Prepared | Dropped


@dataclass
class PrepareReport:
    """What `prepare` did."""

    kept: int = 0
    reused: int = 0  # of those kept
    dropped_samples: Counter[str] = field(default_factory=Counter)  # by reason
    dropped_bodies: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def samples_per_second(self) -> float:
        """Recordings that were prepared, not copied, in a second."""
        return (self.kept - self.reused) / self.seconds

    def __str__(self) -> str:
        """Return one line for people."""
        return (
            f"{self.kept} samples in {duration(self.seconds)} ({self.samples_per_second:.0f}/s), "
            f"{self.reused} of them reused; dropped samples: {_by_reason(self.dropped_samples)}; "
            f"dropped bodies: {_by_reason(self.dropped_bodies)}"
        )

    def drop(self, row: Dropped) -> None:
        """Count one body or sample that is left out."""
        (self.dropped_bodies if row.body else self.dropped_samples)[row.reason] += 1

    def counts(self) -> dict[str, object]:
        """Return what the store keeps of this."""
        keys = ("kept", "reused", "dropped_samples", "dropped_bodies")
        return {key: getattr(self, key) for key in keys}


def _by_reason(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items())) or "none"


def prepare(
    kind: str,
    raw: Sequence[Path],
    output: Path,
    *,
    settings: Settings,
    partial: bool,
    dropped: Path,
    reuse: Path | None,
    workers: int,
) -> PrepareReport:
    """Make the store of a dataset; it and the CSV of what was dropped appear when they are whole.

    Args:
        kind: a key of `DATASETS`.
        raw: archives, read in place, or folders.
        output: the store.
        settings: the `prepare` section of params.yaml.
        partial: accept a subset of the dataset, and record that.
        dropped: CSV with a row for each body and each sample that was left out.
        reuse: a store with the same settings; its samples are copied, and only the others prepared.
        workers: processes.

    Raises:
        ValueError: if the dataset is not what it should be; one bad recording is dropped instead.
    """
    begin = time.perf_counter()
    dataset, report = DATASETS[kind], PrepareReport()
    samples, left_out = list_dataset(kind, raw)
    left_out = _without_missing_list(left_out, partial=partial)
    old = _open_reused(reuse, dataset, settings) if reuse else None
    fresh = [sample for sample in samples if old is None or sample.name not in old]
    meta = _meta(dataset, fresh, old)
    complete = _check_counts(dataset, raw, meta, partial=partial)
    refuse_shared(dataset, meta, _paths(raw))
    header = Header(
        dataset=kind,
        layout=load_layout(dataset.layout),
        class_names=_class_names(dataset, raw, fresh),
        padding=dataset.padding,
        max_bodies=settings["max_bodies"],
        units=dataset.units,
        settings=settings,
        partial=partial and not complete,
        fingerprint=_digest(samples),
        counts=report.counts,
        address=output.stem if STORE_NAME.fullmatch(output.stem) else "",
    )
    with _tasks(fresh) as tasks:
        function = bind(_prepare_chunk, dataset.prepare_sample, settings)
        outcomes = _watched(_in_parallel(function, tasks, workers), len(tasks), kind, report)
        records = _fresh_records(outcomes, left_out, dropped, report)
        if old is not None:
            merged = heapq.merge(records, _old_records(old, report), key=lambda record: record.name)
            records = merged
        write_store(output, records, header=header, splits=dataset.splits)
    report.seconds = time.perf_counter() - begin
    return report


def list_dataset(kind: str, raw: Sequence[Path]) -> tuple[list[RawSample], list[Dropped]]:
    """Return the recordings of a dataset sorted by name, and what was left out already.

    Raises:
        ValueError: if nothing is there, or two recordings have one name.
    """
    dataset = DATASETS[kind]
    for path in raw:
        if not path.exists():
            raise ValueError(f"{path}: no such file or folder. {dataset.where}")
    samples, left_out = dataset.list_samples(raw)
    samples.sort(key=lambda sample: sample.name)
    for first, second in pairwise(samples):
        if first.name == second.name:
            raise ValueError(
                f"{first.name} is there twice: {_place(first)} and {_place(second)}. "
                "Give one of them."
            )
    if not samples:
        reasons = _by_reason(Counter(row.reason for row in left_out))
        raise ValueError(
            f"{_paths(raw)}: expected recordings of {kind}, found none (left out: {reasons}). "
            f"{dataset.where}"
        )
    return samples, left_out


def _without_missing_list(left_out: Sequence[Dropped], *, partial: bool) -> list[Dropped]:
    """Return what was left out; refuse a complete NTU dataset whose list of bad samples is absent.

    A part of the dataset is prepared without that list, and stderr says so.
    """
    for row in left_out:
        if row.reason == NO_LIST and not partial:
            raise ValueError(row.detail)
        if row.reason == NO_LIST:
            print(f"{row.detail} Until then none is left out.", file=sys.stderr)
    return [row for row in left_out if row.reason != NO_LIST]


def _place(sample: RawSample) -> str:
    return f"{sample.source}/{sample.member}" if sample.member else str(sample.source)


def _paths(raw: Sequence[Path]) -> str:
    return ", ".join(map(str, raw))


def _open_reused(path: Path, dataset: Dataset, settings: Settings) -> Store:
    """Open the store whose samples are to be copied; refuse one that was prepared otherwise."""
    store = Store(path)
    expected = {
        "settings": json.loads(json.dumps(settings)),
        "layout": dataset.layout,
        "padding": dataset.padding,
        "units": dataset.units,
    }
    for key, value in expected.items():
        if store.attributes[key] != value:
            raise ValueError(
                f"{path}: its samples cannot be reused for {dataset.kind}: expected {key} {value}, "
                f"found {store.attributes[key]}. Give both datasets the same `prepare` settings."
            )
    return store


def _meta(dataset: Dataset, samples: Sequence[RawSample], old: Store | None) -> Columns:
    """Return the meta columns of all samples, those of the reused store first."""
    columns = {
        column: np.array([sample.meta[column] for sample in samples], np.int64)
        for column in dataset.meta_columns
    }
    if old is None:
        return columns
    return {name: np.concatenate([old.meta[name], values]) for name, values in columns.items()}


def _check_counts(dataset: Dataset, raw: Sequence[Path], meta: Columns, *, partial: bool) -> bool:
    """Return whether each split has its published counts; refuse if not, unless `partial`."""
    for split, expected in dataset.expected.items():
        found = _count(dataset, split, meta)
        if found != expected:
            if partial:
                return False
            raise ValueError(
                f"{_paths(raw)}: {dataset.kind} {split}: expected {expected[0]:,} training and "
                f"{expected[1]:,} test recordings, found {found[0]:,} and {found[1]:,}. Complete "
                "the download, or accept a subset with --partial (`partial: true` in params.yaml)."
            )
    return bool(dataset.expected)


def _count(dataset: Dataset, split: str, meta: Columns) -> tuple[int, int]:
    """Return the numbers of training and test samples of a split."""
    part = dataset.splits[split](meta)
    return int((part == 1).sum()), int((part == 0).sum())


def _class_names(
    dataset: Dataset, raw: Sequence[Path], samples: Sequence[RawSample]
) -> tuple[str, ...]:
    names = dataset.read_class_names(raw) if dataset.read_class_names else dataset.class_names
    for sample in samples:
        if not 0 <= sample.label < len(names):
            raise ValueError(
                f"{_place(sample)}: expected one of the {len(names)} classes of {dataset.kind}; "
                f"found number {sample.label + 1}. Is this another dataset?"
            )
    return names


@contextmanager
def _tasks(samples: Sequence[RawSample]) -> Iterator[list[Task]]:
    """Yield the samples with their places in zips; tar archives are unpacked meanwhile."""
    archives = {sample.source for sample in samples if sample.member is not None}
    entries = {path: zip_entries(path) for path in archives if not is_tar(path)}
    with ExitStack() as stack:
        folders = {}
        for path in archives - entries.keys():
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="dualhead-"))
            folders[path] = Path(folder)
            unpack(path, folders[path])
        yield [_task(sample, entries, folders) for sample in samples]


def _task(
    sample: RawSample, entries: Mapping[Path, Mapping[str, ZipEntry]], folders: Mapping[Path, Path]
) -> Task:
    if sample.member is None:
        return Task(sample, None)
    if sample.source in folders:
        unpacked = folders[sample.source] / sample.member
        return Task(sample._replace(source=unpacked, member=None), None)
    return Task(sample, entries[sample.source][sample.member])


def _read(task: Task) -> bytes:
    """Return the content of a recording.

    Raises:
        ValueError: if it is damaged; an error of the disk or of permissions stops the run instead,
            because it says nothing about the recording.
    """
    if task.entry is None:
        return task.sample.source.read_bytes()
    with task.sample.source.open("rb") as archive:
        return read_entry(archive, task.entry)


def _prepare_chunk(
    prepare_sample: PrepareSample, settings: Settings, tasks: Sequence[Task]
) -> list[Outcome]:
    """Prepare some recordings, in a worker; a bad one becomes a row of the dropped CSV."""
    outcomes = []
    for task in tasks:
        try:
            result: Prepared | Dropped = prepare_sample(_read(task), task.sample, settings)
        except ValueError as error:
            result = Dropped(task.sample.name, "", "unreadable", str(error))
        outcomes.append(Outcome(task.sample, result))
    return outcomes


Result = TypeVar("Result")


def _in_parallel(
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


def _begin_worker() -> None:
    """Leave Ctrl-C to the parent, and end when the parent is gone, even if it was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None, "runs in workers only"

    def follow() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _watched(
    outcomes: Iterator[Outcome], total: int, kind: str, report: PrepareReport
) -> Iterator[Outcome]:
    return progress(
        outcomes,
        total=total,
        label=f"prepare {kind}",
        unit="samples",
        describe=lambda: f"{report.dropped_samples.total()} dropped",
    )


def _fresh_records(
    outcomes: Iterable[Outcome], left_out: Sequence[Dropped], dropped: Path, report: PrepareReport
) -> Iterator[Record]:
    """Yield what was prepared, and write the CSV of what was not; it is there before the store.

    Raises:
        ValueError: if not one recording could be prepared.
    """
    first_bad = None
    with replacing(dropped) as temporary, temporary.open("w", newline="", encoding="utf-8") as text:
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(Dropped._fields)
        for row in left_out:
            report.drop(row)
            writer.writerow(row)
        for sample, result in outcomes:
            for row in result.dropped if isinstance(result, Prepared) else (result,):
                report.drop(row)
                writer.writerow(row)
            if isinstance(result, Prepared):
                report.kept += 1
                yield Record(
                    sample.name, sample.label, sample.meta, result.bodies, result.num_frames
                )
            else:
                first_bad = first_bad or result
        if first_bad and not report.kept:
            raise ValueError(f"no recording could be prepared; the first: {first_bad.detail}")


def _old_records(old: Store, report: PrepareReport) -> Iterator[Record]:
    """Yield the samples of another store as they are."""
    for position, name in enumerate(old.names):
        report.kept += 1
        report.reused += 1
        meta = {column: int(values[position]) for column, values in old.meta.items()}
        bodies = tuple(old.bodies(position))
        label, num_frames = int(old.labels[position]), int(old.num_frames[position])
        yield Record(name, label, meta, bodies, num_frames)


def fingerprint(kind: str, raw: Sequence[Path]) -> str:
    """Return what identifies the raw data: the same for an archive and for its unpacked folder.

    It is made of names, classes and sizes, so it costs a listing; a change that keeps every size is
    not seen.
    """
    return _digest(list_dataset(kind, raw)[0])


def _digest(samples: Iterable[RawSample]) -> str:
    digest = hashlib.sha256()
    for sample in sorted(samples, key=lambda sample: sample.name):
        digest.update(f"{sample.name} {sample.label} {sample.size}\n".encode())
    return digest.hexdigest()


def check_raw(store: Path, raw: Sequence[Path]) -> str:
    """Return one line that says that the raw data is what the store was prepared from.

    Raises:
        ValueError: if the raw data has changed since.
    """
    with Store(store) as prepared:
        kind, expected = prepared.attributes["dataset"], prepared.attributes["fingerprint"]
    found = fingerprint(kind, raw)
    if found != expected:
        raise ValueError(
            f"{_paths(raw)}: changed since {store} was prepared from it: expected fingerprint "
            f"{expected[:12]}, found {found[:12]}. Restore the files, or raise "
            f"datasets.<name>.release in params.yaml to prepare them anew."
        )
    return f"{_paths(raw)}: what {store} was prepared from ({found[:12]})"


class Inspected(NamedTuple):
    """What verification keeps of a recording."""

    name: str
    digest: bytes  # of the joints that a store would hold
    num_frames: int
    num_bodies: int
    dropped: tuple[Dropped, ...]  # bodies left out, or the whole recording if it is damaged


def verify(kind: str, raw: Sequence[Path], settings: Settings) -> str:
    """Prepare every recording without keeping it, and return the passport of a raw dataset.

    Archives, counts, frames, bodies, people and cameras, what is left out and why, and recordings
    with the same content under two names: these are told, not refused, because a published dataset
    may hold some (NW-UCLA does).

    Args:
        kind: a key of `DATASETS`.
        raw: archives, read in place, or folders.
        settings: the `prepare` section; a recording that cannot be prepared by it is damaged.

    Raises:
        ValueError: if the dataset is not complete, a recording is damaged or cut short, or training
            and test share what the protocol keeps apart.
    """
    dataset = DATASETS[kind]
    samples, left_out = list_dataset(kind, raw)
    left_out = _without_missing_list(left_out, partial=False)
    meta = _meta(dataset, samples, None)
    _check_counts(dataset, raw, meta, partial=False)
    refuse_shared(dataset, meta, _paths(raw))
    found = _inspect(samples, dataset, settings)
    _refuse_damaged(found, raw)
    lines = [f"{path}: {_size(path):,} bytes" for path in raw]
    lines += [f"{len(samples):,} recordings of {kind}, every one readable", *_extent(found, meta)]
    lines += [f"classes: {len({sample.label for sample in samples}):,}"]
    lines += [_split_line(dataset, split, meta) for split in dataset.splits]
    lines += [f"left out: {_by_reason(Counter(row.reason for row in left_out))}"]
    bodies = Counter(row.reason for one in found for row in one.dropped)
    lines += [f"bodies left out, and what was noted of them: {_by_reason(bodies)}"]
    lines += _content_lines(dataset, meta, found)
    return "\n".join([*lines, f"fingerprint: {_digest(samples)}"])


def _inspect(samples: Sequence[RawSample], dataset: Dataset, settings: Settings) -> list[Inspected]:
    """Prepare every recording on all cores, and keep what is counted of it."""
    function = bind(_inspect_chunk, dataset.prepare_sample, settings)
    with _tasks(samples) as tasks:
        outcomes = _in_parallel(function, tasks, len(os.sched_getaffinity(0)))
        return list(progress(outcomes, total=len(tasks), label="verify", unit="samples"))


def _inspect_chunk(
    prepare_sample: PrepareSample, settings: Settings, tasks: Sequence[Task]
) -> list[Inspected]:
    return [_inspected(*outcome) for outcome in _prepare_chunk(prepare_sample, settings, tasks)]


def _inspected(sample: RawSample, result: Prepared | Dropped) -> Inspected:
    if isinstance(result, Dropped):
        return Inspected(sample.name, b"", 0, 0, (result,))
    present = sum(len(body) > 0 for body in result.bodies)
    digest = content_digest(result.bodies)
    return Inspected(sample.name, digest, result.num_frames, present, result.dropped)


def _refuse_damaged(found: Sequence[Inspected], raw: Sequence[Path]) -> None:
    bad = [row for one in found for row in one.dropped if not row.body]
    if bad:
        raise ValueError(
            f"{_paths(raw)}: {len(bad)} of {len(found)} recordings cannot be read; the first: "
            f"{bad[0].name}: {bad[0].detail}. Download them again."
        )


def _extent(found: Sequence[Inspected], meta: Columns) -> list[str]:
    """Return lines about frames, bodies, and how many people, cameras, setups there are."""
    frames = np.array([one.num_frames for one in found])
    shortest, median, longest = (int(value) for value in np.quantile(frames, (0, 0.5, 1)))
    bodies = Counter(one.num_bodies for one in found)
    shares = ", ".join(f"{count:,} with {number}" for number, count in sorted(bodies.items()))
    columns = ", ".join(f"{len(np.unique(values))} of {name}" for name, values in meta.items())
    return [
        f"frames: {frames.sum():,}; {shortest} to {longest} a recording, median {median}",
        f"bodies: recordings {shares}",
        f"different values: {columns}",
    ]


def _split_line(dataset: Dataset, split: str, meta: Columns) -> str:
    train, test = _count(dataset, split, meta)
    judged = "as published" if split in dataset.expected else "nothing published to compare with"
    apart = f"; no {dataset.apart[split]} in both" if split in dataset.apart else ""
    return f"{split}: {train:,} training, {test:,} test ({judged}){apart}"


def _content_lines(dataset: Dataset, meta: Columns, found: Sequence[Inspected]) -> list[str]:
    """Return what there is to say of recordings with the same content under different names."""
    names, groups = [one.name for one in found], equal_digests([one.digest for one in found])
    lines = [f"same content under another name: {sum(map(len, groups)):,} recordings"]
    for split, assign in dataset.splits.items():
        part = assign(meta)
        if copied := copies(groups, part):
            text = copies_text(names, copied, int((part == 0).sum()))
            lines.append(f"WARNING: {split}: {text}")
    return lines


def _size(path: Path) -> int:
    """Return the bytes of a file, or of all files below a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())
