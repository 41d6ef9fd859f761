import zipfile
from pathlib import Path

import numpy as np
import pytest

from dualhead.data.bodies import DENOISERS
from dualhead.data.dataset import RawSample
from dualhead.data.datasets import DATASETS
from dualhead.data.datasets.ntu import (
    NTU60,
    NTU120,
    list_skeleton_files,
    parse_name,
    prepare_ntu_sample,
)
from tests.builders.skeletons import looped, one_body, skeleton_file
from tests.reference import preparation as reference

AUTHORS = {"denoise": "energy", "normalize": "rotate", "max_bodies": 2}
SAMPLE = RawSample("S001C001P001R001A001", 0, {}, Path("x.skeleton"), None, 0)

# Where the authors take coordinates that add up to 0 for absent, ours differs on purpose.
CANCELLING_JOINT = "S007C002P014R001A005"
CANCELLING_FRAME = "S008C001P018R001A007"
CANCELLING_BODIES = "S008C003P025R001A053"
CANCELLING = {CANCELLING_JOINT, CANCELLING_FRAME, CANCELLING_BODIES}


def prepare(content, **changes):
    return prepare_ntu_sample(content, SAMPLE, AUTHORS | changes)


def reasons(prepared):
    return [row.reason for row in prepared.dropped]


def judged(content, is_empty=reference.is_all_zero):
    return reference.prepare(content, is_empty)


@pytest.fixture(scope="session")
def golden(shared):
    """The authors' joints (3, 300, 25, 2) and the file, by name."""
    with np.load(shared / "golden" / "ntu_prepared.npz") as arrays:
        return {
            str(name): (joint, (shared / "golden" / "ntu_raw" / f"{name}.skeleton").read_bytes())
            for name, joint in zip(arrays["names"], arrays["joint"], strict=True)
        }


def real_files(shared):
    return sorted((shared / "data" / "ntu_raw").glob("*.skeleton"))


def someone(rng, num_frames, absent=()):
    joints = rng.normal((0.1, 0.2, 3.5), 0.4, size=(num_frames, 25, 3)).round(7)
    joints[list(absent)] = 0
    return joints


# ---- the authors' own results


def test_the_reference_makes_the_authors_arrays_of_all_golden_files(golden):
    for joint, content in golden.values():
        assert np.array_equal(judged(content, reference.adds_up_to_zero), joint)


def test_ours_equals_the_authors_to_the_bit_where_nothing_cancels(golden):
    for name in golden.keys() - CANCELLING:
        joint, content = golden[name]
        assert np.array_equal(looped(prepare(content).bodies), joint), name


def test_ours_equals_the_reference_to_the_bit_on_all_golden_files(golden):
    for name, (_, content) in golden.items():
        assert np.array_equal(looped(prepare(content).bodies), judged(content)), name


def test_ours_equals_the_reference_to_the_bit_on_real_recordings(shared):
    for path in real_files(shared):
        content = path.read_bytes()
        assert np.array_equal(looped(prepare(content).bodies), judged(content)), path.name


def test_nothing_is_counted_as_cancelling_where_nothing_cancels(golden, shared):
    for name in golden.keys() - CANCELLING:
        assert "cancelling_kept" not in reasons(prepare(golden[name][1]))
    for path in real_files(shared):
        assert not reasons(prepare(path.read_bytes()))


def test_a_joint_whose_coordinates_cancel_is_kept(golden):
    joint, content = golden[CANCELLING_JOINT]
    prepared = prepare(content)
    ours = looped(prepared.bodies)
    other = (ours != joint).any(axis=0)  # (T, V, M)
    assert set(np.argwhere(other)[:, 1]) == {7}
    assert set(np.argwhere(other)[:, 0] % prepared.num_frames % 2) == {0}
    assert not joint[:, other].any()
    assert ours[:, other].any(axis=0).all()
    assert reasons(prepared) == ["cancelling_kept"]


def test_a_frame_whose_coordinates_cancel_is_kept(golden):
    joint, content = golden[CANCELLING_FRAME]
    prepared = prepare(content)
    assert prepared.num_frames == 50
    assert reasons(prepared) == ["cancelling_kept"]
    # Theirs loses frames 0 and 10, and so turns by what was frame 1: the same up to a rotation.
    kept = [frame for frame in range(50) if frame not in (0, 10)]
    ours = np.linalg.norm(prepared.bodies[0][kept], axis=-1)
    np.testing.assert_allclose(ours, np.linalg.norm(joint[:, :48, :, 0], axis=0), atol=1e-6)


