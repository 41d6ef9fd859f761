"""Every number that a figure draws, read back from the figure and compared with the files it shows."""

import csv
import json
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.collections import PathCollection, QuadMesh
from matplotlib.text import Text

from dualhead.data.store import Store
from dualhead.report.figures import FIGURES, figure
from dualhead.report.results import Cell, addresses
from dualhead.runs.scores import read_attention, read_scores
from tests.builders import fake_results
from tests.builders.fake_results import ACTIONS, Fake, synthetic_params

TITLES = {"dualhead": "DualHead-Net", "ms_g3d": "MS-G3D", "no_attention": "no attention"}
TITLES |= {"temporal_attention": "temporal attention only"}
STREAMS = {"joint": "joint stream", "bone": "bone stream", "two_stream": "two streams"}
STREAMS |= {"joint_motion": "joint motion stream", "bone_motion": "bone motion stream"}
STREAMS |= {"four_stream": "four streams"}
PANELS = {
    "Training top-1 (%)": "train_top1",
    "Test top-1 (%)": "test_fusion_top1",
}


@pytest.fixture(scope="module")
def fake(tmp_path_factory) -> Fake:
    return fake_results.build(tmp_path_factory.mktemp("fake"), synthetic_params(seeds=[1, 2]))


@pytest.fixture(scope="module")
def drawn(fake):
    """Return each figure by its name, drawn once."""
    made = {}

    def draw(name):
        if name not in made:
            made[name] = figure(name, fake.grid, fake.results, fake.stores)
            made[name].canvas.draw()
        return made[name]

    return draw


def folders(fake, variant="dualhead", stream="joint"):
    found = addresses(fake.grid, Cell("synthetic_xsub", variant, stream))
    return [fake.results / address for address in found.values()]


def metrics(fake, variant, stream="joint"):
    return [json.loads((it / "metrics.json").read_text()) for it in folders(fake, variant, stream)]


def scores(fake, variant):
    return [
        read_scores(it / "scores.h5", "last", "fusion", "softmax") for it in folders(fake, variant)
    ]


def histories(fake, variant, modality):
    runs = [
        address
        for address, run in fake.grid["runs"].items()
        if (run["variant"], run["modality"]) == (variant, modality)
    ]
    rows = []
    for run in runs:
        with (fake.results / "runs" / run / "history.csv").open() as file:
            rows.append([{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)])
    return rows


def expected_share(fake, variant):
    """Return confusion in percent, counted sample by sample."""
    found = scores(fake, variant)
    counts = np.zeros((len(found[0].class_names),) * 2)
    for one in found:
        for values, label in zip(one.values, one.labels, strict=True):
            counts[label, int(values.argmax())] += 1
    return 100 * counts / counts.sum(axis=1, keepdims=True)


