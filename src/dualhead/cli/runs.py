"""Commands that train, score, ensemble and predict."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from dualhead.cli.options import (
    COUNT,
    Command,
    add_path,
    add_paths,
    add_recordings,
    recordings_of,
    write_or_print,
)
from dualhead.settings import checks, defaults
from dualhead.settings import params as params_module
from dualhead.settings.formats import read_grid, read_run
from dualhead.settings.params import Settings
from dualhead.settings.run import RunConfig

if TYPE_CHECKING:
    from dualhead.data.dataset import Dataset


def _configure_options(command: argparse.ArgumentParser) -> None:
    add_path(command, "grid", "results/grid.json of the workspace")
    command.add_argument("--run", dest="run_address", required=True, help="the run's address")
    add_path(command, "output", "config.yaml to write, or - for standard output")


def _configure(options: argparse.Namespace) -> None:
    config = _run_in(options.grid, options.run_address)
    write_or_print(options.output, params_module.dump(config))


def _keep_options(command: argparse.ArgumentParser) -> None:
    add_path(command, "grid", "results/grid.json of the workspace")
    command.add_argument("--run", dest="run_address", required=True, help="the run's address")
    add_path(command, "source", "the folder of runs to copy from, such as results/runs")
    add_path(command, "output", "the folder of runs to copy to, such as published")


def _keep(options: argparse.Namespace) -> None:
    from dualhead.runs.kept import keep_run

    config = _run_in(options.grid, options.run_address)
    keep_run(options.run_address, config, options.source, options.output)


def _run_in(grid: Path, run: str) -> Settings:
    """Return the settings of a run of a grid."""
    runs = read_grid(grid)["runs"]
    if run not in runs:
        raise ValueError(f"{grid}: no run {run}; is params.yaml newer?")
    settings: Settings = runs[run]
    return settings


def add_compute(command: argparse.ArgumentParser) -> None:
    """Add the options that say where a network computes."""
    choices = defaults.DEVICES
    command.add_argument(
        "--device", choices=choices, default="auto", help="auto takes a GPU where there is one"
    )
    command.add_argument("--threads", type=COUNT, help="CPU threads (default: torch's own)")
    text = "how many of our processes may share a GPU (default: 1)"
    command.add_argument("--trainings-per-gpu", type=COUNT, default=1, help=text)


def let_threads_sleep() -> None:
    """Let OpenMP's threads sleep while they wait for each other, unless the caller chose otherwise.

    GNU OpenMP lets them spin, at each of the thousands of barriers of a training step; beside
    another busy process they then take the cores from the thread that they wait for. OpenMP reads
    this when torch is imported, and processes that share a training inherit it.
    """
    if not os.environ.keys() & {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"}:
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"


def claimed_device(options: argparse.Namespace) -> AbstractContextManager[str]:
    """Return a context that holds the device that the options ask for."""
    from dualhead.workspace.gpu import claim

    shared = options.trainings_per_gpu
    return claim(options.device, os.environ, trainings_per_gpu=shared)


def _train_options(command: argparse.ArgumentParser) -> None:
    add_path(command, "config", "the run's complete settings (config.yaml)")
    add_path(command, "store", "the dataset, as `dualhead prepare` wrote it")
    add_path(command, "output", "checkpoint.pt to write")
    add_path(command, "history", "a CSV row an epoch (default: beside the output)", required=False)
    add_path(
        command, "state", "what a killed training resumes from (default: beside)", required=False
    )
    add_path(
        command, "parent", "checkpoint to begin with, if the run has train.from", required=False
    )
    text = "folder for TensorBoard: each epoch's row of the history (extra `tensorboard`)"
    add_path(command, "tensorboard", text, required=False)
    command.add_argument("--evaluate-batch-size", type=COUNT, default=64, help="(default: 64)")
    text = "how many train it together, sharing each batch; on a CPU, processes (default: 1)"
    command.add_argument("--gpus", type=COUNT, default=1, help=text)
    add_compute(command)


def _train(options: argparse.Namespace) -> int | None:
    let_threads_sleep()
    from dualhead.locks import lock_one
    from dualhead.runs.train import train

    work = partial(
        train,
        _run_config(options.config),
        options.store,
        options.output,
        history=options.history or options.output.with_name("history.csv"),
        state=options.state or options.output.with_name("state.pt"),
        evaluate_batch_size=options.evaluate_batch_size,
        parent=options.parent,
        tensorboard=options.tensorboard,
        threads=options.threads and max(options.threads // options.gpus, 1),
    )
    existed = options.output.exists()
    lock = options.output.with_name(".train.lock")
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock_one([lock], f"another process, which trains {options.output} already"):
        try:
            if options.output.exists() and not existed:
                return 0  # the other process has made it
            if options.gpus > 1:
                return _train_shared(work, options)
            with claimed_device(options) as device:
                return work(device=device)
        finally:
            lock.unlink(missing_ok=True)


def _run_config(path: Path) -> RunConfig:
    """Return a run's settings; refuse those of another run than the folder is named after."""
    from dualhead.runs.scores import address_of

    config = read_run(path)
    found, expected = config.address, address_of(path).get("address")
    if expected not in (None, found):
        raise ValueError(
            f"{path}: expected the settings of run {expected}, as its folder says, found those of "
            f"{found}; remove this file alone: `snakemake` writes it again"
        )
    return config


def _train_shared(work: Callable[..., int], options: argparse.Namespace) -> int:
    """Train on several devices, each claimed for itself."""
    from dualhead.runs.distributed import run_shared
    from dualhead.runs.stopping import stop_requests

    with ExitStack() as claims, stop_requests() as requested:
        devices = [claims.enter_context(claimed_device(options)) for _ in range(options.gpus)]
        return run_shared(work, devices, requested)


