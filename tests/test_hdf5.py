"""HDF5 files: one without a seal is tried in another process before it is read."""

import os

import h5py
import pytest

from dualhead import hdf5


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "old.h5"
    with h5py.File(path, "w") as file:
        file["names"] = ["a", "b"]
    return path


@pytest.mark.parametrize(
    ("reading", "fault"),
    [
        ("while True: pass", "HDF5 does not get through within 1 s"),
        ("import os; os.abort()", "ends HDF5 with signal 6"),
    ],
)
def test_a_file_that_hdf5_loops_on_or_dies_of_is_refused(path, monkeypatch, reading, fault):
    monkeypatch.setattr(hdf5, "TRIAL", reading)
    monkeypatch.setattr(hdf5, "TRIAL_SECONDS", 1.0)
    with pytest.raises(ValueError, match=rf"old\.h5: damaged: expected a store .*{fault}\. Away"):
        hdf5.try_unsealed(path, "a store", "Away with it.")


def test_other_files_are_left_to_their_reader_and_tried_once(path, monkeypatch):
    hdf5.try_unsealed(path, "a store", "")
    monkeypatch.setattr(hdf5, "TRIAL", "import os; os.abort()")
    hdf5.try_unsealed(path, "a store", "")
    os.utime(path, (1, 1))
    with pytest.raises(ValueError, match="signal 6"):
        hdf5.try_unsealed(path, "a store", "")
    path.write_bytes(path.read_bytes()[:200])
    monkeypatch.undo()
    hdf5.try_unsealed(path, "a store", "")
