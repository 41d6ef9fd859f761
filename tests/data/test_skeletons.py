"""Own recordings: one clip in many forms, labels and splits, and forms that people reported."""

import json
import zipfile

import h5py
import numpy as np
import pytest

from dualhead.cli import main as cli
from dualhead.data.convert import convert
from dualhead.data.datasets.motion import at_rate, cut
from dualhead.data.datasets.skeletons import configure, list_recordings
from dualhead.data.forms import FORMS
from dualhead.data.forms.base import Motion, content_of
from dualhead.data.forms.bvh import rotation
from dualhead.data.store import Store
from dualhead.layout import LAYOUTS
from dualhead.settings.defaults import FORMATS
from tests.builders import forms
from tests.builders.skeletons import one_body, skeleton_file

PICTURE = (1024, 512)


def prepare(raw, output, *options, dataset="skeletons"):
    words = ["prepare", "--dataset", dataset, "--raw", raw, "--output", output, "--workers", 1]
    return cli.main([str(word) for word in (*words, *options)])


def arrays(path):
    with Store(path) as store:
        return {name: store.padded(name, 20) for name in store.names}


def dropped(path):
    return path.with_suffix(".dropped.csv").read_text()


def test_settings_and_readers_know_the_same_forms():
    assert tuple(FORMS) == FORMATS


def test_a_clip_of_kinetics_is_the_same_in_every_form_of_pose_estimators(tmp_path, rng):
    joints = forms.persons(rng)
    forms.write(tmp_path / "kinetics/clip.json", forms.kinetics_document(forms.with_neck(joints)))
    forms.write_openpose(tmp_path / "openpose/clip", joints, PICTURE)
    pixels = forms.in_pixels(joints, PICTURE)
    forms.write(tmp_path / "alphapose/clip.json", forms.alphapose_document(pixels))
    forms.write(tmp_path / "mmpose/clip.json", forms.mmpose_document(pixels))
    forms.write_yolo(tmp_path / "yolo/clip", joints)
    found = {}
    for form in ("kinetics", "openpose", "alphapose", "mmpose", "yolo"):
        options = ("--to-layout", "openpose18", "--picture", *PICTURE)
        assert prepare(tmp_path / form, tmp_path / f"{form}.h5", *options) == 0
        found[form] = arrays(tmp_path / f"{form}.h5")
        with Store(tmp_path / f"{form}.h5") as store:
            assert (store.attributes["padding"], store.layout.name) == ("zero", "openpose18")
    assert all(one.keys() == {"clip"} for one in found.values())
    published = tmp_path / "published"
    forms.write(
        published / "kinetics_val/clip.json", forms.kinetics_document(forms.with_neck(joints))
    )
    entry = {"clip": {"has_skeleton": True, "label": "wave", "label_index": 0}}
    forms.write(published / "kinetics_val_label.json", entry)
    assert prepare(published, tmp_path / "own.h5", "--partial", dataset="kinetics") == 0
    expected = arrays(tmp_path / "own.h5")["clip"]
    assert expected.any()
    for form, one in found.items():
        assert np.array_equal(expected, one["clip"]), form


def test_ntu_text_is_prepared_as_ntu_recordings_are(tmp_path, rng):
    name = "S001C001P001R001A001.skeleton"
    (tmp_path / name).write_bytes(skeleton_file(one_body(rng.normal(0, 0.3, (9, 25, 3)))))
    assert prepare(tmp_path, tmp_path / "own.h5") == 0
    assert prepare(tmp_path, tmp_path / "ntu.h5", "--partial", dataset="synthetic") == 0
    own, ntu = arrays(tmp_path / "own.h5"), arrays(tmp_path / "ntu.h5")
    assert np.array_equal(own[name[:-9]], ntu[name[:-9]])


