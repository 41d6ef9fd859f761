import subprocess
import sys
from functools import cache

import numpy as np
import pytest
from matplotlib.collections import LineCollection, PathCollection
from pypdf import PdfReader

from dualhead.layout import LAYOUTS
from dualhead.report.figures import FIGURES, available, classes, draw, figure
from dualhead.report.figures.classes import Confusion, _gain, class_gains
from dualhead.report.figures.inputs import Inputs, extremes
from dualhead.report.skeletons import stand
from tests.builders import fake_results
from tests.builders.fake_results import Fake, paper_params, synthetic_params


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory) -> Fake:
    return fake_results.build(tmp_path_factory.mktemp("synthetic"), synthetic_params(seeds=[1, 2]))


def drawn(fake, name, folder):
    paths = folder / f"{name}.pdf", folder / f"{name}.svg"
    draw(name, fake.grid, fake.results, fake.stores, pdf=paths[0], svg=paths[1])
    return paths


@pytest.fixture(scope="module")
def drawn_once(synthetic, tmp_path_factory):
    """Draw a figure; return the files of the first time."""
    folder = tmp_path_factory.mktemp("figures")
    return cache(lambda name: drawn(synthetic, name, folder))


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_one_vector_page_with_its_fonts(name, drawn_once):
    pdf, svg = drawn_once(name)
    (page,) = PdfReader(pdf).pages
    fonts = page["/Resources"]["/Font"].values()
    for font in fonts:
        (descendant,) = font.get_object()["/DescendantFonts"]
        assert "/FontFile2" in descendant.get_object()["/FontDescriptor"]
    assert "/Image" not in str(page["/Resources"].get("/XObject", ""))
    assert svg.read_text().startswith("<?xml")


@pytest.mark.parametrize("name", ["class_gain", "network"])
def test_the_same_results_give_the_same_bytes(name, synthetic, drawn_once, tmp_path):
    first = [path.read_bytes() for path in drawn_once(name)]
    second = [path.read_bytes() for path in drawn(synthetic, name, tmp_path)]
    assert first == second


@pytest.mark.parametrize("name", ["class_gain", "confusion", "strips", "heads", "parameters"])
def test_a_missing_run_is_named(name, tmp_path):
    fake = fake_results.build(tmp_path, synthetic_params(), exists=lambda run: "/bone" in run)
    with pytest.raises(ValueError, match=rf"{name}.*runs/synthetic_xsub/dualhead/joint/seed1-"):
        drawn(fake, name, tmp_path)


def test_an_unknown_figure_names_the_known_ones(synthetic, tmp_path):
    with pytest.raises(ValueError, match=r"'pie': unknown; there are .*class_gain"):
        drawn(synthetic, "pie", tmp_path)


EVERYTHING = {
    *("network", "curves", "class_gain", "heads", "confusion"),
    *("strips", "attention", "parameters", "selection"),
}


@pytest.mark.parametrize(
    ("choice", "missing"),
    [
        ({}, set()),
        ({"stream": "bone"}, {"class_gain"}),  # only ours is asked for bones
        ({"stream": "two_stream"}, {"class_gain", "heads", "attention", "parameters"}),
        ({"variant": "ms_g3d"}, {"network", "heads", "attention"}),
        ({"variant": "no_attention"}, {"attention"}),
        ({"stream": "bone_motion"}, EVERYTHING - {"curves", "selection"}),  # in no table by itself
    ],
)
def test_the_figures_are_those_whose_runs_a_table_asks_for(choice, missing):
    settings = paper_params()
    settings["figures"] |= choice
    assert set(available(fake_results.resolve(settings))) == EVERYTHING - missing


