"""checks and defaults: what editors and readers are told of the settings."""

import json

import jsonschema
import numpy as np
import pytest

from dualhead import models
from dualhead.report.titles import METRICS
from dualhead.runs.metrics import accuracies
from dualhead.settings import defaults
from dualhead.settings.defaults import SECTIONS, editor_schema
from dualhead.settings.params import read_yaml
from dualhead.settings.reading import Located
from dualhead.settings.schema import Place

FILES = ("params.yaml", "demo/params.yaml", "tests/params.yaml", "examples/utd_mhad/params.yaml")
FILES += tuple(
    f"examples/nw_ucla/params{kind}.yaml"
    for kind in ("", ".gpu", ".precision", ".published", ".short")
)


def test_the_committed_schema_is_current(root):
    """If not: `dualhead schema --output docs/params.schema.json`."""
    assert json.loads((root / "docs/params.schema.json").read_text()) == editor_schema()


@pytest.mark.parametrize("name", FILES)
def test_editors_accept_our_own_files(root, name):
    jsonschema.Draft7Validator.check_schema(editor_schema())
    jsonschema.validate(read_yaml(root / name), editor_schema(), jsonschema.Draft7Validator)


@pytest.mark.parametrize(
    "wrong",
    [
        {"trian": {}},
        {"train": {"epoch": 3}},
        {"train": {"epochs": "many"}},
        {"train": {"validation": 1.0}},
        {"dualhead": {"fine_windows": [4]}},
        {"dualhead": {"fine_channels": [12, 24]}},
        {"variants": {"a": {"model": "st_gcn"}}},
        {"variants": {"a": {"train": {"epoch": 3}}}},
        {"variants": {"../x": {"model": "dualhead"}}},
        {"tables": {"t": {"kind": "comparison", "benchmarks": ["b"]}}},
        {
            "tables": {
                "t": {
                    "kind": "comparison",
                    "benchmarks": ["b"],
                    "streams": ["joint"],
                    "metrics": ["top3"],
                }
            }
        },
        {"ensemble": {"streams": {"s": {"joint": "best"}}}},
        {"seeds": [1, 1]},
        {"tables": None},
    ],
)
def test_editors_refuse_what_planning_refuses(wrong):
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, editor_schema(), jsonschema.Draft7Validator)


def test_models_and_metrics_are_those_that_the_code_has():
    scores, labels = np.eye(6), np.arange(6)
    assert set(defaults.MODELS) == set(models.MODELS)
    assert defaults.METRIC_NAMES == tuple(METRICS) == tuple(accuracies(scores, labels))


def test_every_setting_says_what_it_means_and_its_default_fits():
    here = Place(Located({}, "defaults.py"))
    for name, section in SECTIONS.items():
        for key, field in section.items():
            assert field.text
            if not field.optional:
                field.kind.check(field.default, here / name / key)
