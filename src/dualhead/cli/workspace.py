"""Commands for the state of a workspace."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from dualhead.cli.options import Command, add_path, add_results
from dualhead.files import write_text
from dualhead.settings.defaults import editor_schema


def _status_options(command: argparse.ArgumentParser) -> None:
    add_path(command, "grid", "grid.json (default: what params.yaml asks for)", required=False)
    add_results(command)


def _status(options: argparse.Namespace) -> None:
    from dualhead.settings.formats import read_grid
    from dualhead.workspace.grids import plan
    from dualhead.workspace.status import show_status

    grid = read_grid(options.grid) if options.grid else plan(Path())
    show_status(grid, options.results)


def _gc_options(command: argparse.ArgumentParser) -> None:
    add_results(command)
    text = "move them to results/trash; without it only the list is printed"
    command.add_argument("--remove", action="store_true", help=text)
    text = "delete for good what lies in results/trash"
    command.add_argument("--empty-trash", action="store_true", help=text)


def _gc(options: argparse.Namespace) -> None:
    from dualhead.workspace import garbage

    if options.empty_trash:
        garbage.empty_trash(options.results)
    else:
        garbage.collect(Path(), options.results, remove=options.remove)


def _schema_options(command: argparse.ArgumentParser) -> None:
    add_path(command, "output", "JSON to write (default: print it)", required=False)


def _schema(options: argparse.Namespace) -> None:
    text = json.dumps(editor_schema(), indent=1)
    if options.output:
        write_text(options.output, text)
    else:
        print(text)


COMMANDS: dict[str, Command] = {
    "schema": Command(
        _schema,
        "print the JSON Schema of params.yaml, by which editors check and complete it",
        "dualhead schema --output docs/params.schema.json",
        _schema_options,
    ),
    "status": Command(
        _status,
        "show which runs are done, running (with time left) and waiting",
        "dualhead status",
        _status_options,
    ),
    "gc": Command(
        _gc,
        "list, and on request move away, runs that no params.yaml asks for",
        "dualhead gc --remove",
        _gc_options,
    ),
}
