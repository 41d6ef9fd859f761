"""Options that several commands share."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dualhead.files import write_text
from dualhead.settings import defaults
from dualhead.settings.params import Settings


class Command(NamedTuple):
    """A subcommand: its function, a line of help, an example, its options, and two habits."""

    run: Callable[[argparse.Namespace], int | None]
    text: str
    example: str
    add_options: Callable[[argparse.ArgumentParser], None]
    passes_on: bool = False  # options that it does not know, as `options.rest`
    prints: bool = False  # to standard output what `--output -` asks for


def add_path(
    command: argparse.ArgumentParser, name: str, text: str, *, required: bool = True
) -> None:
    """Add the option `--name PATH`."""
    command.add_argument(f"--{name}", type=Path, required=required, metavar="PATH", help=text)


def write_or_print(path: Path | None, text: str) -> None:
    """Write a text into a file; print it where there is none, or for `-`."""
    if path is None or str(path) == "-":
        print(text.rstrip("\n"))
    else:
        write_text(path, text)


def add_json(command: argparse.ArgumentParser) -> None:
    """Add the option `--json`, for programs that read the answer."""
    command.add_argument("--json", action="store_true", help="answer in JSON")


def add_paths(command: argparse.ArgumentParser, name: str, text: str) -> None:
    """Add the option `--name PATH...`, which may be given again."""
    more = {"nargs": "+", "action": "extend", "metavar": "PATH"}
    command.add_argument(f"--{name}", type=Path, required=True, help=text, **more)


def add_directory(command: argparse.ArgumentParser, *, names: Sequence[str] = ()) -> None:
    """Add the option `--directory`, the workspace, which may have other names as well."""
    text = "the workspace (default: this folder)"
    names = ("--directory", *names)
    command.add_argument(*names, type=Path, default=Path(), metavar="FOLDER", help=text)


def overwritten(options: argparse.Namespace, outputs: Sequence[str]) -> str:
    """Return what is wrong with a file to write that is read as well, or is given twice; empty if nothing is.

    Args:
        options: of one command, as parsed.
        outputs: names of the options that say what is written.
    """
    written = [(name, path) for name in outputs for path in _paths(options, name)]
    read = [
        (name, path)
        for name in vars(options)
        if name not in outputs
        for path in _paths(options, name)
    ]
    for number, (name, path) in enumerate(written):
        for other, there in (*read, *written[:number]):
            if os.path.realpath(path) == os.path.realpath(there):
                used = "read" if (other, there) in read else "written"
                return f"argument --{name}: expected another file than {path}, which is {used} as {other}"
    return ""


def _paths(options: argparse.Namespace, name: str) -> list[Path]:
    """Return the paths that an option was given, apart from - for a terminal."""
    given = getattr(options, name, None)
    paths = given if isinstance(given, list) else [given]
    return [path for path in paths if isinstance(path, Path) and path != Path("-")]


def add_results(command: argparse.ArgumentParser) -> None:
    """Add the options `--directory`, and `--results`, which is a folder of it unless told otherwise."""
    add_directory(command)
    text = "the folder that holds runs/ and ensembles/ (default: results/ of the workspace)"
    add_path(command, "results", text, required=False)


def find_results(options: argparse.Namespace) -> None:
    """Take the workspace's results where none are named."""
    if hasattr(options, "directory") and getattr(options, "results", "") is None:
        options.results = options.directory / "results"


def add_workspace_paths(command: argparse.ArgumentParser) -> None:
    """Add where a workspace keeps its grid and results."""
    text = "grid.json (default: of the run that began last, or what params.yaml asks for)"
    add_path(command, "grid", text, required=False)
    add_results(command)


RECORDINGS = ("format", "layout", "to_layout", "joints", "unit", "picture", "fps", "to_fps")
SPLITTING = ("train_share", "split_seed", "train_subjects", "train_cameras")
"""Options about own recordings, spelled as in `recordings` of a dataset in params.yaml."""


def add_recordings(command: argparse.ArgumentParser, *, splits: bool) -> None:
    """Add the options that say what own recordings are and become, and how they are split."""
    group = command.add_argument_group("own recordings (skeletons)")
    group.add_argument("--format", choices=defaults.FORMATS, help="(default: told by content)")
    text = "of their joints: a name, or a YAML file (default: what the files say)"
    group.add_argument("--layout", help=text)
    group.add_argument("--to-layout", help="convert the joints to this layout")
    text = "YAML: a joint of that layout -> the recordings' joints that it is the mean of"
    group.add_argument("--joints", metavar="PATH", help=text)
    group.add_argument("--unit", choices=defaults.UNITS, help="of their coordinates")
    group.add_argument(
        *("--picture",), type=COUNT, nargs=2, metavar=("WIDTH", "HEIGHT"), help="pixels of it"
    )
    group.add_argument("--fps", type=_rate, help="frames a second of the recordings")
    group.add_argument("--to-fps", type=_rate, help="convert them to so many frames a second")
    if splits:
        text = "of each class in split `share`, of people in `subject`, of cameras in `camera` (default: 0.7)"
        group.add_argument("--train-share", type=_share, help=text)
        group.add_argument("--split-seed", type=whole_number(0), help="who these are (default: 1)")
        for name in ("subjects", "cameras"):
            numbers: dict[str, Any] = {"type": whole_number(0), "nargs": "+", "metavar": "NUMBER"}
            group.add_argument(
                f"--train-{name}", help=f"{name} that train, in place of a share", **numbers
            )


def recordings_of(options: argparse.Namespace) -> Settings:
    """Return the settings of own recordings that the options give."""
    given = {name: getattr(options, name, None) for name in (*RECORDINGS, *SPLITTING)}
    return {name: value for name, value in given.items() if value is not None}


def _rate(text: str) -> float:
    return _number(text, 0.0, 10_000.0)


def _share(text: str) -> float:
    return _number(text, 0.0, 1.0)


def _number(text: str, above: float, below: float) -> float:
    """Return a number between two others."""
    try:
        value = float(text)
    except ValueError:
        value = above
    if not above < value < below:
        raise argparse.ArgumentTypeError(
            f"expected a number above {above:g} and below {below:g}, found {text!r}"
        )
    return value


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
