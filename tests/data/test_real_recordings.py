"""From raw files to what a network is fed, on the authors' outputs and on real recordings."""

import numpy as np
import pytest

import dualhead
from dualhead.cli import main as cli
from dualhead.layout import LAYOUTS

DIFFERENT_ON_PURPOSE = {"S007C002P014R001A005", "S008C001P018R001A007", "S008C003P025R001A053"}


def prepare(dataset, raw, output, *options):
    arguments = ["prepare", "--dataset", dataset, "--raw", str(raw), "--output", str(output)]
    return cli.main([*arguments, *options])


def test_the_store_gives_the_authors_arrays_bit_by_bit(shared, tmp_path):
    assert prepare("ntu60", shared / "golden/ntu_raw", tmp_path / "s.h5", "--partial") == 0
    golden = np.load(shared / "golden/ntu_prepared.npz")
    layout = LAYOUTS["ntu25"]
    with dualhead.Store(tmp_path / "s.h5") as store:
        assert sorted(golden["names"].tolist()) == store.names
        for position, name in enumerate(golden["names"].tolist()):
            if name in DIFFERENT_ON_PURPOSE:
                continue
            joints = store.padded(name, num_frames=300)
            for modality, function in dualhead.modalities.MODALITIES.items():
                found = function(joints, layout)
                np.testing.assert_array_equal(golden[modality][position], found, err_msg=name)


@pytest.mark.parametrize(
    ("dataset", "raw", "count"),
    [("ntu60", "data/ntu_raw", 8), ("ntu120", "data/ntu_raw", 8), ("kinetics", "data/kinetics", 2)],
)
def test_real_recordings_become_finite_samples(shared, tmp_path, dataset, raw, count):
    assert prepare(dataset, shared / raw, tmp_path / "s.h5", "--partial") == 0
    with dualhead.Store(tmp_path / "s.h5") as store:
        assert count == len(store.names)
        for name in store.names:
            joints = store.padded(name)
            assert (3, 300, store.layout.num_joints, 2) == joints.shape
            assert np.isfinite(joints).all()
            assert joints.any()


def test_a_complete_ntu_is_told_by_its_counts(shared, tmp_path, capsys):
    assert prepare("ntu60", shared / "data/ntu_raw", tmp_path / "s.h5") == 1
    assert "expected 40,091 training and 16,487 test recordings" in capsys.readouterr().err
    assert not (tmp_path / "s.h5").exists()


@pytest.mark.parametrize(
    ("dataset", "raw", "layout", "classes"),
    [("ntu60", "data/ntu_raw", "ntu25", 60), ("kinetics", "data/kinetics", "openpose18", 400)],
)
@pytest.mark.workflow  # networks of full size
@pytest.mark.parametrize("model", ["dualhead", "ms_g3d"])
def test_a_converted_checkpoint_scores_real_recordings(
    shared, tmp_path, dataset, raw, layout, classes, model
):
    import torch

    from tests.reference.published import published_network

    prepare(dataset, shared / raw, tmp_path / "s.h5", "--partial")
    weights = tmp_path / "published.pt"
    torch.save(published_network(model, layout, classes).state_dict(), weights)
    convert = ["convert-weights", str(weights), "--model", model, "--layout", layout]
    output = ["--output", str(tmp_path / "checkpoint.pt")]
    assert cli.main([*convert, "--classes", str(classes), *output]) == 0
    paths = {"checkpoint": "checkpoint.pt", "store": "s.h5", "output": "predictions.csv"}
    options = [word for key, name in paths.items() for word in (f"--{key}", str(tmp_path / name))]
    assert cli.main(["predict", *options]) == 0
    with dualhead.Store(tmp_path / "s.h5") as store:
        rows = (tmp_path / "predictions.csv").read_text().splitlines()
        assert len(store.names) + 1 == len(rows)


def test_line_ends_of_windows_change_nothing(shared, tmp_path):
    files = (path.read_bytes() for path in sorted((shared / "data").rglob("*.skeleton")))
    text = next(content for content in files if content.split(None, 1)[0] == b"103")
    text = text.replace(b"\r\n", b"\n")
    stores = []
    for ends in (b"\n", b"\r\n"):
        raw = tmp_path / f"raw{len(ends)}"
        raw.mkdir()
        (raw / "S001C002P001R001A001.skeleton").write_bytes(text.replace(b"\n", ends))
        assert prepare("ntu60", raw, tmp_path / f"{raw.name}.h5", "--partial") == 0
        with dualhead.Store(tmp_path / f"{raw.name}.h5") as store:
            assert store.names == ["S001C002P001R001A001"]
            stores.append(store.bodies(0))
    assert [body.shape for body in stores[0]] == [(103, 25, 3)]
    np.testing.assert_array_equal(stores[0], stores[1])
