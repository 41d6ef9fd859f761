"""Settings: reading, merging, dumping, addresses."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeAlias

from dualhead.settings.reading import Located, dump_yaml, locate_yaml

Settings: TypeAlias = dict[str, Any]
MODALITY_NAMES = ("joint", "bone", "joint_motion", "bone_motion")


def packaged_params() -> Path:
    """Return the file that `extends: paper` stands for."""
    return Path(str(files("dualhead.settings") / "paper.yaml"))


def read_yaml(path: Path) -> Settings:
    """Return a YAML file's mapping; ValueError says what is wrong with the file, and in which line."""
    return locate(path).content


def locate(path: Path) -> Located:
    """Return a YAML file's mapping with the line of each value; ValueError as `read_yaml`."""
    if not path.exists():
        raise ValueError(
            f"{path}: no such file; a workspace is a folder with a params.yaml: `dualhead init FOLDER` makes "
            "one, --directory FOLDER names one"
        )
    return locate_yaml(path)


def merge(base: Settings, changes: Mapping[str, Any], *, sections: Iterable[str]) -> Settings:
    """Return base with changes on top: the named sections key by key, all else replaced."""
    result = dict(base)
    for name, value in changes.items():
        both = isinstance(result.get(name), dict) and isinstance(value, Mapping)
        result[name] = merge_deep(result[name], value) if both and name in sections else value
    return copy.deepcopy(result)


def merge_deep(base: Mapping[str, Any], changes: Mapping[str, Any]) -> Settings:
    """Return base with changes on top, mappings key by key at every depth."""
    result = dict(base)
    for key, value in changes.items():
        both = isinstance(result.get(key), Mapping) and isinstance(value, Mapping)
        result[key] = merge_deep(result[key], value) if both else value
    return result


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


def dump(settings: Mapping[str, Any]) -> str:
    """Return settings as YAML, in the order they stand."""
    return dump_yaml(settings)