@pytest.mark.parametrize(("unit", "scale"), [("m", 1.0), ("cm", 100.0), ("mm", 1000.0)])
def test_units_are_converted_to_meters(tmp_path, rng, unit, scale):
    joints = rng.normal(0, 0.3, (5, 20, 3))
    np.save(tmp_path / "wave.npy", joints * scale)
    options = ("--unit", unit, "--normalize", "none")
    assert prepare(tmp_path / "wave.npy", tmp_path / "s.h5", *options) == 0
    expected = joints.transpose(2, 0, 1)
    assert arrays(tmp_path / "s.h5")["wave"][:, :5, :, 0] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("shape", "options", "asked"),
    [
        ((4, 25, 3), (), "--layout: body25, ntu25"),
        ((4, 20, 3), (), "--unit: m, cm, mm, inch"),
        ((4, 25, 3), ("--layout", "body25", "--unit", "pixel"), "--picture WIDTH HEIGHT"),
        ((4, 20, 3), ("--unit", "m", "--to-fps", "30"), "say --fps"),
        ((4, 20, 3), ("--unit", "mm"), "a body of 0.00"),
        ((4, 7, 3), (), "7 joints of a layout that the file does not say"),
    ],
)
def test_what_cannot_be_told_is_asked_for_in_one_line(tmp_path, capsys, shape, options, asked):
    np.save(tmp_path / "wave.npy", np.random.default_rng(1).uniform(1, 4, shape))
    assert prepare(tmp_path / "wave.npy", tmp_path / "s.h5", *options) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert asked in line and "wave" in line and len(line) < 500


def test_recordings_without_a_class_and_classes_alike_are_said(tmp_path, rng, capsys):
    for name in "abc":
        np.save(tmp_path / f"{name}.npy", rng.normal(0, 0.3, (4, 25, 3)))
    (tmp_path / "labels.csv").write_text("name,label\na,Walk\nb,walk\n")
    output = tmp_path / "out/s.h5"
    assert prepare(tmp_path, output, "--unit", "m", "--layout", "ntu25") == 0
    said = capsys.readouterr().err
    assert (
        "1 of 3 recordings have no class, so that they neither train nor test; the first: c" in said
    )
    assert (
        "classes that differ in case alone: Walk, walk; if they are one, spell them alike" in said
    )


def test_recordings_without_labels_are_stored_and_in_no_split(tmp_path, rng):
    (tmp_path / "raw").mkdir()
    for name in "abc":
        np.save(tmp_path / f"raw/{name}.npy", rng.normal(0, 0.3, (4, 20, 3)))
    labels = "name;label;subject;part\na.npy;wave;anna;train\nb;sit;bert;test\n"
    (tmp_path / "raw/labels.csv").write_text(labels, encoding="utf-8-sig")
    assert prepare(tmp_path / "raw", tmp_path / "s.h5", "--unit", "m") == 0
    with Store(tmp_path / "s.h5") as store:
        assert store.class_names == ["sit", "wave"]
        assert store.labels.tolist() == [1, 0, -1]
        assert store.splits["part"].tolist() == [1, 0, -1]
        assert store.splits["share"].tolist() == [1, 1, -1]
        assert sorted(store.splits["subject"].tolist()) == [-1, 0, 1]


def test_a_folder_for_each_class_and_a_share_of_each_by_seed(tmp_path, rng):
    for label in ("run", "walk"):
        for number in range(10):
            path = tmp_path / label / f"{number}.npy"
            path.parent.mkdir(exist_ok=True)
            np.save(path, rng.normal(0, 0.3, (2, 20, 3)))
    first, _ = list_recordings([tmp_path], settings={"train_share": 0.6, "split_seed": 1})
    again, _ = list_recordings([tmp_path], settings={"train_share": 0.6, "split_seed": 1})
    other, _ = list_recordings([tmp_path], settings={"train_share": 0.6, "split_seed": 2})
    assert first == again != other
    for label in (0, 1):
        assert sum(one.meta["in_share"] for one in first if one.label == label) == 6
    assert {one.name for one in first} == {f"{c}_{n}" for c in ("run", "walk") for n in range(10)}


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        ("name,class\na,wave\n", "expected the columns name, label"),
        ("name,label\na,wave\na,sit\n", r"labels\.csv:3: .*a twice"),
        ("name,label,part\na,wave,half\n", "part 'half'"),
        ("name,label\na,wave, slowly\n", r"labels\.csv:2: expected 2 values, found 3\. Put"),
    ],
)
def test_labels_that_cannot_be_are_refused(tmp_path, text, refusal):
    (tmp_path / "labels.csv").write_text(text)
    np.save(tmp_path / "a.npy", np.ones((2, 20, 3)))
    with pytest.raises(ValueError, match=refusal):
        list_recordings([tmp_path], settings={})


