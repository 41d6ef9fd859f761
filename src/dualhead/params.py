"""params.yaml: reading, checking, and resolving it to runs with addresses."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeAlias

import yaml

Settings: TypeAlias = dict[str, Any]

MODALITY_NAMES = ("joint", "bone", "joint_motion", "bone_motion")
MODEL_NAMES = ("dualhead", "ms_g3d")
SETTINGS_SECTIONS = (
    *("prepare", "input", "dualhead", "ms_g3d", "train", "evaluate", "hardware", "ensemble"),
)
"""Sections that are merged key by key; every other one is replaced whole."""
OVERRIDABLE = tuple(name for name in SETTINGS_SECTIONS if name not in ("prepare", "hardware"))
"""What a protocol, a benchmark or a variant may change."""

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
FITTED = "fitted"
"""In place of an ensemble's weights: those that do best on held-out subjects."""
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


def packaged_params() -> Path:
    """Return the paper's params.yaml, the one place where defaults stand."""
    return Path(str(files("dualhead") / "params.yaml"))


def load(path: Path) -> Settings:
    """Return the complete, checked settings of a workspace.

    Raises:
        ValueError: if the file is missing, is no YAML mapping, or holds an unknown setting.
    """
    return complete(read_yaml(path), path.parent)


def read_yaml(path: Path) -> Settings:
    """Return a YAML file's mapping; ValueError says what is wrong with the file."""
    if not path.is_file():
        raise ValueError(f"{path}: no such file; a workspace is a folder with a params.yaml")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected a mapping of sections, found {type(content).__name__}")
    return content


def complete(params: Mapping[str, Any], folder: Path) -> Settings:
    """Return params with all that they extend filled in, checked.

    Args:
        params: a workspace's own params, as read.
        folder: that a relative `extends` starts from.

    Raises:
        ValueError: on an unknown or misfit setting.
    """
    merged = _extend(dict(params), folder)
    check(merged)
    return merged


def _extend(params: Settings, folder: Path, seen: tuple[Path, ...] = ()) -> Settings:
    if "extends" not in params:
        return copy.deepcopy(params)
    base = params.pop("extends")
    path = (packaged_params() if base == "paper" else folder / str(base)).resolve()
    if path in seen:
        raise ValueError(f"{path}: extends itself by way of {' -> '.join(map(str, seen))}")
    below = _extend(read_yaml(path), path.parent, (*seen, path))
    return merge(below, params, sections=(*SETTINGS_SECTIONS, "variants", "protocols"))


def merge(base: Settings, changes: Mapping[str, Any], *, sections: Iterable[str]) -> Settings:
    """Return base with changes on top: the named sections key by key, all else replaced."""
    result = copy.deepcopy(base)
    for name, value in changes.items():
        both = isinstance(result.get(name), dict) and isinstance(value, Mapping)
        result[name] = _deep(result[name], value) if both and name in sections else value
    return copy.deepcopy(result)


def _deep(base: Mapping[str, Any], changes: Mapping[str, Any]) -> Settings:
    result = dict(base)
    for key, value in changes.items():
        both = isinstance(result.get(key), Mapping) and isinstance(value, Mapping)
        result[key] = _deep(result[key], value) if both else value
    return result


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
        for benchmark, variant, stream in _table_cells(name, table):
            _reference(f"tables.{name}", benchmark, params["benchmarks"])
            _reference(f"tables.{name}", variant, params["variants"])
            _reference(f"tables.{name}", stream, _stream_names(params))
            _check_fitted(params, name, (benchmark, variant, stream))


def _check_fitted(params: Settings, table: str, cell: tuple[str, str, str]) -> None:
    """Refuse weights to fit where no subject is held out to fit them on."""
    benchmark, variant, stream = cell
    settings = _resolved(params, benchmark, variant)
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
        "stream": _stream_names(params),
    }


