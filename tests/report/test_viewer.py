"""The page of recordings: what stands in it, and that it is the same as in results and recordings."""

import base64
import hashlib
import json
import re

import numpy as np
import pytest

from dualhead.cli import main as cli
from dualhead.data.store import Store
from dualhead.layout import LAYOUTS
from dualhead.report.skeletons import stand
from dualhead.report.viewer import page_text, write_page
from dualhead.report.viewer.content import (
    SHARE,
    UNSEEN,
    Network,
    Page,
    Recording,
    Seen,
    as_json,
    by_rounds,
    packed_joints,
)
from dualhead.report.viewer.of_networks import Wanted, page_of_recordings
from dualhead.report.viewer.of_results import page_of, page_of_workspace, scored_in
from dualhead.runs.answers import Output
from dualhead.runs.predict import predict
from dualhead.runs.recordings import Windows
from dualhead.runs.scores import read_attention, read_scores, softmax
from dualhead.settings.params import dump
from tests.builders.checkpoints import PREPARATION, write_checkpoint
from tests.builders.fake_results import build, synthetic_params
from tests.builders.tiny import write_tiny_store

KINDS = {"labels": "<i2", "best": "<u2", "shares": "<u2", "joints": "<i2", "right": "u1"}


def unpacked(text, kind):
    return np.frombuffer(base64.b64decode(text), kind)


def content_of(html):
    found = re.search(r'<script type="application/json" id="content">(.*?)</script>', html)
    return json.loads(found[1])


@pytest.fixture(scope="module")
def fake(tmp_path_factory):
    return build(
        tmp_path_factory.mktemp("workspace"), synthetic_params(protocol="authors"), num_test=60
    )


@pytest.fixture(scope="module")
def page(fake):
    return page_of_workspace(fake.grid, fake.results, fake.stores, title="demo", count=10)


