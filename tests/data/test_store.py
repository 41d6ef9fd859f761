"""The store: what is written comes back, padded exactly, in bounded memory, whole or not at all."""

import errno
import fcntl
import json
import multiprocessing
import resource
import time
import tracemalloc

import h5py
import numpy as np
import pytest

from dualhead.data.prepare import PrepareReport, _old_records
from dualhead.data.records import Header, Record, write_store
from dualhead.data.store import Store
from dualhead.files import digest_of
from dualhead.hdf5 import SEAL_LENGTH
from dualhead.layout import LAYOUTS, SkeletonLayout
from tests.builders.edits import edited_store, make_older
from tests.builders.tiny import write_tiny_store

SHAPE = (25, 3)
SPLITS = {"xsub": lambda meta: (meta["subject"] % 2).astype(np.int8)}


def header(**changes):
    plain = {
        "dataset": "synthetic",
        "layout": LAYOUTS["ntu25"],
        "class_names": ("wave", "sit", "jump"),
        "padding": "loop",
        "max_bodies": 2,
        "units": "meters",
        "settings": {"denoise": "energy", "recipe": 1},
        "partial": True,
        "fingerprint": "abc",
        "counts": lambda: {"kept": 5},
    }
    return Header(**(plain | changes))


def body(length, value=None, shape=SHAPE):
    rng = np.random.default_rng(length)
    rows = (
        rng.standard_normal((length, *shape)) if value is None else np.full((length, *shape), value)
    )
    return rows.astype(np.float32)


def records():
    """Return none, one and two bodies, an absent first one, and one longer than the padding."""
    return [
        Record("S1", 0, {"subject": 1}, (body(7),), 7),
        Record("S2", 1, {"subject": 2}, (body(5), body(3)), 5),
        Record("S3", 2, {"subject": 3}, (), 4),
        Record("S4", 0, {"subject": 4}, (body(0), body(2)), 2),
        Record("S5", 1, {"subject": 5}, (body(310), body(0)), 310),
    ]


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "folder" / "store.h5"
    write_store(path, records(), header=header(), splits=SPLITS)
    return path


def slowly_padded(record, num_frames, padding):
    """Fill the authors' array frame by frame."""
    joints = np.zeros((3, num_frames, 25, 2), np.float32)
    for slot, rows in enumerate(record.bodies):
        for frame in range(num_frames):
            if len(rows) and (padding == "loop" or frame < len(rows)):
                joints[:, frame, :, slot] = rows[frame % len(rows)].T
    return joints


def test_everything_comes_back_as_it_was_written(path):
    with Store(path) as store:
        assert store.names == ["S1", "S2", "S3", "S4", "S5"]
        assert store.labels.tolist() == [0, 1, 2, 0, 1]
        assert store.num_frames.tolist() == [7, 5, 4, 2, 310]
        assert store.meta["subject"].tolist() == [1, 2, 3, 4, 5]
        assert store.layout == LAYOUTS["ntu25"]
        assert (store.num_classes, store.class_names) == (3, ["wave", "sit", "jump"])
        assert (store.max_bodies, len(store)) == (2, 5)


def test_attributes_are_python_values(path):
    attributes = Store(path).attributes
    assert attributes["schema"] == 1
    assert attributes["partial"] is True
    assert attributes["settings"] == {"denoise": "energy", "recipe": 1}
    assert attributes["counts"] == {"kept": 5}
    assert json.loads(json.dumps(attributes)) == attributes


def test_a_store_brings_its_own_skeleton_to_any_folder(tmp_path):
    stick = SkeletonLayout("stick", ("hip", "head"), (0, 0), ((1, 0),), 0, num_coordinates=2)
    samples = [Record("S1", 0, {"subject": 1}, (body(3, shape=(2, 2)),), 3)]
    write_store(tmp_path / "s.h5", samples, header=header(layout=stick), splits=SPLITS)
    assert Store(tmp_path / "s.h5").layout == stick


