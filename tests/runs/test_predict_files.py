"""Predictions straight from recordings: whole, cut into windows, frame by frame, by several networks."""

import csv
import json
from itertools import pairwise

import numpy as np
import pytest
import torch

from dualhead.cli import main as cli
from dualhead.data.store import Store
from dualhead.layout import LAYOUTS
from dualhead.models.checkpoint import load_checkpoint, save_checkpoint
from dualhead.runs import predict as predict_module
from dualhead.runs.answers import Output
from dualhead.runs.partition import check_store
from dualhead.runs.predict import predict, predict_frames
from dualhead.runs.recordings import Windows, follow, source_for, window_starts
from dualhead.settings.run import RunConfig
from tests.builders.forms import EXAMPLES
from tests.builders.tiny import load_tiny, tiny_config, train_tiny, write_tiny_store

PREPARED = {"recipe": 1, "denoise": "energy", "normalize": "first_frame", "max_bodies": 2}
WINDOWS = Windows(8, 3)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    write_tiny_store(folder / "store.h5", settings=PREPARED)
    train_tiny(folder, tiny_config(epochs=1))
    return folder / "checkpoint.pt"


@pytest.fixture(autouse=True)
def tiny_networks(monkeypatch):
    monkeypatch.setattr(predict_module, "load", load_tiny)


def changed(checkpoint, path, change):
    """Write a checkpoint with other weights or facts."""
    content = load_checkpoint(checkpoint)
    change(content)
    keys = ("config", "class_names", "preparation", "selections", "training")
    facts = {key: content[key] for key in keys}
    save_checkpoint(path, layout=LAYOUTS["kinect20"], **facts)
    return path


def frames_of(joints):
    """Return lines of JSON, a frame each, of joints (T, 20, 3)."""
    frames = [{"bodies": [{"trackingId": 5, "joints": one.tolist()}]} for one in joints]
    return [json.dumps(frame) for frame in frames]


def answers(checkpoints, sources, path, **options):
    output = Output(path, is_json=False)
    predict(checkpoints, sources, output, device="cpu", **{"recordings": {"unit": "m"}, **options})
    with path.open(newline="") as text:
        return list(csv.DictReader(text))


def test_a_file_is_answered_for_as_the_store_it_is_prepared_to(checkpoint, tmp_path, rng):
    for name in ("sit", "walk"):
        np.save(tmp_path / f"{name}.npy", rng.normal(1, 0.3, (9, 20, 3)))
    files = [tmp_path / "sit.npy", tmp_path / "walk.npy"]
    words = ["prepare", "--dataset", "skeletons", "--raw", *files, "--output", tmp_path / "s.h5"]
    words += ["--unit", "m", "--normalize", "first_frame", "--workers", 1]
    assert cli.main([str(word) for word in words]) == 0
    straight = answers([checkpoint], files, tmp_path / "files.csv")
    assert straight == answers([checkpoint], [tmp_path / "s.h5"], tmp_path / "store.csv")
    assert [row["name"] for row in straight] == ["sit", "walk"]


def test_windows_cover_a_recording_and_end_with_it():
    assert window_starts(20, WINDOWS) == [(0, 7), (3, 10), (6, 13), (9, 16), (12, 19)]
    assert window_starts(21, WINDOWS)[-2:] == [(12, 19), (13, 20)]
    assert window_starts(8, WINDOWS) == window_starts(8, Windows(0, 1)) == [(0, 7)]
    assert window_starts(5, WINDOWS) == [(0, 4)]


def test_a_window_is_answered_for_as_a_recording_of_its_frames(checkpoint, tmp_path, rng):
    joints = rng.normal(1, 0.3, (13, 20, 3))
    np.save(tmp_path / "long.npy", joints)
    segments = tmp_path / "segments.csv"
    options = {"windows": WINDOWS, "segments": segments}
    rows = answers([checkpoint], [tmp_path / "long.npy"], tmp_path / "w.csv", **options)
    bounds = [(int(row["first_frame"]), int(row["last_frame"])) for row in rows]
    assert bounds == [(0, 7), (3, 10), (5, 12)]
    for row, (first, last) in zip(rows, bounds, strict=True):
        np.save(tmp_path / "piece.npy", joints[first : last + 1])
        (alone,) = answers([checkpoint], [tmp_path / "piece.npy"], tmp_path / "p.csv")
        assert row["top5"] == alone["top5"]
    merged = list(csv.DictReader(segments.open(newline="")))
    assert (merged[0]["first_frame"], merged[-1]["last_frame"]) == ("0", "12")
    changes = sum(a["predicted"] != b["predicted"] for a, b in pairwise(rows))
    assert len(merged) == 1 + changes


@pytest.mark.parametrize("count", [5, 8, 11, 13])
def test_frames_that_come_in_are_answered_for_as_those_of_the_file(
    checkpoint, tmp_path, rng, count
):
    path = tmp_path / "live.jsonl"
    path.write_text("\n".join(frames_of(rng.normal(1, 0.3, (count, 20, 3)))) + "\n")
    whole = tmp_path / "whole.csv"
    answers([checkpoint], [path], whole, windows=WINDOWS)
    live = Output(tmp_path / "live.csv", is_json=False)
    known = {"device": "cpu", "recordings": {}, "windows": WINDOWS, "idle": 0.1}
    predict_frames([checkpoint], path, live, **known)
    assert live.path.read_text() == whole.read_text()


