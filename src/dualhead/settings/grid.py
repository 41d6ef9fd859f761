"""The grid: the stores, runs and ensembles that the tables of a params.yaml ask for, by address."""

from __future__ import annotations

import copy

from dualhead.settings.defaults import OVERRIDABLE, without_untuned
from dualhead.settings.params import MODALITY_NAMES, Settings, address, merge_deep


def resolve(params: Settings) -> Settings:
    """Return the grid: every store, run and ensemble that the tables ask for, by address.

    Args:
        params: complete settings, as `load` returns them; where runs begin with checkpoints also `parents`, path ->
            digest.

    Returns:
        The content of grid.json: `stores`, `runs`, `ensembles` (address -> settings), `fusion`
        (run -> the fusion of heads that counts), `cells` (what each table reads), `parents` (digest -> path of each
        checkpoint that runs begin with, if there are any), and what of
        params the tables, figures and report need.
    """
    stores = {name: _store_address(params, name) for name in params["datasets"]}
    grid: Settings = {"stores": {}, "runs": {}, "ensembles": {}, "fusion": {}, "cells": []}
    for name, table in params["tables"].items():
        for benchmark, variant, stream in table_cells(table):
            seeds = {
                str(seed): _add_stream(grid, params, stores, (benchmark, variant, stream, seed))
                for seed in params["seeds"]
            }
            names = {"table": name, "benchmark": benchmark, "variant": variant, "stream": stream}
            grid["cells"].append({**names, "seeds": seeds})
    grid["stores"] = _stores_of(params, stores, grid["runs"])
    parents = {run["train"]["from"] for run in grid["runs"].values() if "from" in run["train"]}
    if parents:
        known = params["parents"].items()
        grid["parents"] = {digest: path for path, digest in known if digest in parents}
    kept = ("protocol", "recipe", "seeds", "tables", "figures", "datasets", "benchmarks")
    return copy.deepcopy(grid | {key: params[key] for key in kept})


def table_cells(table: Settings) -> list[tuple[str, str, str]]:
    """Return the (benchmark, variant, stream) of each cell of a table.

    A `comparison` has a row per stream and a column per benchmark, for one variant or several;
    an `ablation` a row per variant, for one benchmark and one stream.
    """
    if table["kind"] == "ablation":
        return [(table["benchmark"], variant, table["stream"]) for variant in table["rows"]]
    variants = table.get("variants") or [table.get("variant", "dualhead")]
    return [(b, v, s) for v in variants for s in table["streams"] for b in table["benchmarks"]]


def stream_names(params: Settings) -> tuple[str, ...]:
    """Return every stream a table may ask for: the modalities and the ensembles."""
    return (*MODALITY_NAMES, *params["ensemble"]["streams"])


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
    settings: Settings = resolved_settings(params, benchmark, variant)["ensemble"]
    return settings


def resolved_settings(params: Settings, benchmark: str, variant: str) -> Settings:
    """Return the settings sections: defaults <- protocol <- benchmark <- variant."""
    settings = {name: params[name] for name in OVERRIDABLE}
    for layer in (
        params["protocols"].get(params["protocol"], {}),
        params["benchmarks"][benchmark],
        params["variants"][variant],
    ):
        changes = {key: value for key, value in layer.items() if key in OVERRIDABLE}
        settings = merge_deep(settings, changes)
    return copy.deepcopy(settings)


def _add_run(
    grid: Settings, params: Settings, stores: Settings, cell: tuple[str, str, str, int]
) -> str:
    """Add one run, and return its address."""
    benchmark, variant, modality, seed = cell
    settings = run_settings(params, stores, cell)
    identity = f"{benchmark}/{variant}/{modality}/seed{seed}-{address(settings)}"
    grid["runs"][identity] = settings
    grid["fusion"][identity] = resolved_settings(params, benchmark, variant)["evaluate"]["fusion"]
    return identity


def run_settings(params: Settings, stores: Settings, cell: tuple[str, str, str, int]) -> Settings:
    """Return the one complete mapping a run is made from; its hash is the run's address.

    Which fusion of the heads counts is no part of it: both are always computed.
    """
    benchmark, variant, modality, seed = cell
    resolved = resolved_settings(params, benchmark, variant)
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
        "train": _train_settings(params, cell, resolved["train"]),
        "evaluate": {"fusion_weight": resolved["evaluate"]["fusion_weight"]},
    }


def _train_settings(params: Settings, cell: tuple[str, str, str, int], train: Settings) -> Settings:
    """Return a run's `train` section; of the checkpoint that it begins with, its digest."""
    own = without_untuned(train)
    if "from" not in own:
        return own
    path = parent_path(own["from"], cell[2])
    if path not in params.get("parents", {}):
        raise ValueError(
            f"train.from of variant {cell[1]} on {cell[0]}: expected a checkpoint in the workspace, found no file "
            f"{path}; put it there, or leave `from` out to train from the beginning"
        )
    return own | {"from": params["parents"][path]}


def parent_path(text: str, modality: str) -> str:
    """Return the path that `train.from` says for one modality."""
    return text.replace("{modality}", modality)


def parent_paths(params: Settings) -> set[str]:
    """Return every path that `train.from` may mean, in any section and of any modality."""
    layers = [
        params,
        *params["protocols"].values(),
        *params["benchmarks"].values(),
        *params["variants"].values(),
    ]
    texts = {layer.get("train", {}).get("from") for layer in layers} - {None}
    return {parent_path(text, modality) for text in texts for modality in MODALITY_NAMES}


def prepare_settings(params: Settings, dataset: str) -> Settings:
    """Return the `prepare` settings of one dataset: the defaults and the dataset's own changes."""
    return merge_deep(params["prepare"], params["datasets"][dataset].get("prepare", {}))


def _store_settings(params: Settings, dataset: str) -> Settings:
    """Return all that a store is made from, apart from the raw files themselves."""
    entry = params["datasets"][dataset]
    reuse = entry.get("reuse")
    own = {"recordings": entry["recordings"]} if entry.get("recordings") else {}
    return {
        "kind": entry["kind"],
        "partial": bool(entry.get("partial", False)),
        "release": entry.get("release", 1),
        "reuse": _store_address(params, reuse) if reuse else None,
        "prepare": prepare_settings(params, dataset),
        "synthesize": entry.get("synthesize"),
        **own,
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