def test_a_store_of_the_first_version_is_read_as_before(path):
    new = Store(path)
    make_older(path)
    old = Store(path)
    assert (old.layout, old.checksums) == (LAYOUTS["ntu25"], None)
    assert np.array_equal(old.ragged([0, 1, 4])[0], new.ragged([0, 1, 4])[0])
    assert np.array_equal(old.padded("S2"), new.padded("S2"))


def test_a_damaged_skeleton_is_refused_in_one_line(path):
    with edited_store(path) as file:
        file.attrs["skeleton"] = json.dumps({"name": "stick"})
    with pytest.raises(
        ValueError, match=r"store\.h5: its attribute `skeleton`: .*no joints, center"
    ):
        Store(path)


def test_the_file_has_the_documented_schema(path):
    with h5py.File(path) as file:
        found = {}
        file.visititems(
            lambda name, item: (
                found.update({name: (item.dtype.str, item.shape)})
                if isinstance(item, h5py.Dataset)
                else None
            )
        )
        assert h5py.check_string_dtype(file["names"].dtype) is not None
        assert file["joints"].chunks is None, "contiguous, so that it can be mapped"
    names = found.pop("names")
    assert names[1] == (5,)
    assert found == {
        "labels": ("<i2", (5,)),
        "num_frames": ("<i4", (5,)),
        "checksums": ("<u4", (5,)),
        "sample_start": ("<i8", (6,)),
        "body/start": ("<i8", (6,)),
        "body/length": ("<i4", (6,)),
        "joints": ("<f4", (7 + 5 + 3 + 2 + 310, 25, 3)),
        "splits/xsub": ("|i1", (5,)),
        "meta/subject": ("<i2", (5,)),
    }


@pytest.mark.parametrize("padding", ["loop", "zero"])
@pytest.mark.parametrize("num_frames", [1, 6, 300, 400])
def test_padded_is_the_authors_array(tmp_path, padding, num_frames):
    path = tmp_path / "store.h5"
    write_store(path, records(), header=header(padding=padding), splits=SPLITS)
    store = Store(path)
    for position, record in enumerate(records()):
        expected = slowly_padded(record, num_frames, padding)
        found = store.padded(record.name, num_frames)
        assert np.array_equal(expected, found)
        assert np.array_equal(expected, store.padded(position, num_frames))
        assert found.flags.c_contiguous and found.dtype == np.float32 and found.flags.writeable


def test_padded_has_300_frames_unless_told_otherwise(path):
    assert Store(path).padded("S1").shape == (3, 300, 25, 2)


@pytest.mark.parametrize("name", ["S2", "S2.skeleton", "S2.json", "/some/folder/S2.skeleton"])
def test_a_sample_is_found_under_the_authors_names_too(path, name):
    assert Store(path).position(name) == 1


@pytest.mark.parametrize("positions", [[0, 1, 2, 3, 4], [4, 1, 1], [2], [], [3, 0]])
def test_ragged_gives_the_same_rows_as_one_sample_after_the_other(path, positions):
    store = Store(path)
    rows, starts, lengths, num_frames = store.ragged(positions)
    assert starts.shape == lengths.shape == (len(positions), 2)
    assert num_frames.tolist() == [records()[position].num_frames for position in positions]
    assert len(rows) == lengths.sum()
    for index, position in enumerate(positions):
        bodies = [*records()[position].bodies, body(0), body(0)][:2]
        for slot, expected in enumerate(bodies):
            start, length = starts[index, slot], lengths[index, slot]
            assert np.array_equal(expected, rows[start : start + length])


def test_mapped_rows_are_those_of_ragged(path):
    store = Store(path)
    rows, starts, lengths, num_frames = store.ragged([1, 3])
    every, their_starts, their_lengths, theirs = store.mapped([1, 3])
    assert np.array_equal(lengths, their_lengths) and np.array_equal(num_frames, theirs)
    for start, their_start, length in zip(
        starts.flat, their_starts.flat, lengths.flat, strict=True
    ):
        assert np.array_equal(
            rows[start : start + length], every[their_start : their_start + length]
        )
    assert not every.flags.writeable


