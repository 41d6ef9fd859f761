"""Options that several commands share."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple


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
    """Add the option `--name PATH...`, which may be given again."""
    more = {"nargs": "+", "action": "extend", "metavar": "PATH"}
    command.add_argument(f"--{name}", type=Path, required=True, help=text, **more)


def add_results(command: argparse.ArgumentParser) -> None:
    """Add the option `--results`, which is the workspace's folder unless told otherwise."""
    text = "the folder that holds runs/ and ensembles/ (default: results)"
    command.add_argument("--results", type=Path, default=Path("results"), metavar="PATH", help=text)


def add_workspace_paths(command: argparse.ArgumentParser) -> None:
    """Add where a workspace keeps its grid and results."""
    text = "grid.json (default: of the run that began last, or what params.yaml asks for)"
    add_path(command, "grid", text, required=False)
    add_results(command)


def whole_number(least: int) -> Callable[[str], int]:
    """Return the type of options that count something: whole numbers, `least` or more."""

    def number(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) < least:
            raise argparse.ArgumentTypeError(
                f"expected a whole number, {least} or more, found {text!r}"
            )
        return int(text)

    return number


COUNT = whole_number(1)
