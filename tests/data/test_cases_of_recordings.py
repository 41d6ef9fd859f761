"""Recordings in the forms that people reported: each read to the right values, or named for what it is."""

import contextlib
import json
import pickle
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest

from dualhead.cli.main import main
from dualhead.data.dataset import RawSample
from dualhead.data.datasets.ntu import prepare_ntu_sample
from dualhead.data.store import Store
from tests.builders.damage import mutants
from tests.builders.skeletons import one_body, skeleton_file

A = "S001C001P001R001A"
NTU, KINETICS, NW_UCLA = "ntu60", "kinetics", "nw_ucla"

READ = [  # kind, folder, names kept, words that the command or its CSV says
    (NTU, "a04-others/raw/S001C001P001R001A009.skeleton", [f"{A}009"], ()),
    (NTU, "a04-others/raw/NTU60_CS.npz", ["test_000000", "train_000000", "train_000001"], ()),
    (NTU, "a04-others/raw/ntu60_3danno.pkl", [f"{A}001", "S001C001P003R001A002"], ()),
    (NTU, "a07-damagedmember/raw/ntu.zip", None, ("A002", "ntu.zip", "damaged in its archive")),
    (KINETICS, "k01-own/raw", ["v000", "v001", "v002", "v003"], ()),
    (KINETICS, "k02-pixels/raw", ["v1", "v2"], ("v1,all,outside_picture", "pixels?")),
    (KINETICS, "k03-empty/raw", ["v1", "v4", "v5"], ("v2,,unreadable", "v3,,", "2 no_body")),
    (KINETICS, "k06-bom/raw", ["v1", "v2"], ()),
    (KINETICS, "k10-conf5/raw", ["v1", "v2"], ("null", "frame_index '1'", "frame_index 1.0")),
    (KINETICS, "k11-names/raw", ["-abc_\xe9", "a b.v2"], ()),
    (KINETICS, "k17-alphapose-converted/raw", ["clip"], ("nolabel,,no_label",)),
    (KINETICS, "k19-unlabelled/raw", ["v1"], ()),
    (NTU, "l1-msg3d302/raw", [f"{A}001"], ("in", "NTU_RGBD_samples_with_missing_skeletons.txt")),
    (NTU, "l2-stgcn/raw", [f"{A}001"], ("samples_with_missing_skeletons.txt",)),
    (NTU, "l3-actformer/raw", [f"{A}001"], ("ntu_rgb120_missings.txt",)),
    (NTU, "p03-units/raw", [f"{A}00{i}" for i in (1, 2, 3, 4)], ("A002,all,extent", "1602 m")),
    (NTU, "p04-short/raw", [f"{A}00{i}" for i in (1, 2, 3, 5)], ("noted: none",)),
    (NTU, "p05-persons/raw", [f"{A}001", f"{A}002"], ("A002,all,still_first",)),
    (NTU, "p06-idchange/raw", [f"{A}001", f"{A}002"], ("2 id_changes",)),
    (NTU, "p07-gap/raw", [f"{A}001", f"{A}002"], ()),
    (NTU, "p08-sameid/raw", [f"{A}001"], ("1 same_id",)),
    (NTU, "t01-appledouble/raw", None, ("dropped samples: none",)),
    (NTU, "t02-bom/raw", [f"{A}001", f"{A}002"], ("dropped samples: none",)),
    (NTU, "t04-comma/raw", [f"{A}001"], ("decimal commas",)),
    (NTU, "t05-trailing/raw", [f"{A}00{i}" for i in (1, 2, 3, 4)], ("'25.0'", "a whole number")),
    (NTU, "t07-msvcnan/raw", [f"{A}00{i}" for i in (1, 2, 3, 4)], ("2 not_finite",)),
    (NTU, "t11-truncated/raw", None, ("A002,,unreadable", "A003,,unreadable", "2 no_body")),
    (NTU, "t12-blanklines/raw", [f"{A}001"], ()),
    (NTU, "t14-upper/raw", [f"{A}001", f"{A}002"], ()),
    (NW_UCLA, "u01-own/raw", None, ("a06_s13_e00_v01,all,extent", "found '2'", "06, 08, 09, 11")),
    (NTU, "w01-portion/raw", None, ("12 samples",)),
    (NTU, "w02-onlytest/raw", None, ("xsub: 0 recordings to train on, 6 to test on",)),
    (NTU, "w03-onlytrain/raw", None, ("xsub: 6 recordings to train on, 0 to test on",)),
    (NTU, "w04-oneclass/raw", None, ("4 samples",)),
    (NTU, "w05-empty/raw", None, ("4 no_body",)),
    (NTU, "w06-mm/raw", None, ("2 extent", "mm")),
    (NTU, "z01-path/raw \xfcn\xef 1", None, ("12 samples",)),
]
REFUSED = [  # kind, folder, words of the one line
    (NTU, "a02-nested/raw", ("found none", "give them", "all.zip")),
    (NTU, "a02-nested/raw/all.zip", ("holds archives", "unpack it")),
    (NTU, "a04-others/raw/S001C001P001R001A001.skeleton.gz", ("gzip", "Unpack it")),
    (NTU, "a04-others/raw/empty.zip", ("an empty file",)),
    (NTU, "a04-others/raw/login.zip", ("a web page",)),
    (NTU, "a04-others/raw/s.tar.bz2", ("bzip2", "Unpack it", "give the folder")),
    (NTU, "a04-others/raw/s.tar.xz", ("xz", "Unpack it")),
    (NTU, "a04-others/raw/skeletons.7z", ("7-Zip", "Unpack it")),
    (NTU, "a04-others/raw/skeletons.rar", ("RAR", "Unpack it")),
    (NTU, "a04-others/raw/train_data_joint.npy", ("expected train_label.pkl beside it",)),
    (NTU, "a08-cutzip/raw/ntu.zip", ("expected a whole archive",)),
    (KINETICS, "k04-body25/raw", ("expected 18 joints", "found 25")),
    (KINETICS, "k05-coco17/raw", ("expected 18 joints", "found 17")),
    (KINETICS, "k07-nolabel/raw", ("kinetics_val_label.json",)),
    (KINETICS, "k08-classes5/raw", ("400", "Count classes from 0")),
    (KINETICS, "k09-long/raw", ("found 3100",)),
    (KINETICS, "k12-openpose/raw", ("looks like OpenPose", "one file a frame")),
    (KINETICS, "k13-alphapose/raw", ("looks like AlphaPose",)),
    (KINETICS, "k14-mediapipe/raw", ("looks like MediaPipe",)),
    (KINETICS, "k18-noscore/raw", ("no score", "frame_index 1")),
    (NTU, "l5-html/raw", ("found none", "NTU_RGBD120_samples_with_missing_skeletons.txt")),
    (NTU, "t08-hand26/raw", ("expected 25 joints", "found 26")),
    (NTU, "t09-kinect20/raw", ("expected 25 joints", "found 20")),
    (NTU, "t10-azure32/raw", ("expected 25 joints", "found 32")),
    (NTU, "t15-names/raw", ("S001C001P001R001A001.skeleton", "P05_R02_wave", "4 unknown_name")),
    (NTU, "t17-class61/raw", ("60 classes", "61")),
    (NW_UCLA, "u02-textformats/raw", ("1 .txt", "1 .csv", "1 .bvh")),
]


