"""Preparation of a dataset: from listed raw recordings to a store, on all cores."""

from __future__ import annotations

import csv
import heapq
import json
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial as bind
from operator import attrgetter
from pathlib import Path

from dualhead.data.dataset import WHOLE, Dataset, Dropped, Prepared
from dualhead.data.datasets import configured
from dualhead.data.leakage import refuse_shared
from dualhead.data.listing import (
    by_reason,
    check_counts,
    class_names_of,
    columns_of,
    fingerprint_of,
    list_dataset,
    odd_labels,
    one_sided_splits,
    shown,
)
from dualhead.data.normalize import PADDED_FRAMES as BEYOND
from dualhead.data.pool import Outcome, in_parallel, opened, prepare_chunk
from dualhead.data.records import Header, Record, write_store
from dualhead.data.store import Store
from dualhead.files import digest_of, replacing
from dualhead.progress import duration, progress
from dualhead.settings.params import Settings

LASTING = ("to_fps",)
"""Settings of own recordings that a network's input depends on, and a store's layout and unit do not show."""
STORE_NAME = re.compile(r".+-[0-9a-f]{8}")  # of a workspace: dataset and address


@dataclass
class PrepareReport:
    """Counts of one preparation."""

    kept: int = 0
    reused: int = 0  # of those kept
    dropped_samples: Counter[str] = field(default_factory=Counter)  # by reason
    dropped_bodies: Counter[str] = field(default_factory=Counter)
    noted: Counter[str] = field(default_factory=Counter)  # recordings kept, with what is odd
    first: dict[str, Dropped] = field(default_factory=dict)  # of each reason
    remarks: list[str] = field(default_factory=list)  # on splits and classes, a sentence each
    frames_beyond: int = 0  # after the first `PADDED_FRAMES` of their recordings
    seconds: float = 0.0
    begin: float = field(default_factory=time.perf_counter)

    @property
    def samples_per_second(self) -> float:
        """Recordings prepared, not copied, in a second."""
        return (self.kept - self.reused) / self.seconds

    def __str__(self) -> str:
        """Return one line for people."""
        return (
            f"{self.kept} samples in {duration(self.seconds)} ({self.samples_per_second:.0f}/s), "
            f"{self.reused} of them reused; dropped samples: {by_reason(self.dropped_samples)}; "
            f"dropped bodies: {by_reason(self.dropped_bodies)}; noted: {by_reason(self.noted)}"
        )

    def findings(self) -> list[str]:
        """Return a line for each reason why recordings were dropped or noted, with the first one."""
        lines = []
        for reason, count in sorted((self.dropped_samples + self.noted).items()):
            first = self.first[reason]
            what = "left out" if reason in self.dropped_samples else "noted"
            lines.append(f"{reason}: {count:,} {what}; the first: {first.name}: {first.detail}")
        if self.frames_beyond:
            lines.append(f"{self.frames_beyond:,} frames in all lie beyond their first {BEYOND}")
        return lines + self.remarks

    def drop(self, row: Dropped) -> None:
        """Count one body or sample that is left out, or a note."""
        counters = {"": self.dropped_samples, WHOLE: self.noted}
        counters.get(row.body, self.dropped_bodies)[row.reason] += 1
        self.first.setdefault(row.reason, row)

    def counts(self) -> dict[str, object]:
        """Return the counts that the store keeps."""
        keys = ("kept", "reused", "dropped_samples", "dropped_bodies", "noted")
        return {key: getattr(self, key) for key in keys}


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
    recordings: Settings | None = None,
) -> PrepareReport:
    """Make the store of a dataset and the CSV of drops; both appear when they are whole.

    Args:
        kind: a key of `DATASETS`.
        raw: archives, read in place, or folders.
        output: the store.
        settings: the `prepare` section of params.yaml.
        partial: accept a subset of the dataset, and record that.
        dropped: CSV with a row for each body and each sample that was left out.
        reuse: a store with the same settings; its samples are copied, and only the others prepared.
        workers: processes.
        recordings: settings of own recordings; see `configured`.

    Raises:
        ValueError: if the dataset is not what it should be; one bad recording is dropped instead.
    """
    _refuse_fewer_than_one({"--max-bodies": settings["max_bodies"], "--workers": workers})
    dataset, report = configured(kind, raw, recordings or {}), PrepareReport()
    settings = settings | lasting(recordings or {})
    samples, left_out = list_dataset(dataset, raw)
    old = _open_reused(reuse, dataset, settings) if reuse else None
    fresh = [sample for sample in samples if old is None or sample.name not in old]
    meta = columns_of(dataset, fresh, old)
    refuse_shared(dataset, meta, shown(raw))
    class_names = class_names_of(dataset, raw, fresh)
    report.remarks = one_sided_splits(dataset, meta) + odd_labels(class_names, fresh)
    header = Header(
        dataset=kind,
        layout=dataset.skeleton(),
        class_names=class_names,
        padding=dataset.padding,
        max_bodies=settings["max_bodies"],
        units=dataset.units,
        settings=settings,
        partial=not check_counts(dataset, raw, meta, partial=partial) and partial,
        fingerprint=fingerprint_of(samples),
        counts=report.counts,
        source=dataset.source,
        dropped_digest=bind(digest_of, dropped),
        address=output.stem if STORE_NAME.fullmatch(output.stem) else "",
    )
    with opened(fresh) as tasks:
        function = bind(prepare_chunk, dataset.prepare_sample, settings)
        outcomes = _watched(in_parallel(function, tasks, workers), len(tasks), kind, report)
        records = _fresh_records(outcomes, left_out, dropped, report)
        write_store(output, _by_name(records, old, report), header=header, splits=dataset.splits)
    report.seconds = time.perf_counter() - report.begin
    return report


