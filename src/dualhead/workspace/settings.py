"""A workspace's complete settings, from params.yaml and what the command line puts on top."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dualhead.data.datasets import DATASETS
from dualhead.settings import checks
from dualhead.settings.checks import extend, override
from dualhead.settings.params import Settings, locate
from dualhead.settings.reading import Keys, Located, parse_yaml

COMMAND_LINE = "--config"


def load_workspace(
    folder: Path,
    *,
    configfiles: Sequence[Path] = (),
    overrides: Mapping[str, Any] | None = None,
    replace: bool = False,
) -> Settings:
    """Return the complete, checked settings of a workspace.

    Each layer changes what lies below it by one rule: settings key by key, the grid's sections whole.

    Args:
        folder: the workspace, which has a params.yaml.
        configfiles: files on top of it, the strongest last (Snakemake's `--configfile`).
        overrides: single settings on top of all, as Snakemake parses `--config`; their words are read as YAML.
        replace: whether the first of `configfiles` stands in for params.yaml (`--replace-workflow-config`).

    Raises:
        ValueError: one line, with file, line, place, what was expected and found.
    """
    own, *others = [*([] if replace and configfiles else [folder / "params.yaml"]), *configfiles]
    params = extend(locate(own), own.parent)
    for path in others:
        params = override(params, _changes(locate(path)))
    typed = {key: _typed(value) for key, value in (overrides or {}).items()}
    everywhere = dict.fromkeys(_keys_within(typed, ()), COMMAND_LINE)
    params = override(params, _changes(Located(typed, str(own), everywhere)))
    return checks.checked(params, splits={kind: [*it.splits] for kind, it in DATASETS.items()})


def _changes(layer: Located) -> Located:
    """Return a layer that may lie on top of params.yaml: one that extends nothing itself."""
    if "extends" in layer.content:
        raise ValueError(
            f"{layer.place(('extends',))}: expected changes of params.yaml, found `extends`; remove that line, "
            "or put the file in params.yaml's place with --replace-workflow-config"
        )
    return layer


def _typed(value: Any) -> Any:
    """Return a value of `--config` with words read as YAML: Snakemake leaves '[1, 2]' as words."""
    if isinstance(value, Mapping):
        return {str(key): _typed(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_typed(item) for item in value]
    if not isinstance(value, str):
        return value
    try:
        return parse_yaml(value, COMMAND_LINE)
    except ValueError:
        return value  # a title with a bracket in it


def _keys_within(value: Any, keys: Keys) -> list[Keys]:
    """Return the keys that lead to a value and to all within it."""
    within = enumerate(value) if isinstance(value, list) else ()
    items = value.items() if isinstance(value, Mapping) else within
    return [keys, *(inner for key, item in items for inner in _keys_within(item, (*keys, key)))]