def test_two_bodies_that_cancel_are_centered_and_turned(golden):
    joint, content = golden[CANCELLING_BODIES]
    prepared = prepare(content)
    assert reasons(prepared) == ["cancelling_kept"]
    ours = looped(prepared.bodies)
    assert not ours[:, :, 1, 0].any()
    # Theirs leaves them in raw meters, in either order: the same shapes elsewhere.
    shapes = [
        np.linalg.norm(joints - joints[:, :, [1]], axis=0)
        for joints in (ours, joint, joint[..., ::-1])
    ]
    assert any(np.allclose(shapes[0], authors, atol=1e-5) for authors in shapes[1:])


def test_a_real_person_stands_upright_and_faces_the_same_way(shared):
    for path in real_files(shared):
        prepared = prepare(path.read_bytes())
        main = prepared.bodies[0]
        assert all(np.isfinite(body).all() for body in prepared.bodies)
        assert main[0, 1].tolist() == [0, 0, 0]
        shoulders, spine = main[0, 8] - main[0, 4], main[0, 1] - main[0, 0]
        assert shoulders[0] > 0.1
        np.testing.assert_allclose(shoulders[1:], 0, atol=1e-6)
        assert spine[2] > 0.9 * np.linalg.norm(spine)
        assert np.ptp(main[0, :, 2]) > 1.0  # about as tall as people are, in meters


def test_a_real_handshake_has_two_people(shared):
    path = shared / "data" / "ntu_raw" / "S001C003P008R002A058.skeleton"
    assert [len(body) for body in prepare(path.read_bytes()).bodies] == [70, 70]


# ---- bodies and frames, on files written here


@pytest.mark.parametrize("absent", [[], [0], [3, 4], [9], [0, 5, 9], range(1, 10)])
def test_gaps_are_treated_as_by_the_reference(absent, rng):
    joints = someone(rng, 10)
    frames = [[] if frame in absent else [("7", joints[frame])] for frame in range(10)]
    content = skeleton_file(frames)
    assert np.array_equal(looped(prepare(content).bodies), judged(content))


@pytest.mark.parametrize("num_bodies", [2, 3, 4])
def test_the_two_bodies_of_most_energy_are_kept_as_by_the_reference(num_bodies, rng):
    bodies = [someone(rng, 12) * scale for scale in (1.0, 3.0, 0.2, 2.0)[:num_bodies]]
    frames = [[(str(i), body[frame]) for i, body in enumerate(bodies)] for frame in range(12)]
    content = skeleton_file(frames)
    prepared = prepare(content)
    assert np.array_equal(looped(prepared.bodies), judged(content))
    assert reasons(prepared) == ["low_energy"] * (num_bodies - 2)


def test_a_body_that_leaves_early_has_a_period_of_its_own(rng):
    bodies = someone(rng, 20) * 2, someone(rng, 20)
    frames = [[("1", bodies[0][0]), ("2", bodies[1][0])][: 2 if i < 13 else 1] for i in range(20)]
    content = skeleton_file(frames)
    prepared = prepare(content)
    assert np.array_equal(looped(prepared.bodies), judged(content))
    assert prepared.num_frames == 20


def test_bodies_beyond_the_fourth_of_a_frame_are_left_out_and_counted(rng):
    joints = someone(rng, 5)
    content = skeleton_file([[(str(i), joint) for i, joint in enumerate(joints)]])
    prepared = prepare(content)
    assert np.array_equal(looped(prepared.bodies), judged(content))
    assert sorted(reasons(prepared)) == ["fifth_body", "low_energy", "low_energy"]


@pytest.mark.parametrize("denoise", DENOISERS)
@pytest.mark.parametrize("normalize", ["rotate", "first_frame", "none"])
@pytest.mark.parametrize("frames", [[], [[]], [[], [], []]])
def test_a_recording_of_nobody_is_kept_as_zeros_and_counted(denoise, normalize, frames):
    prepared = prepare(skeleton_file(frames), denoise=denoise, normalize=normalize)
    assert not looped(prepared.bodies).any()
    assert reasons(prepared) == ["no_body"]


