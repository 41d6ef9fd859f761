"""Commands that show recordings: as a page, as a picture, as a film."""

from __future__ import annotations

import argparse
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from dualhead.cli.compute import (
    add_compute,
    add_split,
    add_windows,
    claimed_device,
    let_threads_sleep,
    part_checkpoints,
    windows_of,
)
from dualhead.cli.options import COUNT, Command, add_path, add_recordings, recordings_of

if TYPE_CHECKING:
    from dualhead.report.viewer.content import Page

RATE = 30
"""Frames a second of a film of recordings that do not say theirs."""
SHOWN = 20
"""Recordings whose skeletons a page holds, unless told otherwise: about half a megabyte."""


def _view_options(command: argparse.ArgumentParser) -> None:
    text = (
        "folders of runs or ensembles, to show their test scores; or a store or recordings in any "
        "form known here, with checkpoints (.pt) whose networks are asked, or without"
    )
    command.add_argument("paths", nargs="+", type=Path, metavar="PATH", help=text)
    add_path(command, "output", "HTML to write")
    text = f"recordings with skeletons: more make a larger page (default: {SHOWN})"
    command.add_argument("--recordings", type=COUNT, default=SHOWN, metavar="NUMBER", help=text)
    text = "show this recording; may be given again"
    command.add_argument("--name", action="append", default=[], metavar="NAME", help=text)
    add_path(
        command, "store", "the store of the runs (default: that of their workspace)", required=False
    )
    add_split(command)
    add_windows(command, "frames of which scores over time are made")
    command.add_argument("--title", help="of the page (default: what it is made from)")
    add_compute(command)
    add_recordings(command, splits=False)


def _view(options: argparse.Namespace) -> None:
    from dualhead.report.viewer import write_page

    checkpoints, others = part_checkpoints(options.paths)
    others = [path.parent if path.name == "metrics.json" else path for path in others]
    runs = [path for path in others if (path / "metrics.json").is_file()]
    if runs and len(runs) < len(options.paths):
        other = next(path for path in [*others, *checkpoints] if path not in runs)
        raise ValueError(
            f"{other}: expected folders of runs alone, whose scores are there already; to ask the "
            f"network about other recordings give its checkpoint, {runs[0] / 'checkpoint.pt'}"
        )
    if not others and not options.store:
        raise ValueError("expected a store or recordings to show beside checkpoints; found none")
    write_page(
        _page_of_runs(runs, options) if runs else _page_of_recordings(others, checkpoints, options),
        options.output,
    )
    print(f"{options.output}: {options.output.stat().st_size / 1e6:.2f} MB; open it in a browser")


def _page_of_runs(runs: list[Path], options: argparse.Namespace) -> Page:
    from dualhead.report.viewer.of_results import page_of, scored_in

    if options.window or options.stride or recordings_of(options):
        raise ValueError(
            f"{runs[0]}: its scores are of whole recordings, as they were prepared; windows and what "
            "is said of own recordings go with a checkpoint"
        )
    scored = [scored_in(run) for run in runs]
    store = options.store or scored[0].results / "store" / f"{scored[0].store}.h5"
    if not options.store and not scored[0].store:
        raise ValueError(f"{runs[0]}: nothing here tells its store; name it with --store")
    title = options.title or scored[0].title
    return page_of(scored, store, title=title, names=options.name, count=options.recordings)


def _page_of_recordings(
    sources: list[Path], checkpoints: list[Path], options: argparse.Namespace
) -> Page:
    let_threads_sleep()
    from dualhead.report.viewer.of_networks import Wanted, page_of_recordings

    if options.store:
        sources = [options.store, *sources]
    windows = windows_of(options)
    with claimed_device(options) if checkpoints else nullcontext("cpu") as device:
        return page_of_recordings(
            sources,
            checkpoints,
            Wanted(options.name, options.recordings, options.split, windows),
            title=options.title or _listed(sources),
            device=device,
            threads=options.threads,
            recordings=recordings_of(options),
        )


def _draw_options(command: argparse.ArgumentParser) -> None:
    text = "a store, or recordings in any form known here"
    command.add_argument("paths", nargs="+", type=Path, metavar="PATH", help=text)
    command.add_argument("--name", default="", help="which recording, where there are several")
    add_path(command, "output", "a strip of poses (.png, .svg, .pdf) or a film (.gif, .mp4)")
    text = "turn the skeletons around once during a film, or so many times"
    command.add_argument(
        "--turn", type=COUNT, nargs="?", const=1, default=0, metavar="TIMES", help=text
    )
    add_recordings(command, splits=False)


def _draw(options: argparse.Namespace) -> None:
    from dualhead.report.drawing import Drawn, draw_recording
    from dualhead.report.viewer.of_networks import recording_of

    said = recordings_of(options)
    shown, action, layout = recording_of(options.paths, options.name, said)
    title = f"{action} ({shown.name})" if action else shown.name
    fps = float(said.get("to_fps") or said.get("fps") or RATE)
    draw_recording(Drawn(title, shown.joints, layout), options.output, fps=fps, turns=options.turn)


def _listed(sources: list[Path]) -> str:
    """Return `walk.json`, or `walk.json and 2 more`."""
    more = f" and {len(sources) - 1} more" if sources[1:] else ""
    return f"{sources[0].name}{more}"


COMMANDS: dict[str, Command] = {
    "view": Command(
        _view,
        "write recordings, scores and attention as one HTML page that turns skeletons, offline",
        "dualhead view joint.pt walk.json --window 60 --output walk.html",
        _view_options,
    ),
    "draw": Command(
        _draw,
        "draw a recording as a strip of poses, or as a film of its skeletons",
        "dualhead draw walk.json --output walk.gif",
        _draw_options,
    ),
}
