"""Commands for the state of a workspace."""

from __future__ import annotations

import argparse
import json
import os
import shlex
from pathlib import Path

from dualhead.cli.options import (
    Command,
    add_directory,
    add_json,
    add_path,
    add_results,
    write_or_print,
)
from dualhead.settings.defaults import editor_schema
from dualhead.workspace import project


def _init_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("folder", type=Path, metavar="FOLDER", help="the folder to make")
    text = "what its params.yaml asks for: the paper's tables, a demo of minutes, NW-UCLA, your recordings"
    command.add_argument(
        *("--example",), choices=project.EXAMPLES, default="paper", help=f"{text} (default: paper)"
    )


def _init(options: argparse.Namespace) -> None:
    left = project.left_alone(options.folder)
    written = project.init(options.folder, options.example)
    print(f"{options.folder}: a workspace ({options.example}), {len(written)} files. Next:")
    if left:
        print(
            f"  compare {', '.join(left)} with those of an empty folder: they were here, and stay as they are"
        )
    folder = shlex.quote(str(options.folder))
    print(f"  edit {folder}/params.yaml   what to make of what")
    print(f"  dualhead doctor --directory {folder}   what is here, and what is missing")
    print(f"  dualhead run --directory {folder}   make it: {folder}/reports/report.pdf")


def _run_options(command: argparse.ArgumentParser) -> None:
    add_directory(command, names=["-d"])  # both are Snakemake's own


def _run(options: argparse.Namespace) -> None:
    command = project.snakemake_command(options.directory, options.rest, os.environ)
    project.become(command, project.with_cache(options.directory, os.environ))


def _doctor_options(command: argparse.ArgumentParser) -> None:
    add_directory(command)
    add_json(command)


def _doctor(options: argparse.Namespace) -> None:
    from dualhead.workspace.doctor import examine

    found = examine(options.directory)
    if options.json:
        print(json.dumps(found, indent=1))
        return
    width = max(map(len, found)) + 2
    for name, text in found.items():
        print(f"{name:{width}}{text}")


def _status_options(command: argparse.ArgumentParser) -> None:
    add_path(command, "grid", "grid.json (default: what params.yaml asks for)", required=False)
    add_results(command)
    add_json(command)


def _status(options: argparse.Namespace) -> None:
    from dualhead.settings.formats import read_grid
    from dualhead.workspace.grids import look, tell_absent
    from dualhead.workspace.status import show_status, status_of

    grid = read_grid(options.grid) if options.grid else look(options.directory)
    tell_absent([grid], options.directory)
    if options.json:
        print(json.dumps(status_of(grid, options.results), indent=1))
    else:
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
        garbage.collect(options.directory, options.results, remove=options.remove)


def _schema_options(command: argparse.ArgumentParser) -> None:
    add_path(command, "output", "JSON to write (default: print it)", required=False)


def _schema(options: argparse.Namespace) -> None:
    write_or_print(options.output, json.dumps(editor_schema(), indent=1))


def _completion_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("shell", choices=("bash", "zsh"), help="whose completion")


def _completion(options: argparse.Namespace) -> None:
    import shtab

    from dualhead.cli.main import parser

    print(shtab.complete(parser(), shell=options.shell))


COMMANDS: dict[str, Command] = {
    "init": Command(
        _init,
        "make a workspace: a folder with params.yaml, a place for raw data, and files for DVC and SLURM",
        "dualhead init mine --example demo",
        _init_options,
    ),
    "run": Command(
        _run,
        "run the workflow in a workspace; all other options and targets are Snakemake's",
        "dualhead run --directory mine\n"
        "  dualhead run -n                               what would be made\n"
        "  dualhead run --cores 2 tables                 only so much, on two cores\n"
        "  dualhead run --config 'seeds=[1,2,3]'         settings on top of params.yaml\n"
        "  dualhead run --profile profiles/slurm         on a cluster\n"
        "  dualhead run --report reports/report.html     all in one page to click through",
        _run_options,
        passes_on=True,
    ),
    "status": Command(
        _status,
        "show which runs are done, running (with time left) and waiting",
        "dualhead status",
        _status_options,
    ),
    "doctor": Command(
        _doctor,
        "say what is here: versions, cores, GPU, disk, SLURM, raw data, extras",
        "dualhead doctor",
        _doctor_options,
    ),
    "gc": Command(
        _gc,
        "list, and on request move away, runs that no params.yaml asks for",
        "dualhead gc --remove",
        _gc_options,
    ),
    "completion": Command(
        _completion,
        "print what completes commands and options in a shell",
        'eval "$(dualhead completion bash)"',
        _completion_options,
    ),
    "schema": Command(
        _schema,
        "print the JSON Schema of params.yaml, by which editors check and complete it",
        "dualhead schema --output docs/params.schema.json",
        _schema_options,
        prints=True,
    ),
}
