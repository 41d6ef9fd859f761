"""Run configs as records."""

from dataclasses import fields

import pytest

from dualhead.settings import checks
from dualhead.settings.defaults import INPUT, TRAIN
from dualhead.settings.formats import RUN
from dualhead.settings.params import address
from dualhead.settings.run import InputSettings, RunConfig, ScoreSettings, TrainSettings
from tests.builders.tiny import tiny_config


def names(kind):
    return [field.name for field in fields(kind)]


def test_records_have_the_keys_of_their_files():
    assert names(InputSettings) == [*INPUT]
    assert names(TrainSettings) == [{"from": "parent"}.get(key, key) for key in TRAIN]
    assert names(RunConfig) == [{"evaluate": "fusion_weight"}.get(key, key) for key in RUN]


def test_a_config_is_written_as_it_was_read():
    mapping = tiny_config()
    config = RunConfig.of(mapping)
    assert config.to_mapping() == mapping
    assert list(config.to_mapping()) == list(mapping)
    assert config.address == address(mapping)


def test_what_an_older_checkpoint_does_not_say_is_as_before():
    mapping = tiny_config(precision="bf16")
    del mapping["input"]["min_max"], mapping["evaluate"]
    mapping["input"]["newer"] = True
    scoring = ScoreSettings.of(mapping)
    assert scoring == RunConfig.of(mapping).scoring
    assert (scoring.precision, scoring.input.num_frames) == ("bf16", 12)
    assert scoring.input.min_max is checks.defaults()["input"]["min_max"]
    assert scoring.fusion_weight == checks.defaults()["evaluate"]["fusion_weight"]


def test_a_config_does_not_change():
    with pytest.raises(AttributeError):
        RunConfig.of(tiny_config()).train.epochs = 4