def test_names_and_captions_need_no_drawing_package():
    code = (
        "import sys; from dualhead.report import captions, figures; "
        "sys.exit('matplotlib' in sys.modules or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_figures_of_an_ensemble_leave_out_what_a_single_network_has(tmp_path):
    settings = synthetic_params()
    settings["figures"]["stream"] = "four_stream"
    fake = fake_results.build(tmp_path, settings)
    assert not {"heads", "parameters", "class_gain"} & set(available(fake.grid))
    matrix, *_ = figure("confusion", fake.grid, fake.results, fake.stores).axes
    assert np.asarray(matrix.collections[0].get_array()).sum() == pytest.approx(600)  # 6 classes


@pytest.mark.parametrize(
    ("ours", "count"),
    [([[70, 30], [10, 90]], 2), ([[100, 0], [0, 100]], 0)],  # the baseline errs nowhere
)
def test_a_list_of_confused_pairs_without_a_pair_takes_no_room(ours, count, synthetic, monkeypatch):
    found = Confusion(["sit", "stand"], np.array(ours, float), 100 * np.eye(2))
    monkeypatch.setattr(classes, "confusions", lambda inputs: found)
    made = figure("confusion", synthetic.grid, synthetic.results, synthetic.stores)
    made.canvas.draw()
    _, _, most, less = made.axes
    assert (count, 0) == (len(most.patches), len(less.patches))
    assert (count > 0, False) == (most.axison, less.axison)
    endings = [axes.get_title("left").endswith(": no pair") for axes in (most, less)]
    assert endings == [count == 0, True]
    if count:
        assert less.get_position().height < 0.1 * most.get_position().height


def test_many_classes_are_shown_by_both_ends(tmp_path):
    fake = fake_results.build(tmp_path, synthetic_params(), classes=60, num_test=240)
    found = class_gains(Inputs(fake.grid, fake.results, fake.stores))
    (axes,) = figure("class_gain", fake.grid, fake.results, fake.stores).axes
    gains = np.sort(found.gain)
    assert [bar.get_width() for bar in axes.patches] == [*gains[:12], *gains[-12:]]
    assert axes.texts[0].get_text() == "36 classes between not shown"
    values = np.random.default_rng(0).permutation(100).astype(float)
    assert [*range(12), *range(88, 100)] == values[extremes(values)].tolist()


@pytest.mark.parametrize("kind", ["kinetics", "nw_ucla"])
def test_strips_draw_every_joint_and_bone_of_the_skeleton(kind, tmp_path):
    settings = synthetic_params()
    settings["datasets"]["synthetic"]["kind"] = kind
    fake = fake_results.build(tmp_path, settings)
    layout = LAYOUTS[fake_results.LAYOUT_OF[kind]]
    made = figure("strips", fake.grid, fake.results, fake.stores)
    for axes in made.axes[::2]:
        dots = [it for it in axes.collections if isinstance(it, PathCollection)]
        bones = [it for it in axes.collections if isinstance(it, LineCollection)]
        assert {len(it.get_offsets()) for it in dots} == {layout.num_joints}
        assert {len(it.get_segments()) for it in bones} == {len(layout.edges)}
        assert len(dots) == len(bones) == len(axes.texts) >= 4


@pytest.mark.parametrize("seeds", [1, 3])
def test_every_class_interval_has_a_width_and_grows_with_the_spread_of_seeds(seeds):
    right = np.ones((seeds, 20), bool)
    gain, low, high = _gain(right, right)
    assert (gain, -low) == pytest.approx((0, high))
    assert 0 < high < 20
    other = right.copy()
    other[0, :10] = False
    assert np.ptp(_gain(right, other)[1:]) > np.ptp(_gain(right, right)[1:])


def test_a_class_interval_at_one_seed_is_agresti_and_mins():
    """Their adjusted Wald interval for 20 pairs of which 5 changed one way and 2 the other."""
    first, second = np.zeros((1, 20), bool), np.zeros((1, 20), bool)
    first[0, :5] = second[0, 5:7] = True
    middle, spread = (5.5 - 2.5) / 22, 8 / 22
    margin = 1.96 * np.sqrt((spread - middle**2) / 22)
    expected = 100 * np.array([3 / 20, middle - margin, middle + margin])
    assert _gain(first, second) == pytest.approx(expected)


@pytest.mark.parametrize("up", [1, 2])
def test_a_standing_skeleton_is_drawn_upright_whatever_its_axes(up):
    layout = LAYOUTS["ntu25"]
    joints = np.zeros((3, 2, layout.num_joints, 1), np.float32)
    joints[up, :, layout.rotate_z[1]] = 1  # the spine is above the hip
    joints[0, :, layout.rotate_x[1]] = 0.4  # whoever faces the viewer has it at the left
    across, height, _ = stand(joints, layout)
    assert height[0, layout.rotate_z[1], 0] == 1
    assert across[0, layout.rotate_x[1], 0] == pytest.approx(-0.4)


def test_an_image_is_turned_upright():
    joints = np.zeros((3, 1, 18, 1), np.float32)
    joints[1, 0, 10] = 0.5  # an ankle, further down in the image
    assert stand(joints, LAYOUTS["openpose18"])[1][0, 10, 0] == -0.5


def test_the_figure_of_selections_shows_held_out_subjects_where_there_are_some(synthetic, tmp_path):
    held_out = fake_results.build(tmp_path / "held_out", fake_results.held_out_params())
    texts = []
    for index, fake in enumerate((synthetic, held_out)):
        (tmp_path / str(index)).mkdir()
        pdf, _ = drawn(fake, "selection", tmp_path / str(index))
        texts.append(PdfReader(pdf).pages[0].extract_text())
    for label in ("last epoch (ours)", "best epoch on the test set"):
        assert all(label in text for text in texts)
    assert ["held-out subjects" in text for text in texts] == [False, True]
