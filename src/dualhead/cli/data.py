"""Commands from raw recordings to a store."""

from __future__ import annotations

import argparse
import json
import sys
from functools import partial
from pathlib import Path

from dualhead.cli.options import (
    COUNT,
    Command,
    add_json,
    add_path,
    add_paths,
    add_recordings,
    recordings_of,
    whole_number,
)
from dualhead.data.datasets import DATASETS, configured
from dualhead.files import write_text
from dualhead.settings import checks, defaults
from dualhead.settings.params import Settings


def _synthesize_options(command: argparse.ArgumentParser) -> None:
    add_path(command, "output", "folder to fill")
    for name, default, text in (
        ("classes", 10, "actions"),
        ("subjects", 8, "people"),
        ("cameras", 3, "views of each performance, 1 to 3"),
        ("setups", 2, "setups, alternating over the subjects"),
        ("repetitions", 1, "of each action by each person"),
        ("seed", 1, "the same seed writes the same files"),
    ):
        number = whole_number(0) if name == "seed" else COUNT
        command.add_argument(
            f"--{name}", type=number, default=default, help=f"{text} (default: {default})"
        )
    command.add_argument(
        *("--frames",),
        type=COUNT,
        nargs=2,
        default=(30, 60),
        metavar=("MIN", "MAX"),
        help="length of a recording (default: 30 60)",
    )


def _synthesize(options: argparse.Namespace) -> None:
    from dualhead.data.synthesize.generate import synthesize

    names = ("classes", "subjects", "cameras", "setups", "repetitions", "seed")
    settings = {name: getattr(options, name) for name in names}
    counts = synthesize(options.output, frames=tuple(options.frames), **settings)
    done = "written" if counts.written else "there already"
    print(f"{options.output}: {counts.recordings} recordings, {done}")


def _dataset_option(command: argparse.ArgumentParser) -> None:
    command.add_argument("--dataset", required=True, choices=tuple(DATASETS), help="which dataset")


def _prepare_options(command: argparse.ArgumentParser) -> None:
    default = checks.defaults()["prepare"]
    _dataset_option(command)
    add_paths(command, "raw", "archive as downloaded, or folder of recordings; may be given again")
    add_path(command, "output", "store to write (.h5)")
    text = "what was left out, and why (default: beside the store)"
    add_path(command, "dropped", text, required=False)
    add_path(
        command, "reuse", "a store with the same settings to copy samples from", required=False
    )
    _add_partial(command, "accept a subset of the dataset, and record that")
    for name, choices in (("denoise", defaults.DENOISE), ("normalize", defaults.NORMALIZE)):
        text = f"(default: the dataset's, else {default[name]})"
        command.add_argument(f"--{name}", choices=choices, help=text)
    text = f"bodies kept of each recording (default: the dataset's, else {default['max_bodies']})"
    command.add_argument("--max-bodies", type=COUNT, help=text)
    command.add_argument("--workers", type=COUNT, help="processes (default: one a core)")
    add_recordings(command, splits=True)


def _add_partial(command: argparse.ArgumentParser, text: str) -> None:
    command.add_argument("--partial", action="store_true", help=text)


def _settings_of(options: argparse.Namespace, given: Settings) -> Settings:
    """Return the paper's `prepare` settings with the dataset's own, and those given, on top."""
    settings: Settings = checks.defaults()["prepare"]
    dataset = configured(options.dataset, options.raw, recordings_of(options))
    return settings | dict(dataset.prepare) | given


def _prepare(options: argparse.Namespace) -> None:
    from dualhead.data.pool import cores
    from dualhead.data.prepare import prepare

    given = {name: getattr(options, name) for name in ("denoise", "normalize", "max_bodies")}
    given = {name: value for name, value in given.items() if value is not None}
    dropped = options.dropped or options.output.with_suffix(".dropped.csv")
    report = prepare(
        options.dataset,
        options.raw,
        options.output,
        settings=_settings_of(options, given),
        partial=options.partial,
        dropped=dropped,
        reuse=options.reuse,
        workers=cores() if options.workers is None else options.workers,
        recordings=recordings_of(options),
    )
    print(f"{options.output}: {report}")
    for line in report.findings():
        print(line, file=sys.stderr)
    if report.dropped_samples or report.noted:
        print(f"Each of them is in {dropped}.", file=sys.stderr)


