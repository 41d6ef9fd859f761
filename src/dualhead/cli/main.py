"""The command line: one command, `dualhead`, whose subcommands the rules of the workflow call.

Settings are read here and passed down as arguments.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from dualhead.cli import data, report, runs, workspace

COMMANDS = data.COMMANDS | runs.COMMANDS | report.COMMANDS | workspace.COMMANDS

DESCRIPTION = """\
From raw skeleton recordings to the tables of DualHead-Net.

The workflow calls these commands; each can also be typed by hand. The main road:
  prepare -> train -> evaluate -> ensemble -> table, figure -> report"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand; what a user, a file or a setting did wrong becomes one line."""
    options = parser().parse_args(arguments)
    try:
        return int(options.run(options) or 0)
    except (ValueError, OSError) as error:
        print(f"dualhead {options.command}: {_one_line(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"dualhead {options.command}: stopped from the keyboard", file=sys.stderr)
        return 130


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror or error}"
    return str(error)


def parser() -> argparse.ArgumentParser:
    """Return the parser of all subcommands."""
    top = argparse.ArgumentParser(
        prog="dualhead",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (run, text, example, add_options) in COMMANDS.items():
        command = commands.add_parser(
            name,
            help=text,
            description=f"{text[0].upper()}{text[1:]}.",
            epilog=f"example:\n  {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.set_defaults(run=run)
        add_options(command)
    return top


if __name__ == "__main__":
    sys.exit(main())