def prepare(kind, raw, folder, capsys, *options):
    """Return the exit status and all that the command said, its CSV included."""
    output = folder / "s.h5"
    arguments = ["prepare", "--dataset", kind, "--raw", str(raw), "--output", str(output)]
    status = main([*arguments, "--partial", "--workers", "1", *map(str, options)])
    said = "".join(capsys.readouterr())
    csv = output.with_suffix(".dropped.csv")
    return status, said + (csv.read_text() if csv.exists() else "")


def files_in(raw):
    """Yield the name and content of each file in a folder or zip, or of the one that a path is."""
    if raw.suffix == ".zip":
        with zipfile.ZipFile(raw) as archive:
            for member in archive.infolist():
                with contextlib.suppress(zipfile.BadZipFile):  # the damaged one is left out
                    yield Path(member.filename).name, archive.read(member)
    else:
        for path in [raw] if raw.is_file() else raw.rglob("*"):
            if path.is_file() and not path.name.startswith("._"):
                yield path.name, path.read_bytes()


def number(word):
    """Return a number as C writes it; NaN for Microsoft's names of it."""
    return float(word) if "#" not in word and "ind" not in word else float("nan")


def skeletons_in_text(content, keep=2):
    """Return the bodies (M, T, V, 3) of NTU's text, those of most energy first, by the plainest means."""
    lines = [line for line in content.decode("utf-8-sig").split("\n") if line.strip()]
    lines = [line.split() for line in lines]
    place, frames = 1, []
    for _ in range(int(lines[0][0])):
        bodies, place = [], place + 1
        for _ in range(int(lines[place - 1][0])):
            count = int(lines[place + 1][0])
            rows = lines[place + 2 : place + 2 + count]
            bodies.append([[number(word) for word in row[:3]] for row in rows])
            place += 2 + count
        frames.append(bodies)
    slots = np.zeros((max(map(len, frames), default=0), len(frames), 25, 3))
    for at, bodies in enumerate(frames):
        slots[: len(bodies), at] = np.array(bodies).reshape(-1, 25, 3)
    slots[~np.isfinite(slots).all(axis=-1)] = 0
    there = [slot[slot.any(axis=(1, 2))].reshape(-1, 3) for slot in slots]
    energies = [float(one.std(axis=0).sum()) if len(one) else -1.0 for one in there]
    chosen = slots[np.argsort([-energy for energy in energies], kind="stable")[:keep]]
    return chosen[:, chosen.any(axis=(0, 2, 3))]


