"""The command that answers over HTTP."""

from __future__ import annotations

import argparse
from pathlib import Path

from dualhead.cli.compute import add_compute, claimed_device, let_threads_sleep
from dualhead.cli.options import Command, whole_number

MEGABYTES = 16
SECONDS = 60
PORT = 8000


def _serve_options(command: argparse.ArgumentParser) -> None:
    text = "checkpoints (.pt); the scores of several are averaged"
    command.add_argument("checkpoints", nargs="+", type=Path, metavar="CHECKPOINT", help=text)
    text = f"of this machine's own address, 127.0.0.1; 0 takes any that is free (default: {PORT})"
    command.add_argument("--port", type=whole_number(0), default=PORT, help=text)
    text = f"that a recording may have (default: {MEGABYTES})"
    command.add_argument("--megabytes", type=whole_number(1), default=MEGABYTES, help=text)
    text = f"that an answer may take (default: {SECONDS})"
    command.add_argument("--seconds", type=whole_number(1), default=SECONDS, help=text)
    add_compute(command)


def _serve(options: argparse.Namespace) -> None:
    let_threads_sleep()
    from dualhead.serve.app import serve
    from dualhead.serve.worker import Computing, Limits

    if options.port > 65535:
        raise ValueError(f"--port: expected at most 65535, found {options.port}")
    limits = Limits(options.megabytes, options.seconds)
    with claimed_device(options) as device:
        computing = Computing(tuple(options.checkpoints), device, options.threads)
        serve(computing, port=options.port, limits=limits)


COMMANDS: dict[str, Command] = {
    "serve": Command(
        _serve,
        "answer over HTTP for recordings that programs on this machine post",
        "dualhead serve joint.pt bone.pt --port 8000",
        _serve_options,
    ),
}
