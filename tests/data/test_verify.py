"""Checks of raw data: what is there is told; what is changed, incomplete or damaged is refused."""

import json
from dataclasses import replace

import pytest

from dualhead.data.datasets import DATASETS
from dualhead.data.listing import fingerprint
from dualhead.data.verify import check_raw, verify
from tests.builders.nw_ucla import SETTINGS, names, prepare_part, write_raw, write_recording, zipped


@pytest.fixture
def raw(tmp_path):
    return write_raw(tmp_path / "all_sqe")


@pytest.fixture
def alone(monkeypatch):
    """Verify in this process; others take a second to begin."""
    monkeypatch.setattr("dualhead.data.verify.cores", lambda: 1)


def test_changed_raw_data_is_seen(raw, tmp_path):
    prepare_part(raw, tmp_path)
    store = tmp_path / "store.h5"
    assert "what" in check_raw(store, [raw]) and "\n" not in check_raw(store, [raw])
    assert check_raw(store, [zipped(raw)])
    write_recording(raw, names(1)[0], num_frames=9)
    with pytest.raises(ValueError, match=r"changed since .*store\.h5 was prepared") as error:
        check_raw(store, [raw])
    assert "raise datasets.<name>.release" in str(error.value)
    write_recording(raw, names(1)[0], num_frames=1)
    assert check_raw(store, [raw])
    (raw / f"{names(40)[3]}.json").unlink()
    with pytest.raises(ValueError, match="changed since"):
        check_raw(store, [raw])


def test_verify_tells_what_is_there(raw, monkeypatch):
    complete = replace(DATASETS["nw_ucla"], expected={"xview": (27, 13)})
    monkeypatch.setitem(DATASETS, "nw_ucla", complete)
    archive = zipped(raw)
    text = verify("nw_ucla", [archive], SETTINGS)
    assert f"{archive}: {archive.stat().st_size:,} bytes" in text
    assert "40 recordings of nw_ucla, every one readable" in text
    assert "xview: 27 training, 13 test (as published); no view in both" in text
    assert "frames: 120; 1 to 5 a recording, median 3" in text
    assert "bodies: recordings 40 with 1" in text
    assert "different values: 2 of subject, 1 of repetition, 3 of view" in text
    assert "classes: 10" in text
    assert "same content under another name: 0 recordings" in text
    assert "WARNING" not in text
    assert f"fingerprint: {fingerprint('nw_ucla', [raw])}" in text


def test_verify_refuses_what_is_incomplete_or_damaged(raw, alone, monkeypatch):
    with pytest.raises(ValueError, match="expected 1,020 training"):
        verify("nw_ucla", [raw], SETTINGS)
    complete = replace(DATASETS["nw_ucla"], expected={"xview": (27, 13)})
    monkeypatch.setitem(DATASETS, "nw_ucla", complete)
    (raw / f"{names(40)[8]}.json").write_text("")
    with pytest.raises(ValueError, match=f"1 of 40 recordings .*{names(40)[8]}: expected JSON"):
        verify("nw_ucla", [raw], SETTINGS)


def test_verify_refuses_a_recording_that_was_cut_short(raw, alone, monkeypatch):
    complete = replace(DATASETS["nw_ucla"], expected={"xview": (27, 13)})
    monkeypatch.setitem(DATASETS, "nw_ucla", complete)
    path = raw / f"{names(40)[5]}.json"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=f"1 of 40 recordings .*{names(40)[5]}: expected JSON"):
        verify("nw_ucla", [raw], SETTINGS)


def test_verify_names_a_test_recording_whose_content_is_in_training(raw, alone, monkeypatch):
    complete = replace(DATASETS["nw_ucla"], expected={"xview": (27, 13)})
    monkeypatch.setitem(DATASETS, "nw_ucla", complete)
    trained, tested = names(40)[1], names(40)[2]
    joints = json.loads((raw / f"{trained}.json").read_text())["skeletons"]
    own = json.loads((raw / f"{tested}.json").read_text())
    (raw / f"{tested}.json").write_text(json.dumps(own | {"skeletons": joints}))
    text = verify("nw_ucla", [raw], SETTINGS)
    assert "same content under another name: 2 recordings" in text
    copied = f"1 of 13 test samples have the content of a training one: {tested} = {trained}"
    assert f"WARNING: xview: {copied}" in text
