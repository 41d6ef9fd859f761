"""Findings beside figures and tables say what the results say."""

import json

import numpy as np
import pandas as pd
import pytest

from dualhead.report.figures import FIGURES
from dualhead.report.figures.attention import attended, spatial_range
from dualhead.report.figures.inputs import Inputs
from dualhead.report.pdf import seen
from dualhead.report.results import Cell, addresses
from dualhead.runs.scores import read_attention
from tests.builders import fake_results
from tests.builders.fake_results import synthetic_params


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> Inputs:
    fake = fake_results.build(tmp_path_factory.mktemp("fake"), synthetic_params(seeds=[1, 2]))
    return Inputs(fake.grid, fake.results, fake.stores)


def metrics(inputs, variant):
    cell = Cell("synthetic_xsub", variant, "joint")
    paths = [inputs.results / it / "metrics.json" for it in addresses(inputs.grid, cell).values()]
    return [json.loads(path.read_text()) for path in paths]


def test_every_figure_has_its_finding(inputs):
    assert set(seen.FIGURES) == set(FIGURES)
    texts = [seen.figure_text(name, inputs) for name in FIGURES]
    assert all(text.endswith(".") and "nan" not in text for text in texts)


def test_curves_end_where_the_last_epoch_was_tested(inputs):
    text = seen.figure_text("curves", inputs)
    assert text.startswith(
        "In the last epoch DualHead-Net, joint stream, is right on 97.19 % of training"
    )
    assert "; MS-G3D, joint stream, is right on" in text


def test_the_most_accurate_variant_is_named_with_its_accuracy(inputs):
    means = {
        variant: np.mean(
            [one["last"]["fusion"]["softmax"]["top1"] for one in metrics(inputs, variant)]
        )
        for variant in ("dualhead", "ms_g3d", "no_attention", "temporal_attention")
    }
    best = max(means, key=means.get)
    titles = {"dualhead": "DualHead-Net", "temporal_attention": "temporal attention only"}
    expected = f"The most accurate is {titles.get(best, best)} ({means[best]:.2f} %)"
    assert seen.figure_text("parameters", inputs).startswith(expected)


def test_attention_is_told_by_its_range_and_called_inert_where_it_is(inputs):
    text = seen.figure_text("attention", inputs)
    address = addresses(inputs.grid, Cell("synthetic_xsub", "dualhead", "joint"))["1"]
    maps = read_attention(inputs.results / address / "scores.h5").maps
    joints = (maps["joints_1"] + maps["joints_2"])[:, 0] / 2
    low, high = spatial_range(attended(inputs))
    assert joints.min() <= low < high <= joints.max()
    assert f"Spatial attention lies between {low:.3f} and {high:.3f}." in text
    assert "inert" not in text
    told = seen._range_text("Temporal", (0.001, 0.009))
    assert told.startswith("Temporal attention lies between 0.001 and 0.009: it is inert here")
    assert told.endswith("frames by factors that differ by 0.8 % at most.")


def ablation(means):
    rows = [
        {
            "kind": "ablation",
            "ours": True,
            "row": row,
            "label": row,
            "group": None,
            "column": "X-sub",
            "mean": mean,
            "std": None,
            "reference": None if row == "full" else "full",
        }
        for row, mean in means.items()
    ]
    return pd.DataFrame(rows)


def test_an_ablation_tells_which_row_is_best_and_by_how_much():
    text = seen.table_text(ablation({"full": 90.0, "small": 89.5}))
    assert text == "Full, which the steps start from, is the best row, with 90.00 %."
    text = seen.table_text(ablation({"full": 90.0, "small": 90.75}))
    assert (
        text
        == "Small is the best row, with 90.75 %: 0.75 points above Full, which the steps start from."
    )