def persons_of_clip(content, keep=2):
    """Return the persons (M, T, V, 3) of a clip of Kinetics about the picture's middle, surest first."""
    frames = {}
    for frame in json.loads(content)["data"]:
        for person in frame["skeleton"]:
            x, y = np.array(person["pose"], float).reshape(18, 2).T
            score = np.array(person["score"], float)
            seen = np.isfinite(x + y + score) & (score != 0)
            joints = np.stack([x - 0.5, 0.5 - y, score], axis=1)
            joints = np.where(seen[:, None], joints, 0)
            frames.setdefault(frame["frame_index"], []).append(joints)
    found = np.zeros((keep, max(frames, default=-1) + 1, 18, 3))
    for at, people in frames.items():
        people.sort(key=lambda joints: -joints[:, 2].sum())
        found[: len(people), at] = people[:keep]
    return found


def body_of_list(content):
    return np.array(json.loads(content)["skeletons"])[None]


READERS_BY_HAND = {
    NTU: (r"(S\d{3}C\d{3}P\d{3}R\d{3}A\d{3})\.skeleton(\.txt)?", skeletons_in_text),
    KINETICS: (r"(.*?)(?<!_label)\.json", persons_of_clip),
    NW_UCLA: (r"(a\d\d_s\d\d_e\d\d_v\d\d)\.json", body_of_list),
}


def check_values(store, raw, kind):
    """Compare every recording of a store with what its file says, read by hand; return how many."""
    pattern, read = READERS_BY_HAND[kind]
    checked = 0
    for file, content in files_in(raw):
        match = re.fullmatch(pattern, file, re.IGNORECASE)
        if match is None or match[1] not in store:
            continue
        expected, position = read(content), store.names.index(match[1])
        frames = max(expected.shape[1], 1)
        found = store.padded(match[1], frames).transpose(3, 1, 2, 0)  # (M, T, V, C)
        there = [body for body in expected if body.any()]
        for body, wanted in zip(found, [*there, *[0 * found[0]] * len(found)], strict=False):
            assert body[: len(wanted)] == pytest.approx(wanted, rel=1e-6, abs=1e-5), match[1]
        if kind == NTU:
            assert store.labels[position] == int(match[1][-3:]) - 1
            assert store.meta["subject"][position] == int(match[1][9:12])
        checked += 1
    return checked


