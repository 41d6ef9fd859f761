"""Page about the data: content of each store, its splits, and what was left out and why."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from dualhead.arrays import Integers
from dualhead.data.dataset import WHOLE
from dualhead.data.datasets import DATASETS
from dualhead.data.leakage import copies, copies_text, refuse_overlap, same_content
from dualhead.data.store import Store
from dualhead.report.pdf.runs import table
from dualhead.report.titles import dataset_title, split_title
from dualhead.settings.params import Settings
from dualhead.settings.params import address as address_of

REASONS = 12  # that are listed; the CSV beside the store has every row


def passports(grid: Settings, stores: Path) -> list[Settings]:
    """Return the passport of each store that exists: facts, splits, copies and what was left out.

    Raises:
        ValueError: for a store made with other settings, or with a split that its dataset does not
            define so.
    """
    found = []
    for address, entry in grid["stores"].items():
        path = stores / f"{address}.h5"
        if path.is_file():
            with Store(path) as store:
                _refuse_other_settings(store, entry)
                for split in store.splits:
                    refuse_overlap(store, split)
                found.append(_passport(store, address, entry))
    return found


def warnings(found: Sequence[Settings], used: Collection[tuple[str, str]]) -> list[Settings]:
    """Return the first page's warnings of data that others prepared and of test samples that were trained on.

    Args:
        found: passports.
        used: address of a store and one of its splits, of each benchmark.
    """
    texts = [
        f"{one['title']}, {text}"
        for one in found
        for split, text in one["copies"].items()
        if (one["address"], split) in used
    ]
    addresses = {address for address, _ in used}
    sources = [
        f"{one['title']}: {one['source']}"
        for one in found
        if one["source"] and one["address"] in addresses
    ]
    warned = []
    if sources:
        text = "; ".join(sources) + ". Its numbers do not compare with those of the raw recordings."
        warned.append({"title": "The data was prepared by others.", "text": text})
    if texts:
        text = "; ".join(texts) + ". The raw files hold them so."
        title = "Test samples are in training, under other names."
        warned.append({"title": title, "text": text})
    return warned


def _refuse_other_settings(store: Store, entry: Settings) -> None:
    """Refuse a store that does not say what the grid says of it; `recipe` is the code's, not its."""
    found, expected = (
        {key: value for key, value in settings.items() if key != "recipe"}
        for settings in (store.attributes["settings"], entry["prepare"])
    )
    if store.attributes["dataset"] != entry["kind"] or address_of(found) != address_of(expected):
        raise ValueError(
            f"{store.path}: a store made with other settings: expected {entry['kind']} prepared "
            f"with {expected}, found {store.attributes['dataset']} with {found}; remove it and rerun"
        )


def _passport(store: Store, address: str, entry: Settings) -> Settings:
    dropped = store.path.with_name(f"{address}.dropped.csv")
    if dropped.is_file():
        store.check_dropped(dropped)
    groups = same_content(store)
    told = _copies(store, groups)
    copied = {
        split: frozenset(store.names[place] for place in copies(groups, part))
        for split, part in store.splits.items()
    }
    return {
        "title": dataset_title(entry["kind"]),
        "kind": entry["kind"],
        "address": address,
        "copied": copied,
        "facts": [
            ["Store", address],
            *_facts(store, entry),
            ["Same content twice", _twice(groups, list(told.values()))],
        ],
        "splits": _splits(store),
        "source": store.attributes.get("source", ""),
        "copies": told,
        "dropped": _dropped(dropped),
    }


def _facts(store: Store, entry: Settings) -> list[list[str]]:
    frames = store.num_frames
    bodies = [sum(len(rows) > 0 for rows in store.bodies(place)) for place in range(len(store))]
    shares = [f"{np.mean(np.equal(bodies, count)):.1%} with {count}" for count in np.unique(bodies)]
    low, middle, high = (int(value) for value in np.quantile(frames, (0, 0.5, 1)))
    attributes = store.attributes
    return [
        ["Samples", f"{len(store):,} of {store.num_classes} classes"],
        ["Recorded", _recorded(store)],
        ["Frames", f"{int(frames.sum()):,}; {low} to {high} a recording, median {middle}"],
        ["Bodies", ", ".join(shares)],
        [
            "Skeleton",
            f"{store.layout.name}, {store.layout.num_joints} joints, {attributes['units']}",
        ],
        ["Preparation", _words(attributes["settings"])],
        [
            "Shorter recordings",
            {"loop": "are looped", "zero": "are padded with zeros"}[str(attributes["padding"])],
        ],
        ["Complete", "no, a subset" if attributes["partial"] else _complete(entry)],
        ["Raw data", _raw(entry)],
        *([["Prepared by others", attributes["source"]]] if "source" in attributes else []),
        ["Fingerprint", str(attributes["fingerprint"])[:16]],
    ]


