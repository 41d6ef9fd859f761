"""The program `dualhead`: it answers a Ctrl-C from its first moment, before what it needs is imported."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command that was typed."""
    try:
        from dualhead.cli.main import main as run_command
    except KeyboardInterrupt:
        print("dualhead: stopped from the keyboard", file=sys.stderr)
        return 130
    return run_command()


if __name__ == "__main__":
    sys.exit(main())
