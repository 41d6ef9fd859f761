"""Arrays that others prepared: read back to the values that their published rules give."""

import csv
import pickle

import numpy as np
import pytest

from dualhead.cli.main import main
from dualhead.data.dataset import RawSample
from dualhead.data.datasets import configured
from dualhead.data.datasets.ntu import LAYOUT, prepare_ntu_sample
from dualhead.data.listing import fingerprint
from dualhead.data.prepare import prepare
from dualhead.data.skeleton_file import read_skeleton
from dualhead.data.store import Store
from dualhead.settings import checks
from tests.builders.prepared_arrays import agcn, ctr_gcn, picture, pyskl, someone
from tests.data.test_ntu import CANCELLING

A = "S001C001P001R001A001"
NAMES = (A, "S001C002P003R001A002", "S017C003P040R002A060")


def settings_of(kind, path, **changes):
    """Return the settings that the command takes for some arrays."""
    dataset = configured(kind, [path], {})
    return checks.defaults()["prepare"] | dict(dataset.prepare) | changes


def store_of(path, folder, kind="ntu60", workers=1, **changes):
    """Prepare an array file as a part of a dataset; return its store."""
    options = {"partial": True, "reuse": None, "workers": workers}
    settings = settings_of(kind, path, **changes)
    prepare(kind, [path], folder / "s.h5", settings=settings, dropped=folder / "d.csv", **options)
    return Store(folder / "s.h5")


def noted(folder):
    with (folder / "d.csv").open() as text:
        return [(row["name"], row["reason"]) for row in csv.DictReader(text)]


# ---- real recordings, written by the published rules


def actors(content: bytes) -> np.ndarray:
    """Return the bodies of a recording, (M, T, 25, 3) float32, as CTR-GCN and PYSKL choose them.

    Enough of their rule for recordings of one or two people who are there in all frames.
    """
    recording = read_skeleton(content, "x", 25)
    bodies = {}
    for body, joints in zip(recording.body_ids(), recording.joints.transpose(1, 2, 0), strict=True):
        bodies.setdefault(body, []).append(joints.astype(np.float32))
    found = [np.stack(frames) for frames in bodies.values()]
    assert len({len(body) for body in found}) == 1
    return np.stack(sorted(found, key=lambda body: -body.reshape(-1, 3).var(axis=0).sum()))


@pytest.fixture(scope="module")
def real(shared):
    files = sorted((shared / "data" / "ntu_raw").glob("*.skeleton"))
    return {path.stem: path.read_bytes() for path in files}


def ours(content, name, **settings):
    sample = RawSample(name, 0, {}, None, None, 0)
    return prepare_ntu_sample(content, sample, {"max_bodies": 2, **settings}).bodies


def test_real_recordings_as_pyskl_writes_them_are_read_back(real, tmp_path):
    bodies = {name: actors(content) for name, content in real.items()}
    store = store_of(pyskl(tmp_path / "n.pkl", bodies), tmp_path, normalize="none")
    assert store.names == sorted(real) and noted(tmp_path) == []
    for name, content in real.items():
        raw = ours(content, name, denoise="ctr_gcn", normalize="none")
        found = store.bodies(store.position(name))
        assert len(raw) == len(found)
        for one, other in zip(raw, found, strict=True):
            assert np.array_equal(one.astype(np.float16).astype(np.float32), other)


@pytest.mark.parametrize("normalize", ["first_frame", "rotate"])
def test_real_recordings_as_ctr_gcn_writes_them_equal_our_own(real, tmp_path, normalize):
    names = sorted(real)
    entries = [(actors(real[name]), int(name[-3:]) - 1) for name in names]
    path = ctr_gcn(tmp_path / "NTU60_CS.npz", {"train": entries[:5], "test": entries[5:]})
    store = store_of(path, tmp_path, normalize=normalize)
    order = [f"train_{i:06d}" for i in range(5)] + [f"test_{i:06d}" for i in range(len(names) - 5)]
    for name, number in zip(names, order, strict=True):
        expected = ours(real[name], name, denoise="ctr_gcn", normalize=normalize)
        found = store.bodies(store.position(number))
        assert len(expected) == len(found)
        for one, other in zip(expected, found, strict=True):
            exact = normalize == "first_frame"
            np.testing.assert_allclose(one, other, rtol=0, atol=0 if exact else 2e-6)
    assert [len(part) for part in store.split("xsub")] == [5, len(names) - 5]


