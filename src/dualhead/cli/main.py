"""The command line: one command, `dualhead`, whose subcommands the rules of the workflow call.

Settings are read here and passed down as arguments. All errors leave by one door, as one line.
"""

from __future__ import annotations

import argparse
import errno
import os
import select
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import dualhead
from dualhead.cli import data, networks, report, runs, serve, view, workspace
from dualhead.cli.options import find_results, overwritten
from dualhead.files import FOREIGN
from dualhead.progress import write_any_character
from dualhead.settings.schema import closest

COMMANDS = (
    workspace.COMMANDS
    | data.COMMANDS
    | runs.COMMANDS
    | networks.COMMANDS
    | report.COMMANDS
    | view.COMMANDS
    | serve.COMMANDS
)

DESCRIPTION = """\
From raw skeleton recordings to the tables of DualHead-Net.

From nothing to a report:
  dualhead init FOLDER --example demo; dualhead run --directory FOLDER
The workflow calls the other commands; each can also be typed by hand.
The main road:
  prepare -> train -> evaluate -> ensemble -> table, figure -> report"""
EXITS = """\
exit codes:
  0    done
  1    refused or failed, for the reason in the last line; no file is left half
       written
  2    the command line itself is wrong
  75   train: stopped by a signal, its state saved; the same command goes on
  130  stopped from the keyboard
  141  nobody reads the output any more

PYTHONDEVMODE=1 dualhead COMMAND ... shows where in the code an error comes
from."""
OUTPUTS: Final = (
    *("output", "record", "dropped", "history", "state", "curves", "segments"),
    *("scores", "metrics", "classes"),
)
"""Options that name a file to write."""
FILES: Final = {"bash": "_shtab_compgen_files", "zsh": "_files"}
FOLDERS: Final = {"bash": "_shtab_compgen_dirs", "zsh": "_files -/"}
"""Completion of a path, in the words of shtab."""
LONGEST: Final = 1000
"""Characters of an error's line."""
ROOM: Final = "make room and give the same command again"
REMEDIES: Final = {
    errno.ENOSPC: f"the disk is full; {ROOM}",
    errno.EDQUOT: f"the quota is used up; {ROOM}",
    errno.EROFS: "it can only be read; write to another place",
    errno.EACCES: "this user may not read or write it",
    errno.EFBIG: "it may not become so large; raise `ulimit -f`, or write to another file system",
    errno.EMFILE: "too many files are open; raise `ulimit -n`",
}
EXTRAS: Final = {
    **dict.fromkeys(("dvc", "matplotlib", "pandas", "seaborn", "snakemake"), "workflow"),
    **dict.fromkeys(("snakemake_executor_plugin_slurm", "statsmodels", "typst"), "workflow"),
    **dict.fromkeys(("onnx", "onnxruntime", "onnxscript", "safetensors"), "export"),
    "tensorboard": "tensorboard",
    "imageio_ffmpeg": "video",
    **dict.fromkeys(("fastapi", "uvicorn"), "serve"),
}
"""Packages that are there only where somebody asked for them: module -> extra of pyproject.toml."""
NO_MEMORY: Final = ("out of memory", "can't allocate memory", "not enough memory")
"""Words of torch's errors of memory; others name memory, too."""
SMALLER: Final = (
    "it does not fit into memory; smaller are --batch-size, --evaluate-batch-size, --workers, and "
    "train.forward_batch_size in params.yaml"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand; what a user, a file, a device or a setting did wrong becomes one line."""
    if os.name == "nt":
        return _fail("", "not for Windows; use WSL, the Linux in it", 1)
    command = ""
    try:
        write_any_character()
        options = parse(arguments)
        command = options.command
        code = int(options.run(options) or 0)
        sys.stdout.flush()
        return code
    except (KeyboardInterrupt, SystemError) as error:
        if isinstance(error, SystemError) and not isinstance(error.__cause__, KeyboardInterrupt):
            raise  # else h5py was interrupted while it held its lock
        return _fail(command, "stopped from the keyboard", 130)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRAS:
            raise
        remedy = f"it needs the package {package}: pip install 'dualhead[{EXTRAS[package]}]'"
        return _fail(command, remedy, 1)
    except FOREIGN as error:
        if isinstance(error, BrokenPipeError) and _nobody_reads():
            return 141
        if sys.flags.dev_mode:
            raise
        return _fail(command, _one_line(error), 1)


def _nobody_reads() -> bool:
    """Return whether the reader of our output is gone; if so, write the rest nowhere."""
    output, watch = sys.stdout.fileno(), select.poll()
    watch.register(output, 0)
    is_gone = any(event & (select.POLLERR | select.POLLHUP) for _, event in watch.poll(0))
    if is_gone:
        os.dup2(os.open(os.devnull, os.O_WRONLY), output)
    return is_gone


def _fail(command: str, reason: str, code: int) -> int:
    print(f"{f'dualhead {command}'.strip()}: {reason}", file=sys.stderr)
    return code


def _one_line(error: BaseException) -> str:
    """Return an error's text, with the file where one is known, and a remedy where there is one."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, OSError) and error.errno is not None:
        known = REMEDIES.get(error.errno, "")
        text = f"{error.filename}: {error.strerror or text}" if error.filename else text
        text += f": {known}" if known else ""
    elif isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(words in text for words in NO_MEMORY)
    ):
        text = f"{SMALLER} ({text})"
    elif not isinstance(error, ValueError):
        text = f"{type(error).__name__}: {text}"
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of one command; those it does not know are refused, or passed on as `rest`."""
    whole = parser()
    words = sys.argv[1:] if arguments is None else arguments
    if not words:
        whole.print_help(sys.stderr)
        whole.exit(2)
    if not words[0].startswith("-") and words[0] not in COMMANDS:
        whole.error(f"no command {words[0]!r}{closest(words[0], COMMANDS)}")
    options, rest = whole.parse_known_args(arguments)
    command = COMMANDS[options.command]
    if rest and not command.passes_on:
        whole.error(f"unrecognized arguments: {' '.join(rest)}")
    for name in OUTPUTS:
        given = getattr(options, name, None)
        paths = given if isinstance(given, list) else [given]
        if Path("-") in paths and not (name == "output" and command.prints):
            whole.error(
                f"argument --{name}: expected the path of a file, found -: "
                f"`dualhead {options.command}` never writes that to standard output"
            )
    if fault := overwritten(options, OUTPUTS):
        whole.error(fault)
    options.rest = rest
    find_results(options)
    return options


def parser() -> argparse.ArgumentParser:
    """Return the parser of all subcommands."""
    top = argparse.ArgumentParser(
        prog="dualhead",
        description=DESCRIPTION,
        epilog=EXITS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"dualhead {dualhead.__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, it in COMMANDS.items():
        command = commands.add_parser(
            name,
            help=it.text,
            description=f"{it.text[0].upper()}{it.text[1:]}.",
            epilog=f"example:\n  {it.example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=not it.passes_on,
        )
        command.set_defaults(run=it.run)
        it.add_options(command)
        for action in command._actions:
            if action.type is Path:  # for shtab, which looks for an attribute of this name
                vars(action)["complete"] = FOLDERS if action.metavar == "FOLDER" else FILES
    return top


if __name__ == "__main__":
    sys.exit(main())
