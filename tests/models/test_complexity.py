"""Every count that the paper and the measured facts state, to the last parameter."""

import copy

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from dualhead.layout import LAYOUTS
from dualhead.models import build_model
from dualhead.models.complexity import count_macs, count_parameters
from dualhead.settings.checks import load
from tests.models.test_models import build_pair, small_settings

NTU, KINETICS = ("ntu25", 60), ("openpose18", 400)
COUNTS = {  # variant: parameters, multiply-adds at T = 300, M = 2
    "dualhead": (3_015_253, 18.937),
    "ms_g3d": (3_194_595, 32.772),
    "no_attention": (2_998_257, 18.936),
    "temporal_attention": (3_000_851, 18.936),
    "fine_full": (4_874_197, 38.503),
    "fine_quarter": (2_543_701, 13.029),
    "coarse_g3d_0": (2_392_201, 15.448),
    "coarse_g3d_2": (3_942_625, 25.839),
    "subsample_1": (3_015_253, 26.412),
    "subsample_4": (3_015_253, 15.180),
    "self_temporal": (3_015_253, 18.937),
    "self_spatial": (3_008_053, 18.937),
}


@pytest.fixture(scope="module")
def params(root):
    return load(root / "params.yaml")


def build(params, name, changes, layout="ntu25", num_classes=60):
    """Return a network of full size, without values."""
    with torch.device("meta"):
        return build_model(name, {**params[name], **changes}, LAYOUTS[layout], num_classes)


@pytest.mark.parametrize("variant", COUNTS)
def test_variant_costs_what_the_paper_says(params, variant):
    entry = params["variants"][variant]
    model = build(params, entry["model"], entry.get(entry["model"], {}))
    parameters, giga = COUNTS[variant]
    assert parameters == count_parameters(model)
    assert giga == pytest.approx(count_macs(model, (1, 3, 300, 25, 2)) / 1e9, abs=1e-3)


@pytest.mark.parametrize(
    ("name", "scales", "parameters", "giga"),
    [
        ("dualhead", (8, 8), 3_134_460, 14.196),
        ("dualhead", (9, 6), 2_976_816, 12.518),
        ("ms_g3d", (8, 8), 3_144_328, 23.927),
    ],
)
def test_kinetics_costs(params, name, scales, parameters, giga):
    model = build(
        params, name, dict(zip(("gcn_scales", "g3d_scales"), scales, strict=True)), *KINETICS
    )
    assert parameters == count_parameters(model)
    assert giga == pytest.approx(count_macs(model, (1, 3, 300, 18, 2)) / 1e9, abs=1e-3)


@pytest.mark.parametrize(("name", "parameters"), [("dualhead", 3_049_933), ("ms_g3d", 3_217_695)])
def test_ntu120_has_more_classes_only(params, name, parameters):
    assert parameters == count_parameters(build(params, name, {}, num_classes=120))


@pytest.mark.parametrize(
    "variant", ["dualhead", "ms_g3d", "coarse_g3d_0", "self_spatial", "subsample_4"]
)
def test_macs_are_half_the_flops_that_torch_counts_in_the_reference(variant):
    reference, model, shape = build_pair(variant, frames=21)
    x = torch.randn(shape)
    reference = copy.deepcopy(reference).float()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        reference.eval()(x)
    assert counter.get_total_flops() == 2 * count_macs(model, shape)


def test_macs_grow_with_the_samples_only_linearly():
    model = build_model("dualhead", small_settings("dualhead"), LAYOUTS["ntu25"], 5)
    one, three = (count_macs(model, (n, 3, 20, 25, 2)) for n in (1, 3))
    assert 3 * one == three