@pytest.fixture(scope="module")
def runs(fake):
    """The folders of the variant's and of the baseline's run."""
    found = {
        run.split("/")[1]: fake.results / "runs" / run
        for run in fake.grid["runs"]
        if "/joint/" in run
    }
    return [found["dualhead"], found["ms_g3d"]]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A store, raw recordings, and two checkpoints whose networks take both."""
    folder = tmp_path_factory.mktemp("trained")
    write_tiny_store(folder / "store.h5", settings=PREPARATION)
    rng = np.random.default_rng(4)
    for name in ("sit", "walk"):
        np.save(folder / f"{name}.npy", rng.normal(1, 0.3, (21, 20, 3)))
    write_checkpoint(folder / "joint.pt")
    write_checkpoint(folder / "plain.pt", model="ms_g3d", modality="bone", seed=2)
    return folder


def shown(trained, *sources, checkpoints=("joint.pt", "plain.pt"), **wanted):
    return page_of_recordings(
        [trained / name for name in sources],
        [trained / name for name in checkpoints],
        Wanted(**wanted),
        title="page",
        device="cpu",
        recordings={"unit": "m", "layout": "kinect20"} if sources[0] != "store.h5" else {},
    )


def test_scores_of_every_head_are_those_of_the_score_file(page, runs):
    recording = page.recordings[0]
    for run, seen in zip(runs, recording.seen, strict=True):
        for head, values in seen.heads.items():
            table = read_scores(run / "scores.h5", "last", head, "logits")  # the fusion that counts
            own = softmax(table.values[table.names.index(recording.name)])
            assert values == pytest.approx(own, abs=1e-6)
    assert [*page.recordings[0].seen[0].heads] == ["fusion", "coarse", "fine"]
    assert [*page.recordings[0].seen[1].heads] == ["fusion"]


def test_best_classes_rights_and_accuracies_are_those_of_the_metrics(page, runs):
    content = as_json(page)
    labels = unpacked(content["labels"], "<i2")
    for run, network in zip(runs, content["networks"], strict=True):
        stated = json.loads((run / "metrics.json").read_text())["last"]["fusion"]["logits"]
        assert network["accuracy"]["top1"] == pytest.approx(stated["top1"])
        right = unpacked(network["right"], "u1")
        assert 100 * right.mean() == pytest.approx(stated["top1"])
        assert (right == (unpacked(network["best"], "<u2") == labels)).all()


def test_attention_is_that_of_the_score_file(page, runs):
    attention = read_attention(runs[0] / "scores.h5")
    having = [one for one in page.recordings if one.seen[0].attention]
    assert having and all(one.seen[1].attention is None for one in page.recordings)
    for one in having:
        place = attention.names.index(one.name)
        for name, values in one.seen[0].attention.maps.items():
            assert (values[0] == attention.maps[name][place]).all()


def test_recordings_with_skeletons_show_every_class_and_mistake_by_turns(page):
    labels = dict(zip(page.names, page.labels.tolist(), strict=True))
    best = dict(zip(page.names, page.networks[0].values.argmax(axis=1).tolist(), strict=True))
    kinds = [(labels[one.name], best[one.name]) for one in page.recordings]
    mistakes = {(labels[name], best[name]) for name in page.names if labels[name] != best[name]}
    assert len(mistakes) > 1 and mistakes < set(kinds)
    right = [label == guess for label, guess in kinds]
    assert right[:4] == [True, False, True, False]
    assert {label for label, guess in kinds if label == guess} == set(range(6))
    assert by_rounds([5, 6, 7, 8], ["a", "a", "b", "a"]) == [5, 7, 6, 8]


def test_joints_are_exact_to_a_16_bit_step_and_absent_bodies_unseen(fake, page):
    with Store(next(fake.stores.glob("*.h5"))) as store:
        one = page.recordings[0]
        joints = store.padded(one.name, one.joints.shape[1])
    packed, step = packed_joints(joints, LAYOUTS["ntu25"])
    placed = stand(joints, LAYOUTS["ntu25"])
    own = placed[..., 0].reshape(3, -1)
    middle = (own.min(axis=1) + own.max(axis=1)) / 2
    found = np.moveaxis(packed[:, 0] * step + middle, -1, 0)
    assert np.abs(found - placed[..., 0]).max() <= 0.51 * step < 1e-4
    assert (packed[:, 1] == UNSEEN).all()


@pytest.mark.parametrize("name", ["ntu25", "kinect20", "azure32", "smpl24"])
def test_a_person_stands_upright_and_faces_the_viewer(name):
    layout = LAYOUTS[name]
    joints = np.zeros((3, 2, layout.num_joints, 1), np.float32)
    for axes in ([0, 1, 2], [2, 0, 1], [1, 2, 0]):  # turns, never mirrored
        joints[axes[1], :, layout.rotate_z[1]] = 0.5  # the spine points along the second
        joints[axes[0], :, layout.rotate_x[1]] += 0.3  # the right shoulder lies along the first
        found = stand(joints, layout)
        assert found[1, 0, layout.rotate_z[1], 0] == pytest.approx(0.5)
        assert found[0, 0, layout.rotate_x[1], 0] == pytest.approx(-0.3)  # to the viewer's left
        joints[:] = 0


def test_a_picture_points_down_and_has_no_depth(rng):
    joints = rng.random((3, 4, 18, 1)).astype(np.float32)
    joints[2, :, 5] = 0
    found = stand(joints, LAYOUTS["openpose18"])
    assert (found[0] == joints[0]).all() and (found[1] == -joints[1]).all() and not found[2].any()
    packed, _ = packed_joints(joints, LAYOUTS["openpose18"])
    assert (packed[:, :, 5] == UNSEEN).all() and (packed[:, :, 4] != UNSEEN).all()


def hostile_page():
    bad = '</script><img src=x onerror="alert(1)">\u2028&<!--'
    joints = np.ones((3, 2, 20, 1), np.float32)
    scores = np.array([[0.2, 0.8]], np.float32)
    recording = Recording(bad, joints, 2, [Seen({"fusion": scores[0]})])
    return Page(
        bad, [(bad, bad)], LAYOUTS["kinect20"], (bad, "b"), [Network(bad, scores)],
        (bad,), np.zeros(1, np.int64), [recording], bad,
    ), bad  # fmt: skip


def test_foreign_names_are_text_and_nothing_else():
    page, bad = hostile_page()
    html = page_text(page)
    assert "<img" not in html and html.count("</script>") == 2 and "\u2028" not in html
    content = content_of(html)
    assert content["title"] == content["names"][0] == content["recordings"][0]["name"] == bad
    assert unpacked(content["networks"][0]["shares"], "<u2")[0] == round(0.8 * SHARE)


def test_the_policy_lets_this_style_and_script_run_and_no_other():
    html = page_text(hostile_page()[0])
    for part in ("style", "script"):
        source = re.search(rf"<{part}>(.*?)</{part}>", html, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
        assert f"{part}-src 'sha256-{digest}'" in html
    assert "default-src 'none'" in html and "unsafe" not in html
    assert not re.findall(r"""(?:src|href)=["'](?!#|data:,)""", html)


def test_bodies_that_are_never_there_take_no_room(page):
    content = as_json(page)
    sizes = [len(unpacked(one["joints"], "<i2")) for one in content["recordings"]]
    expected = [one.joints.shape[1] * 25 * 3 for one in page.recordings]
    assert [one["bodies"] for one in content["recordings"]] == [1] * len(sizes)
    assert sizes == expected