def test_splits_are_positions_of_training_and_test_samples(path):
    train, test = Store(path).split("xsub")
    assert (train.tolist(), test.tolist()) == ([0, 2, 4], [1, 3])


def test_an_unknown_split_names_the_known_ones(path):
    with pytest.raises(ValueError, match="no split 'xview'; it has xsub"):
        Store(path).split("xview")


def test_an_unknown_sample_is_refused(path):
    with pytest.raises(ValueError, match=r"no sample 'S9' among its 5: S1, S2, S3"):
        Store(path).padded("S9")


def test_a_missing_store_says_how_to_make_it(tmp_path):
    with pytest.raises(ValueError, match=r"no such store\. Make it with `dualhead prepare"):
        Store(tmp_path / "store.h5")


def test_something_else_is_not_taken_for_a_store(tmp_path):
    path = tmp_path / "store.h5"
    path.write_text("name,label\n")
    with pytest.raises(ValueError, match="expected a store"):
        Store(path)
    path.unlink()
    h5py.File(path, "w").close()
    with pytest.raises(ValueError, match="no store: it has no attribute `schema`"):
        Store(path)


def test_another_schema_is_refused(path):
    with edited_store(path) as file:
        file.attrs["schema"] = 7
    with pytest.raises(ValueError, match="expected schema 1, found 7"):
        Store(path)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_store_that_was_cut_short_is_refused(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ValueError, match="a part of one"):
        Store(path)


def read_everything(path):
    """Return all that a store says, after reading every sample both ways."""
    with Store(path) as store:
        together = [array.tobytes() for array in store.ragged(range(len(store)))]
        bodies = [body.tobytes() for place in range(len(store)) for body in store.bodies(place)]
        index = (store.names, store.labels.tolist(), store.meta["subject"].tolist())
        splits = {name: part.tolist() for name, part in store.splits.items()}
        return together, bodies, index, splits, store.attributes


def damage(content, rng):
    """Return the content with bits, bytes or blocks changed, zeroed, swapped, cut or added."""
    changed, size = bytearray(content), len(content)
    kind = rng.integers(6)
    start, other = (int(place) // 64 * 64 for place in rng.integers(0, size, 2))
    if kind == 0:
        changed[int(rng.integers(size))] ^= 1 << int(rng.integers(8))
    elif kind == 1:
        changed[int(rng.integers(size))] = int(rng.integers(256))
    elif kind == 2:
        changed[start : start + 512] = bytes(len(changed[start : start + 512]))
    elif kind == 3:
        first, second = changed[start : start + 64], changed[other : other + 64]
        if len(first) == len(second):
            changed[start : start + 64], changed[other : other + 64] = second, first
    elif kind == 4:
        del changed[int(rng.integers(size)) :]
    else:
        changed += bytes(int(rng.integers(1, 200)))
    return bytes(changed)


@pytest.mark.parametrize("seed", range(6))
def test_a_damaged_store_is_refused_in_one_line_or_says_the_same(tmp_path, seed):
    path, rng = tmp_path / "store.h5", np.random.default_rng(seed)
    write_store(path, records()[:4], header=header(), splits=SPLITS)
    content, expected = path.read_bytes(), read_everything(path)
    for _ in range(100):
        path.write_bytes(damaged := damage(content, rng))
        try:
            found = read_everything(path)
        except ValueError as error:
            assert str(error).startswith(f"{path}: ") and "\n" not in str(error)
            assert damaged != content
        else:
            assert found == expected


@pytest.mark.parametrize("read", ["bodies", "padded", "ragged", "check"])
def test_damaged_rows_are_refused_by_the_name_of_their_sample(path, read):
    content = bytearray(path.read_bytes())
    place = content.index(body(3).tobytes()) + 100
    content[place] ^= 16
    path.write_bytes(content)
    store = Store(path)
    reading = {
        "ragged": lambda: store.ragged([0, 1, 2]),
        "bodies": lambda: store.bodies(1),
        "check": lambda: store.check([0, 1, 2]),
    }
    with pytest.raises(ValueError, match=r"store\.h5: sample S2: damaged: expected rows of CRC-32"):
        reading.get(read, lambda: store.padded("S2"))()
    assert len(store.ragged([0, 2, 3, 4])[0]) == 7 + 2 + 310


def test_damaged_rows_are_not_copied_into_another_store(path):
    content = bytearray(path.read_bytes())
    content[content.index(body(3).tobytes())] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="sample S2: damaged"):
        list(_old_records(Store(path), PrepareReport()))


