"""The synthetic dataset: NTU RGB+D's text format, plausible people, classes coarse and fine."""

import json
import re
from itertools import pairwise

import numpy as np
import pytest

from dualhead.data.datasets import DATASETS
from dualhead.data.datasets.ntu import parse_name
from dualhead.data.datasets.synthetic import SYNTHETIC, read_class_names
from dualhead.data.prepare import prepare
from dualhead.data.store import Store
from dualhead.data.synthesize.generate import MARKER, synthesize
from dualhead.data.synthesize.motions import ACTIONS, COARSE, FINE
from dualhead.layout import LAYOUTS

SETTINGS = {
    **{"classes": 12, "subjects": 4, "cameras": 3, "setups": 2, "repetitions": 1},
    **{"frames": (26, 34), "seed": 1},
}
TIP, WRIST = 23, 10  # of the right hand
NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?(e-\d\d)?")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("synthetic") / "recordings"
    assert synthesize(folder, **SETTINGS) == (144, True)
    return folder


def read(path):
    """Return for each frame a list of (body ID, joints (25, 3)), reading line by line."""
    lines = iter(path.read_text().splitlines())
    frames = []
    for _ in range(int(next(lines))):
        bodies = []
        for _ in range(int(next(lines))):
            body_id = next(lines).split()[0]
            rows = [next(lines).split() for _ in range(int(next(lines)))]
            bodies.append((body_id, np.array([row[:3] for row in rows], float)))
        frames.append(bodies)
    assert next(lines, None) is None
    return frames


def main_body(path):
    """Return the first body of each frame that has one, (T, 25, 3)."""
    return np.array([frame[0][1] for frame in read(path) if frame])


def shape_of(path):
    """Return the number of fields of each line, and what stands in those that are not numbers."""
    lines = path.read_bytes().decode("ascii").splitlines()
    return [len(line.split()) for line in lines], {
        field for line in lines for field in line.split() if not NUMBER.fullmatch(field)
    }


def test_names_cover_every_class_person_and_view(folder):
    found = [parse_name(path.stem) for path in folder.glob("*.skeleton")]
    assert len(found) == 144 and None not in found
    combinations = {(name["action"], name["subject"], name["camera"]) for name in found}
    assert len(combinations) == 12 * 4 * 3
    assert {name["setup"] for name in found} == {1, 2}


def test_setups_do_not_coincide_with_the_subjects_of_a_split(folder):
    found = [parse_name(path.stem) for path in folder.glob("*.skeleton")]
    assert {(name["setup"], name["subject"] % 2) for name in found} == {
        *((1, 0), (1, 1), (2, 0), (2, 1))
    }


def test_lines_are_those_of_a_real_file(folder, shared):
    real = shape_of(shared / "data" / "ntu_raw" / "S001C001P001R001A008.skeleton")
    made = shape_of(folder / "S001C001P001R001A001.skeleton")
    assert real[0][:29] == made[0][:29] == [1, 1, 10, 1, *[12] * 25]
    assert (real[1], made[1]) == (set(), set())


def test_every_recording_is_in_the_format(folder):
    for path in folder.glob("*.skeleton"):
        fields, strange = shape_of(path)
        assert not strange
        assert set(fields) <= {1, 10, 12}
        assert path.read_bytes().endswith(b"\r\n")
        assert 26 <= len(read(path)) <= 34


def test_the_same_settings_write_the_same_files(folder, tmp_path):
    synthesize(tmp_path / "again", **SETTINGS)
    for path in folder.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


def test_one_more_class_changes_no_other(folder, tmp_path):
    assert synthesize(tmp_path / "fewer", **SETTINGS | {"classes": 2}) == (24, True)
    for path in (tmp_path / "fewer").glob("*.skeleton"):
        assert path.read_bytes() == (folder / path.name).read_bytes()


def test_each_coarse_motion_meets_each_fine_one():
    pairs = [(action.coarse, action.fine) for action in ACTIONS]
    assert len(pairs) == len(set(pairs)) == len(COARSE) * len(FINE) == 12
    for count in (4, 8):  # of classes: crossed as well
        coarse, fine = (set(each) for each in zip(*pairs[:count], strict=True))
        assert len(coarse) * len(fine) == count


def test_another_seed_writes_other_files(folder, tmp_path):
    synthesize(tmp_path / "other", **SETTINGS | {"seed": 2, "classes": 1})
    name = "S001C001P001R001A001.skeleton"
    assert (folder / name).read_bytes() != (tmp_path / "other" / name).read_bytes()