@pytest.mark.parametrize(("kind", "place", "names", "words"), READ, ids=[row[1] for row in READ])
def test_a_reported_form_is_read_and_what_is_odd_is_said(
    shared, tmp_path, capsys, kind, place, names, words
):
    raw = shared / "cases" / "recordings" / place
    is_array = raw.suffix in (".npz", ".pkl")
    options = () if is_array else ("--normalize", "none")
    status, said = prepare(kind, raw, tmp_path, capsys, *options)
    assert status == 0
    assert [word for word in words if word not in said] == []
    with Store(tmp_path / "s.h5") as store:
        assert names is None or store.names == sorted(names)
        assert is_array or check_values(store, raw, kind) == len(store)


def test_reported_arrays_are_read_back(shared, tmp_path, capsys):
    raw = shared / "cases" / "recordings" / "a04-others" / "raw"
    arrays = np.load(raw / "NTU60_CS.npz")
    assert (
        prepare(NTU, raw / "NTU60_CS.npz", tmp_path, capsys, "--normalize", "first_frame")[0] == 0
    )
    with Store(tmp_path / "s.h5") as store:
        assert store.labels.tolist() == [0, 0, 1]  # test_000000, train_000000, train_000001
        for name, x in zip(store.names[1:], arrays["x_train"], strict=True):
            found = store.padded(name, 3).transpose(1, 3, 2, 0)  # (T, M, V, C)
            assert found == pytest.approx(x.reshape(3, 2, 25, 3), abs=1e-6)
    assert prepare(NTU, raw / "ntu60_3danno.pkl", tmp_path, capsys, "--normalize", "none")[0] == 0
    content = (raw / "ntu60_3danno.pkl").read_bytes()
    with Store(tmp_path / "s.h5") as store:
        bodies = [store.padded(name, 4)[..., 0].transpose(1, 2, 0) for name in store.names]
    places = [content.find(body.astype("<f2").tobytes()) for body in bodies]  # as the file has them
    assert 0 < places[0] <= places[1] and bodies[0].shape == (4, 25, 3)


@pytest.mark.parametrize("many", ["3", "1"])
def test_bodies_that_are_kept_are_those_of_most_energy(shared, tmp_path, capsys, many):
    raw = shared / "cases/recordings/p05-persons/raw"
    options = ("--normalize", "none", "--max-bodies", many)
    assert prepare(NTU, raw, tmp_path, capsys, *options)[0] == 0
    content = (raw / f"{A}001.skeleton").read_bytes()
    expected = skeletons_in_text(content, keep=int(many))
    with Store(tmp_path / "s.h5") as store:
        found = store.padded(f"{A}001", 60).transpose(3, 1, 2, 0)
    assert len(expected) == int(many) and found == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("number", ["0", "-1"])
def test_no_bodies_are_refused(shared, tmp_path, capsys, number):
    raw = shared / "cases/recordings/p05-persons/raw"
    with pytest.raises(SystemExit):
        prepare(NTU, raw, tmp_path, capsys, "--max-bodies", number)
    assert "expected a whole number, 1 or more" in capsys.readouterr().err


def test_links_are_followed_where_they_lead(shared, tmp_path, capsys):
    """The case's links are kept as texts of where they lead: they are made anew."""
    case = shared / "cases/recordings/a05-symlinks/raw"
    elsewhere = shared / "cases/recordings/a05-elsewhere"
    content = (elsewhere / f"{A}001.skeleton").read_bytes()
    raw = tmp_path / "raw"
    raw.mkdir()
    for file in case.iterdir():
        target = Path(file.read_text().strip())
        if target.name in (elsewhere.name, f"{A}001.skeleton"):
            whole = elsewhere if target.name == elsewhere.name else elsewhere / target.name
            (raw / file.name).symlink_to(whole)
    assert prepare(NTU, raw, tmp_path, capsys, "--normalize", "none")[0] == 0
    with Store(tmp_path / "s.h5") as store:
        assert store.names == [f"{A}001", f"{A}003"]
        for name in store.names:
            found = store.padded(name, 4)[..., :1].transpose(3, 1, 2, 0)
            assert found == pytest.approx(skeletons_in_text(content), abs=1e-6)