def test_a_store_that_lost_its_seal_is_refused(path):
    content = path.read_bytes()
    path.write_bytes(content[:-SEAL_LENGTH])
    with pytest.raises(ValueError, match=r"edited or damaged: its seal is not there"):
        Store(path)
    path.write_bytes(content[:-1])
    with pytest.raises(ValueError, match=r"bytes and its seal, found"):
        Store(path)


def test_an_edited_store_is_refused(path):
    with h5py.File(path, "r+") as file:
        file["splits/xsub"][0] = 0
    with pytest.raises(ValueError, match=r"store\.h5: edited or damaged"):
        Store(path)


@pytest.mark.parametrize(
    ("name", "place", "value"),
    [
        ("sample_start", 1, 9),
        ("sample_start", 0, 1),
        ("body/start", 1, -1),
        ("body/start", 1, 1 << 40),
        ("body/length", 0, -5),
        ("body/length", 0, 400),
    ],
)
def test_an_older_store_whose_index_does_not_fit_is_refused(path, name, place, value):
    make_older(path)
    with h5py.File(path, "r+") as file:
        file[name][place] = value
    with pytest.raises(ValueError, match="damaged: its index does not fit its rows"):
        Store(path)


@pytest.mark.parametrize("name", ["labels", "body/length", "names", "joints"])
def test_an_older_store_without_a_table_is_refused_in_one_line(path, name):
    make_older(path)
    with h5py.File(path, "r+") as file:
        del file[name]
    with pytest.raises(ValueError, match=r"store\.h5: expected a store \(HDF5\), found something"):
        Store(path)


def test_a_store_without_any_body_can_be_read(tmp_path):
    path = tmp_path / "store.h5"
    empty = [Record("S1", 0, {"subject": 1}, (), 3)]
    write_store(path, empty, header=header(), splits=SPLITS)
    assert not Store(path).padded("S1").any()
    assert Store(path).ragged([0])[0].shape == (0, 25, 3)


def test_records_must_be_sorted_and_of_the_layouts_shape(tmp_path):
    path = tmp_path / "store.h5"
    with pytest.raises(ValueError, match="S1 after S2"):
        write_store(path, records()[1::-1], header=header(), splits=SPLITS)
    wrong = [Record("S1", 0, {"subject": 1}, (body(3, shape=(20, 3)),), 3)]
    with pytest.raises(ValueError, match=r"bodies of shape \(L, 25, 3\); found \[\(3, 20, 3\)\]"):
        write_store(path, wrong, header=header(), splits=SPLITS)
    many = [Record("S1", 0, {"subject": 1}, (body(1),) * 3, 3)]
    with pytest.raises(ValueError, match="at most 2 bodies"):
        write_store(path, many, header=header(), splits=SPLITS)
    assert not list(tmp_path.iterdir())


def test_a_failure_leaves_the_old_store_and_no_other_file(path):
    before = path.read_bytes()

    def failing():
        yield records()[0]
        raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        write_store(path, failing(), header=header(), splits=SPLITS)
    assert [path] == list(path.parent.iterdir())
    assert before == path.read_bytes()


def test_the_same_records_make_the_same_bytes(path, tmp_path):
    write_store(tmp_path / "again.h5", records(), header=header(), splits=SPLITS)
    assert path.read_bytes() == (tmp_path / "again.h5").read_bytes()


