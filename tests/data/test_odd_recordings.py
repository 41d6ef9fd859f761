"""Recordings as programs and people really write them: read to the right values, or refused by what they are."""

import csv
import io
import json
import zipfile

import numpy as np
import pytest

from dualhead.data.dataset import OtherData, RawSample
from dualhead.data.datasets.motion import Said, Wanted, prepare_motion, read_motion
from dualhead.data.datasets.skeletons import configure, list_recordings
from dualhead.data.forms import FORMS, tell
from dualhead.data.forms.base import content_of
from dualhead.layout import LAYOUTS
from tests.builders import forms
from tests.builders.skeletons import one_body, skeleton_file

RNG = np.random.default_rng(8)
BODY = RNG.normal((0, 0, 3), 0.4, (4, 25, 3)).round(4)
POSE = RNG.uniform(0.1, 0.9, (4, 17, 3)).round(3)
JOINTS = LAYOUTS["ntu25"].joints
COLUMNS = [f"{joint}_{axis}" for joint in JOINTS for axis in "xyz"]
SETTINGS = {"denoise": "energy", "normalize": "none", "max_bodies": 2}
METERS = Said(unit="m", layout=LAYOUTS["ntu25"])
PIXELS = Said(picture=(100, 100))


def encoded(document, encoding="utf-8"):
    return json.dumps(document).encode(encoding)


def table(rows, header=None, mark=","):
    text = io.StringIO()
    csv.writer(text, delimiter=mark).writerows([*([header] if header else []), *rows])
    return text.getvalue().encode()


def rows_of(joints):
    return [frame.ravel().tolist() for frame in joints]


