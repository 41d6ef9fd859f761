"""NTU RGB+D 60 and 120: names, classes, splits, and a recording from text to normalized bodies."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from dualhead.arrays import Array, Columns, Floats, Parts
from dualhead.data.archives import list_files
from dualhead.data.dataset import WHOLE, Dataset, Dropped, Prepared, RawSample
from dualhead.data.datasets.missing import find_missing_list
from dualhead.data.denoise import Removed, find_tracks, select_actors, select_by_energy
from dualhead.data.normalize import normalize, remove_empty_frames, remove_unpeopled_frames
from dualhead.data.skeleton_file import Recording, read_skeleton
from dualhead.layout import LAYOUTS, SkeletonLayout
from dualhead.settings.params import Settings

LAYOUT = "ntu25"
UNITS = "meters"
META_COLUMNS = ("setup", "camera", "subject", "replication")
NAME = re.compile(
    r"S(?P<setup>\d{3})C(?P<camera>\d{3})P(?P<subject>\d{3})R(?P<replication>\d{3})A(?P<action>\d{3})"
)
SUFFIXES = (".skeleton", ".skeleton.txt")
EXAMPLE = "S001C001P001R001A001.skeleton"
EXTENT = (0.2, 8.0)  # meters; a body's largest side on the median of its frames
STILL = 0.01  # meters that a joint of something still moves about its place
LIVELIER = 3.0  # times; a body that moves so much more than a still one is an actor
SLOTS = 4  # bodies of a frame that the authors look at
LARGEST = float(np.finfo(np.float32).max)

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
    samples: list[RawSample] = []
    dropped: list[Dropped] = []
    for file in (file for path in raw for file in list_files(path, *SUFFIXES)):
        name = re.sub(r"\.skeleton(\.txt)?$", "", file.path.name, flags=re.IGNORECASE)
        meta = parse_name(name)
        if meta is None or meta["action"] == 0:
            detail = f"{file.path} is not named like {EXAMPLE}"
            detail += "" if meta is None else ": actions count from A001"
            dropped.append(Dropped(name, "", "unknown_name", detail))
        else:
            label = meta.pop("action") - 1
            samples.append(RawSample(name, label, meta, file.source, file.member, file.size))
    return sorted(samples, key=lambda sample: sample.name), dropped


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


def prepare_bodies(
    recording: Recording, name: str, layout: SkeletonLayout, settings: Settings
) -> Prepared:
    """Choose the bodies of a recording in meters, and normalize them; see `prepare_ntu_sample`."""
    recording, removed = _without_infinite(recording)
    removed += _implausible(recording)
    planes, unchosen = DENOISERS[settings["denoise"]](recording, settings["max_bodies"])
    return _finished(planes, [*removed, *unchosen], name, layout, settings)


def prepare_chosen(joints: Array, name: str, settings: Settings) -> Prepared:
    """Normalize bodies that others chose; `denoise` has nothing to choose.

    Args:
        joints: (M, T, V, 3) float32, meters, the main body first; 0 where it is not there.
        name: the recording's name.
        settings: the `prepare` section; bodies beyond `max_bodies` are left out.
    """
    num_bodies, num_frames, num_joints, _ = joints.shape
    slots, frames = np.divmod(np.arange(num_bodies * num_frames), max(num_frames, 1))
    rows = joints.reshape(num_bodies * num_frames, num_joints, 3).transpose(2, 0, 1)
    everyone = Recording(num_frames, frames, slots, rows.astype(np.float64), b"", frames)
    recording, removed = _without_infinite(everyone)
    removed += _implausible(recording)
    planes = recording.joints.reshape(3, num_bodies, num_frames, num_joints).astype(np.float32)
    kept = settings["max_bodies"]
    removed += [
        Removed(f"slot {slot}", "beyond_max_bodies", f"{kept} bodies are kept")
        for slot in range(kept, num_bodies)
        if planes[:, slot].any()
    ]
    present = [slot for slot in range(min(kept, num_bodies)) if planes[:, slot].any()]
    return _finished(planes[:, present], removed, name, LAYOUTS[LAYOUT], settings)


def _finished(
    planes: Array, removed: list[Removed], name: str, layout: SkeletonLayout, settings: Settings
) -> Prepared:
    """Normalize the chosen bodies, (3, M, T, V) in meters, without the frames where nobody is."""
    removed += _cancelling(planes)
    bodies: list[Array] = [np.moveaxis(body, 0, -1) for body in np.moveaxis(planes, 1, 0)]
    if settings["normalize"] == "rotate":
        bodies = [remove_empty_frames(body) for body in bodies]
    else:
        bodies = remove_unpeopled_frames(bodies)
    if not planes.any():
        removed.append(Removed(WHOLE, "no_body", "no frame holds a body: kept, as zeros"))
    return Prepared(
        bodies=normalize(bodies, layout, settings["normalize"]),
        num_frames=max(map(len, bodies), default=0),
        dropped=tuple(Dropped(name, *body) for body in removed),
    )


def _without_infinite(recording: Recording) -> tuple[Recording, list[Removed]]:
    """Put joints that are not finite at 0, as joints that were not seen."""
    wrong = ~(np.abs(recording.joints) <= LARGEST).all(axis=0)
    if not wrong.any():
        return recording, []
    joints = np.where(wrong, 0.0, recording.joints)
    detail = f"{wrong.sum()} joints that are not finite count as not seen"
    return recording._replace(joints=joints), [Removed(WHOLE, "not_finite", detail)]


def _implausible(recording: Recording) -> list[Removed]:
    """Note bodies of a size that no person has in meters, and lines after the last frame."""
    notes = []
    if recording.joints.size:
        seen = recording.joints.any(axis=(0, 2))
        sides = np.ptp(recording.joints[:, seen], axis=2).max(axis=0)
        extent = float(np.median(sides)) if len(sides) else 1.0
        if not EXTENT[0] <= extent <= EXTENT[1]:
            detail = (
                f"bodies measure {extent:.4g} m: is their unit the meter, or mm or pixels? Kept"
            )
            notes.append(Removed(WHOLE, "extent", detail))
    if recording.lines_after:
        detail = f"{recording.lines_after} lines after the last of {recording.num_frames} frames"
        notes.append(Removed(WHOLE, "lines_after", f"{detail} are passed over"))
    return notes


def _changing_ids(recording: Recording) -> list[Removed]:
    """Note IDs that come twice in a frame or change within a slot, which energy does not look at."""
    places = list(zip(recording.frames.tolist(), recording.body_ids(), strict=True))
    slots = set(zip(recording.slots.tolist(), (body for _, body in places), strict=True))
    notes = []
    if twice := len(places) - len(set(places)):
        detail = f"{twice} bodies have the ID of another of their frame: each is its slot's"
        notes.append(Removed(WHOLE, "same_id", detail))
    if changed := len(slots) - len({slot for slot, _ in slots}):
        detail = f"the ID of a slot changes ({changed} further IDs): a slot is one body here"
        notes.append(Removed(WHOLE, "id_changes", detail))
    return notes


def _still_first(slots: Floats, kept: Sequence[int]) -> list[Removed]:
    """Note a first body that stands still while another moves: a chair outranks the actor by size.

    Args:
        slots: (3, S, T, V), meters.
        kept: slots chosen, the first body's first.
    """
    if slots.shape[1] < 2 or not kept:
        return []
    motions = [
        float(body[:, body.any(axis=(0, 2))].std(axis=1).mean()) if body.any() else 0.0
        for body in np.moveaxis(slots, 1, 0)
    ]
    first, most = motions[kept[0]], max(motions)
    if first >= STILL or most < max(STILL, LIVELIER * first):
        return []
    detail = f"the first body's joints move by {first:.2g} m, another's by {most:.2g} m: kept first"
    return [Removed(WHOLE, "still_first", detail)]


def _by_energy(recording: Recording, max_bodies: int) -> tuple[Array, list[Removed]]:
    """Return the bodies of most energy, (3, M, T, V) float32; see `select_by_energy`."""
    slots, frames, joints = recording.slots, recording.frames, recording.joints
    used = slots < SLOTS
    removed = []
    if not used.all():
        detail = f"{(~used).sum()} bodies beyond the first {SLOTS} of their frame"
        removed.append(Removed(f"slot {SLOTS} and on", "fifth_body", detail))
        slots, frames, joints = slots[used], frames[used], joints[:, used]
    num_slots = int(slots.max(initial=-1)) + 1
    planes = np.zeros((3, num_slots, recording.num_frames, joints.shape[2]))
    planes[:, slots, frames] = joints
    kept, others = select_by_energy(planes, max_bodies)
    removed += [*others, *_changing_ids(recording), *_still_first(planes, kept)]
    return planes[:, kept].astype(np.float32), removed


def _by_ctr_gcn(recording: Recording, max_bodies: int) -> tuple[Array, list[Removed]]:
    """Return CTR-GCN's actors, (3, M, T, V) float32; see `select_actors`."""
    tracks, twice = find_tracks(recording.frames, recording.body_ids(), recording.joints)
    actors, removed = select_actors(tracks)
    present = [actor for actor in range(actors.shape[1]) if actors[:, actor].any()]
    unwanted = [
        Removed(f"actor {actor + 1}", "low_motion", f"{max_bodies} actors are kept")
        for actor in present[max_bodies:]
    ]
    return actors[:, present[:max_bodies]], [*twice, *removed, *unwanted]


DENOISERS: Mapping[str, Callable[[Recording, int], tuple[Array, list[Removed]]]] = {
    "energy": _by_energy,
    "ctr_gcn": _by_ctr_gcn,
}


def _cancelling(planes: Array) -> list[Removed]:
    """Count joints, frames and recordings of sum 0 with other values: absent in the official code, kept here.

    Args:
        planes: (3, M, T, V), meters.
    """
    sums = planes[0] + planes[1] + planes[2]
    seen = planes.any(axis=0)
    joints = int((seen & (sums == 0)).sum())
    frames = int((seen.any(axis=-1) & (sums.sum(axis=-1) == 0)).sum())
    whole = seen.any() and sums.sum(axis=(-1, -2)).sum() == 0
    if not (joints or frames or whole):
        return []
    counted = f"{joints} joints, {frames} frames" + (" and the recording" if whole else "")
    return [Removed(WHOLE, "cancelling_kept", f"{counted} add up to 0 without being 0: kept")]


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