def test_the_authors_own_arrays_are_read_back_and_equal_our_preparation(shared, tmp_path):
    with np.load(shared / "golden" / "ntu_prepared.npz") as golden:
        arrays = dict(zip(map(str, golden["names"]), golden["joint"], strict=True))
    raw = shared / "golden" / "ntu_raw"
    store = store_of(agcn(tmp_path / "xsub", arrays), tmp_path)
    assert store.names == sorted(arrays)
    for name, array in arrays.items():
        assert np.array_equal(store.padded(name), array), name
        if name not in CANCELLING:
            content = (raw / f"{name}.skeleton").read_bytes()
            expected = ours(content, name, denoise="energy", normalize="rotate")
            found = store.bodies(store.position(name))
            for one, other in zip(expected, found, strict=True):
                assert np.array_equal(one, other), name


# ---- PYSKL


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("wrap", [True, False])
def test_annotations_become_samples_with_what_their_names_say(tmp_path, rng, protocol, wrap):
    bodies = {name: someone(rng, 5 + i, 1 + i % 2) for i, name in enumerate(NAMES)}
    path = pyskl(tmp_path / "ntu60_3danno.pkl", bodies, wrap=wrap, protocol=protocol)
    store = store_of(path, tmp_path, normalize="none")
    assert store.names == sorted(NAMES)
    assert store.labels.tolist() == [0, 1, 59]
    assert store.meta["subject"].tolist() == [1, 3, 40]
    assert store.attributes["source"] == "PYSKL's selection of bodies, half precision"
    for name, joints in bodies.items():
        for one, other in zip(joints, store.bodies(store.position(name)), strict=True):
            assert np.array_equal(one.astype(np.float16).astype(np.float32), other)


def test_the_command_says_what_the_data_is_and_any_number_of_workers_agree(tmp_path, rng):
    path = pyskl(tmp_path / "n.pkl", {name: someone(rng, 6) for name in NAMES})
    output = tmp_path / "s.h5"
    arguments = ["prepare", "--dataset", "ntu60", "--raw", str(path), "--output", str(output)]
    assert main([*arguments, "--partial", "--workers", "1"]) == 0
    (tmp_path / "other").mkdir()
    store_of(path, tmp_path / "other", workers=2)
    assert output.read_bytes() == (tmp_path / "other" / "s.h5").read_bytes()
    assert Store(output).attributes["fingerprint"] == fingerprint("ntu60", [path])


@pytest.mark.parametrize("kind", ["ntu60", "kinetics"])
def test_poses_in_pictures_become_fractions_about_the_middle(tmp_path, rng, kind):
    names = [A, "S001C002P003R001A002"] if kind == "ntu60" else ["-abc", "zumba"]
    entries = [picture(rng, 4) | {"frame_dir": n, "label": i} for i, n in enumerate(names)]
    split = {"train": names[:1], "val": names[1:]}
    path = tmp_path / "hrnet.pkl"
    path.write_bytes(pickle.dumps({"split": split, "annotations": entries}))
    store = store_of(path, tmp_path, kind)
    assert (store.layout.name, store.attributes["padding"]) == ("coco17", "zero")
    assert "HRNet" in store.attributes["source"]
    for name, entry in zip(names, entries, strict=True):
        found = store.padded(name, 4)  # (3, T, 17, 2)
        for t in range(4):
            order = np.argsort(-entry["keypoint_score"][:, t].astype(float).sum(axis=1))
            for slot, person in enumerate(order):
                x, y = entry["keypoint"][person, t].astype(np.float32).T
                np.testing.assert_allclose(found[0, t, :, slot], x / 320 - 0.5, atol=1e-6)
                np.testing.assert_allclose(found[1, t, :, slot], 0.5 - y / 240, atol=1e-6)
    if kind == "kinetics":
        assert [len(part) for part in store.split("val")] == [1, 1]


def test_a_picture_is_not_turned(tmp_path, rng):
    path = tmp_path / "hrnet.pkl"
    path.write_bytes(pickle.dumps([picture(rng, 4) | {"frame_dir": A, "label": 0}]))
    with pytest.raises(ValueError, match=r"prepare\.normalize must be none; found rotate"):
        store_of(path, tmp_path, normalize="rotate")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": 3}, f"{A}: expected the label of its name; found 3"),
        ({"label": "0"}, "expected a whole number as label; found '0'"),
        ({"keypoint": None}, "expected an array keypoint; found NoneType"),
        ({"keypoint": np.zeros((4, 25, 3))}, r"found shape \(4, 25, 3\)"),
        ({"keypoint": np.zeros((1, 4, 20, 3))}, r"expected 25 joints, .* found \[20\]"),
        ({"keypoint": np.zeros((1, 4, 17, 2))}, "expected an array keypoint_score"),
        ({"frame_dir": None}, "expected `frame_dir`"),
    ],
)
def test_a_wrong_annotation_is_refused_by_its_name(tmp_path, rng, change, message):
    entry = {"frame_dir": A, "label": 0, "keypoint": someone(rng, 4), "total_frames": 4}
    path = tmp_path / "n.pkl"
    path.write_bytes(pickle.dumps({"annotations": [entry | change], "split": {}}))
    with pytest.raises(ValueError, match=message):
        store_of(path, tmp_path)