def lasting(recordings: Settings) -> Settings:
    """Return the settings of own recordings that are kept beside the `prepare` settings."""
    return {key: recordings[key] for key in LASTING if key in recordings}


def _refuse_fewer_than_one(options: Mapping[str, int]) -> None:
    for option, value in options.items():
        if value < 1:
            raise ValueError(f"{option}: expected 1 or more, found {value}. Correct the number.")


def _open_reused(path: Path, dataset: Dataset, settings: Settings) -> Store:
    """Open the store whose samples are to be copied; refuse one that was prepared otherwise."""
    store = Store(path)
    layout = dataset.skeleton()
    for key, expected, found in (
        ("settings", json.loads(json.dumps(settings)), store.attributes["settings"]),
        ("layout", layout.name, store.layout.name),
        ("skeleton", layout.to_mapping(), store.layout.to_mapping()),
        ("padding", dataset.padding, store.attributes["padding"]),
        ("units", dataset.units, store.attributes["units"]),
        ("source", dataset.source, store.attributes.get("source", "")),
    ):
        if found != expected:
            raise ValueError(
                f"{path}: its samples cannot be reused for {dataset.kind}: expected {key} "
                f"{expected}, found {found}. Give both datasets the same `prepare` settings."
            )
    return store


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
    """Yield the prepared recordings, and write the CSV of drops, which is there before the store.

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
            for row in _rows_of(result, sample.name, report):
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


def _by_name(fresh: Iterator[Record], old: Store | None, report: PrepareReport) -> Iterator[Record]:
    """Yield prepared recordings, and those of a store that is reused, in the order of their names."""
    copied = _old_records(old, report) if old else iter(())
    return heapq.merge(fresh, copied, key=attrgetter("name"))


def _rows_of(result: Prepared | Dropped, name: str, report: PrepareReport) -> tuple[Dropped, ...]:
    """Return the rows of parts left out of a recording, and a note on frames that most networks do not see."""
    if isinstance(result, Dropped):
        return (result,)
    beyond = result.num_frames - BEYOND
    if beyond <= 0:
        return result.dropped
    report.frames_beyond += beyond
    detail = f"{beyond} frames after the first {BEYOND}, which networks take by default: stored"
    return (*result.dropped, Dropped(name, WHOLE, f"beyond_{BEYOND}", detail))


def _old_records(old: Store, report: PrepareReport) -> Iterator[Record]:
    """Yield the samples of another store as they are."""
    for position, name in enumerate(old.names):
        report.kept += 1
        report.reused += 1
        meta = {column: int(values[position]) for column, values in old.meta.items()}
        bodies = tuple(old.bodies(position))
        label, num_frames = int(old.labels[position]), int(old.num_frames[position])
        yield Record(name, label, meta, bodies, num_frames)
