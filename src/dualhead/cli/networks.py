"""Commands that use trained networks: predict, export, and the conversion of published weights."""

from __future__ import annotations

import argparse
import sys
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
from dualhead.cli.options import (
    COUNT,
    Command,
    add_path,
    add_paths,
    add_recordings,
    recordings_of,
)
from dualhead.settings import checks, defaults

if TYPE_CHECKING:
    from dualhead.data.dataset import Dataset


def _predict_options(command: argparse.ArgumentParser) -> None:
    text = (
        "checkpoints (.pt), then what to predict: stores, recordings in any form known here, "
        "folders or archives of them, or - for frames from standard input"
    )
    command.add_argument("paths", nargs="*", type=Path, metavar="PATH", help=text)
    for name in ("checkpoint", "store"):
        text = f"the same as a {name} among PATH"
        command.add_argument(f"--{name}", type=Path, metavar="PATH", action="append", help=text)
    add_path(command, "output", "CSV, JSON lines (.jsonl), or - for standard output")
    command.add_argument("--json", action="store_true", help="write JSON lines, a recording each")
    add_windows(command, "frames that long recordings are cut to")
    add_path(command, "segments", "CSV: windows of one class, merged", required=False)
    text = "read a line a frame from - or a file that grows; answer when a window is whole"
    command.add_argument("--follow", action="store_true", help=text)
    text = "--follow: seconds without a line after which a file has ended (default: never)"
    command.add_argument("--idle", type=COUNT, help=text)
    add_split(command)
    add_path(command, "scores", "scores.h5 of the labelled recordings", required=False)
    add_path(command, "metrics", "metrics.json: their accuracies", required=False)
    add_recordings(command, splits=False)
    add_compute(command)


def _predict(options: argparse.Namespace) -> None:
    let_threads_sleep()
    from dualhead.runs.answers import Output
    from dualhead.runs.inference import use_cpu
    from dualhead.runs.predict import predict, predict_frames

    given, others = part_checkpoints(options.paths)
    checkpoints = (options.checkpoint or []) + given
    sources = (options.store or []) + others
    if not checkpoints or not sources:
        raise ValueError(
            "expected one checkpoint (.pt) or several, then a store or recordings; found "
            f"{len(checkpoints)} and {len(sources)}"
        )
    windows = windows_of(options)
    to_stdout = str(options.output) == "-"
    is_json = options.json or options.output.suffix in (".jsonl", ".ndjson")
    output = Output(None if to_stdout else options.output, is_json)
    said = recordings_of(options)
    use_cpu(options.threads)
    with claimed_device(options) as device:
        if options.follow or sources == [Path("-")]:
            if not options.window or len(sources) != 1:
                raise ValueError("--follow: expected one source of frames, and --window; say both")
            frames = None if sources == [Path("-")] else sources[0]
            idle = float(options.idle or "inf")
            predict_frames(
                checkpoints,
                frames,
                output,
                device=device,
                recordings=said,
                windows=windows,
                idle=idle,
            )
            return
        text = predict(
            checkpoints,
            sources,
            output,
            device=device,
            recordings=said,
            windows=windows,
            split=options.split,
            segments=options.segments,
            scores=options.scores,
            metrics=options.metrics,
        )
    if text:
        print(text, file=sys.stderr if to_stdout else sys.stdout)


def _export_options(command: argparse.ArgumentParser) -> None:
    text = (
        "checkpoints (.pt), whose scores are averaged; then recordings or stores that the file is checked on "
        "(default: made-up ones)"
    )
    command.add_argument("paths", nargs="+", type=Path, metavar="PATH", help=text)
    add_paths(command, "output", "files to write: .onnx, .pt2 (torch.export), .safetensors")
    add_recordings(command, splits=False)
    command.add_argument("--threads", type=COUNT, help="CPU threads (default: torch's own)")


def _export(options: argparse.Namespace) -> None:
    let_threads_sleep()
    from dualhead.runs.export import export
    from dualhead.runs.inference import use_cpu

    use_cpu(options.threads)
    checkpoints, sources = part_checkpoints(options.paths)
    if not checkpoints:
        raise ValueError(f"expected a checkpoint (.pt) among PATH, found {sources[0]}")
    said = recordings_of(options)
    for line in export(checkpoints, sources, options.output, recordings=said):
        print(line, flush=True)


def _convert_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("weights", type=Path, help="the authors' or MS-G3D's published state dict")
    command.add_argument(
        *("--model",), required=True, choices=[*defaults.MODELS], help="whose weights they are"
    )
    text = "ntu25, openpose18, kinect20, or a layout's YAML file"
    command.add_argument("--layout", required=True, help=text)
    command.add_argument("--classes", type=COUNT, required=True, help="60, 120, 400, ...")
    add_path(command, "output", "checkpoint.pt to write")


def _dataset_of(layout: str, num_classes: int) -> Dataset | None:
    """Return the published dataset of this skeleton and so many classes."""
    from dualhead.data.datasets import DATASETS

    for dataset in DATASETS.values():
        known = (dataset.layout, len(dataset.class_names))
        if dataset.expected and known == (layout, num_classes):
            return dataset
    return None


def _convert_weights(options: argparse.Namespace) -> None:
    from dualhead.models.convert import convert_weights

    known = _dataset_of(options.layout, options.classes)
    preparation = checks.defaults()["prepare"] | dict(known.prepare) if known else None
    has_names = known is not None and known.read_class_names is None
    convert_weights(
        options.weights,
        options.output,
        model=options.model,
        layout=options.layout,
        num_classes=options.classes,
        class_names=known.class_names if known and has_names else (),
        preparation=preparation,
    )
    print(f"{options.output}: {options.model} for {options.layout}, {options.classes} classes")


COMMANDS: dict[str, Command] = {
    "predict": Command(
        _predict,
        "name the five likeliest actions of any recordings: a store's, or files as they are",
        "dualhead predict joint.pt bone.pt walk.json --output predictions.csv",
        _predict_options,
        prints=True,
    ),
    "export": Command(
        _export,
        "write checkpoints as one file that runs without this package: ONNX, torch.export, safetensors",
        "dualhead export joint.pt bone.pt --output model.onnx",
        _export_options,
    ),
    "convert-weights": Command(
        _convert_weights,
        "turn published weights into a checkpoint",
        "dualhead convert-weights weights.pt --model ms_g3d --layout ntu25 --classes 60 "
        "--output checkpoint.pt",
        _convert_options,
    ),
}