def _evaluate_options(command: argparse.ArgumentParser) -> None:
    add_path(command, "checkpoint", "as `dualhead train` wrote it")
    add_path(command, "store", "the dataset it was trained on")
    add_path(
        command, "scores", "scores.h5 to write: every test (and held-out) sample's, keyed by its id"
    )
    add_path(command, "metrics", "metrics.json to write")
    add_path(command, "classes", "classes.csv to write: accuracy of each class")
    command.add_argument("--batch-size", type=COUNT, default=64, help="(default: 64)")
    add_compute(command)


def _evaluate(options: argparse.Namespace) -> None:
    let_threads_sleep()
    from dualhead.runs.evaluate import evaluate
    from dualhead.runs.state import forget

    with claimed_device(options) as device:
        evaluate(
            options.checkpoint,
            options.store,
            scores=options.scores,
            metrics=options.metrics,
            classes=options.classes,
            device=device,
            batch_size=options.batch_size,
            threads=options.threads,
        )
    forget(options.checkpoint.with_name("state.pt"), options.checkpoint)


def _ensemble_options(command: argparse.ArgumentParser) -> None:
    add_path(command, "grid", "results/grid.json of the workspace")
    command.add_argument("--ensemble", required=True, help="the ensemble's address")
    add_path(command, "runs", "the folder of runs, whose scores.h5 are joined by sample id")
    add_path(command, "scores", "scores.h5 to write")
    add_path(command, "metrics", "metrics.json to write")
    add_path(command, "classes", "classes.csv to write")


def _ensemble(options: argparse.Namespace) -> None:
    from dualhead.runs.ensemble import ensemble

    ensembles = read_grid(options.grid)["ensembles"]
    if options.ensemble not in ensembles:
        raise ValueError(f"{options.grid}: no ensemble {options.ensemble}; is params.yaml newer?")
    settings = ensembles[options.ensemble]
    members = {
        modality: options.runs / run / "scores.h5" for modality, run in settings["members"].items()
    }
    identity = {key: settings[key] for key in ("benchmark", "variant", "stream", "seed")}
    identity["address"] = options.ensemble.rsplit("-", 1)[-1]
    ensemble(
        members,
        settings["weights"],
        fusion=settings["fusion"],
        scores=options.scores,
        metrics=options.metrics,
        classes=options.classes,
        identity=identity,
    )


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
    command.add_argument("--window", type=COUNT, help="frames that long recordings are cut to")
    command.add_argument(
        "--stride", type=COUNT, help="frames between windows (default: half of one)"
    )
    add_path(command, "segments", "CSV: windows of one class, merged", required=False)
    text = "read a line a frame from - or a file that grows; answer when a window is whole"
    command.add_argument("--follow", action="store_true", help=text)
    text = "--follow: seconds without a line after which a file has ended (default: never)"
    command.add_argument("--idle", type=COUNT, help=text)
    text = "take the test recordings of this split of a store (default: all)"
    command.add_argument("--split", default="", help=text)
    add_path(command, "scores", "scores.h5 of the labelled recordings", required=False)
    add_path(command, "metrics", "metrics.json: their accuracies", required=False)
    add_recordings(command, splits=False)
    add_compute(command)


CHECKPOINT_ENDINGS = (".pt", ".pth", ".ckpt")


def _predict(options: argparse.Namespace) -> None:
    let_threads_sleep()
    from dualhead.runs.predict import Output, predict, predict_frames
    from dualhead.runs.recordings import Windows

    paths, named = options.paths, options.checkpoint or []
    checkpoints = named + [path for path in paths if path.suffix in CHECKPOINT_ENDINGS]
    sources = (options.store or []) + [path for path in paths if path not in checkpoints]
    if not checkpoints or not sources:
        raise ValueError(
            "expected one checkpoint (.pt) or several, then a store or recordings; found "
            f"{len(checkpoints)} and {len(sources)}"
        )
    if options.stride and not options.window:
        raise ValueError("--stride: expected --window with it, found none; say both")
    stride = options.stride or (options.window or 0) // 2 or 1
    windows = Windows(options.window or 0, stride)
    to_stdout = str(options.output) == "-"
    is_json = options.json or options.output.suffix in (".jsonl", ".ndjson")
    output = Output(None if to_stdout else options.output, is_json)
    said = recordings_of(options)
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
    checkpoints = [path for path in options.paths if path.suffix in CHECKPOINT_ENDINGS]
    sources = [path for path in options.paths if path not in checkpoints]
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
    "configure": Command(
        _configure,
        "write one run's complete settings",
        "dualhead configure --grid results/grid.json --run RUN --output config.yaml",
        _configure_options,
        prints=True,
    ),
    "keep": Command(
        _keep,
        "copy a finished run, checked and without its weights, to or from a folder of kept runs",
        "dualhead keep --grid results/grid.json --run RUN --source results/runs --output published",
        _keep_options,
    ),
    "train": Command(
        _train,
        "train one run; killed at any moment, it resumes where it was",
        "dualhead train --config RUN/config.yaml --store ntu60.h5 --output RUN/checkpoint.pt",
        _train_options,
    ),
    "evaluate": Command(
        _evaluate,
        "score every test sample with a checkpoint",
        "dualhead evaluate --checkpoint RUN/checkpoint.pt --store ntu60.h5 "
        "--scores RUN/scores.h5 --metrics RUN/metrics.json --classes RUN/classes.csv",
        _evaluate_options,
    ),
    "ensemble": Command(
        _ensemble,
        "sum the scores of several modalities, with weights given or fitted on held-out subjects",
        "dualhead ensemble --grid results/grid.json --ensemble ADDRESS --runs results/runs "
        "--scores scores.h5 --metrics metrics.json --classes classes.csv",
        _ensemble_options,
    ),
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