@pytest.mark.parametrize(
    ("split", "message"),
    [
        (
            {"xsub_train": [A, "b"], "xsub_val": [A]},
            "expected each recording in one of xsub_train and xsub_val",
        ),
        ({"train": [A], "val": [A]}, rf"found 1 in both, such as {A}"),
        ({"train": 3}, "expected a list of names as split 'train'; found 3"),
    ],
)
def test_parts_that_overlap_or_are_none_are_refused(tmp_path, split, message):
    (tmp_path / "d.pkl").write_bytes(pickle.dumps({"annotations": [None], "split": split}))
    with pytest.raises(ValueError, match=message):
        configured("ntu60", [tmp_path / "d.pkl"], {})


def test_what_is_odd_in_annotations_is_noted(tmp_path, rng):
    bodies = {name: someone(rng, 5) for name in NAMES}
    bodies[NAMES[0]][0, 2, 7] = np.nan
    bodies[NAMES[1]] *= 1000
    bodies[NAMES[2]][:] = 0
    store_of(pyskl(tmp_path / "n.pkl", bodies, np.float32), tmp_path)
    reasons = ("not_finite", "extent", "no_body")
    assert noted(tmp_path) == list(zip(NAMES, reasons, strict=True))


# ---- CTR-GCN


@pytest.mark.parametrize("compressed", [False, True])
def test_a_lone_actor_who_is_there_twice_is_one(tmp_path, rng, compressed):
    parts = {
        "train": [(someone(rng, 6), 3), (someone(rng, 4, 2), 50)],
        "test": [(someone(rng, 5), 0)],
    }
    path = ctr_gcn(tmp_path / "NTU60_CV.npz", parts, compressed, both=True)
    store = store_of(path, tmp_path, normalize="first_frame")
    assert store.names == ["test_000000", "train_000000", "train_000001"]
    assert [len(store.bodies(i)) for i in range(3)] == [1, 1, 2]
    assert store.labels.tolist() == [0, 3, 50]
    assert noted(tmp_path) == [("test_000000", "copy"), ("train_000000", "copy")]
    assert "not known" in store.attributes["source"]


def test_names_come_from_the_list_only_if_counts_and_labels_agree(tmp_path, rng):
    names = ["S001C001P001R001A003", "S001C001P003R001A002", "S001C002P001R001A001"]
    entries = {name: (someone(rng, 5), int(name[-3:]) - 1) for name in names}
    train, test = [entries[names[0]], entries[names[2]]], [entries[names[1]]]
    path = ctr_gcn(tmp_path / "NTU60_CS.npz", {"train": train, "test": test})
    (tmp_path / "skes_available_name.txt").write_text("\n".join(names))
    store = store_of(path, tmp_path, normalize="first_frame")
    assert store.names == names and store.meta["subject"].tolist() == [1, 3, 1]
    assert store.labels.tolist() == [2, 1, 0]
    for wrong in ([*names, A], [names[0], names[2], names[1][:-1] + "4"], ["x", *names[1:]], []):
        (tmp_path / "skes_available_name.txt").write_text("\n".join(wrong))
        assert "not known" in configured("ntu60", [path], {}).source


@pytest.mark.parametrize(
    ("name", "arrays", "message"),
    [
        ("NTU60.npz", {}, "expected a name that tells the split"),
        ("NTU60_CS.npz", {"x_train": np.zeros(3)}, "found x_train, no x_test, y_test, y_train"),
        (
            "NTU60_CS.npz",
            {f"{axis}_{part}": np.zeros((2, 3)) for axis in "xy" for part in ("train", "test")},
            r"expected x_train \(N, frames, 150\)",
        ),
        (
            "NTU60_CS.npz",
            {f"{axis}_{part}": np.array([{}]) for axis in "xy" for part in ("train", "test")},
            "expected plain numbers",
        ),
    ],
)
def test_another_npz_is_refused_by_what_it_lacks(tmp_path, name, arrays, message):
    np.savez(tmp_path / name, **arrays)
    with pytest.raises(ValueError, match=message):
        store_of(tmp_path / name, tmp_path)