def test_frames_of_openpose_are_read_from_a_zip_too(tmp_path, rng):
    joints = forms.persons(rng)
    forms.write_openpose(tmp_path / "raw/clip", joints, PICTURE)
    with zipfile.ZipFile(tmp_path / "raw.zip", "w") as archive:
        for path in sorted((tmp_path / "raw").rglob("*.json")):
            archive.write(path, path.relative_to(tmp_path / "raw"))
    for raw in ("raw", "raw.zip"):
        options = ("--picture", *PICTURE)
        assert prepare(tmp_path / raw, tmp_path / f"{raw}.h5", *options) == 0
    assert np.array_equal(
        arrays(tmp_path / "raw.h5")["clip"], arrays(tmp_path / "raw.zip.h5")["clip"]
    )


BVH = """HIERARCHY
ROOT Hips
{
  OFFSET 0 0 0
  CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
  JOINT Chest
  {
    OFFSET 0 10 0
    CHANNELS 3 Zrotation Xrotation Yrotation
    End Site
    {
      OFFSET 0 5 0
    }
  }
}
MOTION
Frames: 2
Frame Time: 0.025
1 2 3 0 0 0 0 0 0
0 0 0 90 0 0 0 90 0
"""


def test_bvh_joints_stand_where_offsets_and_angles_put_them():
    """By hand: 90 degrees about z turn +y to -x; then 90 about the new x turn the tip from -x to +z."""
    motion = FORMS["bvh"].read(content_of(BVH.encode(), "walk.bvh"))
    assert motion.fps == 40 and motion.layout.joints == ("Hips", "Chest", "Chest_end")
    expected = [[[1, 2, 3], [1, 12, 3], [1, 17, 3]], [[0, 0, 0], [-10, 0, 0], [-10, 0, 5]]]
    assert motion.joints[:, 0] == pytest.approx(np.array(expected), abs=1e-9)
    turn = rotation(0, np.array([np.pi / 2]))[0]
    assert turn @ [0, 1, 0] == pytest.approx([0, 0, 1])


def test_trc_markers_are_taken_by_name_in_the_unit_and_rate_of_the_file(rng):
    names = [*reversed(LAYOUTS["kinect20"].joints)]
    joints = rng.normal(0, 300, (3, 20, 3)).round(2)
    lines = ["PathFileType\t4\t(X/Y/Z)\twalk.trc", "DataRate\tUnits", "100\tmm"]
    lines += ["Frame#\tTime\t" + "\t\t\t".join(names), ""]
    lines += ["\t".join(map(str, [t + 1, t / 100, *joints[t].ravel()])) for t in range(3)]
    content = content_of("\n".join(lines).encode(), "walk.trc")
    motion = FORMS["trc"].read(content)
    assert (motion.fps, motion.unit, motion.names) == (100, "mm", tuple(names))
    assert np.array_equal(motion.joints[:, 0], joints)


