"""Options and readers that several commands share."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from dualhead.params import Settings


class Command(NamedTuple):
    """A subcommand: what it runs, a line of help, an example, and its options."""

    run: Callable[[argparse.Namespace], int | None]
    text: str
    example: str
    add_options: Callable[[argparse.ArgumentParser], None]


def add_path(
    command: argparse.ArgumentParser, name: str, text: str, *, required: bool = True
) -> None:
    """Add the option `--name PATH`."""
    command.add_argument(f"--{name}", type=Path, required=required, metavar="PATH", help=text)


def add_paths(command: argparse.ArgumentParser, name: str, text: str) -> None:
    """Add the option `--name PATH`, which may be given again."""
    option = f"--{name}"
    command.add_argument(
        option, type=Path, required=True, action="append", metavar="PATH", help=text
    )


def add_workspace_paths(command: argparse.ArgumentParser) -> None:
    """Where a workspace keeps its grid and results, unless told otherwise."""
    for name, default, text in (
        ("grid", "results/grid.json", "of the workspace; `snakemake -n` writes it"),
        ("results", "results", "the folder that holds runs/ and ensembles/"),
    ):
        help_text = f"{text} (default: {default})"
        command.add_argument(
            f"--{name}", type=Path, default=Path(default), metavar="PATH", help=help_text
        )


def read_json(path: Path) -> Settings:
    """Return the mapping in a JSON file."""
    content: Settings = json.loads(path.read_text(encoding="utf-8"))
    return content


def read_grid(path: Path) -> Settings:
    """Return a workspace's grid; say where to look for one if there is none."""
    if not path.is_file():
        raise ValueError(
            f"{path}: no such file; run it in a workspace, where `snakemake -n` wrote it"
        )
    return read_json(path)