def test_positions_in_the_room_cannot_be_had_back(tmp_path, rng):
    parts = {"train": [(someone(rng, 6), 3)], "test": [(someone(rng, 5), 0)]}
    with pytest.raises(ValueError, match="must be first_frame or rotate; found none"):
        store_of(ctr_gcn(tmp_path / "NTU60_CS.npz", parts), tmp_path, normalize="none")


# ---- 2s-AGCN and its heirs


def looped(rng, *lengths):
    array = np.zeros((3, 300, 25, 2), np.float32)
    for slot, length in enumerate(lengths):
        body = rng.normal(size=(3, length, 25))
        array[..., slot] = body[:, np.arange(300) % length]
    return array


@pytest.mark.parametrize("protocol", [2, 4])
def test_the_repetition_that_pads_is_taken_off(tmp_path, rng, protocol):
    arrays = {NAMES[0]: looped(rng, 7), NAMES[1]: looped(rng, 150, 299), NAMES[2]: looped(rng)}
    path = agcn(tmp_path / "xsub", arrays, protocol=protocol)
    store = store_of(path, tmp_path)
    assert [[len(body) for body in store.bodies(i)] for i in range(3)] == [[7], [150, 299], []]
    for name, array in arrays.items():
        assert np.array_equal(store.padded(name), array)
    assert noted(tmp_path) == [(NAMES[2], "no_body")]
    one = store_of(path / "val_data_joint.npy", tmp_path)
    assert one.names == store.names


def test_clips_of_kinetics_keep_their_part(tmp_path, rng):
    folder = tmp_path / "kinetics"
    folder.mkdir()
    for part in ("train", "val"):
        joints = rng.random((2, 3, 300, 18, 2)).astype(np.float32)
        joints[:, :, 100:] = 0
        np.save(folder / f"{part}_data_joint.npy", joints)
        labels = ([f"{part}0.json", f"{part}1.json"], [5, 7])
        (folder / f"{part}_label.pkl").write_bytes(pickle.dumps(labels))
    store = store_of(folder, tmp_path, "kinetics")
    assert store.names == ["train0", "train1", "val0", "val1"]
    assert [part.tolist() for part in store.split("val")] == [[0, 1], [2, 3]]
    assert store.num_frames.tolist() == [100] * 4
    assert np.array_equal(store.padded("val1"), joints[1])


def test_arrays_without_labels_or_of_another_skeleton_are_refused(tmp_path, rng):
    folder = agcn(tmp_path / "xsub", {A: looped(rng, 3)})
    with pytest.raises(ValueError, match=r"must be rotate; found none"):
        store_of(folder, tmp_path, normalize="none")
    with pytest.raises(ValueError, match=r"expected kinetics as \(N, 3, frames, 18, bodies\)"):
        store_of(folder, tmp_path, "kinetics")
    (folder / "val_label.pkl").write_bytes(pickle.dumps(([A, A], [0, 0])))
    with pytest.raises(ValueError, match="expected a name and a label for each of the 1"):
        store_of(folder, tmp_path)
    (folder / "val_label.pkl").unlink()
    with pytest.raises(ValueError, match=r"expected val_label\.pkl beside it"):
        store_of(folder / "val_data_joint.npy", tmp_path)
    np.save(tmp_path / "other.npy", np.zeros(3))
    with pytest.raises(ValueError, match="found another array"):
        store_of(tmp_path / "other.npy", tmp_path)
    with (folder / "val_data_joint.npy").open("r+b") as file:
        file.truncate(5000)
    with pytest.raises(ValueError, match="cut short"):
        store_of(folder / "val_data_joint.npy", tmp_path)


def test_arrays_stand_alone(tmp_path, rng):
    path = pyskl(tmp_path / "n.pkl", {A: someone(rng, 3)})
    with pytest.raises(ValueError, match="found several"):
        configured("ntu60", [path, tmp_path], {})


def test_a_store_of_arrays_is_not_reused_for_raw_recordings(tmp_path, rng):
    path = pyskl(tmp_path / "n.pkl", {A: someone(rng, 3)})
    (tmp_path / "one").mkdir()
    store_of(path, tmp_path / "one")
    from tests.builders.skeletons import one_body, skeleton_file

    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / f"{A}.skeleton").write_bytes(skeleton_file(one_body(someone(rng, 3)[0])))
    with pytest.raises(ValueError, match="expected source"):
        prepare(
            "ntu60",
            [raw],
            tmp_path / "s.h5",
            settings=settings_of("ntu60", raw),
            partial=True,
            dropped=tmp_path / "d.csv",
            reuse=tmp_path / "one" / "s.h5",
            workers=1,
        )
    assert LAYOUT == Store(tmp_path / "one" / "s.h5").layout.name
