"""Checked settings: params files on top of each other, and refusals of what cannot be."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from dualhead.settings.defaults import FITTED, MERGED, MODELS, SCHEMA
from dualhead.settings.grid import resolved_settings, stream_names, table_cells
from dualhead.settings.params import (
    MODALITY_NAMES,
    Settings,
    locate,
    merge,
    merge_deep,
    packaged_params,
)
from dualhead.settings.reading import Located, locate_yaml
from dualhead.settings.schema import Place, closest, defaults_of, shown

CHANNELS: Final = {
    "dualhead": (
        ("coarse_channels", slice(1, 3), "coarse_dilations"),
        ("coarse_channels", slice(0, 1), "fine_dilations"),
        ("fine_channels", slice(1, 3), "fine_dilations"),
    ),
    "ms_g3d": (("channels", slice(0, 3), "dilations"),),
}
"""Channels that the branches of an MS-TCN share: one for each dilation, and two more."""
TAKEN: Final = "curves"
"""The name below results/tables that the curves of all runs have (curves.csv)."""


def load(path: Path) -> Settings:
    """Return the complete, checked settings of a params file.

    Raises:
        ValueError: if it is missing, is no YAML mapping, or holds what no setting may be; with file and line.
    """
    return checked(extend(locate(path), path.parent))


def complete(params: Mapping[str, Any], folder: Path) -> Settings:
    """Return params with all that they extend filled in, checked.

    Args:
        params: a workspace's own params, as read.
        folder: folder that a relative `extends` starts from.

    Raises:
        ValueError: on an unknown or misfit setting.
    """
    return checked(extend(Located(dict(params), "params.yaml"), folder))


def checked(params: Located, splits: Mapping[str, Sequence[str]] | None = None) -> Settings:
    """Return params on top of the defaults.

    Args:
        params: all that a workspace's files say.
        splits: kind of dataset -> its splits, where these are to be checked too.

    Raises:
        ValueError: at the first setting that is unknown or misfit.
    """
    whole = override(Located(defaults(), params.file), params)
    check(whole)
    if splits is not None:
        check_datasets(whole, splits)
    return copy.deepcopy(whole.content)


def defaults() -> Settings:
    """Return the settings that hold where no file says otherwise: those of the paper."""
    return defaults_of(SCHEMA)


def extend(own: Located, folder: Path, seen: tuple[Path, ...] = ()) -> Located:
    """Return params on top of all that they extend; `folder` is where a relative path starts."""
    if "extends" not in own.content:
        return own
    base, place = own.content["extends"], Place(own, ("extends",))
    path = packaged_params() if base == "paper" else Path(os.path.normpath(folder / str(base)))
    real = Path(os.path.realpath(path))
    if real in seen:
        raise ValueError(f"{place}: {path} extends itself by way of {' -> '.join(map(str, seen))}")
    if not isinstance(base, str) or not os.path.isfile(path):  # noqa: PTH113  (which never raises)
        raise place.refusal("`paper`, or a params file, from this file's folder", base)
    below = extend(locate_yaml(path), path.parent, (*seen, real))
    changes = {key: value for key, value in own.content.items() if key != "extends"}
    return override(below, Located(changes, own.file, own.places))


def override(base: Located, changes: Located) -> Located:
    """Return base with changes on top: settings key by key, the grid's sections replaced whole."""
    content = merge(base.content, changes.content, sections=MERGED)
    return Located(content, changes.file, {**base.places, **changes.places})


def check(params: Located) -> None:
    """Raise ValueError at the first setting that is unknown, missing, misfit, or fits no other one."""
    top = Place(params)
    for name in SCHEMA.fields or {}:
        if name not in params.content and name != "extends":
            raise ValueError(f"{top}: the section '{name}' is missing; say `extends: paper`")
    SCHEMA.check(params.content, top)
    _check_streams(params.content["ensemble"]["streams"], top / "ensemble" / "streams")
    for section in ("protocols", "benchmarks", "variants"):
        for name, layer in params.content[section].items():
            streams = layer.get("ensemble", {}).get("streams", {})
            _check_streams(streams, top / section / name / "ensemble" / "streams")
    _check_stores(params.content, top / "datasets")
    _check_variants(params.content["variants"], top / "variants")
    _check_references(params.content, top)
    for name, table in params.content["tables"].items():
        _check_table(name, table, top / "tables" / name)
        for cell in table_cells(table):
            _check_cell(params.content, top, name, cell)


def check_datasets(params: Located, splits: Mapping[str, Sequence[str]]) -> None:
    """Raise ValueError for a dataset of an unknown kind, or a benchmark's split that it has not.

    Args:
        params: complete settings.
        splits: kind of dataset -> its splits.
    """
    top, datasets = Place(params), params.content["datasets"]
    for name, dataset in datasets.items():
        _reference(top / "datasets" / name / "kind", dataset["kind"], splits)
    for name, benchmark in params.content["benchmarks"].items():
        known = splits[datasets[benchmark["dataset"]]["kind"]]
        _reference(top / "benchmarks" / name / "split", benchmark["split"], known)


def _check_streams(streams: Mapping[str, Settings], place: Place) -> None:
    """Refuse weights of which some are fitted, or none counts, and a name that is a modality's."""
    for name, weights in streams.items():
        is_fitted = [weight == FITTED for weight in weights.values()]
        if name in MODALITY_NAMES:
            raise ValueError(f"{place / name}: expected another name, found that of a modality")
        if any(is_fitted) and not all(is_fitted):
            raise (place / name).refusal(f"all weights as numbers or all as `{FITTED}`", weights)
        if not any(weights.values()):
            raise (place / name).refusal("a weight above 0", weights)