def test_what_is_there_is_not_written_again(tmp_path):
    output, small = tmp_path / "made", SETTINGS | {"classes": 1, "subjects": 2}
    assert synthesize(output, **small) == (6, True)
    before = {path: path.stat().st_mtime_ns for path in output.iterdir()}
    assert synthesize(output, **small) == (6, False)
    assert before == {path: path.stat().st_mtime_ns for path in output.iterdir()}


def test_other_settings_or_a_lost_file_are_made_good(tmp_path):
    output, small = tmp_path / "made", SETTINGS | {"classes": 1, "subjects": 2}
    synthesize(output, **small)
    next(output.glob("*.skeleton")).unlink()
    assert synthesize(output, **small) == (6, True)
    assert synthesize(output, **small | {"cameras": 1}) == (2, True)
    assert len(list(output.glob("*.skeleton"))) == 2
    assert [output] == list(tmp_path.iterdir())


def test_a_folder_of_other_files_is_never_replaced(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match=r"found other files\. Give another --output"):
        synthesize(tmp_path, **SETTINGS)
    with pytest.raises(ValueError, match=r"expected a new folder, found a file\. Give another"):
        synthesize(tmp_path / "thesis.txt", **SETTINGS)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": 0}, r"classes within 1\.\.12; found 0"),
        ({"classes": 13}, r"classes within 1\.\.12; found 13"),
        ({"cameras": 4}, r"cameras within 1\.\.3; found 4"),
        ({"frames": (40, 30)}, r"10 <= shortest <= longest; found \(40, 30\)"),
        ({"frames": (5, 30)}, r"10 <= shortest <= longest"),
    ],
)
def test_a_setting_out_of_range_is_refused(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        synthesize(tmp_path / "made", **SETTINGS | change)


def test_recordings_of_ten_frames_can_be_made(tmp_path):
    counts = synthesize(tmp_path / "made", **SETTINGS | {"frames": (10, 10), "classes": 12})
    assert counts.recordings == 144
    assert all(len(read(path)) == 10 for path in (tmp_path / "made").glob("*.skeleton"))


def test_bones_keep_their_lengths_and_differ_between_people(folder):
    lengths = {}
    for subject in (1, 2):
        joints = main_body(next(folder.glob(f"*C002P{subject:03d}R001A001.skeleton")))
        parents = list(LAYOUTS["ntu25"].parents)
        bones = np.linalg.norm(joints - joints[:, parents], axis=-1)
        limbs = bones[:, [5, 6, 9, 10, 13, 14, 17, 18]]
        assert (limbs.std(axis=0) < 0.02).all()
        assert ((limbs.mean(axis=0) > 0.18) & (limbs.mean(axis=0) < 0.5)).all()
        lengths[subject] = limbs.mean(axis=0)
    assert np.abs(lengths[1] - lengths[2]).max() > 0.01


def aligned_error(first, second):
    """Return what is left of the difference after the best rotation and shift, meters."""
    length = min(len(first), len(second))
    first, second = first[:length].reshape(-1, 3), second[:length].reshape(-1, 3)
    first, second = first - first.mean(axis=0), second - second.mean(axis=0)
    u, _, v = np.linalg.svd(first.T @ second)
    sign = np.diag([1, 1, np.sign(np.linalg.det(u @ v))])
    return np.sqrt(((first @ u @ sign @ v - second) ** 2).mean()), np.degrees(
        np.arccos((np.trace(u @ sign @ v) - 1) / 2)
    )


def test_cameras_see_the_same_performance_from_45_degrees_apart(folder):
    for action in (1, 6, 11):
        paths = sorted(folder.glob(f"*P003R001A{action:03d}.skeleton"))
        views = [read(path) for path in paths]
        kept = [index for index, frames in enumerate(zip(*views, strict=True)) if all(frames)]
        bodies = [np.array([view[index][0][1] for index in kept]) for view in views]
        for first, second in pairwise(bodies):
            error, angle = aligned_error(first, second)
            assert error < 0.012, "the noise of the sensor"
            assert angle == pytest.approx(45, abs=1)


def resampled(joints, count=20):
    """Return the recording at `count` moments of its course, smoothed over five frames."""
    kernel = np.ones(5) / 5
    smooth = np.apply_along_axis(lambda row: np.convolve(row, kernel, "valid"), 0, joints)
    return smooth[np.linspace(0, len(smooth) - 1, count).round().astype(int)]


def recordings_of(folder, action):
    """Return the frontal views of a class, the body's center at the origin."""
    paths = sorted(folder.glob(f"*C002*A{action:03d}.skeleton"))
    bodies = [main_body(path) for path in paths]
    return [body - body[:, 1:2] for body in bodies]


def arm_motion(folder, action):
    """Return the course of elbow and wrist, the mean over people."""
    return np.mean([resampled(body[:, 9:11]) for body in recordings_of(folder, action)], axis=0)


def hand_motions(folder, action):
    """Return how far tip and thumb stray about the wrist while the arm is held, meters, of each recording."""
    held = [
        (body[:, [TIP, 24]] - body[:, [WRIST]])[len(body) // 3 : 2 * len(body) // 3]
        for body in recordings_of(folder, action)
    ]
    return [hand.std(axis=0).mean() for hand in held]


GROUPS = [(1, 5, 9), (2, 6, 10), (3, 7, 11), (4, 8, 12)]


@pytest.mark.parametrize("group", GROUPS)
def test_classes_of_a_group_share_the_coarse_motion(folder, group):
    for first, second in pairwise(group):
        same = np.abs(arm_motion(folder, first) - arm_motion(folder, second)).mean()
        other = np.abs(arm_motion(folder, first) - arm_motion(folder, (first + 1) % 4 + 1)).mean()
        assert same < 0.06 and same < 0.4 * other


@pytest.mark.parametrize("group", GROUPS)
def test_classes_of_a_group_differ_in_the_fine_motion(folder, group):
    still, *moving = (np.mean(hand_motions(folder, action)) for action in group)
    assert min(moving) > 1.5 * still


def test_the_fine_motion_is_from_nothing_to_plain_to_see(folder):
    sizes = [size for group in GROUPS for size in hand_motions(folder, group[1])]
    still = max(size for group in GROUPS for size in hand_motions(folder, group[0]))
    assert min(sizes) < still < 2 * still < max(sizes)


def test_every_fourth_class_has_two_people_who_meet(folder):
    for action in (4, 8, 12):
        for path in folder.glob(f"*A{action:03d}.skeleton"):
            frames = [frame for frame in read(path) if frame]
            assert all(len(frame) >= 2 for frame in frames)
            apart = [
                np.linalg.norm(frame[0][1][0] - frame[1][1][0]) for frame in (frames[0], frames[-1])
            ]
            assert apart[1] < 0.7 * apart[0]


def test_recordings_suffer_from_what_real_ones_suffer_from(folder):
    gaps = spurious = renamed = 0
    for path in folder.glob("*.skeleton"):
        frames = read(path)
        people = 1 + (path.stem.endswith(("A004", "A008", "A012")))
        present = [len(frame) for frame in frames]
        gaps += 0 in present
        spurious += max(present) > people
        first = [frame[0][0] for frame in frames if frame]
        renamed += len(set(first)) > 1
    assert gaps >= 5 and spurious >= 5 and renamed >= 3
    assert gaps + spurious + renamed < 72


def test_the_marker_names_the_classes(folder):
    marker = json.loads((folder / MARKER).read_text())
    assert marker["recordings"] == 144
    assert marker["class_names"] == [action.name for action in ACTIONS]
    assert read_class_names([folder]) == tuple(marker["class_names"])


def test_without_a_marker_the_files_say_how_many_classes_there_are(folder, tmp_path):
    for path in list(folder.glob("*A003.skeleton")):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    assert read_class_names([tmp_path]) == SYNTHETIC.class_names[:3]


@pytest.mark.parametrize(
    ("split", "column", "training"),
    [("xsub", "subject", [1, 3]), ("xview", "camera", [2, 3]), ("xset", "setup", [2])],
)
def test_splits_follow_the_rules_of_ntu(split, column, training):
    values = np.array([1, 2, 3])
    expected = np.isin(values, training).astype(int)
    found = DATASETS["synthetic"].splits[split]({column: values})
    assert expected.tolist() == found.tolist()


def test_the_recordings_go_through_preparation(folder, tmp_path):
    report = prepare(
        "synthetic",
        [folder],
        tmp_path / "store.h5",
        settings={"recipe": 1, "denoise": "energy", "normalize": "rotate", "max_bodies": 2},
        partial=False,
        dropped=tmp_path / "dropped.csv",
        reuse=None,
        workers=1,
    )
    store = Store(tmp_path / "store.h5")
    assert (report.kept, store.num_classes) == (144, 12)
    joints = store.padded("S001C002P001R001A001")
    assert np.isfinite(joints).all()
    assert np.allclose(joints[:, :, 1, 0], 0), "the spine's middle is the origin"
    spine = joints[:, 0, 1, 0] - joints[:, 0, 0, 0]
    assert spine[2] > 0.2 and np.abs(spine[:2]).max() < 0.03, "upright along z"