def test_a_second_writer_is_kept_out(tmp_path):
    path = tmp_path / "store.h5"
    with (tmp_path / ".store.h5.rows").open("wb") as rows:
        fcntl.flock(rows, fcntl.LOCK_EX)
        with pytest.raises(ValueError, match="another process is writing it"):
            write_store(path, records(), header=header(), splits=SPLITS)


def write_and_hang(path, begun):
    def slow():
        yield records()[0]
        begun.set()
        time.sleep(60)

    write_store(path, slow(), header=header(), splits=SPLITS)


def test_two_writers_keep_apart_and_a_killed_one_leaves_no_store_and_blocks_nobody(tmp_path):
    path, processes = tmp_path / "store.h5", multiprocessing.get_context("fork")
    begun = processes.Event()
    writer = processes.Process(target=write_and_hang, args=(path, begun))
    writer.start()
    assert begun.wait(60)
    with pytest.raises(ValueError, match="another process is writing it"):
        write_store(path, records(), header=header(), splits=SPLITS)
    writer.kill()
    writer.join()
    assert not path.exists()
    write_store(path, records(), header=header(), splits=SPLITS)
    assert [path] == list(tmp_path.iterdir()), "what the killed one left is gone"


def test_memory_does_not_grow_with_the_store(tmp_path):
    def many():
        for index in range(400):
            yield Record(f"S{index:04d}", 0, {"subject": 1}, (body(300, 1.0),), 300)

    size = 400 * 300 * 25 * 3 * 4
    tracemalloc.start()
    write_store(tmp_path / "store.h5", many(), header=header(), splits=SPLITS)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (tmp_path / "store.h5").stat().st_size > size
    assert peak < 0.25 * size


def test_single_samples_are_read_faster_than_any_training_asks(tmp_path):
    count = 500
    samples = [
        Record(f"S{index:04d}", 0, {"subject": 1}, (body(75, 1.0),), 75) for index in range(count)
    ]
    write_store(tmp_path / "store.h5", samples, header=header(), splits=SPLITS)
    store, order = Store(tmp_path / "store.h5"), np.random.default_rng(0).permutation(count)
    begin = time.process_time()
    for position in order:
        store.padded(int(position))
    rate = count / (time.process_time() - begin)
    assert rate > 2000, "30,000/s on a quiet core; the goal is 10,000"


def test_the_store_is_much_smaller_than_padded_arrays(tmp_path):
    rng = np.random.default_rng(0)
    samples = [
        Record(f"S{index:04d}", 0, {"subject": 1}, tuple(body(n, 1.0) for n in lengths), lengths[0])
        for index, lengths in enumerate(
            (int(frames),) * (1 + (index % 5 == 0))  # two bodies in a fifth of the recordings
            for index, frames in enumerate(rng.integers(40, 140, 300))
        )
    ]
    path = tmp_path / "store.h5"
    write_store(path, samples, header=header(), splits=SPLITS)
    padded = len(samples) * 3 * 300 * 25 * 2 * 4
    assert path.stat().st_size < padded / 4.5


@pytest.mark.parametrize("room", [0, 3000, 9000])
def test_a_full_disk_is_one_line_that_names_the_store(tmp_path, room):
    path, limits = tmp_path / "s.h5", resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large") as refusal:
            write_tiny_store(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (refusal.value.errno, refusal.value.filename) == (errno.EFBIG, str(path))
    assert [*tmp_path.iterdir()] == []


def test_a_csv_of_drops_is_the_one_that_the_store_names(tmp_path):
    dropped = tmp_path / "s.dropped.csv"
    dropped.write_text("name,body,reason,detail\na,,unreadable,cut\n")
    write_store(
        tmp_path / "s.h5", [], header=header(dropped_digest=lambda: digest_of(dropped)), splits={}
    )
    store = Store(tmp_path / "s.h5")
    assert store.check_dropped(dropped)
    dropped.write_text("name,body,reason,detail\na,,unreadable,cut short\n")
    with pytest.raises(ValueError, match=r"s\.dropped\.csv: damaged, edited or another store's"):
        store.check_dropped(dropped)