def _reference(where: str, name: str, known: Iterable[str]) -> None:
    if name not in known:
        raise ValueError(f"{where}: '{name}' is not defined; known here: {sorted(known)}")


def _stream_names(params: Settings) -> tuple[str, ...]:
    return (*MODALITY_NAMES, *params["ensemble"]["streams"])


def _table_cells(name: str, table: Settings) -> list[tuple[str, str, str]]:
    """Return the (benchmark, variant, stream) of each cell of a table.

    A `comparison` has a row per stream and a column per benchmark, for one variant or several;
    an `ablation` a row per variant, for one benchmark and one stream.
    """
    needed = {"comparison": ("benchmarks", "streams"), "ablation": ("benchmark", "stream", "rows")}
    _reference(f"tables.{name}.kind", table["kind"], needed)
    for key in needed[table["kind"]]:
        if key not in table:
            raise ValueError(f"tables.{name}: a {table['kind']} needs the setting '{key}'")
    if table["kind"] == "ablation":
        return [(table["benchmark"], variant, table["stream"]) for variant in table["rows"]]
    variants = table.get("variants") or [table.get("variant", "dualhead")]
    return [(b, v, s) for v in variants for s in table["streams"] for b in table["benchmarks"]]


def address(settings: Mapping[str, Any]) -> str:
    """Return eight hex digits that stand for these settings: equal settings, equal address."""
    text = json.dumps(_plain(settings), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _plain(value: Any) -> Any:
    """Return the value with 1.0 and 1 spelled alike, so that a spelling is no other run."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    whole = isinstance(value, float) and value.is_integer()
    return int(value) if whole else value


def resolve(params: Settings) -> Settings:
    """Return the grid: every store, run and ensemble that the tables ask for, by address.

    Args:
        params: complete settings, as `load` returns them.

    Returns:
        The content of grid.json: `stores`, `runs`, `ensembles` (address -> settings), `fusion`
        (run -> the fusion of heads that counts), `cells` (what each table reads), and what of
        params the tables, figures and report need.
    """
    stores = {name: _store_address(params, name) for name in params["datasets"]}
    grid: Settings = {"stores": {}, "runs": {}, "ensembles": {}, "fusion": {}, "cells": []}
    for name, table in params["tables"].items():
        for benchmark, variant, stream in _table_cells(name, table):
            seeds = {
                str(seed): _add_stream(grid, params, stores, (benchmark, variant, stream, seed))
                for seed in params["seeds"]
            }
            grid["cells"].append(_cell(name, benchmark, variant, stream, seeds))
    grid["stores"] = _stores_of(params, stores, grid["runs"])
    kept = ("protocol", "recipe", "seeds", "tables", "figures", "datasets", "benchmarks")
    return copy.deepcopy(grid | {key: params[key] for key in kept})


def _cell(table: str, benchmark: str, variant: str, stream: str, seeds: Settings) -> Settings:
    names = {"table": table, "benchmark": benchmark, "variant": variant, "stream": stream}
    return names | {"seeds": seeds}


def _add_stream(
    grid: Settings, params: Settings, stores: Settings, cell: tuple[str, str, str, int]
) -> str:
    """Add one stream of one seed, and the runs it is made of; return its address."""
    benchmark, variant, stream, seed = cell
    if stream in MODALITY_NAMES:
        return f"runs/{_add_run(grid, params, stores, cell)}"
    weights = _ensemble_settings(params, benchmark, variant)["streams"][stream]
    members = {
        modality: _add_run(grid, params, stores, (benchmark, variant, modality, seed))
        for modality in weights
    }
    fusion = _ensemble_settings(params, benchmark, variant)["fusion"]
    settings = {"benchmark": benchmark, "variant": variant, "stream": stream, "seed": seed}
    settings |= {"fusion": fusion, "members": members, "weights": weights}
    identity = f"{benchmark}/{variant}/{stream}/seed{seed}-{address(settings)}"
    grid["ensembles"][identity] = settings
    return f"ensembles/{identity}"


def _ensemble_settings(params: Settings, benchmark: str, variant: str) -> Settings:
    settings: Settings = _resolved(params, benchmark, variant)["ensemble"]
    return settings


def _resolved(params: Settings, benchmark: str, variant: str) -> Settings:
    """Return the settings sections: defaults <- protocol <- benchmark <- variant."""
    settings = {name: params[name] for name in OVERRIDABLE}
    for layer in (
        params["protocols"].get(params["protocol"], {}),
        params["benchmarks"][benchmark],
        params["variants"][variant],
    ):
        changes = {key: value for key, value in layer.items() if key in OVERRIDABLE}
        settings = merge(settings, changes, sections=OVERRIDABLE)
    return settings


def _add_run(
    grid: Settings, params: Settings, stores: Settings, cell: tuple[str, str, str, int]
) -> str:
    """Add one run, and return its address."""
    benchmark, variant, modality, seed = cell
    settings = run_settings(params, stores, cell)
    identity = f"{benchmark}/{variant}/{modality}/seed{seed}-{address(settings)}"
    grid["runs"][identity] = settings
    grid["fusion"][identity] = _resolved(params, benchmark, variant)["evaluate"]["fusion"]
    return identity


def run_settings(params: Settings, stores: Settings, cell: tuple[str, str, str, int]) -> Settings:
    """Return the one complete mapping a run is made from; its hash is the run's address.

    Which fusion of the heads counts is no part of it: both are always computed.
    """
    benchmark, variant, modality, seed = cell
    resolved = _resolved(params, benchmark, variant)
    model = params["variants"][variant]["model"]
    dataset = params["benchmarks"][benchmark]["dataset"]
    return {
        "benchmark": benchmark,
        "variant": variant,
        "modality": modality,
        "seed": seed,
        "recipe": params["recipe"],
        "dataset": dataset,
        "kind": params["datasets"][dataset]["kind"],
        "split": params["benchmarks"][benchmark]["split"],
        "store": stores[dataset],
        "max_bodies": prepare_settings(params, dataset)["max_bodies"],
        "model": {"name": model, **resolved[model]},
        "input": resolved["input"],
        "train": resolved["train"],
        "evaluate": {"fusion_weight": resolved["evaluate"]["fusion_weight"]},
    }


def prepare_settings(params: Settings, dataset: str) -> Settings:
    """Return how one dataset is prepared: the defaults and what the dataset changes."""
    return _deep(params["prepare"], params["datasets"][dataset].get("prepare", {}))


def _store_settings(params: Settings, dataset: str) -> Settings:
    """Return all that a store is made from, apart from the raw files themselves."""
    entry = params["datasets"][dataset]
    reuse = entry.get("reuse")
    return {
        "kind": entry["kind"],
        "partial": bool(entry.get("partial", False)),
        "release": entry.get("release", 1),
        "reuse": _store_address(params, reuse) if reuse else None,
        "prepare": prepare_settings(params, dataset),
        "synthesize": entry.get("synthesize"),
    }


def _store_address(params: Settings, dataset: str) -> str:
    return f"{dataset}-{address(_store_settings(params, dataset))}"


def _stores_of(params: Settings, stores: Settings, runs: Settings) -> Settings:
    """Return the stores that the runs read, and those that they in turn reuse."""
    wanted = {settings["dataset"] for settings in runs.values()}
    for dataset in list(wanted):
        while reuse := params["datasets"][dataset].get("reuse"):
            wanted.add(reuse)
            dataset = reuse
    return {
        stores[name]: {
            "dataset": name,
            "raw": list(params["datasets"][name]["raw"]),
            **_store_settings(params, name),
        }
        for name in params["datasets"]
        if name in wanted
    }


def dump(settings: Mapping[str, Any]) -> str:
    """Return settings as YAML, in the order they stand."""
    return yaml.safe_dump(dict(settings), sort_keys=False, default_flow_style=None, width=100)
