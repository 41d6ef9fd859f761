"""What the workflow's rules ask of Python: which raw data is there, and a setting as an option."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from dualhead.files import replacing
from dualhead.params import Settings


def typed(overrides: Any) -> Any:
    """Return what `--config` gave with numbers as numbers: Snakemake leaves '[1, 2]' as words."""
    if isinstance(overrides, Mapping):
        return {key: typed(value) for key, value in overrides.items()}
    if isinstance(overrides, list):
        return [typed(value) for value in overrides]
    return _number(overrides) if isinstance(overrides, str) else overrides


def _number(word: str) -> object:
    try:
        value = json.loads(word)
    except json.JSONDecodeError:
        return word
    return value if isinstance(value, int | float) else word


def write_if_changed(path: Path, content: Settings) -> None:
    """Write content as JSON, unless the file holds just that: its timestamp triggers the tables."""
    text = json.dumps(content, indent=1) + "\n"
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def any_newer(raw: Iterable[str], store: Path) -> bool:
    """Return whether raw data lies there, all of it, and some is newer than the store."""
    paths = [Path(path) for path in raw]
    if not paths or not all(path.exists() for path in paths):
        return False
    return max(path.stat().st_mtime_ns for path in paths) > store.stat().st_mtime_ns


def as_options(settings: Mapping[str, object]) -> list[str]:
    """Return {num_frames: 300, range: [1, 2]} as --num-frames 300 --range 1 2, word by word."""
    words = []
    for name, value in settings.items():
        values = value if isinstance(value, list) else [value]
        words += [f"--{name.replace('_', '-')}", *map(str, values)]
    return words


def prepare_options(store: Settings) -> list[str]:
    """Return the options of `dualhead prepare` for one store of the grid."""
    settings = {key: value for key, value in store["prepare"].items() if key != "recipe"}
    return as_options(settings) + ["--partial"] * store["partial"]


def missing_data(stores: Mapping[str, Settings]) -> str:
    """Return what has to be downloaded before these stores can be made; empty if nothing."""
    downloaded = [store for store in stores.values() if store["synthesize"] is None]
    texts = [_missing(store) for store in downloaded if not all(map(_exists, store["raw"]))]
    return "\n\n".join(["Raw data is missing; nothing was started.", *texts]) if texts else ""


def _missing(store: Settings) -> str:
    from dualhead.data.datasets import DATASETS

    absent = [str(Path(path).absolute()) for path in store["raw"] if not _exists(path)]
    return f"{store['dataset']}: no {' and '.join(absent)}\n{DATASETS[store['kind']].where}"


def _exists(path: str) -> bool:
    return Path(path).exists()
