"""NTU RGB+D 60 and 120: names of recordings, classes, splits, and the `.skeleton` files."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from dualhead.arrays import Columns, Parts
from dualhead.data.bodies import prepare_bodies
from dualhead.data.dataset import Dataset, Dropped, Prepared, RawSample
from dualhead.data.datasets.missing import find_missing_list
from dualhead.data.datasets.named import Named, list_named
from dualhead.data.skeleton_file import read_skeleton
from dualhead.layout import LAYOUTS
from dualhead.settings.params import Settings

LAYOUT = "ntu25"
UNITS = "meters"
META_COLUMNS = ("setup", "camera", "subject", "replication")
NAME = re.compile(
    r"S(?P<setup>\d{3})C(?P<camera>\d{3})P(?P<subject>\d{3})R(?P<replication>\d{3})A(?P<action>\d{3})"
)
SUFFIXES = (".skeleton", ".skeleton.txt")
EXAMPLE = "S001C001P001R001A001.skeleton"

CLASS_NAMES = """
    drink water; eat meal/snack; brushing teeth; brushing hair; drop; pickup; throw; sitting
    down; standing up (from sitting position); clapping; reading; writing; tear up paper; wear
    jacket; take off jacket; wear a shoe; take off a shoe; wear on glasses; take off glasses;
    put on a hat/cap; take off a hat/cap; cheer up; hand waving; kicking something; put
    something inside pocket / take out something from pocket; hopping (one foot jumping); jump
    up; make a phone call/answer phone; playing with phone/tablet; typing on a keyboard;
    pointing to something with finger; taking a selfie; check time (from watch); rub two hands
    together; nod head/bow; shake head; wipe face; salute; put the palms together; cross hands
    in front (say stop); sneeze/cough; staggering; falling; touch head (headache); touch chest
    (stomachache/heart pain); touch back (backache); touch neck (neckache); nausea or vomiting
    condition; use a fan (with hand or paper)/feeling warm; punching/slapping other person;
    kicking other person; pushing other person; pat on back of other person; point finger at the
    other person; hugging other person; giving something to other person; touch other person's
    pocket; handshaking; walking towards each other; walking apart from each other;
    put on headphone; take off headphone; shoot at the basket; bounce ball; tennis bat swing;
    juggling table tennis balls; hush (quite); flick hair; thumb up; thumb down; make ok sign;
    make victory sign; staple book; counting money; cutting nails; cutting paper (using
    scissors); snapping fingers; open bottle; sniff (smell); squat down; toss a coin; fold
    paper; ball up paper; play magic cube; apply cream on face; apply cream on hand back; put on
    bag; take off bag; put something into a bag; take something out of a bag; open a box; move
    heavy objects; shake fist; throw up cap/hat; hands up (both hands); cross arms; arm circles;
    arm swings; running on the spot; butt kicks (kick backward); cross toe touch; side kick;
    yawn; stretch oneself; blow nose; hit other person with something; wield knife towards other
    person; knock over other person (hit with body); grab other person's stuff; shoot at other
    person with a gun; step on foot; high-five; cheers and drink; carry something with other
    person; take a photo of other person; follow other person; whisper in other person's ear;
    exchange things with other person; support somebody with one's hand; finger-guessing game
    (playing rock-paper-scissors)
    """
TRAINING_SUBJECTS_60 = frozenset(
    (1, 2, 4, 5, 8, 9, 13, 14, 15, 16, 17, 18, 19, 25, 27, 28, 31, 34, 35, 38)
)
TRAINING_SUBJECTS_120 = TRAINING_SUBJECTS_60 | frozenset(
    (
        *(45, 46, 47, 49, 50, 52, 53, 54, 55, 56, 57, 58, 59, 70, 74, 78, 80, 81, 82, 83, 84),
        *(85, 86, 89, 91, 92, 93, 94, 95, 97, 98, 100, 103),
    )
)
TRAINING_CAMERAS = frozenset((2, 3))
TRAINING_SETUPS = frozenset(range(2, 33, 2))


def parse_name(name: str) -> dict[str, int] | None:
    """Return setup, camera, subject, replication and action of `S001C002P003R002A013`, or None."""
    match = NAME.fullmatch(name)
    return {key: int(value) for key, value in match.groupdict().items()} if match else None


def list_skeleton_files(raw: Sequence[Path]) -> tuple[list[RawSample], list[Dropped]]:
    """Return every recording in the raw paths, and a row for each file of another name.

    Args:
        raw: archives, or folders that are searched to the bottom.

    Raises:
        ValueError: for a path with nothing there, or an archive that was cut short.
    """
    samples, dropped = list_named(raw, SUFFIXES, _named, EXAMPLE)
    return sorted(samples, key=lambda sample: sample.name), dropped


def _named(name: str) -> Named | str:
    meta = parse_name(name)
    if meta is None:
        return ""
    label = meta.pop("action") - 1
    return Named(name, label, meta) if label >= 0 else ": actions count from A001"


def list_recordings(raw: Sequence[Path], *, setups: range) -> tuple[list[RawSample], list[Dropped]]:
    """Return the recordings of some setups, without those of the missing-skeletons list.

    Recordings of other setups belong to another dataset, and are passed over.
    """
    found, dropped = list_skeleton_files(raw)
    return _without_missing(found, dropped, raw, setups)


def without_missing(
    found: Sequence[RawSample], raw: Sequence[Path], dataset: Dataset
) -> tuple[list[RawSample], list[Dropped]]:
    """Return recordings that others prepared as `list_recordings` does, with what their names say.

    Raises:
        ValueError: for a label that is not the one of its recording's name.
    """
    named: list[RawSample] = []
    dropped: list[Dropped] = []
    for sample in found:
        meta = parse_name(sample.name)
        if meta is None:
            detail = f"{sample.source}: {sample.name} is not named like {EXAMPLE}"
            dropped.append(Dropped(sample.name, "", "unknown_name", detail))
        elif meta.pop("action") - 1 != sample.label:
            raise ValueError(
                f"{sample.source}: {sample.name}: expected the label of its name; found "
                f"{sample.label}, counted from 0. Is this another dataset?"
            )
        else:
            named.append(sample._replace(meta=meta))
    setups = SETUPS[dataset.kind]
    return _without_missing(named, dropped, raw, setups)


def _without_missing(
    found: Sequence[RawSample], dropped: list[Dropped], raw: Sequence[Path], setups: range
) -> tuple[list[RawSample], list[Dropped]]:
    missing, source = find_missing_list(raw, setups)
    ours = [sample for sample in found if sample.meta["setup"] in setups]
    dropped += [
        Dropped(sample.name, "", "missing_skeletons", f"in {source}")
        for sample in ours
        if sample.name in missing
    ]
    return [sample for sample in ours if sample.name not in missing], dropped


def prepare_ntu_sample(content: bytes, sample: RawSample, settings: Settings) -> Prepared:
    """Read one `.skeleton` file, choose its bodies, and normalize them.

    Official code: more than 300 frames end the whole run, and NaN stays NaN. Here all frames are
    kept, and a joint that is not finite counts as not seen. A recording without a body is kept, as
    zeros, as the authors do.

    Args:
        content: the file.
        sample: the recording's name, label and place.
        settings: the `prepare` section: denoise, normalize, max_bodies.

    Raises:
        ValueError: for a file that is damaged.
    """
    place = f"{sample.source}/{sample.member}" if sample.member else str(sample.source)
    recording = read_skeleton(content, place, LAYOUTS[LAYOUT].num_joints)
    return prepare_bodies(recording, sample.name, LAYOUTS[LAYOUT], settings)


def _split(columns: Columns, *, column: str, training: frozenset[int]) -> Parts:
    """Return 1 where a meta column has one of the training values, else 0."""
    return np.isin(columns[column], sorted(training)).astype(np.int8)


def _dataset(
    kind: str,
    num_classes: int,
    setups: range,
    splits: Mapping[str, Callable[[Columns], Parts]],
    where: str,
) -> Dataset:
    return Dataset(
        kind=kind,
        layout=LAYOUT,
        class_names=tuple(" ".join(name.split()) for name in CLASS_NAMES.split(";"))[:num_classes],
        padding="loop",
        units=UNITS,
        meta_columns=META_COLUMNS,
        list_samples=partial(list_recordings, setups=setups),
        prepare_sample=prepare_ntu_sample,
        splits=splits,
        expected={split: EXPECTED[kind, split] for split in splits},
        apart={split: APART[split] for split in splits},
        where=where,
        example=EXAMPLE,
    )


SETUPS = {"ntu60": range(1, 18), "ntu120": range(1, 33)}
APART = {"xsub": "subject", "xview": "camera", "xset": "setup"}
EXPECTED = {
    ("ntu60", "xsub"): (40_091, 16_487),
    ("ntu60", "xview"): (37_646, 18_932),
    ("ntu120", "xsub"): (63_026, 50_919),
    ("ntu120", "xset"): (54_468, 59_477),
}
NTU60 = _dataset(
    "ntu60",
    60,
    SETUPS["ntu60"],
    {
        "xsub": partial(_split, column="subject", training=TRAINING_SUBJECTS_60),
        "xview": partial(_split, column="camera", training=TRAINING_CAMERAS),
    },
    where=(
        "NTU RGB+D 60: nturgbd_skeletons_s001_to_s017.zip (5.8 GB), on request from the ROSE Lab "
        "of NTU Singapore, https://rose1.ntu.edu.sg/dataset/actionRecognition. Put it at "
        "data/raw/nturgbd_skeletons_s001_to_s017.zip; it need not be unpacked."
    ),
)
NTU120 = _dataset(
    "ntu120",
    120,
    SETUPS["ntu120"],
    {
        "xsub": partial(_split, column="subject", training=TRAINING_SUBJECTS_120),
        "xset": partial(_split, column="setup", training=TRAINING_SETUPS),
    },
    where=(
        "NTU RGB+D 120: nturgbd_skeletons_s018_to_s032.zip (4.5 GB) beside NTU RGB+D 60's archive, "
        "on request from the ROSE Lab of NTU Singapore, "
        "https://rose1.ntu.edu.sg/dataset/actionRecognition. Put it at "
        "data/raw/nturgbd_skeletons_s018_to_s032.zip; it need not be unpacked."
    ),
)
