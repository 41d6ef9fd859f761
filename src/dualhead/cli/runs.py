"""Commands of a grid's runs: configure, keep, train, evaluate, ensemble."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from dualhead.cli.compute import add_compute, claimed_device, let_threads_sleep
from dualhead.cli.options import (
    COUNT,
    Command,
    add_path,
    write_or_print,
)
from dualhead.settings import params as params_module
from dualhead.settings.formats import read_grid, read_run
from dualhead.settings.params import Settings
from dualhead.settings.run import RunConfig

if TYPE_CHECKING:
    pass


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
}
