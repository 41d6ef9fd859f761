"""Checked settings: what each setting of a params.yaml may be, and refusals of all else."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from dualhead.grid import FITTED, resolved_settings, stream_names, table_cells
from dualhead.params import (
    MODALITY_NAMES,
    MODEL_NAMES,
    OVERRIDABLE,
    SETTINGS_SECTIONS,
    Settings,
    extend,
    locate,
    packaged_params,
    read_yaml,
)
from dualhead.reading import Located

CHOICES = {
    "protocol": ("paper", "authors"),
    "prepare.denoise": ("energy", "ctr_gcn"),
    "prepare.normalize": ("rotate", "first_frame", "none"),
    "input.resample": ("none", "uniform"),
    "dualhead.temporal_attention": ("cross", "self", "none"),
    "dualhead.spatial_attention": ("cross", "self", "none"),
    "train.loss": ("sum", "mean"),
    "train.precision": ("fp32", "tf32", "bf16"),
    "evaluate.fusion": ("softmax", "logits"),
    "ensemble.fusion": ("softmax", "logits"),
    "hardware.device": ("auto", "cpu", "cuda"),
}
SHARES = ("train.validation",)
"""Settings of at least 0 and below 1."""
ENTRY_KEYS = {
    "variants": ("model", *OVERRIDABLE),
    "benchmarks": ("dataset", "split", *OVERRIDABLE),
    "protocols": OVERRIDABLE,
    "datasets": ("kind", "raw", "partial", "release", "reuse", "prepare", "synthesize"),
    "tables": (
        *("kind", "title", "benchmarks", "benchmark", "variant", "variants"),
        *("streams", "stream", "metrics", "rows", "published"),
    ),
}
REQUIRED_KEYS = {
    "variants": ("model",),
    "benchmarks": ("dataset", "split"),
    "datasets": ("kind", "raw"),
    "tables": ("kind",),
}


def load(path: Path) -> Settings:
    """Return the complete, checked settings of a workspace.

    Raises:
        ValueError: if the file is missing, is no YAML mapping, or holds an unknown setting.
    """
    return checked(extend(locate(path), path.parent))


def complete(params: Mapping[str, Any], folder: Path) -> Settings:
    """Return params with all that they extend filled in, checked.

    Args:
        params: a workspace's own params, as read.
        folder: that a relative `extends` starts from.

    Raises:
        ValueError: on an unknown or misfit setting.
    """
    return checked(extend(Located(dict(params), "params.yaml"), folder))


def checked(params: Located) -> Settings:
    """Return complete params; ValueError at the first setting that is unknown or misfit."""
    check(params.content)
    return copy.deepcopy(params.content)


def check(params: Settings) -> None:
    """Raise ValueError at the first setting that is unknown, missing or of the wrong kind."""
    paper = read_yaml(packaged_params())
    _known(params, paper, "params.yaml")
    _known(paper, params, "params.yaml", missing=True)
    for section in SETTINGS_SECTIONS:
        _check_section(params[section], paper[section], section)
    for section in ENTRY_KEYS:
        for name, entry in params[section].items():
            _check_entry(section, name, entry, paper)
    _choice("protocol", params["protocol"])
    _check_seeds(params["seeds"])
    _check_references(params)


def _known(
    found: Mapping[str, Any], known: Iterable[str], where: str, missing: bool = False
) -> None:
    for key in found:
        if key not in known and missing:
            raise ValueError(f"{where}: the section '{key}' is missing; say `extends: paper`")
        if key not in known:
            raise ValueError(f"unknown setting '{key}' in {where}; known here: {sorted(known)}")


def _check_section(values: Any, known: Settings, where: str) -> None:
    """Compare a settings section with the paper's: the same keys, the same kinds of value."""
    if not isinstance(values, dict):
        raise ValueError(f"{where}: expected a mapping, found {values!r}")
    section = where.split(".")[-1]
    for key, value in values.items():
        if where.endswith("ensemble.streams") or where == "streams":
            _check_stream(key, value)
            continue
        _known({key: value}, known, where)
        if isinstance(known[key], dict):
            _check_section(value, known[key], f"{where}.{key}")
        else:
            _check_kind(f"{where}.{key}", value, known[key])
            _choice(f"{section}.{key}", value, where=f"{where}.{key}")
            if f"{section}.{key}" in SHARES and not 0 <= value < 1:
                raise ValueError(f"{where}.{key}: expected 0 or more, below 1; found {value!r}")