@pytest.mark.parametrize(("kind", "place", "words"), REFUSED, ids=[row[1] for row in REFUSED])
def test_a_reported_form_is_refused_by_what_it_is(shared, tmp_path, capsys, kind, place, words):
    status, said = prepare(kind, shared / "cases" / "recordings" / place, tmp_path, capsys)
    assert status == 1
    assert [word for word in words if word not in said] == []
    assert said.strip().count("\n") == 0 and len(said) < 800
    assert "ownload it again" not in said or "cut short" in said
    assert not (tmp_path / "s.h5").exists()


def test_marks_and_blank_lines_change_no_value(shared):
    folder = shared / "cases" / "recordings"
    settings = {"denoise": "energy", "normalize": "rotate", "max_bodies": 2}

    def body(place):
        path = folder / place
        sample = RawSample(path.stem, 0, {}, path, None, 0)
        return prepare_ntu_sample(path.read_bytes(), sample, settings).bodies[0]

    plain = body(f"t02-bom/raw/{A}001.skeleton")
    for place in (
        *(f"t02-bom/raw/{A}002.skeleton", f"t12-blanklines/raw/{A}001.skeleton"),
        *(f"t05-trailing/raw/{A}00{i}.skeleton" for i in (2, 3, 4)),
    ):
        assert np.array_equal(body(place), plain), place


def test_a_linked_folder_is_entered_once(tmp_path, rng, capsys):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "raw").mkdir()
    content = skeleton_file(one_body(rng.normal(size=(4, 25, 3))))
    (tmp_path / "elsewhere" / f"{A}001.SKELETON").write_bytes(content)
    (tmp_path / "raw" / f"{A}002.skeleton.txt").write_bytes(content)
    for name, target in (("one", "elsewhere"), ("two", "elsewhere"), ("loop", "raw")):
        (tmp_path / "raw" / name).symlink_to(tmp_path / target)
    assert prepare(NTU, tmp_path / "raw", tmp_path, capsys)[0] == 0
    assert Store(tmp_path / "s.h5").names == [f"{A}001", f"{A}002"]
    (tmp_path / "raw" / f"{A}003.skeleton").symlink_to(tmp_path / "nowhere")
    status, said = prepare(NTU, tmp_path / "raw", tmp_path, capsys)
    assert status == 1 and "where nothing is" in said


def test_odd_recordings_are_counted_in_the_store_and_said_once(tmp_path, rng, capsys):
    person = rng.normal((0, 0, 3), 0.4, size=(310, 25, 3))
    for name, content in {
        "001": skeleton_file(one_body(person)),
        "002": skeleton_file(one_body(1000 * person[:9])),
        "003": skeleton_file(one_body(person[:9])) + b"rest\n",
        "004": skeleton_file([[]]),
        "005": skeleton_file(one_body(person[:3, :20])),
    }.items():
        (tmp_path / f"{A}{name}.skeleton").write_bytes(content)
    status, said = prepare(NTU, tmp_path, tmp_path, capsys)
    counts = Store(tmp_path / "s.h5").attributes["counts"]
    expected = {"beyond_300": 1, "extent": 1, "lines_after": 1, "no_body": 1}
    assert (status, counts["noted"], counts["kept"]) == (0, expected, 4)
    assert counts["dropped_samples"] == {"joint_count": 1}
    assert "10 frames in all lie beyond their first 300" in said
    for reason in expected:
        assert said.count(f"\n{reason}: 1 noted; the first: {A}") == 1


READERS = ("text", "zip", "clip", "labels", "json", "pkl", "npz", "npy")
MUTANTS = 60  # of each file in the suite; `python -m tests.data.test_cases_of_recordings 10000` tries more


