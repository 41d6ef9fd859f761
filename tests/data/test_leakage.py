"""A test sample in training is refused by name, whatever put it there."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dualhead.data.datasets import DATASETS
from dualhead.data.leakage import copies, copies_text, refuse_overlap, refuse_shared, same_content
from dualhead.data.records import Header, Record, write_store
from dualhead.data.store import Store
from dualhead.layout import LAYOUTS
from dualhead.runs.partition import check_store
from dualhead.settings.params import address
from dualhead.settings.run import RunConfig
from tests.builders.edits import edited_store, make_older
from tests.builders.tiny import tiny_config

ROWS = 12  # of joints a body


def ntu_store(path: Path, kind: str = "ntu120", count: int = 24, **changes: object) -> Path:
    """Write recordings of four setups, three cameras and six people with the dataset's splits."""
    dataset, rng = DATASETS[kind], np.random.default_rng(5)
    records = []
    for index in range(count):
        setup, camera, subject = index % 4 + 1, index % 3 + 1, index % 6 + 1
        name = f"S{setup:03d}C{camera:03d}P{subject:03d}R{index // 10 + 1:03d}A{index % 10 + 1:03d}"
        body = rng.normal(size=(ROWS, 25, 3)).astype(np.float32)
        meta = {"setup": setup, "camera": camera, "subject": subject, "replication": 1}
        records.append(Record(name, index % 10, meta, (body,), ROWS))
    header = Header(
        dataset=kind,
        layout=LAYOUTS["ntu25"],
        class_names=dataset.class_names,
        padding="loop",
        max_bodies=2,
        units="m",
        settings={"normalize": "rotate"},
        partial=True,
        fingerprint="f",
        counts=dict,
    )
    records.sort(key=lambda record: record.name)
    write_store(path, records, header=replace(header, **changes), splits=dataset.splits)
    return path


def plant(path: Path, split: str, name: str, part: int) -> None:
    """Put one sample into another part of a split, as somebody with an editor could."""
    with edited_store(path) as file:
        names = file["names"].asstr()[:].tolist()
        file[f"splits/{split}"][names.index(name)] = part


@pytest.mark.parametrize("kind", ["ntu60", "ntu120"])
def test_every_split_of_a_prepared_store_passes_until_one_sample_is_moved(kind, tmp_path):
    path = ntu_store(tmp_path / "store.h5", kind)
    with Store(path) as store:
        assert set(store.splits) == set(DATASETS[kind].splits)
        for split in store.splits:
            refuse_overlap(store, split)
        moved = {split: store.names[int(store.split(split)[1][0])] for split in store.splits}
    for split, name in moved.items():
        plant(path, split, name, 1)
        with Store(path) as store, pytest.raises(ValueError, match=rf"split {split}"):
            refuse_overlap(store, split)


@pytest.mark.parametrize(
    ("split", "column", "value"), [("xset", "setup", 3), ("xsub", "subject", 3)]
)
def test_a_test_sample_in_training_is_refused_by_what_both_share(tmp_path, split, column, value):
    path = ntu_store(tmp_path / "store.h5")
    with Store(path) as store:
        name = store.names[int(np.flatnonzero(store.meta[column] == value)[0])]
    plant(path, split, name, 1)
    with (
        Store(path) as store,
        pytest.raises(ValueError, match=rf"store\.h5: split {split}.*no {column} in both.*{value}"),
    ):
        refuse_overlap(store, split)


def test_a_whole_setup_in_training_is_refused_by_the_name_of_a_sample(tmp_path):
    path = ntu_store(tmp_path / "store.h5")
    with Store(path) as store:
        moved = [store.names[index] for index in np.flatnonzero(store.meta["setup"] == 3)]
    for name in moved:
        plant(path, "xset", name, 1)
    expected = rf"{len(moved)} test samples in training.*{moved[0]} should be in test, found in tr"
    with Store(path) as store, pytest.raises(ValueError, match=expected):
        refuse_overlap(store, "xset")


def test_testing_xset_on_the_xsub_samples_is_refused(tmp_path):
    """The authors' X-set configuration: it trains on X-set and tests on the files of X-sub."""
    path = ntu_store(tmp_path / "store.h5")
    with edited_store(path) as file:
        xset, xsub = file["splits/xset"][:], file["splits/xsub"][:]
        file["splits/xset"][:] = np.where(xsub == 0, 0, xset)
    with (
        Store(path) as store,
        pytest.raises(ValueError, match=r"split xset: expected no setup in both training and test"),
    ):
        refuse_overlap(store, "xset")


