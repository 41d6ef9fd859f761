"""Commands for the state of a workspace."""

from __future__ import annotations

import argparse

from dualhead.cli.options import (
    Command,
    add_workspace_paths,
    read_grid,
)


def _status_options(command: argparse.ArgumentParser) -> None:
    add_workspace_paths(command)


def _status(options: argparse.Namespace) -> None:
    from dualhead.workspace.status import show_status

    show_status(read_grid(options.grid), options.results)


def _gc_options(command: argparse.ArgumentParser) -> None:
    add_workspace_paths(command)
    text = "really remove; without it only the list is printed"
    command.add_argument("--remove", action="store_true", help=text)


def _gc(options: argparse.Namespace) -> None:
    from dualhead.workspace.status import collect_garbage

    collect_garbage(read_grid(options.grid), options.results, remove=options.remove)


COMMANDS: dict[str, Command] = {
    "status": Command(
        _status,
        "show which runs are done, running (with time left) and waiting",
        "dualhead status",
        _status_options,
    ),
    "gc": Command(
        _gc,
        "list, and on request remove, runs that no params.yaml asks for",
        "dualhead gc --remove",
        _gc_options,
    ),
}