@pytest.mark.parametrize("name", ["ntu", "azure_kinect", "bvh", "trc"])
def test_a_whole_recording_is_no_stream_of_frames(name):
    preparation = {"denoise": "energy", "normalize": "none", "max_bodies": 1}
    source = source_for(LAYOUTS["ntu25"], preparation, {}, WINDOWS)
    with pytest.raises(ValueError, match=rf"^{name}: expected a frame a line .* without --follow"):
        list(follow(iter(EXAMPLES[name].decode().splitlines()), name, source))


def test_an_answer_is_there_as_soon_as_its_last_frame(checkpoint, tmp_path, rng, monkeypatch):
    lines = frames_of(rng.normal(1, 0.3, (11, 20, 3)))
    output = Output(tmp_path / "live.csv", is_json=True)
    seen = []

    def come_in(stream):
        for line in lines:
            yield line + "\n"
            seen.append(len(output.path.read_text().splitlines()))

    monkeypatch.setattr(predict_module, "lines_of", come_in)
    known = {"device": "cpu", "recordings": {}, "windows": WINDOWS, "idle": 0}
    predict_frames([checkpoint], None, output, **known)
    assert seen == [0] * 7 + [1] * 3 + [2]


def test_several_networks_answer_with_the_mean_of_their_scores(checkpoint, tmp_path, rng):
    def turn(content):
        content["config"]["modality"] = "bone"

    bone = changed(checkpoint, tmp_path / "bone.pt", turn)
    np.save(tmp_path / "sit.npy", rng.normal(1, 0.3, (9, 20, 3)))

    def scores(*checkpoints):
        (row,) = answers(checkpoints, [tmp_path / "sit.npy"], tmp_path / "p.csv")
        pairs = (pair.split(":") for pair in row["top5"].split())
        return dict(sorted((int(k), float(value)) for k, value in pairs))

    one, other, both = scores(checkpoint), scores(bone), scores(checkpoint, bone)
    assert one != other
    for k in both:
        assert both[k] == pytest.approx((one[k] + other[k]) / 2, abs=2e-4)


def test_networks_of_other_preparation_do_not_answer_together(checkpoint, tmp_path):
    other = changed(
        checkpoint, tmp_path / "o.pt", lambda content: content["preparation"].update(recipe=2)
    )
    with pytest.raises(ValueError, match="their preparation differ"):
        answers([checkpoint, other], [tmp_path / "sit.npy"], tmp_path / "p.csv")


def test_scores_that_are_no_numbers_are_refused(checkpoint, tmp_path, rng):
    def spoil(content):
        content["selections"]["last"]["model"]["coarse.bias"].fill_(torch.nan)

    bad = changed(checkpoint, tmp_path / "bad.pt", spoil)
    np.save(tmp_path / "sit.npy", rng.normal(1, 0.3, (9, 20, 3)))
    with pytest.raises(ValueError, match=r"sit: the network's scores of it are no numbers"):
        answers([bad], [tmp_path / "sit.npy"], tmp_path / "p.csv")
    assert not (tmp_path / "p.csv").exists()


def test_accuracies_of_a_labelled_store_are_one_command(checkpoint, tmp_path):
    store = write_tiny_store(tmp_path / "new.h5", seed=9, settings=PREPARED)
    rows = answers([checkpoint], [store], tmp_path / "p.csv", metrics=tmp_path / "m.json")
    right = 100 * np.mean([row["label"] == row["predicted"] for row in rows])
    found = json.loads((tmp_path / "m.json").read_text())
    assert found["last"]["fusion"]["softmax"]["top1"] == pytest.approx(right)
    with Store(store) as opened:
        test = [opened.names[i] for i in opened.split("thirds")[1]]
    part = answers([checkpoint], [store], tmp_path / "p.csv", split="thirds")
    assert [row["name"] for row in part] == test


def test_a_recording_where_a_store_is_wanted_is_to_be_prepared_and_never_removed(tmp_path):
    (tmp_path / "walk.skeleton").write_text("1\n0\n")
    with pytest.raises(ValueError, match="prepare it first") as refusal:
        Store(tmp_path / "walk.skeleton")
    assert "emove" not in str(refusal.value)


def test_training_refuses_samples_without_a_label_in_one_line(tmp_path):
    config = RunConfig.of(tiny_config() | {"store": "synthetic-00000000"})
    store = write_tiny_store(tmp_path / "store.h5", labeled=False)
    with Store(store) as opened, pytest.raises(ValueError, match=r"24 of 24 samples .* no label"):
        check_store(opened, config)


def test_json_lines_go_to_standard_output(checkpoint, tmp_path, capsys, rng):
    np.save(tmp_path / "sit.npy", rng.normal(1, 0.3, (9, 20, 3)))
    words = ["predict", checkpoint, tmp_path / "sit.npy", "--unit", "m", "--output", "-", "--json"]
    assert cli.main([*map(str, words), "--device", "cpu"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert (row["name"], row["label"], len(row["top5"])) == ("sit", None, 3)
    assert row["predicted"] == row["top5"][0]["class"] in (1, 2, 3)


def test_what_is_odd_in_a_recording_is_said_and_names_stay_apart(checkpoint, tmp_path, rng, capsys):
    body = rng.normal(1, 0.3, (4, 20, 3))
    body[1, 2, 0] = np.nan
    np.save(tmp_path / "walk.npy", body)
    (tmp_path / "walk.jsonl").write_text('{"bodies": []}\n{"bodies": []}\n')
    rows = answers([checkpoint], [tmp_path], tmp_path / "out" / "p.csv")
    assert [row["name"] for row in rows] == ["walk.jsonl", "walk.npy"]
    said = capsys.readouterr().err
    assert "no_body: 1 noted; the first: walk: no frame holds a body" in said
    assert "not_finite: 1 noted; the first: walk: 1 joints" in said