def test_more_than_300_frames_are_all_kept(rng):
    joints = someone(rng, 310)
    prepared = prepare(skeleton_file(one_body(joints)))
    assert (prepared.num_frames, len(prepared.bodies[0])) == (310, 310)
    assert np.array_equal(looped(prepared.bodies), judged(skeleton_file(one_body(joints[:300]))))


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_a_joint_that_is_not_finite_counts_as_not_seen(value, rng):
    joints = someone(rng, 8)
    joints[3, 10, 1] = value
    prepared = prepare(skeleton_file(one_body(joints)))
    joints[3, 10] = 0
    expected = prepare(skeleton_file(one_body(joints)))
    assert np.array_equal(prepared.bodies[0], expected.bodies[0])
    assert reasons(prepared) == ["not_finite"]


@pytest.mark.parametrize("denoise", DENOISERS)
@pytest.mark.parametrize("max_bodies", [1, 2])
def test_max_bodies_is_how_many_are_kept(denoise, max_bodies, rng):
    bodies = someone(rng, 20) * (1, 2, 1), someone(rng, 20) * (1, 3, 1)
    frames = [[("1", one), ("2", two)] for one, two in zip(*bodies, strict=True)]
    prepared = prepare(skeleton_file(frames), denoise=denoise, max_bodies=max_bodies)
    assert len(prepared.bodies) == max_bodies
    assert len(prepared.dropped) == 2 - max_bodies


def test_ctr_gcn_follows_a_body_by_its_id(rng):
    here, there = (someone(rng, 30) * (1, 3, 1) for _ in range(2))
    there[..., 0] += 5
    frames = [[("1", here[i]), ("2", there[i])][:: 1 if i < 15 else -1] for i in range(30)]
    prepared = prepare(skeleton_file(frames), denoise="ctr_gcn", normalize="none")
    main, other = sorted(prepared.bodies, key=lambda body: body[..., 0].mean())
    assert np.array_equal(main, here.astype(np.float32))
    assert np.array_equal(other, there.astype(np.float32))


def test_ctr_gcn_moves_the_first_actor_to_the_origin(rng):
    joints = someone(rng, 20).astype(np.float32)
    content = skeleton_file([[]] * 3 + one_body(joints.astype(float)))
    prepared = prepare(content, denoise="ctr_gcn", normalize="first_frame")
    assert prepared.num_frames == 20
    assert np.array_equal(prepared.bodies[0], joints - joints[0, 1])


@pytest.mark.parametrize(
    ("name", "kept", "reason"),
    [
        ("S002C002P008R001A058", [75, 75], ["overlap"]),
        ("S012C001P012R001A017", [77, 77], ["short"]),
        ("S015C001P005R002A050", [80], ["spread"]),
        ("S015C003P007R002A052", [11, 11], []),
        ("S016C002P009R002A054", [90, 90], []),
        ("S003C003P016R001A021", [75], []),
    ],
)
def test_ctr_gcn_on_the_golden_files_meant_for_it(golden, name, kept, reason):
    prepared = prepare(golden[name][1], denoise="ctr_gcn", normalize="first_frame")
    assert [len(body) for body in prepared.bodies] == kept
    assert reasons(prepared) == reason


def test_ctr_gcn_may_be_followed_by_the_authors_normalization(golden):
    joint, content = golden["S001C003P003R001A050"]  # of whose bodies both rules say the same
    assert np.array_equal(looped(prepare(content, denoise="ctr_gcn").bodies), joint)


def test_a_damaged_file_is_named(tmp_path):
    sample = SAMPLE._replace(source=tmp_path / "ntu.zip", member="nturgb+d/x.skeleton")
    with pytest.raises(ValueError, match=r"ntu\.zip/nturgb\+d/x\.skeleton: expected"):
        prepare_ntu_sample(b"1\n", sample, AUTHORS)


# ---- names, archives, splits


def test_a_name_says_who_did_what_where():
    assert parse_name("S018C002P045R001A120") == {
        "setup": 18,
        "camera": 2,
        "subject": 45,
        "replication": 1,
        "action": 120,
    }


@pytest.mark.parametrize(
    "name", ["", "S1C1P1R1A1", "S001C001P001R001A001.skeleton", "xS001C001P001R001A001"]
)
def test_another_name_is_none(name):
    assert parse_name(name) is None