def test_the_same_content_gives_the_same_bytes(page, tmp_path):
    write_page(page, tmp_path / "a.html")
    write_page(page, tmp_path / "b.html")
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_networks_are_asked_as_predict_asks_them(trained, tmp_path):
    page = shown(trained, "sit.npy", "walk.npy", windows=Windows(8, 4))
    for place, name in enumerate(("joint.pt", "plain.pt")):
        for windows, values in (
            (Windows(0, 1), [one.seen[place].heads["fusion"] for one in page.recordings]),
            (
                Windows(8, 4),
                [*np.concatenate([one.seen[place].windows.values for one in page.recordings])],
            ),
        ):
            predict(
                [trained / name],
                [trained / "sit.npy", trained / "walk.npy"],
                Output(tmp_path / "p.jsonl", is_json=True),
                device="cpu",
                recordings={"unit": "m", "layout": "kinect20"},
                windows=windows,
            )
            rows = [json.loads(line) for line in (tmp_path / "p.jsonl").open()]
            assert [row["probability"] for row in rows] == [
                round(float(it.max()), 4) for it in values
            ]
    assert page.recordings[0].seen[0].windows.bounds == [
        (0, 7),
        (4, 11),
        (8, 15),
        (12, 19),
        (13, 20),
    ]
    assert page.recordings[0].seen[0].attention is not None
    assert page.recordings[0].seen[1].attention is None


def test_a_run_may_be_named_by_its_metrics_and_a_store_by_its_option(runs, trained, tmp_path):
    page = str(tmp_path / "x.html")
    assert cli.main(["view", str(runs[0] / "metrics.json"), "--output", page]) == 0
    words = [str(trained / "joint.pt"), "--store", str(trained / "store.h5"), "--recordings", "2"]
    assert cli.main(["view", *words, "--device", "cpu", "--output", page]) == 0
    assert len(content_of((tmp_path / "x.html").read_text())["recordings"]) == 2


def test_a_store_alone_shows_skeletons_and_with_networks_their_scores(trained):
    alone = shown(trained, "store.h5", checkpoints=(), number=6)
    assert (len(alone.recordings), alone.networks, set(alone.labels)) == (6, [], {0, 1, 2})
    both = shown(trained, "store.h5", split="thirds", number=4)
    assert len(both.networks) == 2 and both.networks[0].values.shape == (4, 3)
    chosen = shown(trained, "store.h5", names=("S0005", "S0002"))
    assert [one.name for one in chosen.recordings] == ["S0005", "S0002"]


def test_a_runs_folder_is_shown_with_the_fusion_that_counts(runs, fake):
    scored = [scored_in(run) for run in runs]
    assert [one.result.fusion for one in scored] == ["logits", "logits"]
    store = fake.stores / f"{scored[0].store}.h5"
    page = page_of(scored, store, title="both", names=["S00003A004"], count=3)
    assert [one.name for one in page.recordings] == ["S00003A004"]
    (fake.results / "grid.json").rename(fake.results / "aside.json")
    try:
        assert (scored_in(runs[0]).result.fusion, scored_in(runs[0]).store) == ("softmax", "")
        (runs[0] / "config.yaml").write_text(dump(fake.grid["runs"]["/".join(runs[0].parts[-4:])]))
        assert scored_in(runs[0]).store == scored[0].store
    finally:
        (fake.results / "aside.json").rename(fake.results / "grid.json")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["{run}", "{trained}/sit.npy"], "expected folders of runs alone"),
        (["{trained}/joint.pt"], "expected a store or recordings"),
        (["{trained}/store.h5", "--window", "8"], "--window cuts raw recordings"),
        (["{trained}/store.h5", "{trained}/sit.npy"], "expected one store alone"),
        (["{trained}/store.h5", "--name", "nobody"], "--name nobody: expected one of 24"),
        (["{trained}/store.h5", "--stride", "8"], "--stride: expected --window"),
        (["{run}", "--window", "8"], "go with a checkpoint"),
        (["{run}", "--name", "nobody"], "nobody"),
        (["{run}", "--store", "{trained}/store.h5"], "give the store that it was trained on"),
        (["{trained}/nothing.npy"], "no such file"),
    ],
)
def test_a_refusal_is_one_line(words, told, runs, trained, tmp_path, capsys):
    filled = [word.format(run=runs[0], trained=trained) for word in words]
    assert cli.main(["view", *filled, "--output", str(tmp_path / "x.html")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("dualhead view: ") and told in line
    assert not (tmp_path / "x.html").exists()