def saved(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def kinect(joints):
    """Return frames of Kinect v2's joints, by number."""
    return {"frames": [{"bodies": [{"id": 1, "joints": frame.tolist()}]} for frame in joints]}


def as_csharp_writes(joints):
    """Return frames of Kinect v2's joints under the names that Json.NET gives them."""
    return {
        "Frames": [
            {
                "Bodies": [
                    {
                        "TrackingId": 72057594037928017,
                        "IsTracked": True,
                        "Joints": {
                            str(number): {"Position": dict(zip("XYZ", joint, strict=True))}
                            for number, joint in enumerate(frame.tolist())
                        },
                    }
                ]
            }
            for frame in joints
        ]
    }


def alphapose(numbers, order=range(4)):
    people = [{"image_id": f"{k}.jpg", "keypoints": numbers[k], "score": 2.0} for k in order]
    return encoded(people)


def pixels(pose=POSE):
    return [(frame * [100, 100, 1]).ravel().tolist() for frame in pose]


def as_pandas_numbers_them(joints):
    return table(rows_of(joints), header=list(range(75)))


SAME = {  # BODY in meters, first body
    "in UTF-16 without a mark": ("a.json", encoded(kinect(BODY), "utf-16-le"), METERS),
    "in UTF-16 of the other order": ("a.json", encoded(kinect(BODY), "utf-16-be"), METERS),
    "in UTF-32": ("a.json", encoded(kinect(BODY), "utf-32"), METERS),
    "with a mark of UTF-8": ("a.json", encoded(kinect(BODY), "utf-8-sig"), METERS),
    "as C# names things": ("a.json", encoded(as_csharp_writes(BODY)), METERS),
    "JSON named as text": ("a.txt", encoded(kinect(BODY)), METERS),
    "columns numbered by pandas": ("a.csv", as_pandas_numbers_them(BODY), METERS),
    "rows numbered by pandas": (
        "a.csv",
        table([[i, *row] for i, row in enumerate(rows_of(BODY))], header=["", *COLUMNS]),
        METERS,
    ),
    "rows out of order": (
        "a.csv",
        table([[k, *rows_of(BODY)[k]] for k in (3, 0, 2, 1)], header=["frame", *COLUMNS]),
        METERS,
    ),
    "rows of joints out of order": (
        "a.csv",
        table(
            [[k, j, *BODY[k, v]] for k in (2, 3, 0, 1) for v, j in enumerate(JOINTS)],
            header=["frame", "joint", "x", "y", "z"],
        ),
        METERS,
    ),
    "decimal commas": (
        "a.csv",
        table([[str(x).replace(".", ",") for x in row] for row in rows_of(BODY)], COLUMNS, ";"),
        METERS,
    ),
    "Macintosh line ends": ("a.csv", table(rows_of(BODY), COLUMNS).replace(b"\r\n", b"\r"), METERS),
    "Fortran's order, big-endian": (
        "a.npy",
        saved(np.asfortranarray(BODY.astype(">f8"))),
        METERS,
    ),
    "NTU's text with tabs": (
        "a.skeleton",
        skeleton_file(one_body(BODY)).replace(b" ", b"\t"),
        METERS,
    ),
}


def first_body(name, content, said):
    motion, _ = read_motion(content_of(content, name), said)
    return motion.joints[:, 0]


@pytest.mark.parametrize("how", SAME)
def test_how_a_recording_is_written_changes_no_value(how):
    assert first_body(*SAME[how]) == pytest.approx(BODY, abs=1e-9)


def with_hole(value):
    """Return BODY as a table in which y of the second joint of the first frame is some word."""
    rows = rows_of(BODY)
    rows[0][4] = value
    return table(rows, COLUMNS)


def lacking(value):
    body = BODY.copy()
    body[0, 1, 1] = value
    return body


HOLES = {
    **{
        f"{word!r} in a table": ("a.csv", with_hole(word), METERS)
        for word in ("", "NA", "null", "None", "#N/A", "NaN", "-1.#IND", "1.#QNAN", "inf")
    },
    "NaN in JSON": ("a.json", encoded(kinect(lacking(np.nan))), METERS),
    "null in JSON": ("a.json", encoded(kinect(lacking(np.nan))).replace(b"NaN", b"null"), METERS),
    "infinity in an array": ("a.npy", saved(lacking(np.inf)), METERS),
}


@pytest.mark.parametrize("how", HOLES)
def test_a_joint_without_one_coordinate_is_not_seen_and_counted(how):
    name, content, said = HOLES[how]
    motion, layout = read_motion(content_of(content, name), said)
    assert motion.joints[:, 0] == pytest.approx(np.where(BODY == BODY[0, 1], 0, BODY), abs=1e-9)
    prepared = prepare_motion(motion, layout, "a", Wanted(), SETTINGS)
    assert [(row.reason, row.detail.split()[0]) for row in prepared.dropped] == [
        ("not_finite", "1")
    ]


@pytest.mark.parametrize("value", ["NaN", "null"])
def test_a_keypoint_without_x_is_not_at_the_edge_of_the_picture(value):
    numbers = pixels()
    numbers[0][0] = 123456789.0
    content = alphapose(numbers).replace(b"123456789.0", value.encode())
    found = first_body("a.json", content, PIXELS)
    assert found[0, 0].tolist() == [0, 0, 0]
    assert found[1:] == pytest.approx(POSE[1:], abs=1e-9)


def test_pictures_are_put_in_order_by_their_numbers():
    content = alphapose(pixels(), order=(2, 0, 3, 1))
    assert first_body("a.json", content, PIXELS) == pytest.approx(POSE, abs=1e-9)


def test_a_line_of_json_is_a_frame_though_it_is_the_only_one():
    lines = [json.dumps(frame) for frame in kinect(BODY)["frames"]]
    for count in (1, 4):
        content = "\n".join(lines[:count]).encode()
        assert first_body("a.jsonl", content, METERS) == pytest.approx(BODY[:count], abs=1e-9)


REFUSED = {
    "cut JSON": ("a.json", encoded(kinect(BODY))[:-9], "JSON that is cut or damaged"),
    "a cut line": ("a.jsonl", b'{"bodies": []}\n{"bod\n{"bodies": []}', r"line 2: Unterminated"),
    "a web page": ("a.json", b"<!DOCTYPE html><html>", "a web page"),
    "a pointer": ("a.npy", b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
    "nothing": ("a.json", b"", "an empty file"),
    "an empty list": ("a.json", b"[]", "JSON, a list of 0"),
    "COCO's annotations": (
        "a.json",
        encoded({"images": [], "annotations": [], "categories": []}),
        "JSON, a mapping of 'images', 'annotations', 'categories'",
    ),
    "YOLO's JSON": (
        "a.json",
        encoded([{"name": "person", "box": {}, "keypoints": {"x": [1.0], "y": [2.0]}}]),
        "a list of 1, the first a mapping of 'name', 'box', 'keypoints'",
    ),
    "bodies after frames": (
        "a.npy",
        saved(np.stack([BODY] * 2, 1).repeat(10, 0)),
        "40 bodies of 2 frames",
    ),
    "coordinates first": ("a.npy", saved(BODY.transpose(2, 0, 1)), r"shape \(3, 4, 25\)"),
    "complex numbers": ("a.npy", saved(BODY + 0j), "complex128"),
    "a column twice": (
        "a.csv",
        table([row + row[:3] for row in rows_of(BODY)], COLUMNS + COLUMNS[:3]),
        "spine_base_x more than once",
    ),
    "commas for points between commas": (
        "a.csv",
        ",".join(COLUMNS).encode() + b"\n" + b",".join([b"0,5"] * 75),
        "decimal commas",
    ),
    "a header alone": ("a.csv", table([], COLUMNS), "no row of numbers"),
    "a frame before the first": (
        "a.json",
        encoded([{"image_id": -3, "keypoints": [5.0] * 51, "score": 1}]),
        "found -3 to -3",
    ),
    "frames without end": (
        "a.json",
        encoded([{"image_id": k, "keypoints": [5.0] * 51, "score": 1} for k in (0, 10**11)]),
        "found 0 to 100000000000",
    ),
    "17 and 18 joints": (
        "a.json",
        encoded([{"image_id": k, "keypoints": [5.0] * (51 + 3 * k), "score": 1} for k in (0, 1)]),
        r"shapes \[\(17, 3\), \(18, 3\)\]",
    ),
    "a clip without frame_index": (
        "a.json",
        encoded({"data": [{"skeleton": [{"pose": [0.5] * 36, "score": [0.5] * 18}]}]}),
        "frame_index",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_read_is_refused_by_what_it_is(what):
    name, content, message = REFUSED[what]
    with pytest.raises(ValueError, match=message) as raised:
        read_motion(content_of(content, name), Said(unit="m"))
    assert str(raised.value).startswith(f"{name}: expected") and "\n" not in str(raised.value)


def write_openpose(folder, damage=None):
    forms.write_openpose(folder / "clip", POSE[:, None], (100, 100))
    if damage is not None:
        file = sorted((folder / "clip").iterdir())[damage]
        file.write_bytes(file.read_bytes()[:40])


@pytest.mark.parametrize("damaged", [0, 2])
def test_a_cut_frame_of_openpose_is_no_empty_one(tmp_path, damaged):
    write_openpose(tmp_path, damaged)
    parts = [(file.name, file.read_bytes()) for file in sorted((tmp_path / "clip").iterdir())]
    with pytest.raises(ValueError, match=f"its frame in clip_{damaged:012d}_keypoints.json"):
        read_motion(content_of(b"", "clip", parts), PIXELS)


def test_a_text_of_yolo_without_anybody_is_an_empty_frame(tmp_path):
    forms.write_yolo(tmp_path / "clip", POSE[:, None])
    (tmp_path / "clip/clip_0.txt").write_text("")
    (sample,), dropped = list_recordings([tmp_path], settings={})
    assert (sample.name, len(sample.parts), dropped) == ("clip", 4, [])
    parts = [(file.source.name, file.source.read_bytes()) for file in sample.parts]
    found = read_motion(content_of(b"", "clip", parts), Said())[0].joints[:, 0]
    assert found == pytest.approx(np.concatenate([0 * POSE[:1], POSE[1:]]), abs=1e-9)


def test_frames_in_which_nobody_is_are_a_recording_of_nobody(tmp_path):
    content = content_of(encoded({"frames": [{"bodies": []}] * 3}), "a.json")
    motion, _ = read_motion(content, METERS)
    assert (tell(content), motion.joints.shape[:2]) == (FORMS["kinect"], (3, 0))


def test_a_recording_of_other_joints_is_left_out_whichever_comes_first(tmp_path):
    bodies = {"a": BODY, "b": BODY[:, :20]}
    for first, second in (("a", "b"), ("b", "a")):
        folder = tmp_path / first
        folder.mkdir()
        for name, key in (("1", first), ("2", second)):
            (folder / f"{name}.skeleton").write_bytes(skeleton_file(one_body(bodies[key])))
        dataset = configure([folder], {})
        assert dataset.skeleton().num_joints == bodies[first].shape[1]
        content = (folder / "2.skeleton").read_bytes()
        sample = RawSample("2", -1, {}, folder / "2.skeleton", None, 0)
        with pytest.raises(OtherData, match="convert all of them with --to-layout"):
            dataset.prepare_sample(content, sample, SETTINGS)


def labelled(folder, labels, *names):
    folder.mkdir()
    for name in names:
        (folder / name).write_bytes(saved(BODY))
    (folder / "labels.csv").write_bytes(labels)
    return list_recordings([folder], settings={})


@pytest.mark.parametrize(
    ("labels", "name"),
    [
        ("\n\nname,label\n\nh\xe4nde.npy,run\n,\n".encode(), "ha\u0308nde.npy"),
        ("name;label\r\nh\xe4nde;run\r\n".encode("latin-1"), "h\xe4nde.npy"),
        ("Name\tLabel\nh\xe4nde\trun\n".encode("utf-16"), "h\xe4nde.npy"),
        ('name,label\n"h\xe4nde","run"\n'.encode("utf-8-sig"), "h\xe4nde.npy"),
    ],
)
def test_labels_are_found_however_they_are_written(tmp_path, labels, name):
    samples, dropped = labelled(tmp_path / "raw", labels, name)
    assert ([(one.name, one.label) for one in samples], dropped) == ([("h\xe4nde", 0)], [])


def test_a_row_that_differs_by_a_capital_says_so(tmp_path):
    samples, dropped = labelled(
        tmp_path / "raw", b"name,label\nwalk,run\nb,sit\n", "Walk.npy", "b.npy"
    )
    assert [one.label for one in samples] == [-1, 0]
    assert [row.detail for row in dropped] == [
        "in labels.csv, but there is no such file, only Walk"
    ]


def test_labels_of_other_recordings_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"such as a; found zzz and no row of a recording"):
        labelled(tmp_path / "raw", b"name,label\nzzz,run\n", "a.npy")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("inner.zip", "give them, --raw"),
        ("a.json.gz", "give them, --raw"),
        ("notes", "found none, but 1 without suffix"),
        ("", "found none, but no file"),
    ],
)
def test_a_folder_without_a_recording_says_what_lies_there(tmp_path, name, said):
    folder = tmp_path / "raw"
    folder.mkdir()
    if name:
        with zipfile.ZipFile(folder / name, "w") as archive:
            archive.writestr("a.json", "{}")
    with pytest.raises(ValueError, match=said):
        configure([folder], {})