def _check_stores(params: Settings, place: Place) -> None:
    """Refuse datasets without recordings, and reuse in a circle or of what is prepared otherwise."""
    datasets = params["datasets"]
    for name, dataset in datasets.items():
        if not dataset["raw"] and "synthesize" not in dataset:
            expected = "a file or folder of recordings, or `synthesize`"
            raise (place / name / "raw").refusal(expected, dataset["raw"])
        if dataset["raw"] and "synthesize" in dataset:
            raise (place / name / "raw").refusal("[] beside `synthesize`", dataset["raw"])
        chain = [name]
        while reuse := datasets[chain[-1]].get("reuse"):
            where = place / chain[-1] / "reuse"
            _reference(where, reuse, datasets)
            if reuse in chain:
                raise ValueError(f"{where}: goes round in a circle: {' -> '.join([*chain, reuse])}")
            chain.append(reuse)
        _check_same_preparation(params, chain[:2], place)


def _check_variants(variants: Settings, place: Place) -> None:
    """Refuse settings of a network that is not the variant's: they would change nothing."""
    for name, variant in variants.items():
        for model in MODELS.keys() & variant.keys() - {variant["model"]}:
            raise ValueError(
                f"{place / name / model}: expected settings of its own model, {variant['model']}, found some of "
                f"{model}, which would change nothing"
            )


def _check_table(name: str, table: Settings, place: Place) -> None:
    """Refuse a table whose file another product has, and one that names its networks twice over."""
    if name == TAKEN:
        raise ValueError(
            f"{place}: expected another name, found that of results/tables/{TAKEN}.csv, which holds the curves of all "
            "runs"
        )
    if "variant" in table and "variants" in table:
        raise (place / "variant").refusal("either `variant` or `variants`", table["variant"])


def _check_same_preparation(params: Settings, names: Sequence[str], place: Place) -> None:
    own, *others = (
        merge_deep(params["prepare"], params["datasets"][name].get("prepare", {})) for name in names
    )
    for other in others:
        if other != own:
            raise ValueError(
                f"{place / names[0] / 'reuse'}: expected a dataset with the same `prepare` settings, found "
                f"{names[1]} with {shown({key: other[key] for key in other if other[key] != own[key]})}"
            )


def _check_references(params: Settings, top: Place) -> None:
    """Check that every name that one section uses is defined in another."""
    for name, benchmark in params["benchmarks"].items():
        _reference(top / "benchmarks" / name / "dataset", benchmark["dataset"], params["datasets"])
    variants, streams = params["variants"], stream_names(params)
    known: Mapping[str, Iterable[str]] = {
        **{"benchmark": params["benchmarks"], "benchmarks": params["benchmarks"], "rows": variants},
        **{"variant": variants, "variants": variants, "baseline": variants},
        **{"stream": streams, "streams": streams},
    }
    tables = [(top / "tables" / name, table) for name, table in params["tables"].items()]
    for place, entry in [(top / "figures", params["figures"]), *tables]:
        for key in known.keys() & entry.keys():
            names = entry[key] if isinstance(entry[key], list) else [entry[key]]
            for i, name in enumerate(names):
                one = place / key / i if isinstance(entry[key], list) else place / key
                _reference(one, name, known[key])


def _check_cell(params: Settings, top: Place, table: str, cell: tuple[str, str, str]) -> None:
    """Refuse weights that nobody held out can fit, a crop longer than a sample, channels that branches cannot share."""
    benchmark, variant, stream = cell
    _reference(top / "tables" / table, variant, params["variants"])  # where no table names it
    settings = resolved_settings(params, benchmark, variant)
    weights = settings["ensemble"]["streams"].get(stream, {})
    if FITTED in weights.values() and settings["train"]["validation"] == 0:
        raise ValueError(
            f"{top / 'tables' / table}: {stream} fits its weights on held-out subjects, but {variant} on "
            f"{benchmark} holds none out; take a variant whose train.validation is above 0"
        )
    layers = (("variants", variant), ("benchmarks", benchmark), ("protocols", params["protocol"]))
    frames, crop = settings["input"]["num_frames"], settings["input"]["random_crop"]
    if crop > frames:
        place = _place(top, layers, ("input", "random_crop"))
        raise place.refusal(f"at most {frames}, the frames of input.num_frames", crop)
    model = params["variants"][variant]["model"]
    for key, part, dilations in CHANNELS[model]:
        branches = len(settings[model][dilations]) + 2
        if any(channels % branches for channels in settings[model][key][part]):
            wanted = f"multiples of {branches} (one for each of {dilations}, and two)"
            raise _place(top, layers, (model, key)).refusal(wanted, settings[model][key][part])


def _place(top: Place, layers: Iterable[tuple[str, str]], keys: tuple[str, str]) -> Place:
    """Return the place of a setting in the strongest layer that has it."""
    places = [
        *(top / section / name / keys[0] / keys[1] for section, name in layers),
        top / keys[0] / keys[1],
    ]
    return next((one for one in places if one.keys in top.source.places), places[-1])


def _reference(place: Place, name: str, known: Iterable[str]) -> None:
    if name not in known:
        raise ValueError(f"{place}: {name!r} is not defined{closest(name, known)}")