def _check_kind(where: str, value: Any, example: Any) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(example, bool):
        fits, kind = isinstance(value, bool), "true or false"
    elif isinstance(example, int):
        fits, kind = (
            number and float(value).is_integer() and value >= 0,
            "a whole number, 0 or more",
        )
    elif isinstance(example, float):
        fits, kind = number, "a number (YAML wants 1.0e-4, not 1e-4)"
    elif isinstance(example, list):
        fits, kind = isinstance(value, list), "a list"
    else:
        fits, kind = isinstance(value, str), "a word"
    if not fits:
        raise ValueError(f"{where}: expected {kind}, found {value!r}")


def _choice(setting: str, value: Any, where: str | None = None) -> None:
    if setting in CHOICES and value not in CHOICES[setting]:
        known = " | ".join(CHOICES[setting])
        raise ValueError(f"{where or setting}: expected {known}, found {value!r}")


def _check_stream(name: str, weights: Any) -> None:
    if not isinstance(weights, dict) or not weights:
        raise ValueError(
            f"ensemble.streams.{name}: expected {{modality: weight}}, found {weights!r}"
        )
    _known(weights, MODALITY_NAMES, f"ensemble.streams.{name}")
    is_fitted = [weight == FITTED for weight in weights.values()]
    if all(is_fitted):
        return
    if any(is_fitted):
        raise ValueError(
            f"ensemble.streams.{name}: expected all weights as numbers or all as `{FITTED}`, "
            f"found {weights!r}"
        )
    for modality, weight in weights.items():
        _check_kind(f"ensemble.streams.{name}.{modality}", weight, 1.0)


def _check_entry(section: str, name: str, entry: Any, paper: Settings) -> None:
    where = f"{section}.{name}"
    if not isinstance(entry, dict):
        raise ValueError(f"{where}: expected a mapping, found {entry!r}")
    _known(entry, ENTRY_KEYS[section], where)
    for key in REQUIRED_KEYS.get(section, ()):
        if key not in entry:
            raise ValueError(f"{where}: the setting '{key}' is missing")
    for key, value in entry.items():
        if key in SETTINGS_SECTIONS:
            _check_section(value, paper[key], f"{where}.{key}")


def _check_seeds(seeds: Any) -> None:
    whole = isinstance(seeds, list) and all(type(seed) is int and seed >= 0 for seed in seeds)
    if not whole or not seeds or len(set(seeds)) != len(seeds):
        raise ValueError(f"seeds: expected a list of different whole numbers, found {seeds!r}")


def _check_references(params: Settings) -> None:
    """Check that every name that one section uses is defined in another."""
    for name, variant in params["variants"].items():
        _reference(f"variants.{name}.model", variant["model"], MODEL_NAMES)
    for name, benchmark in params["benchmarks"].items():
        _reference(f"benchmarks.{name}.dataset", benchmark["dataset"], params["datasets"])
    for name, dataset in params["datasets"].items():
        if dataset.get("reuse"):
            _reference(f"datasets.{name}.reuse", dataset["reuse"], params["datasets"])
    for key, known in _figure_references(params).items():
        _reference(f"figures.{key}", params["figures"].get(key, ""), known)
    for name, table in params["tables"].items():
        for benchmark, variant, stream in table_cells(name, table):
            _reference(f"tables.{name}", benchmark, params["benchmarks"])
            _reference(f"tables.{name}", variant, params["variants"])
            _reference(f"tables.{name}", stream, stream_names(params))
            _check_fitted(params, name, (benchmark, variant, stream))


def _check_fitted(params: Settings, table: str, cell: tuple[str, str, str]) -> None:
    """Refuse weights to fit where no subject is held out to fit them on."""
    benchmark, variant, stream = cell
    settings = resolved_settings(params, benchmark, variant)
    weights = settings["ensemble"]["streams"].get(stream, {})
    if FITTED in weights.values() and settings["train"]["validation"] == 0:
        raise ValueError(
            f"tables.{table}: {stream} fits its weights on held-out subjects, but {variant} on "
            f"{benchmark} holds none out; take a variant whose train.validation is above 0"
        )


def _figure_references(params: Settings) -> dict[str, Iterable[str]]:
    variants = params["variants"]
    return {
        "benchmark": params["benchmarks"],
        "variant": variants,
        "baseline": variants,
        "stream": stream_names(params),
    }


def _reference(where: str, name: str, known: Iterable[str]) -> None:
    if name not in known:
        raise ValueError(f"{where}: '{name}' is not defined; known here: {sorted(known)}")