def tick_labels(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def points(axes, label):
    """Return the marks of one series: (n, 2)."""
    (found,) = (it for it in axes.collections if it.get_label() == label)
    return np.asarray(found.get_offsets())


def test_curves_are_the_means_over_seeds_of_the_histories(fake, drawn):
    for axes in drawn("curves").axes:
        lines = {line.get_label(): line for line in axes.lines if line.get_label()[0] != "_"}
        assert len(lines) == 5  # ours in four modalities, the baseline's joints
        for variant, modality in (("dualhead", "bone"), ("dualhead", "joint"), ("ms_g3d", "joint")):
            line = lines[f"{TITLES[variant]}, {STREAMS[modality]}"]
            runs = histories(fake, variant, modality)
            column = PANELS.get(axes.get_title(), "loss")
            expected = np.mean([[row[column] for row in run] for run in runs], axis=0)
            if column == "loss" and variant == "dualhead":  # the sum over two heads
                expected = expected / 2
            assert line.get_ydata() == pytest.approx(expected)
            assert line.get_xdata().tolist() == [row["epoch"] for row in runs[0]]


def test_the_drops_of_the_learning_rate_stand_between_their_epochs(fake, drawn):
    (run, *_) = histories(fake, "dualhead", "joint")
    falls = [b["epoch"] - 0.5 for a, b in pairwise(run) if b["learning_rate"] < a["learning_rate"]]
    marks = [
        line.get_xdata()[0] for line in drawn("curves").axes[0].lines if line.get_label()[0] == "_"
    ]
    assert marks == falls != []


def test_class_gains_are_those_of_the_scores_with_an_interval_around_each(fake, drawn):
    right = {}
    for variant in ("dualhead", "ms_g3d"):
        found = scores(fake, variant)
        right[variant] = np.mean([one.values.argmax(1) == one.labels for one in found], axis=0)
        labels = found[0].labels
    (axes,) = drawn("class_gain").axes
    (spans,) = (it for it in axes.collections if it.get_label()[0] == "_")
    for bar, name, span in zip(
        axes.patches, tick_labels(axes.yaxis), spans.get_segments(), strict=True
    ):
        own = labels == ACTIONS.index(name)
        gain = 100 * (right["dualhead"][own].mean() - right["ms_g3d"][own].mean())
        assert bar.get_width() == pytest.approx(gain)
        (low, high), (at, _) = span[:, 0], span[:, 1]
        assert low < gain < high
        assert at == pytest.approx(bar.get_y() + bar.get_height() / 2)


def test_heads_are_those_of_classes_csv(fake, drawn):
    (axes,) = drawn("heads").axes
    names = tick_labels(axes.yaxis)
    for head in ("coarse", "fine", "fusion"):
        found = {name: [] for name in names}
        for folder in folders(fake):
            with (folder / "classes.csv").open() as file:
                for row in csv.DictReader(file):
                    if (row["selection"], row["head"], row["score"]) == ("last", head, "softmax"):
                        found[row["name"]].append(float(row["accuracy"]))
        expected = [np.mean(found[name]) for name in names]
        assert points(axes, head)[:, 0] == pytest.approx(expected, abs=1e-3)
    ends = np.array([sorted(span[:, 0]) for span in axes.collections[0].get_segments()])
    both = np.array([points(axes, head)[:, 0] for head in ("coarse", "fine")]).T
    assert ends == pytest.approx(np.sort(both, axis=1))


def test_the_confusion_matrix_and_its_pairs_are_counted_from_the_scores(fake, drawn):
    matrix, _, most, resolved = drawn("confusion").axes
    ours, theirs = (expected_share(fake, variant) for variant in ("dualhead", "ms_g3d"))
    (mesh,) = (it for it in matrix.collections if isinstance(it, QuadMesh))
    assert np.asarray(mesh.get_array()).reshape(ours.shape) == pytest.approx(ours)
    assert tick_labels(matrix.xaxis) == tick_labels(matrix.yaxis) == list(ACTIONS[:6])
    for axes in (most, resolved):
        pairs = [text.get_text().split(" \N{RIGHTWARDS ARROW} ") for text in axes.texts]
        places = [(ACTIONS.index(true), ACTIONS.index(taken)) for true, taken in pairs]
        assert [bar.get_width() for bar in axes.patches] == pytest.approx(
            [ours[at] for at in places]
        )
        assert points(axes, "MS-G3D")[:, 0] == pytest.approx([theirs[at] for at in places])
    off_diagonal = ours[~np.eye(len(ours), dtype=bool)]
    assert most.patches[0].get_width() == pytest.approx(off_diagonal.max())
    gains = [
        point[0] - bar.get_width()
        for point, bar in zip(points(resolved, "MS-G3D"), resolved.patches, strict=True)
    ]
    assert gains == sorted(gains, reverse=True)
    assert gains[0] == pytest.approx((theirs - ours)[~np.eye(len(ours), dtype=bool)].max())


def test_strips_show_the_probabilities_of_the_recording_they_name(fake, drawn):
    axes = drawn("strips").axes
    for left, right in zip(axes[::2], axes[1::2], strict=True):
        name = left.get_title(loc="left").split("(")[1].rstrip(")")
        true = ACTIONS.index(right.get_title(loc="left").removeprefix("true: "))
        confused = ACTIONS.index(right.get_xlabel().removeprefix("confused: "))
        ticks = {label.get_text(): place for place, label in enumerate(right.get_yticklabels())}
        for variant in ("dualhead", "ms_g3d"):
            found = scores(fake, variant)[0]
            at = found.names.index(name)
            assert found.labels[at] == true
            place = ticks[TITLES[variant]]
            bars = {
                round(bar.get_y() + bar.get_height() / 2 - place, 2): bar for bar in right.patches
            }
            assert bars[0.2].get_width() == pytest.approx(float(found.values[at, true]))
            assert bars[-0.2].get_width() == pytest.approx(float(found.values[at, confused]))


def test_attention_is_that_of_the_score_file_on_one_color_scale(fake, drawn):
    found = read_attention(folders(fake)[0] / "scores.h5")
    made = drawn("attention")
    scales, curves = set(), 0
    for axes in made.axes[:-1]:
        if title := axes.get_title(loc="left").partition("(")[2].rstrip(")"):
            at = found.names.index(title)
            weights = (found.maps["joints_1"] + found.maps["joints_2"])[at, 0] / 2
        for dots in (it for it in axes.collections if it.get_gid() == "weights"):
            assert np.asarray(dots.get_array()) == pytest.approx(weights)
            scales.add((dots.norm.vmin, dots.norm.vmax))
        for line in (it for it in axes.lines if it.get_label()[0] != "_"):
            block = line.get_label().removeprefix("coarse block ")
            values = found.maps[f"frames_{int(block) - 1}"][at, 0]
            assert line.get_ydata() == pytest.approx(values[: len(line.get_ydata())])
            curves += 1
    assert curves == 2 * 4
    ((low, high),) = scales
    assert made.axes[-1].get_xlim() == pytest.approx((low, high))  # the color bar
    assert len({axes.get_ylim() for axes in made.axes[1:-1:2]}) == 1


def test_poses_are_the_bodies_and_frames_that_the_network_gets(fake, drawn):
    with Store(next(fake.stores.glob("*.h5"))) as store:
        for axes in drawn("strips").axes[::2]:
            position = store.position(axes.get_title(loc="left").split("(")[1].rstrip(")"))
            times = [int(text.get_text()) for text in axes.texts]
            assert (times[0], times[-1]) == (0, int(store.num_frames[position]) - 1)
            bodies = sum(len(rows) > 0 for rows in store.bodies(position))
            dots = [it for it in axes.collections if isinstance(it, PathCollection)]
            assert len(dots) == len(times) * bodies


def test_poses_end_where_the_networks_input_ends(tmp_path):
    settings = synthetic_params()
    settings["input"]["num_frames"] = 16
    fake = fake_results.build(tmp_path, settings)
    made = figure("strips", fake.grid, fake.results, fake.stores)
    assert {axes.texts[-1].get_text() for axes in made.axes[::2]} == {"15"}


def test_sizes_and_accuracies_of_variants_are_those_of_their_metrics(fake, drawn):
    left, right = drawn("parameters").axes
    dots = next(it for it in left.collections if isinstance(it, PathCollection)).get_offsets()
    names = tick_labels(left.yaxis)
    assert sorted(names) == sorted(TITLES.values())
    for variant, title in TITLES.items():
        place, found = names.index(title), metrics(fake, variant)
        top1 = np.mean([one["last"]["fusion"]["softmax"]["top1"] for one in found])
        assert dots[place].tolist() == pytest.approx([top1, place])
        assert right.patches[place].get_width() == pytest.approx(found[0]["parameters"] / 1e6)


def test_selections_gain_what_their_metrics_say(tmp_path):
    fake = fake_results.build(tmp_path, fake_results.held_out_params())
    (axes,) = figure("selection", fake.grid, fake.results, fake.stores).axes
    names, checked = tick_labels(axes.yaxis), 0
    for variant, title in {**TITLES, "held_out": "DualHead-Net, subjects held out"}.items():
        for stream, words in STREAMS.items():
            if f"{title}, {words}" not in names:
                continue
            (found,) = metrics(fake, variant, stream)
            row = names.index(f"{title}, {words}")
            last = found["last"]["fusion"]["softmax"]["top1"]
            for selection, label in (
                ("best_on_test", "best epoch on the test set"),
                ("best_on_validation", "best epoch on held-out subjects"),
            ):
                if selection in found:
                    gain = found[selection]["fusion"]["softmax"]["top1"] - last
                    assert points(axes, label)[row, 0] == pytest.approx(gain)
                    checked += 1
    assert checked == 10 + 3
    assert not points(axes, "last epoch (ours)")[:, 0].any()
    gains = points(axes, "best epoch on the test set")[:, 0]
    spans = next(it for it in axes.collections if it.get_label()[0] == "_").get_segments()
    assert [span[1, 0] for span in spans] == pytest.approx(gains)
    assert axes.lines[0].get_xdata()[0] == pytest.approx(gains.mean())


def test_the_network_is_drawn_with_the_runs_own_sizes(fake, drawn):
    model = next(iter(fake.grid["runs"].values()))["model"]
    texts = "\n".join(text.get_text() for text in drawn("network").axes[0].texts)
    times = "\N{MULTIPLICATION SIGN}"
    for channels, frames in zip(model["coarse_channels"], (150, 75, 38), strict=True):
        assert f"{channels} {times} {frames}" in texts
    for channels, frames in zip(model["fine_channels"], (300, 150, 75), strict=True):
        assert f"{channels} {times} {frames}" in texts


@pytest.mark.parametrize("name", FIGURES)
def test_no_type_is_smaller_than_seven_points(name, drawn):
    texts = [it for it in drawn(name).findobj(Text) if it.get_text().strip() and it.get_visible()]
    assert {it.get_text() for it in texts if it.get_fontsize() < 7} == set()
    assert {it.get_text() for it in texts if "\N{HORIZONTAL ELLIPSIS}" in it.get_text()} == set()
