"""Kinetics-Skeleton: five persons in, the two most certain of each frame out, as the authors do."""

import json
import zipfile

import numpy as np
import pytest

from dualhead.data.dataset import RawSample
from dualhead.data.datasets.kinetics import KINETICS, list_clips, prepare_clip, read_class_names
from dualhead.data.records import Header, Record, write_store
from dualhead.data.store import Store
from dualhead.layout import LAYOUTS

SETTINGS = {"denoise": "energy", "normalize": "none", "max_bodies": 2}


def person(rng, certainty=1.0):
    score = (certainty * rng.random(18)).round(3)
    score[rng.random(18) < 0.3] = 0
    return {"pose": rng.random(36).round(3).tolist(), "score": score.tolist()}


def clip(frames, label=3):
    entries = [{"frame_index": index, "skeleton": people} for index, people in frames]
    return {"data": entries, "label": "abseiling", "label_index": label}


def prepare_json(content, settings=SETTINGS, label=3):
    sample = RawSample("clip", label, {"training": 0}, None, None, 0)
    return prepare_clip(json.dumps(content).encode(), sample, settings)


def padded(prepared, tmp_path, num_frames=300):
    """Put one clip into a store and take it out as the authors' array."""
    header = Header(
        dataset="kinetics",
        layout=LAYOUTS[KINETICS.layout],
        class_names=KINETICS.class_names,
        padding=KINETICS.padding,
        max_bodies=2,
        units=KINETICS.units,
        settings=SETTINGS,
        partial=True,
        fingerprint="",
        counts=dict,
    )
    record = Record("clip", 3, {"training": 0}, prepared.bodies, prepared.num_frames)
    write_store(tmp_path / "k.h5", [record], header=header, splits=KINETICS.splits)
    return Store(tmp_path / "k.h5").padded("clip.json", num_frames)


def slowly(content, num_frames=300):
    """Return the array joint by joint, by the facts of the authors' preparation."""
    full = np.zeros((3, num_frames, 18, 5))
    for frame in content["data"]:
        for slot, skeleton in enumerate(frame["skeleton"][:5]):
            for joint in range(18):
                x, y = skeleton["pose"][2 * joint : 2 * joint + 2]
                score = skeleton["score"][joint]
                full[:, frame["frame_index"], joint, slot] = x, y, score
    for t, v, m in np.ndindex(num_frames, 18, 5):
        x, y, score = full[:, t, v, m]
        full[:2, t, v, m] = (x - 0.5, -(y - 0.5)) if score else (0, 0)
    kept = np.zeros((3, num_frames, 18, 2), np.float32)
    for t in range(num_frames):
        sums = [-sum(full[2, t, :, m]) for m in range(5)]
        for slot, m in enumerate(sorted(range(5), key=lambda m: sums[m])[:2]):
            kept[:, t, :, slot] = full[:, t, :, m]
    return kept


@pytest.fixture
def crowd(rng):
    """Nought to seven persons, gaps, frames that are there twice, the surest not always first."""
    frames = [
        (int(index), [person(rng, rng.random()) for _ in range(rng.integers(0, 8))])
        for index in [*rng.choice(300, 60, replace=False), 5, 5, 0, 299]
    ]
    return clip(frames)


def test_a_clip_becomes_the_authors_array(crowd, tmp_path):
    expected = slowly(crowd)
    assert np.array_equal(expected, padded(prepare_json(crowd), tmp_path))


def test_what_is_lost_is_told(crowd):
    prepared = prepare_json(crowd)
    assert [row.reason for row in prepared.dropped] == ["sixth_person", "less_certain"]
    beyond = sum(max(0, len(frame["skeleton"]) - 5) for frame in crowd["data"])
    assert prepared.dropped[0].detail.startswith(f"{beyond} ")


def test_the_frame_with_index_300_is_kept(rng, tmp_path):
    content = clip([(index, [person(rng)]) for index in range(1, 301)])
    prepared = prepare_json(content)
    assert prepared.num_frames == 301
    assert np.array_equal(slowly(content, 301), padded(prepared, tmp_path, 301))


def test_of_two_entries_with_one_index_the_last_counts_for_each_person(rng, tmp_path):
    first, second, third = person(rng, 0.2), person(rng, 0.4), person(rng, 1.0)
    found = padded(prepare_json(clip([(0, [first, second]), (0, [third])])), tmp_path, 1)
    assert np.allclose([third["score"], second["score"]], found[2, 0].T)


def test_equally_certain_persons_stay_in_order(rng, tmp_path):
    first, second = person(rng), person(rng)
    second["score"] = first["score"]
    found = padded(prepare_json(clip([(0, [first, second])])), tmp_path, 1)
    seen = np.array(first["score"]) > 0
    assert np.allclose(np.array(first["pose"])[::2][seen] - 0.5, found[0, 0, seen, 0])


@pytest.mark.parametrize("frames", [[], [(4, [])]])
def test_a_clip_without_persons_is_kept_as_zeros(frames, tmp_path):
    prepared = prepare_json(clip(frames))
    assert not padded(prepared, tmp_path).any()