@pytest.mark.parametrize("kind", ["ntu60", "ntu120", "nw_ucla", "synthetic"])
def test_a_dataset_whose_own_split_overlaps_is_refused(kind):
    dataset = DATASETS[kind]
    meta = {
        column: np.tile(np.arange(1, 4), 4) if column == "view" else np.arange(12) % 4 + 1
        for column in dataset.meta_columns
    }
    refuse_shared(dataset, meta, "raw")
    wrong = {split: lambda columns: np.arange(12) % 2 > 0.5 for split in dataset.splits}
    meta = {column: np.ones(12, np.int64) for column in meta}
    with pytest.raises(ValueError, match=r"raw: split \w+: expected no \w+ in both"):
        refuse_shared(replace(dataset, splits=wrong), meta, "raw")


def ntu_config() -> RunConfig:
    changes = {"kind": "ntu120", "split": "xset", "store": "ntu120-0000000a"}
    return RunConfig.of(tiny_config() | changes)


def test_a_training_refuses_a_store_with_a_test_sample_in_training(tmp_path):
    path = ntu_store(tmp_path / "ntu120-0000000a.h5", address="ntu120-0000000a")
    with Store(path) as store:
        check_store(store, ntu_config())
        name = store.names[int(np.flatnonzero(store.meta["setup"] == 1)[0])]
    plant(path, "xset", name, 1)
    with Store(path) as store, pytest.raises(ValueError, match="no setup in both"):
        check_store(store, ntu_config())


def test_a_training_refuses_a_store_made_with_other_settings(tmp_path):
    other = f"ntu120-{address({'normalize': 'none'})}"
    path = ntu_store(tmp_path / "ntu120-0000000a.h5", address=other)
    expected = rf"other settings: expected ntu120-0000000a .* found {other} .*'normalize': 'rotate'"
    with Store(path) as store, pytest.raises(ValueError, match=expected):
        check_store(store, ntu_config())


def test_a_training_refuses_another_number_of_bodies(tmp_path):
    path = ntu_store(tmp_path / "mine.h5", max_bodies=1)
    with Store(path) as store, pytest.raises(ValueError, match=r"with 2 bodies, found .* with 1"):
        check_store(store, ntu_config())


def test_a_sample_id_that_stands_twice_is_refused(tmp_path):
    path = ntu_store(tmp_path / "store.h5")
    with edited_store(path) as file:
        first = file["names"].asstr()[0]
        file["names"][1] = first
    with pytest.raises(ValueError, match=rf"store\.h5: sample {first} is there twice"):
        Store(path)


def test_the_same_content_under_two_names_is_found_and_where_it_leaks(tmp_path):
    path = ntu_store(tmp_path / "store.h5")
    with Store(path) as store:
        assert same_content(store) == []
        train, test = store.split("xset")
        together = sorted([int(train[0]), int(test[0])])
    with edited_store(path) as file:
        rows = file["joints"]
        rows[together[1] * ROWS : (together[1] + 1) * ROWS] = rows[
            together[0] * ROWS : (together[0] + 1) * ROWS
        ]
    with Store(path) as store:
        groups = same_content(store)
        assert groups == [together]
        assert copies(groups, store.splits["xset"]) == {int(test[0]): int(train[0])}
        assert copies(groups, store.splits["xset"] * 0) == {}
        text = copies_text(store.names, copies(groups, store.splits["xset"]), len(test))
    assert text.startswith(f"1 of {len(test)} test samples have the content of a training one: ")
    assert text.endswith(f"{store.names[test[0]]} = {store.names[train[0]]}")


def test_recordings_without_anybody_are_not_each_others_copies(tmp_path):
    path = tmp_path / "store.h5"
    ntu_store(path)
    with edited_store(path) as file:
        file["body/length"][:2] = 0
    with Store(path) as store:
        assert same_content(store) == []


def test_older_stores_without_checksums_are_searched_too(tmp_path):
    path = ntu_store(tmp_path / "store.h5")
    with edited_store(path) as file:
        file["joints"][3 * ROWS : 4 * ROWS] = file["joints"][:ROWS]
        file["joints"][7 * ROWS : 8 * ROWS] = file["joints"][:ROWS]
    with Store(path) as store:
        assert same_content(store) == [[0, 3, 7]]
    make_older(path)
    with Store(path) as store:
        assert store.checksums is None
        assert same_content(store) == [[0, 3, 7]]


def test_only_samples_of_one_checksum_are_read(tmp_path, monkeypatch):
    path = ntu_store(tmp_path / "store.h5")
    with edited_store(path) as file:
        file["joints"][5 * ROWS : 6 * ROWS] = file["joints"][:ROWS]
    with Store(path) as store:
        read = []
        monkeypatch.setattr(Store, "bodies", lambda self, place: read.append(place) or [])
        same_content(store)
    assert read == [0, 5]


def test_equal_checksums_are_not_yet_equal_content(tmp_path):
    path = ntu_store(tmp_path / "store.h5")
    with Store(path) as store:
        store.checksums[:] = store.checksums[0]
        monkeyed = store._bodies
        store.bodies = monkeyed  # which compares no checksum
        assert same_content(store) == []