def readable(tmp_path, rng) -> dict[str, tuple[Path, bytes]]:
    """Return a kind and a file of each reader, with its content."""
    someone = rng.normal((0, 0, 3), 0.4, size=(6, 25, 3)).round(4)
    clip = {"pose": rng.random(36).round(3).tolist(), "score": rng.random(18).round(3).tolist()}
    clip = {"data": [{"frame_index": 1, "skeleton": [clip]}], "label": "x", "label_index": 0}
    label = {"v1": {"label": "x", "label_index": 0, "has_skeleton": True}}
    recording = {"label": 1, "skeletons": someone[:, :20].tolist()}
    (tmp_path / "k" / "kinetics_val").mkdir(parents=True)
    (tmp_path / "k" / "kinetics_val_label.json").write_text(json.dumps(label))
    (tmp_path / "k" / "kinetics_val" / "v1.json").write_text(json.dumps(clip))
    (tmp_path / "u").mkdir()
    (tmp_path / "u" / "a01_s01_e00_v01.json").write_text(json.dumps(recording))
    (tmp_path / "n").mkdir()
    (tmp_path / "n" / f"{A}001.skeleton").write_bytes(skeleton_file(one_body(someone)))
    (tmp_path / "z").mkdir()
    with zipfile.ZipFile(tmp_path / "z" / "n.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(tmp_path / "n" / f"{A}001.skeleton", f"{A}001.skeleton")
    arrays = tmp_path / "arrays"
    arrays.mkdir()
    entry = {"frame_dir": f"{A}001", "label": 0, "keypoint": someone[None].astype(np.float16)}
    (arrays / "n.pkl").write_bytes(pickle.dumps({"annotations": [entry], "split": {}}))
    x, y = np.zeros((1, 4, 150), np.float32), np.eye(1, 60)
    np.savez(arrays / "NTU60_CS.npz", x_train=x + 1, y_train=y, x_test=x, y_test=y)
    np.save(arrays / "val_data_joint.npy", someone.T[None, ..., None].transpose(0, 1, 3, 2, 4))
    (arrays / "val_label.pkl").write_bytes(pickle.dumps(([f"{A}001.skeleton"], [0])))
    return {
        "pkl": (NTU, arrays / "n.pkl"),
        "npz": (NTU, arrays / "NTU60_CS.npz"),
        "npy": (NTU, arrays / "val_data_joint.npy"),
        "text": (NTU, tmp_path / "n" / f"{A}001.skeleton"),
        "zip": (NTU, tmp_path / "z" / "n.zip"),
        "clip": (KINETICS, tmp_path / "k" / "kinetics_val" / "v1.json"),
        "labels": (KINETICS, tmp_path / "k" / "kinetics_val_label.json"),
        "json": (NW_UCLA, tmp_path / "u" / "a01_s01_e00_v01.json"),
    }


def try_mutants(which, count, folder, seed=0):
    """Prepare damaged copies; anything but a store or a ValueError of one line raises."""
    from dualhead.data.prepare import prepare as prepare_dataset

    kind, path = readable(folder, np.random.default_rng(seed))[which]
    raw = folder / "k" if kind == KINETICS else path
    normalize = {KINETICS: "none", NW_UCLA: "first_frame"}.get(kind, "rotate")
    for index, (what, content) in enumerate(mutants(path.read_bytes(), count, seed)):
        path.write_bytes(content)
        output = folder / "out.h5"
        options = {
            "settings": {"denoise": "energy", "normalize": normalize, "max_bodies": 2},
            "partial": True,
            "reuse": None,
            "workers": 1,
        }
        try:
            prepare_dataset(kind, [raw], output, dropped=folder / "d.csv", **options)
        except ValueError as error:
            assert "\n" not in str(error), (what, index)
            assert len(str(error)) < 1500, (what, index)


@pytest.mark.parametrize("which", READERS)
def test_damage_ends_in_a_store_or_in_one_line(tmp_path, which):
    try_mutants(which, MUTANTS, tmp_path)


if __name__ == "__main__":
    import sys
    import tempfile

    for name in READERS:
        with tempfile.TemporaryDirectory() as place:
            try_mutants(name, int(sys.argv[1]), Path(place), seed=1)
        print(f"{name}: {sys.argv[1]} damaged copies, no traceback")