def test_bodies_hold_no_more_rows_than_they_need(rng):
    prepared = prepare_json(clip([(10, [person(rng)]), (50, [])]))
    assert [len(body) for body in prepared.bodies] == [11, 0]
    assert prepared.num_frames == 51


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "expected JSON"),
        (b"[]", "expected a JSON object; found list"),
        (b"{}", "expected frames with frame_index"),
        (b'{"data": [{"skeleton": []}]}', "expected frames with frame_index"),
        (b'{"data": [{"frame_index": 1.5, "skeleton": []}]}', "expected frames with frame_index"),
        (b'{"data": [{"frame_index": -2, "skeleton": [{"pose": [], "score": []}]}]}', "18 joints"),
        (b'{"data": [{"frame_index": 9999999, "skeleton": []}]}', "expected frame_index within"),
        (b'{"data": [{"frame_index": 0, "skeleton": [{"pose": [1], "score": [1]}]}]}', "18 joints"),
        (b'{"data": [], "label_index": 4}', "expected class 3, as its label file says; found 4"),
    ],
)
def test_a_bad_clip_is_refused_in_one_line(content, message):
    with pytest.raises(ValueError, match=message) as error:
        prepare_clip(content, RawSample("clip", 3, {}, None, None, 0), SETTINGS)
    assert str(error.value).startswith("clip: ") and "\n" not in str(error.value)


def test_negative_indices_are_refused(rng):
    with pytest.raises(ValueError, match="frame_index within 0"):
        prepare_json(clip([(-1, [person(rng)])]))


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_a_joint_that_is_no_number_counts_as_not_seen(rng, value):
    someone = person(rng) | {"score": [0.5] * 18}
    nobody = someone | {"score": [0.0, *[0.5] * 17]}
    prepared = prepare_json(clip([(0, [someone | {"score": [value, *[0.5] * 17]}])]))
    assert np.array_equal(prepare_json(clip([(0, [nobody])])).bodies[0], prepared.bodies[0])
    assert [row.reason for row in prepared.dropped] == ["not_finite"]


def test_a_normalization_that_needs_depth_is_refused(crowd):
    with pytest.raises(ValueError, match=r"prepare\.normalize must be none; found rotate"):
        prepare_json(crowd, SETTINGS | {"normalize": "rotate"})


LABELS = {
    "kinetics_train": {"aaa": ("abseiling", 0, True), "bbb": ("air drumming", 1, False)},
    "kinetics_val": {"-cc": ("zumba", 399, True), "ddd": ("abseiling", 0, True)},
}
CLIPS = ("kinetics_train/aaa", "kinetics_train/bbb", "kinetics_val/-cc", "kinetics_val/eee")


def contents(rng):
    for subset, clips in LABELS.items():
        keys = ("label", "label_index", "has_skeleton")
        entries = {name: dict(zip(keys, entry, strict=True)) for name, entry in clips.items()}
        yield f"{subset}_label.json", json.dumps(entries)
    for name in CLIPS:
        yield f"{name}.json", json.dumps(clip([(0, [person(rng)])]))


@pytest.fixture
def folder(tmp_path, rng):
    folder = tmp_path / "kinetics-skeleton"
    for name, text in contents(rng):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture(params=["folder", "zip"])
def raw(request, folder):
    if request.param == "folder":
        return folder
    with zipfile.ZipFile(folder.with_suffix(".zip"), "w") as file:
        for path in folder.rglob("*.json"):
            file.write(path, path.relative_to(folder.parent))
    return folder.with_suffix(".zip")


def test_clips_are_listed_with_their_label_and_subset(raw):
    samples, dropped = list_clips([raw])
    found = [(sample.name, sample.label, sample.meta["training"]) for sample in samples]
    assert found == [("-cc", 399, 0), ("aaa", 0, 1)]
    assert {(row.name, row.reason) for row in dropped} == {
        ("bbb", "no_skeleton"),
        ("eee", "no_label"),
    }


def test_classes_are_named_by_the_label_files(raw):
    names = read_class_names([raw])
    assert len(names) == 400
    assert [names[0], names[1], names[2], names[399]] == [
        *("abseiling", "air drumming", "class 2", "zumba")
    ]


def test_clips_without_their_label_file_are_refused(folder):
    (folder / "kinetics_val_label.json").unlink()
    with pytest.raises(ValueError, match=r"expected kinetics_val_label\.json beside kinetics_val/"):
        list_clips([folder])


def test_a_label_out_of_range_is_refused(folder):
    entry = {"ddd": {"label": "x", "label_index": 400, "has_skeleton": True}}
    (folder / "kinetics_val_label.json").write_text(json.dumps(entry))
    with pytest.raises(ValueError, match=r"ddd: expected label, .* within 0\.\.399"):
        list_clips([folder])


def test_real_clips_become_the_authors_array(shared, tmp_path):
    folder = shared / "data" / "kinetics"
    samples, _ = list_clips([folder])
    assert [sample.name for sample in samples] == ["-0BveUV52cM", "-0byZyStAYQ"]
    for sample in samples:
        content = sample.source.read_bytes()
        prepared = prepare_clip(content, sample, SETTINGS)
        found = padded(prepared, tmp_path)
        assert np.array_equal(slowly(json.loads(content)), found)
        assert not found[:, 0].any(), "real clips count from 1"


def test_the_published_label_file_has_the_expected_test_clips(shared):
    labels = json.loads((shared / "data/kinetics/kinetics_val_label.json").read_text())
    assert KINETICS.expected["val"][1] == sum(clip["has_skeleton"] for clip in labels.values())
    names = read_class_names([shared / "data" / "kinetics"])
    assert (len(set(names)), names[166]) == (400, "javelin throw")