def test_c3d_markers_are_read_by_ezc3d(tmp_path, rng):
    import ezc3d

    joints = rng.normal(0, 300, (4, 20, 3)).astype(np.float32)
    file = ezc3d.c3d()
    file["parameters"]["POINT"]["RATE"]["value"] = [50]
    file["parameters"]["POINT"]["UNITS"]["value"] = ["mm"]
    file["parameters"]["POINT"]["LABELS"]["value"] = list(LAYOUTS["kinect20"].joints)
    points = np.ones((4, 20, 4))
    points[:3] = joints.transpose(2, 1, 0)
    points[:3, 5, 2] = np.nan  # a marker that was lost
    joints[2, 5] = 0
    file["data"]["points"] = points
    file.write(str(tmp_path / "walk.c3d"))
    motion = FORMS["c3d"].read(content_of((tmp_path / "walk.c3d").read_bytes(), "walk.c3d"))
    assert (motion.fps, motion.unit, motion.layout.name) == (50, "mm", "kinect20")
    assert motion.joints[:, 0] == pytest.approx(joints, abs=1e-3)
    assert motion.lost == 1


def test_without_ezc3d_one_line_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ezc3d", None)
    with pytest.raises(ValueError, match=r"pip install 'dualhead\[c3d\]'"):
        FORMS["c3d"].read(content_of(b"\x02\x50" + bytes(600), "walk.c3d"))


def test_tables_with_a_row_a_frame_or_a_row_a_joint_are_the_same(rng):
    layout = LAYOUTS["kinect20"]
    joints = rng.normal(0, 0.3, (3, 20, 3)).round(4)
    header = ["frame", *(f"{joint}_{axis}" for joint in layout.joints for axis in "xyz")]
    wide = [header, *([t, *joints[t].ravel()] for t in range(3))]
    long = [["frame", "joint", "x", "y", "z"]]
    long += [[t, joint, *joints[t, v]] for t in range(3) for v, joint in enumerate(layout.joints)]
    comma = "\n".join(";".join(str(word).replace(".", ",") for word in row) for row in long)
    texts = ["\n".join(",".join(map(str, row)) for row in rows) for rows in (wide, long)]
    for text in (*texts, comma):
        motion = FORMS["csv"].read(content_of(text.encode(), "wave.csv"))
        assert motion.layout.name == "kinect20"
        assert np.array_equal(motion.joints[:, 0], joints)


def test_azure_kinect_gives_meters_with_y_up(tmp_path, rng):
    joints = rng.normal(0, 300, (4, 1, 32, 3)).round(1)
    forms.write(tmp_path / "walk.json", {"frames": forms.azure_frames(joints)})
    assert prepare(tmp_path / "walk.json", tmp_path / "s.h5", "--normalize", "none") == 0
    expected = (joints[:, 0] * [-0.001, -0.001, 0.001]).transpose(2, 0, 1)
    assert arrays(tmp_path / "s.h5")["walk"][:, :4, :, 0] == pytest.approx(expected, abs=1e-6)


def test_world_landmarks_of_mediapipe_are_meters_and_those_of_a_picture_fractions(rng):
    pose = [dict(zip("xyz", map(float, one), strict=True)) for one in rng.normal(0, 0.3, (33, 3))]
    seen = [one | {"visibility": 0.9} for one in pose]
    world = FORMS["mediapipe"].read(
        content_of(json.dumps([{"pose_world_landmarks": seen}]).encode(), "w")
    )
    picture = FORMS["mediapipe"].read(
        content_of(json.dumps([{"pose_landmarks": seen}]).encode(), "p")
    )
    assert (world.unit, world.in_picture, world.joints.shape) == ("m", False, (1, 1, 33, 3))
    assert (picture.unit, picture.in_picture) == ("fraction", True)
    assert (picture.joints[..., 2] == 0.9).all()


def test_a_frame_rate_is_changed_along_straight_lines():
    joints = np.arange(1.0, 6)[:, None, None, None] * np.ones((1, 1, 2, 3))
    motion = Motion(joints, in_picture=False, fps=40)
    assert at_rate(motion, 20, "m").joints[:, 0, 0, 0].tolist() == [1, 3, 5]
    assert at_rate(motion, 80, "m").joints[:, 0, 0, 0] == pytest.approx(np.arange(1, 5.5, 0.5))
    assert len(cut(motion, 1, 3).joints) == 2


