"""The page about the data: what is in each store, how it is split, what was left out and why."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from dualhead.params import Settings
from dualhead.report.runs import table
from dualhead.store import Integers, Store

REASONS = 12  # that are listed; the CSV beside the store has every row


def passports(grid: Settings, stores: Path) -> list[Settings]:
    """Return what there is to say of each store that exists."""
    found = []
    for address, entry in grid["stores"].items():
        path = stores / f"{address}.h5"
        if path.is_file():
            with Store(path) as store:
                found.append(_passport(store, address, entry))
    return found


def _passport(store: Store, address: str, entry: Settings) -> Settings:
    dropped = store.path.with_name(f"{address}.dropped.csv")
    return {
        "title": f"{entry['dataset']} ({address})",
        "facts": _facts(store, entry),
        "splits": _splits(store),
        "dropped": _dropped(dropped),
    }


def _facts(store: Store, entry: Settings) -> list[list[str]]:
    frames = store.num_frames
    bodies = [sum(len(rows) > 0 for rows in store.bodies(place)) for place in range(len(store))]
    shares = [f"{np.mean(np.equal(bodies, count)):.1%} with {count}" for count in np.unique(bodies)]
    low, middle, high = (int(value) for value in np.quantile(frames, (0, 0.5, 1)))
    people = len(np.unique(store.meta["subject"])) if "subject" in store.meta else 0
    attributes = store.attributes
    return [
        ["Samples", f"{len(store):,} of {store.num_classes} classes" + _people(people)],
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
        ["Fingerprint", str(attributes["fingerprint"])[:16]],
    ]


def _people(count: int) -> str:
    return f", {count} people" if count else ""


def _raw(entry: Settings) -> str:
    if entry["synthesize"]:
        return "generated: " + _words(entry["synthesize"])
    return ", ".join(Path(path).name for path in entry["raw"])


def _complete(entry: Settings) -> str:
    return "generated" if entry["kind"] == "synthetic" else "yes, with the published counts"


def _words(settings: Settings) -> str:
    """Return settings as `denoise energy, normalize rotate`."""
    known = {key: value for key, value in settings.items() if key != "recipe"}
    return ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in known.items())


def _splits(store: Store) -> Settings:
    """Return train and test counts of each split, and what they do not share."""
    rows = []
    for name in sorted(store.splits):
        train, test = store.split(name)
        both = len(train) + len(test)
        classes = len(np.unique(store.labels[test]))
        rows.append(
            [
                name,
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
    """Return how many samples and bodies were left out for each reason, with an example."""
    if not path.is_file():
        return None
    rows = pd.read_csv(path, dtype=str, keep_default_na=False)
    if rows.empty:
        return None
    lines = []
    for reason, group in sorted(rows.groupby("reason"), key=lambda pair: -len(pair[1]))[:REASONS]:
        bodies = int((group["body"] != "").sum())
        example = f"{group['name'].iloc[0]}: {group['detail'].iloc[0]}"
        lines.append([str(reason).replace("_", " "), len(group) - bodies, bodies, example])
    columns = [
        ("Reason", "left"),
        ("Samples", "right"),
        ("Bodies", "right"),
        ("For example", "left"),
    ]
    return table(columns, lines)