def _recorded(store: Store) -> str:
    """Return `40 subjects, 3 cameras, 17 setups`, as far as the dataset tells them."""
    counts = {name: len(np.unique(values)) for name, values in store.meta.items()}
    return ", ".join(f"{count} {name}{'s' * (count != 1)}" for name, count in counts.items())


def _copies(store: Store, groups: Sequence[Sequence[int]]) -> dict[str, str]:
    """Return a sentence for each split that tests on the content of training samples."""
    texts = {}
    for name, part in sorted(store.splits.items()):
        if copied := copies(groups, part):
            text = copies_text(store.names, copied, int((part == 0).sum()))
            texts[name] = f"{split_title(name)}: {text}"
    return texts


def _twice(groups: Sequence[Sequence[int]], copied: Sequence[str]) -> str:
    if not groups:
        return "none"
    count = sum(map(len, groups))
    return "; ".join([f"{count:,} samples under two names or more", *copied])


def _raw(entry: Settings) -> str:
    if entry["synthesize"]:
        return "generated: " + _words(entry["synthesize"])
    return ", ".join(Path(path).name for path in entry["raw"])


def _complete(entry: Settings) -> str:
    if entry["kind"] == "synthetic":
        return "generated"
    published = DATASETS[entry["kind"]].expected
    return "yes, with the published counts" if published else "no counts are published"


def _words(settings: Settings) -> str:
    """Return settings as `denoise energy, normalize rotate`."""
    known = {key: value for key, value in settings.items() if key != "recipe"}
    texts = {key: str(value).strip("[]") for key, value in known.items()}
    return ", ".join(f"{key} {text}" for key, text in texts.items()).replace("_", " ")


def _splits(store: Store) -> Settings:
    """Return each split's numbers of training and test samples, and the columns in which they differ."""
    rows = []
    for name in sorted(store.splits):
        train, test = store.split(name)
        both = len(train) + len(test)
        classes = len(np.unique(store.labels[test]))
        rows.append(
            [
                split_title(name),
                f"{len(train):,}",
                f"{len(test):,}",
                f"{both:,}",
                classes,
                _disjoint(store, train, test),
            ]
        )
    columns = [("Split", "left"), ("Train", "right"), ("Test", "right"), ("Together", "right")]
    return table(
        [*columns, ("Classes in test", "right"), ("Train and test share no", "left")], rows
    )


def _disjoint(store: Store, train: Integers, test: Integers) -> str:
    """Return the columns whose values are different in training and test samples."""
    apart = [
        column
        for column, values in store.meta.items()
        if len(np.unique(values)) > 1 and not np.intersect1d(values[train], values[test]).size
    ]
    return ", ".join(["sample", *apart])


def _dropped(path: Path) -> Settings | None:
    """Return for each reason how many samples and bodies were left out, or kept and noted, with an example."""
    if not path.is_file():
        return None
    rows = pd.read_csv(path, dtype=str, keep_default_na=False)
    if rows.empty:
        return None
    lines = []
    for reason, group in sorted(rows.groupby("reason"), key=lambda pair: -len(pair[1]))[:REASONS]:
        noted = int((group["body"] == WHOLE).sum())
        samples = int((group["body"] == "").sum())
        example = f"{group['name'].iloc[0]}: {group['detail'].iloc[0]}"
        counts = [samples, len(group) - samples - noted, noted]
        lines.append([str(reason).replace("_", " "), *counts, example])
    columns = [
        ("Reason", "left"),
        ("Samples", "right"),
        ("Bodies", "right"),
        ("Kept, but noted", "right"),
        ("For example", "left"),
    ]
    return table(columns, lines)
