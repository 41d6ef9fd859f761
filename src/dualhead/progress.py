"""Progress of long loops: a bar on a terminal, plain lines in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from io import TextIOWrapper
from typing import TypeVar

from rich.console import Console
from tqdm import tqdm

Item = TypeVar("Item")

SECONDS_BETWEEN_LINES = 30.0
FILE_WIDTH = 200  # of a table that goes to no terminal, so that nothing in it wraps


def write_any_character() -> None:
    """Show other characters than ASCII by their codes where a terminal knows ASCII alone."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def progress(
    iterable: Iterable[Item],
    *,
    total: int,
    label: str,
    unit: str = "it",
    scale: int = 1,
    describe: Callable[[], str] | None = None,
) -> Iterator[Item]:
    """Yield the items, and show on stderr how far the loop is.

    Args:
        iterable: the items.
        total: number of items.
        label: name of the work, in a few words.
        unit: name of what is counted.
        scale: units in one item; a batch is many samples.
        describe: called whenever something is shown; its text ends the line.
    """
    show = _bar if sys.stderr.isatty() else _lines
    return show(iterable, total, label, unit, scale, describe or str)


class Terminal(Console):
    """A console that leaves a reader who is gone to the command line, as `print` does; rich ends with 1."""

    def on_broken_pipe(self) -> None:
        """Raise the error that is being handled.

        Raises:
            BrokenPipeError: that nobody reads.
        """
        raise


def terminal() -> Console:
    """Return the console for standard output: in color on a terminal (not with NO_COLOR), wide in a file."""
    console = Terminal()
    return console if console.is_terminal else Terminal(width=FILE_WIDTH)


def duration(seconds: float) -> str:
    """Return 95.0 as `01:35`, 3695.0 as `1:01:35`."""
    return tqdm.format_interval(seconds)


def _bar(
    iterable: Iterable[Item],
    total: int,
    label: str,
    unit: str,
    scale: int,
    describe: Callable[[], str],
) -> Iterator[Item]:
    with tqdm(total=total * scale, desc=label, unit=f" {unit}", leave=False) as bar:
        shown = 0.0
        for item in iterable:
            yield item
            bar.update(scale)
            if time.monotonic() - shown > 1.0:  # describing may wait for the device
                bar.set_postfix_str(describe(), refresh=False)
                shown = time.monotonic()


def _lines(
    iterable: Iterable[Item],
    total: int,
    label: str,
    unit: str,
    scale: int,
    describe: Callable[[], str],
) -> Iterator[Item]:
    begin = shown = time.monotonic()
    for done, item in enumerate(iterable, start=1):
        yield item
        now = time.monotonic()
        if now - shown > SECONDS_BETWEEN_LINES:
            shown = now
            rate = done / (now - begin)
            parts = [
                f"{label}: {done * scale}/{total * scale} {unit}",
                f"{rate * scale:.1f} {unit}/s",
                f"{duration((total - done) / rate)} left",
                describe(),
            ]
            print(", ".join(filter(None, parts)), file=sys.stderr, flush=True)