def _download_options(command: argparse.ArgumentParser) -> None:
    _dataset_option(command)
    add_path(command, "output", "the folder for raw data, such as data/raw")


def _download(options: argparse.Namespace) -> None:
    print(DATASETS[options.dataset].where.replace("data/raw", str(options.output)))


def _verify_options(command: argparse.ArgumentParser) -> None:
    text = "a results folder: compare each file with its digest (instead of --dataset and --raw)"
    command.add_argument("results", type=Path, nargs="?", metavar="RESULTS", help=text)
    command.add_argument("--dataset", choices=tuple(DATASETS), help="which dataset")
    text = "archive as downloaded, or folder of recordings; may be given again"
    command.add_argument(
        "--raw", type=Path, nargs="+", action="extend", metavar="PATH", default=[], help=text
    )
    add_path(
        command, "store", "a store that must have been made from this raw data", required=False
    )
    add_path(command, "output", "write what was found here, once all is well", required=False)
    _add_partial(command, "accept a subset of the dataset")
    add_json(command)
    add_recordings(command, splits=True)


def _verify_results(results: Path) -> str:
    from dualhead.report.made import damaged_products
    from dualhead.runs.verify import verify_results

    say = partial(print, file=sys.stderr)
    damaged = damaged_products(results)
    for line in damaged:
        say(line)
    text = verify_results(results, say)
    if damaged:
        raise ValueError(
            f"{results}: tables, figures or reports that are not as they were made: {len(damaged)}"
        )
    return text


def _verify(options: argparse.Namespace) -> None:
    from dualhead.data.verify import check_raw, verify
    from dualhead.workspace.rules import signature

    dataset, store, raw = options.dataset, options.store, options.raw
    if options.results:
        _tell(options, _verify_results(options.results))
        return
    if not (dataset and raw):
        raise ValueError("expected a results folder, or --dataset and --raw; found neither")
    before = signature(raw)
    if store:
        text = check_raw(store, raw)
    else:
        settings, said = _settings_of(options, {}), recordings_of(options)
        text = verify(dataset, raw, settings, said, partial=options.partial)
    if options.output:
        write_text(options.output, f"{text}\nsignature: {before}" if store else text)
    _tell(options, text)


def _tell(options: argparse.Namespace, text: str) -> None:
    """Print what was found, in JSON if asked for: a refusal is an exit code and a line on standard error."""
    lines = text.splitlines()
    warnings = [line.removeprefix("WARNING: ") for line in lines if line.startswith("WARNING: ")]
    found = [line for line in lines if not line.startswith("WARNING: ")]
    print(json.dumps({"found": found, "warnings": warnings}, indent=1) if options.json else text)


COMMANDS: dict[str, Command] = {
    "synthesize": Command(
        _synthesize,
        "write a small raw dataset in the exact NTU .skeleton format",
        "dualhead synthesize --output data/raw/synthetic --classes 10 --seed 1",
        _synthesize_options,
    ),
    "download": Command(
        _download,
        "say what to download of a dataset, from whom, and where to put it",
        "dualhead download --dataset ntu60 --output data/raw",
        _download_options,
    ),
    "verify": Command(
        _verify,
        "check raw archives and samples (counts, damage, copies, leaks), or a results folder (digests)",
        "dualhead verify --dataset ntu60 --raw data/raw/nturgbd_skeletons_s001_to_s017.zip",
        _verify_options,
    ),
    "prepare": Command(
        _prepare,
        "read, choose, normalize raw recordings, and write one store",
        "dualhead prepare --dataset ntu60 --raw data/raw/nturgbd_skeletons_s001_to_s017.zip "
        "--output ntu60.h5",
        _prepare_options,
    ),
}
