"""Datasets: one object each in one list; what the rest of the package asks of it is there."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from dualhead.cli import main as cli
from dualhead.data.dataset import Dataset, Prepared, RawSample
from dualhead.data.datasets import DATASETS
from dualhead.data.pool import cores
from dualhead.data.store import Store
from dualhead.layout import LAYOUTS, load_layout

STICK = "name: stick\njoints: {hip: hip, head: hip}\ncenter: hip\nnum_coordinates: 2\n"


def list_dances(raw):
    """List `SUBJECT_LABEL.json` in folders."""
    samples = []
    for path in sorted(path for folder in raw for path in folder.glob("*.json")):
        subject, label = map(int, path.stem.split("_"))
        size = path.stat().st_size
        samples.append(RawSample(path.stem, label, {"subject": subject}, path, None, size))
    return samples, []


def prepare_dance(content, sample, settings):
    """Keep the joints, times the number of bodies, to show the settings."""
    joints = np.array(json.loads(content), np.float32) * settings["max_bodies"]
    return Prepared((joints,), len(joints), ())


def by_parity(meta):
    return (meta["subject"] % 2).astype(np.int8)


@pytest.fixture
def dance(tmp_path, monkeypatch):
    """Register a dataset with a skeleton of its own, as a new module and one line would."""
    (tmp_path / "stick.yaml").write_text(STICK)
    dataset = Dataset(
        kind="dance",
        layout=str(tmp_path / "stick.yaml"),
        class_names=("waltz", "tango"),
        padding="zero",
        units="pixels",
        meta_columns=("subject",),
        list_samples=list_dances,
        prepare_sample=prepare_dance,
        splits={"parity": by_parity},
        apart={"parity": "subject"},
        prepare={"normalize": "none", "max_bodies": 3},
        where="Dance: ask your neighbor. Put it at data/raw/dance.",
    )
    monkeypatch.setitem(DATASETS, "dance", dataset)
    return dataset


def test_a_new_dataset_is_prepared_by_the_command_line(dance, tmp_path, monkeypatch, capsys):
    raw = tmp_path / "dance"
    raw.mkdir()
    for name in ("1_0", "2_0", "3_1", "4_1"):
        (raw / f"{name}.json").write_text("[[[1, 2], [3, 4]], [[5, 6], [7, 8]]]")
    command = ["--dataset", "dance", "--raw", str(raw)]
    output = tmp_path / "dance.h5"
    assert cli.main(["prepare", *command, "--output", str(output), "--workers", "1"]) == 0
    assert cli.main(["verify", *command, "--store", str(output)]) == 0
    monkeypatch.chdir(raw)
    (tmp_path / "stick.yaml").unlink()
    with Store(output) as store:  # its skeleton comes with it
        assert (store.layout.name, store.layout.joints) == ("stick", ("hip", "head"))
        assert [positions.tolist() for positions in store.split("parity")] == [[0, 2], [1, 3]]
        assert store.bodies(0)[0].tolist() == [[[3, 6], [9, 12]], [[15, 18], [21, 24]]]
        assert (store.class_names, store.attributes["units"]) == (["waltz", "tango"], "pixels")
        settings = store.attributes["settings"]
        assert (settings["normalize"], settings["max_bodies"]) == ("none", 3)
    capsys.readouterr()


def test_where_to_get_a_new_dataset_is_said_by_the_command_line(dance, tmp_path, capsys):
    raw, output = str(tmp_path / "nowhere"), str(tmp_path / "s.h5")
    assert cli.main(["prepare", "--dataset", "dance", "--raw", raw, "--output", output]) == 1
    assert "no such file or folder. Dance: ask your neighbor" in capsys.readouterr().err
    assert cli.main(["download", "--dataset", "dance", "--output", "/scratch"]) == 0
    assert capsys.readouterr().out == "Dance: ask your neighbor. Put it at /scratch/dance.\n"


def test_an_unknown_dataset_is_refused_with_the_known_ones(capsys):
    with pytest.raises(SystemExit):
        cli.main(["download", "--dataset", "dance", "--output", "raw"])
    assert ", ".join(map(repr, DATASETS)) in capsys.readouterr().err


@pytest.mark.parametrize("kind", DATASETS)
def test_a_dataset_agrees_with_itself(kind):
    dataset = DATASETS[kind]
    assert dataset.kind == kind
    assert load_layout(dataset.layout) is LAYOUTS[dataset.layout]
    assert set(dataset.expected) <= set(dataset.splits)
    assert set(dataset.apart) <= set(dataset.splits)
    assert set(dataset.apart.values()) <= set(dataset.meta_columns)
    assert len(set(dataset.class_names)) == len(dataset.class_names)
    assert dataset.padding in ("loop", "zero")
    assert "nothing to download" in dataset.where or "data/raw/" in dataset.where


def test_kinds_and_splits_are_known_without_torch_and_hdf5():
    code = (
        "import sys; from dualhead.data.datasets import DATASETS; "
        "print(sorted(DATASETS), {'torch', 'h5py'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == f"{sorted(DATASETS)} set()\n"


def test_cores_are_counted_where_the_system_knows_no_affinity(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)  # as on macOS
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert cores() == 6