@pytest.fixture
def raw(tmp_path):
    """A folder with recordings of both datasets, a list of missing ones, and a stray file."""
    names = ["S017C003P020R002A060", "S001C001P001R001A001", "S018C001P041R001A061"]
    deep = tmp_path / "raw" / "nturgb+d_skeletons"
    deep.mkdir(parents=True)
    for name in [*names, "S001C002P005R002A008", "notes"]:
        (deep / f"{name}.skeleton").write_bytes(skeleton_file([]))
    (tmp_path / "raw" / "ntu_missing_skeletons.txt").write_text(
        "Missing:\n\nS001C002P005R002A008\nS018C001P041R001A060\n"
    )
    return tmp_path / "raw"


@pytest.fixture
def archive(raw, tmp_path):
    path = raw / "nturgbd_skeletons_s001_to_s017.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for skeleton in sorted(raw.rglob("*.skeleton")):
            file.write(skeleton, f"nturgb+d_skeletons/{skeleton.name}")
            skeleton.unlink()
    return path


@pytest.mark.parametrize("place", ["raw", "archive"])
@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        (NTU60, ["S001C001P001R001A001", "S017C003P020R002A060"]),
        (NTU120, ["S001C001P001R001A001", "S017C003P020R002A060", "S018C001P041R001A061"]),
    ],
)
def test_a_dataset_lists_its_setups_without_missing_skeletons(place, dataset, expected, request):
    samples, dropped = dataset.list_samples([request.getfixturevalue(place)])
    assert [sample.name for sample in samples] == expected
    assert sorted((row.name, row.reason) for row in dropped) == [
        ("S001C002P005R002A008", "missing_skeletons"),
        ("notes", "unknown_name"),
    ]


def test_a_sample_knows_its_label_and_where_it_lies(archive):
    samples, _ = list_skeleton_files([archive])
    sample = next(sample for sample in samples if sample.name == "S017C003P020R002A060")
    assert sample.label == 59
    assert sample.meta == {"setup": 17, "camera": 3, "subject": 20, "replication": 2}
    assert (sample.source, sample.member) == (archive, f"nturgb+d_skeletons/{sample.name}.skeleton")
    assert sample.size == len(skeleton_file([]))


def test_a_truncated_archive_is_named_with_what_to_do(archive):
    archive.write_bytes(archive.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"s001_to_s017\.zip.*[Dd]ownload it again"):
        NTU60.list_samples([archive])


@pytest.mark.parametrize(("kind", "count"), [("ntu60", 60), ("ntu120", 120)])
def test_each_class_has_a_name_of_its_own(kind, count):
    names = DATASETS[kind].class_names
    assert (len(names), len(set(names))) == (count, count)
    assert all(name == " ".join(name.split()) for name in names)
    assert (names[0], names[57], names[59]) == (
        "drink water",
        "handshaking",
        "walking apart from each other",
    )


def test_the_last_class_is_the_finger_guessing_game():
    assert NTU120.class_names[119] == "finger-guessing game (playing rock-paper-scissors)"


@pytest.mark.parametrize(
    ("dataset", "split", "column", "numbers", "training"),
    [
        (NTU60, "xsub", "subject", range(1, 41), 20),
        (NTU120, "xsub", "subject", range(1, 107), 53),
        (NTU60, "xview", "camera", range(1, 4), 2),
        (NTU120, "xset", "setup", range(1, 33), 16),
    ],
)
def test_a_split_trains_on_the_published_number_of_groups(
    dataset, split, column, numbers, training
):
    part = dataset.splits[split]({column: np.array(numbers)})
    assert part.dtype == np.int8
    assert (set(part.tolist()), part.sum()) == ({0, 1}, training)


def test_the_views_and_setups_of_training_are_the_published_ones():
    assert NTU60.splits["xview"]({"camera": np.array([1, 2, 3])}).tolist() == [0, 1, 1]
    assert NTU120.splits["xset"]({"setup": np.array([1, 2, 31, 32])}).tolist() == [0, 1, 0, 1]


def test_the_counts_of_both_splits_make_the_dataset():
    assert {sum(counts) for counts in NTU60.expected.values()} == {56_578}
    assert {sum(counts) for counts in NTU120.expected.values()} == {113_945}


def test_all_datasets_are_known_by_their_kind():
    assert all(dataset.kind == kind for kind, dataset in DATASETS.items())