def test_an_ambiguous_or_unknown_file_is_refused_with_what_it_could_be(tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("Dear diary,\nthe camera broke.\n")
    assert prepare(tmp_path / "notes.txt", tmp_path / "s.h5") == 1
    line = capsys.readouterr().err
    assert "expected a form of skeletons known here" in line and "'Dear diary" in line


def test_settings_of_own_recordings_go_with_no_published_dataset(tmp_path, capsys):
    (tmp_path / "a.json").write_text("{}")
    assert prepare(tmp_path, tmp_path / "s.h5", "--unit", "mm", dataset="nw_ucla") == 1
    assert "found unit" in capsys.readouterr().err


A = "S001C001P001R001A"
CASES = {
    "o01-azure": ((), 12, "azure32", ("p04_a02_t01", 5, 3, 6, (0.3295, -0.1374, 2.9975))),
    "k12-openpose": (
        *(("--picture", "640", "480"), 1, "body25"),
        ("myvideo", 5, 4, 0, (100.5 / 640 - 0.5, 0.5 - 200.1 / 480, 0.9)),
    ),
    "k13-alphapose": (
        *(("--picture", "1280", "720"), 1, "coco17"),
        ("alphapose-results", 5, 4, 0, (650.1 / 1280 - 0.5, 0.5 - 360.2 / 720, 0.57)),
    ),
    "k14-mediapipe": ((), 1, "mediapipe33_picture", ("wave_01", 5, 0, 32, (0.0, 0.1, 0.99))),
    "k19-unlabelled": ((), 1, "openpose18", ("v1", 2, 1, 2, (0.0, 0.0, 0.9))),
    "t08-hand26": ((), 2, "hand26", (f"{A}001", 3, 0, 2, (0.0039, 0.5528, 2.9979))),
    "t09-kinect20": ((), 1, "kinect20", (f"{A}001", 3, 0, 2, (0.0039, 0.5528, 2.9979))),
    "t10-azure32": ((), 1, "azure32", (f"{A}001", 3, 0, 2, (0.0039, 0.5528, 2.9979))),
    "p03-units": ((), 3, "ntu25", (f"{A}003", 120, 0, 2, (-0.0061, -0.5493, 2.9974))),
    "w06-mm": ((), 12, "ntu25", (f"{A}001", 6, 0, 2, (0.0039, 0.5528, 2.9979))),
    "u02-textformats": (
        *(("--layout", "ntu25", "--unit", "m"), 1, "ntu25"),
        ("0002-L", 4, 2, 0, (-0.000866, 0.00025, 2.997451)),
    ),
}
"""Case of the recordings people reported -> options, recordings kept, layout, and of one recording its
frames, and by frame and joint a place as its file has it: in meters, or from the picture's middle.
"""


@pytest.mark.parametrize("case", CASES)
def test_recordings_that_people_reported_are_read_as_what_they_are(shared, tmp_path, case):
    options, kept, layout, (name, frames, frame, joint, place) = CASES[case]
    raw = shared / "cases/recordings" / case / "raw"
    assert prepare(raw, tmp_path / "s.h5", *options, "--normalize", "none") == 0
    with Store(tmp_path / "s.h5") as store:
        assert (len(store), store.layout.name) == (kept, layout)
        assert (store.labels == -1).all()
        assert store.num_frames[store.names.index(name)] == frames
        found = store.padded(name, frames)[:, frame, joint, 0]
        assert found == pytest.approx(place, abs=1e-6)


def test_millimeters_among_meters_are_counted_and_said(shared, tmp_path):
    raw = shared / "cases/recordings/p03-units/raw"
    assert prepare(raw, tmp_path / "s.h5") == 0
    assert "S001C001P001R001A002" in dropped(tmp_path / "s.h5")
    assert "name the unit that it is in with --unit" in dropped(tmp_path / "s.h5")


def test_an_azure_recording_becomes_ntus_joints_one_to_one(shared, tmp_path):
    raw = shared / "cases/recordings/o01-azure/raw"
    document = json.loads((raw / "p01_a01_t01.json").read_text())
    joints = np.array([f["bodies"][0]["joint_positions"] for f in document["frames"]])
    expected = convert(
        (joints * [-0.001, -0.001, 0.001]).astype(np.float32), LAYOUTS["azure32"], LAYOUTS["ntu25"]
    )
    options = ("--to-layout", "ntu25", "--normalize", "none")
    assert prepare(raw, tmp_path / "s.h5", *options) == 0
    found = arrays(tmp_path / "s.h5")["p01_a01_t01"][:, :5, :, 0]
    assert found == pytest.approx(expected.transpose(2, 0, 1), abs=1e-6)
    with h5py.File(tmp_path / "s.h5") as file:
        assert file.attrs["units"] == "meters"


def test_a_dataset_is_configured_by_its_first_readable_recording(tmp_path, rng):
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY cut")
    np.save(tmp_path / "b.npy", rng.normal(0, 0.3, (2, 20, 3)))
    assert configure([tmp_path], {"unit": "m"}).skeleton().name == "kinect20"


def test_an_unlabelled_clip_of_kinetics_is_stored_with_label_minus_1(shared, tmp_path):
    raw = shared / "cases/recordings/k19-unlabelled/raw"
    assert prepare(raw, tmp_path / "s.h5", "--partial", dataset="kinetics") == 0
    with Store(tmp_path / "s.h5") as store:
        assert (store.labels.tolist(), store.splits["val"].tolist()) == ([-1], [-1])


def test_real_clips_of_kinetics_are_the_same_as_own_recordings(shared, tmp_path):
    raw = shared / "data/kinetics"
    clips = [path for path in sorted(raw.rglob("*.json")) if not path.stem.endswith("_label")][:3]
    assert prepare(raw, tmp_path / "k.h5", "--partial", dataset="kinetics") == 0
    with Store(tmp_path / "k.h5") as store:
        clips = [path for path in clips if path.stem in store]
        expected = {path.stem: store.padded(path.stem, 300) for path in clips}
    assert expected
    for path in clips:
        assert prepare(path, tmp_path / "own.h5") == 0
        with Store(tmp_path / "own.h5") as store:
            assert np.array_equal(store.padded(store.names[0], 300), expected[path.stem])


def test_a_joint_is_made_of_those_that_a_file_names(tmp_path, rng):
    joints = rng.normal(0, 300, (4, 1, 32, 3)).round(1)
    forms.write(tmp_path / "walk.json", {"frames": forms.azure_frames(joints)})
    (tmp_path / "own.yaml").write_text("head: [nose, left_ear]\n")
    options = ("--to-layout", "ntu25", "--joints", tmp_path / "own.yaml", "--normalize", "none")
    assert prepare(tmp_path / "walk.json", tmp_path / "s.h5", *options) == 0
    source, target = LAYOUTS["azure32"].joints, LAYOUTS["ntu25"].joints
    places = [source.index("nose"), source.index("left_ear")]
    expected = (joints[:, 0, places].mean(axis=1) * [-0.001, -0.001, 0.001]).T
    found = arrays(tmp_path / "s.h5")["walk"][:, :4, target.index("head"), 0]
    assert found == pytest.approx(expected, abs=1e-6)


def test_a_joint_of_unknown_ones_is_refused_by_name(tmp_path, rng, capsys):
    joints = rng.normal(0, 300, (4, 1, 32, 3)).round(1)
    forms.write(tmp_path / "walk.json", {"frames": forms.azure_frames(joints)})
    (tmp_path / "own.yaml").write_text("head: [nos]\n")
    options = ("--to-layout", "ntu25", "--joints", tmp_path / "own.yaml")
    assert prepare(tmp_path / "walk.json", tmp_path / "s.h5", *options) == 1
    assert "nos" in capsys.readouterr().err
