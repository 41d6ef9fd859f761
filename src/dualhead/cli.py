"""The command line: one command, `dualhead`, whose subcommands the rules of the workflow call.

Settings are read here and passed down as arguments; no other module reads params.yaml.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path

from dualhead import params as params_module
from dualhead.files import write_text
from dualhead.params import Settings

Command = Callable[[argparse.Namespace], int | None]

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


def _path(command: argparse.ArgumentParser, name: str, text: str, *, required: bool = True) -> None:
    command.add_argument(f"--{name}", type=Path, required=required, metavar="PATH", help=text)


def _paths(command: argparse.ArgumentParser, name: str, text: str) -> None:
    option = f"--{name}"
    command.add_argument(
        option, type=Path, required=True, action="append", metavar="PATH", help=text
    )


def _read_json(path: Path) -> Settings:
    content: Settings = json.loads(path.read_text(encoding="utf-8"))
    return content


# --- raw recordings to a store ----------------------------------------------------------------


def _synthesize_options(command: argparse.ArgumentParser) -> None:
    _path(command, "output", "folder to fill")
    for name, default, text in (
        ("classes", 10, "actions"),
        ("subjects", 8, "people"),
        ("cameras", 3, "views of each performance, 1 to 3"),
        ("setups", 2, "setups, alternating over the subjects"),
        ("repetitions", 1, "of each action by each person"),
        ("seed", 1, "the same seed writes the same files"),
    ):
        command.add_argument(
            f"--{name}", type=int, default=default, help=f"{text} (default: {default})"
        )
    command.add_argument(
        *("--frames",),
        type=int,
        nargs=2,
        default=(30, 60),
        metavar=("MIN", "MAX"),
        help="length of a recording (default: 30 60)",
    )


def _synthesize(options: argparse.Namespace) -> None:
    from dualhead.synthesize import synthesize

    names = ("classes", "subjects", "cameras", "setups", "repetitions", "seed")
    settings = {name: getattr(options, name) for name in names}
    counts = synthesize(options.output, frames=tuple(options.frames), **settings)
    done = "written" if counts.written else "there already"
    print(f"{options.output}: {counts.recordings} recordings, {done}")


def _dataset_option(command: argparse.ArgumentParser) -> None:
    known = ("ntu60", "ntu120", "kinetics", "nw_ucla", "synthetic")
    command.add_argument("--dataset", required=True, choices=known, help="which dataset")


def _prepare_options(command: argparse.ArgumentParser) -> None:
    defaults = _prepare_defaults()
    _dataset_option(command)
    _paths(command, "raw", "archive as downloaded, or folder of recordings; may be given again")
    _path(command, "output", "store to write (.h5)")
    _path(
        command, "dropped", "what was left out, and why (default: beside the store)", required=False
    )
    _path(command, "reuse", "a store with the same settings to copy samples from", required=False)
    command.add_argument(
        *("--partial",), action="store_true", help="accept a subset of the dataset, and record that"
    )
    for name in ("denoise", "normalize"):
        choices = params_module.CHOICES[f"prepare.{name}"]
        text = f"(default: the dataset's, else {defaults[name]})"
        command.add_argument(f"--{name}", choices=choices, help=text)
    text = f"bodies kept of each recording (default: the dataset's, else {defaults['max_bodies']})"
    command.add_argument("--max-bodies", type=int, help=text)
    command.add_argument("--workers", type=int, help="processes (default: one a core)")


def _prepare_defaults() -> Settings:
    settings: Settings = params_module.read_yaml(params_module.packaged_params())["prepare"]
    return settings


DATASET_PREPARE: dict[str, Settings] = {
    "kinetics": {"normalize": "none"},
    "nw_ucla": {"normalize": "first_frame", "max_bodies": 1},
}
"""What a dataset changes of `prepare` when no params.yaml says it."""


def _prepare(options: argparse.Namespace) -> None:
    from dualhead.prepare import prepare

    given = {name: getattr(options, name) for name in ("denoise", "normalize", "max_bodies")}
    given = {name: value for name, value in given.items() if value is not None}
    settings = _prepare_defaults() | DATASET_PREPARE.get(options.dataset, {}) | given
    report = prepare(
        options.dataset,
        options.raw,
        options.output,
        settings=settings,
        partial=options.partial,
        dropped=options.dropped or options.output.with_suffix(".dropped.csv"),
        reuse=options.reuse,
        workers=options.workers or len(os.sched_getaffinity(0)),
    )
    print(f"{options.output}: {report}")


def _download_options(command: argparse.ArgumentParser) -> None:
    _dataset_option(command)
    _path(command, "output", "the folder for raw data, such as data/raw")


def _download(options: argparse.Namespace) -> None:
    from dualhead.download import download

    print(download(options.dataset, options.output))


def _verify_options(command: argparse.ArgumentParser) -> None:
    _dataset_option(command)
    _paths(command, "raw", "archive as downloaded, or folder of recordings; may be given again")
    _path(command, "store", "a store that must have been made from this raw data", required=False)
    _path(command, "output", "write what was found here, once all is well", required=False)


def _verify(options: argparse.Namespace) -> None:
    from dualhead.prepare import check_raw, verify

    dataset, store, raw = options.dataset, options.store, options.raw
    settings = _prepare_defaults() | DATASET_PREPARE.get(dataset, {})
    text = check_raw(store, raw) if store else verify(dataset, raw, settings)
    if options.output:
        write_text(options.output, text)
    print(text)


# --- runs -------------------------------------------------------------------------------------


def _configure_options(command: argparse.ArgumentParser) -> None:
    _path(command, "grid", "results/grid.json of the workspace")
    command.add_argument("--run", dest="run_address", required=True, help="the run's address")
    _path(command, "output", "config.yaml to write")


def _configure(options: argparse.Namespace) -> None:
    runs = _read_json(options.grid)["runs"]
    if options.run_address not in runs:
        raise ValueError(f"{options.grid}: no run {options.run_address}; is params.yaml newer?")
    write_text(options.output, params_module.dump(runs[options.run_address]))


def _compute_options(command: argparse.ArgumentParser) -> None:
    choices = params_module.CHOICES["hardware.device"]
    command.add_argument(
        "--device", choices=choices, default="auto", help="auto takes a GPU where there is one"
    )
    command.add_argument("--threads", type=int, help="CPU threads (default: torch's own)")
    text = "how many of our processes may share a GPU (default: 1)"
    command.add_argument("--trainings-per-gpu", type=int, default=1, help=text)


def _claimed_device(options: argparse.Namespace) -> AbstractContextManager[str]:
    from dualhead.gpu import claim

    shared = options.trainings_per_gpu
    return claim(options.device, os.environ, trainings_per_gpu=shared)


def _train_options(command: argparse.ArgumentParser) -> None:
    _path(command, "config", "the run's complete settings (config.yaml)")
    _path(command, "store", "the dataset, as `dualhead prepare` wrote it")
    _path(command, "output", "checkpoint.pt to write")
    _path(command, "history", "a CSV row an epoch (default: beside the output)", required=False)
    _path(command, "state", "what a killed training resumes from (default: beside)", required=False)
    command.add_argument("--evaluate-batch-size", type=int, default=64, help="(default: 64)")
    text = "how many train it together, sharing each batch; on a CPU, processes (default: 1)"
    command.add_argument("--gpus", type=int, default=1, help=text)
    _compute_options(command)


def _train(options: argparse.Namespace) -> int | None:
    from dualhead.locks import lock_one
    from dualhead.train import train

    work = partial(
        train,
        params_module.read_yaml(options.config),
        options.store,
        options.output,
        history=options.history or options.output.with_name("history.csv"),
        state=options.state or options.output.with_name("state.pt"),
        evaluate_batch_size=options.evaluate_batch_size,
        threads=options.threads and max(options.threads // options.gpus, 1),
    )
    existed = options.output.exists()
    with lock_one([options.config], f"another process, which trains {options.output} already"):
        if options.output.exists() and not existed:
            return 0  # the other process has made it
        if options.gpus > 1:
            return _train_shared(work, options)
        with _claimed_device(options) as device:
            return work(device=device)


def _train_shared(work: Callable[..., int], options: argparse.Namespace) -> int:
    """Train on several devices, each claimed for itself."""
    from dualhead.distributed import run_shared
    from dualhead.train import stop_requests

    with ExitStack() as claims, stop_requests() as requested:
        devices = [claims.enter_context(_claimed_device(options)) for _ in range(options.gpus)]
        return run_shared(work, devices, requested)


def _evaluate_options(command: argparse.ArgumentParser) -> None:
    _path(command, "checkpoint", "as `dualhead train` wrote it")
    _path(command, "store", "the dataset it was trained on")
    _path(
        command, "scores", "scores.h5 to write: every test (and held-out) sample's, keyed by its id"
    )
    _path(command, "metrics", "metrics.json to write")
    _path(command, "classes", "classes.csv to write: accuracy of each class")
    command.add_argument("--batch-size", type=int, default=64, help="(default: 64)")
    _compute_options(command)


def _evaluate(options: argparse.Namespace) -> None:
    from dualhead.evaluate import evaluate

    with _claimed_device(options) as device:
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


def _ensemble_options(command: argparse.ArgumentParser) -> None:
    _path(command, "grid", "results/grid.json of the workspace")
    command.add_argument("--ensemble", required=True, help="the ensemble's address")
    _path(command, "runs", "the folder of runs, whose scores.h5 are joined by sample id")
    _path(command, "scores", "scores.h5 to write")
    _path(command, "metrics", "metrics.json to write")
    _path(command, "classes", "classes.csv to write")


def _ensemble(options: argparse.Namespace) -> None:
    from dualhead.ensemble import ensemble

    ensembles = _read_json(options.grid)["ensembles"]
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
    _path(command, "checkpoint", "as `dualhead train` or `dualhead convert-weights` wrote it")
    _path(command, "store", "recordings, as `dualhead prepare` wrote them")
    _path(command, "output", "CSV to write: each sample's five best classes")
    _compute_options(command)


def _predict(options: argparse.Namespace) -> None:
    from dualhead.predict import predict

    with _claimed_device(options) as device:
        predict(options.checkpoint, options.store, options.output, device=device)


def _convert_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("weights", type=Path, help="the authors' or MS-G3D's published state dict")
    command.add_argument("--model", required=True, choices=params_module.MODEL_NAMES)
    text = "ntu25, openpose18, kinect20, or a layout's YAML file"
    command.add_argument("--layout", required=True, help=text)
    command.add_argument("--classes", type=int, required=True, help="60, 120, 400, ...")
    _path(command, "output", "checkpoint.pt to write")


def _convert_weights(options: argparse.Namespace) -> None:
    from dualhead.checkpoint import convert_weights

    convert_weights(
        options.weights,
        options.output,
        model=options.model,
        layout=options.layout,
        num_classes=options.classes,
    )
    print(f"{options.output}: {options.model} for {options.layout}, {options.classes} classes")


# --- what is read off the runs ----------------------------------------------------------------


def _grid_options(command: argparse.ArgumentParser) -> None:
    _path(command, "grid", "results/grid.json of the workspace")
    _path(command, "results", "the folder that holds runs/ and ensembles/")


def _table_options(command: argparse.ArgumentParser) -> None:
    _grid_options(command)
    _path(command, "published", "the papers' numbers (reports/published.yaml)")
    command.add_argument("--name", action="append", help="a table of params.yaml (default: all)")
    _path(command, "output", "table.csv to write; .md and .tex go beside it", required=False)
    command.add_argument("--show", action="store_true", help="print the tables on the terminal")


def _table(options: argparse.Namespace) -> None:
    from dualhead.printing import show_tables
    from dualhead.tables import build_table, write_table

    grid = _read_json(options.grid)
    published = params_module.read_yaml(options.published)
    names = options.name or list(grid["tables"])
    frames = {name: build_table(grid, name, options.results, published) for name in names}
    if options.output:
        if len(frames) != 1:
            raise ValueError("--output takes one table: say which with one --name")
        csv = options.output
        markdown, latex = csv.with_suffix(".md"), csv.with_suffix(".tex")
        write_table(frames[names[0]], csv=csv, markdown=markdown, latex=latex)
    if options.show or not options.output:
        show_tables(frames)


def _summary_options(command: argparse.ArgumentParser) -> None:
    _grid_options(command)
    _path(command, "output", "summary.json to write, for `dvc metrics`")
    _path(command, "curves", "curves.csv to write, for `dvc plots`")


def _summary(options: argparse.Namespace) -> None:
    from dualhead.tables import write_curves, write_summary

    grid = _read_json(options.grid)
    write_summary(grid, options.results, options.output)
    write_curves(grid, options.results, options.curves)


def _figure_options(command: argparse.ArgumentParser) -> None:
    _grid_options(command)
    _path(command, "stores", "the folder of stores")
    command.add_argument("--name", required=True, help="which figure; a wrong name lists them")
    _path(command, "output", "figure.pdf to write; .svg goes beside it")


def _figure(options: argparse.Namespace) -> None:
    from dualhead.figures import draw

    draw(
        options.name,
        _read_json(options.grid),
        options.results,
        options.stores,
        pdf=options.output,
        svg=options.output.with_suffix(".svg"),
    )


def _report_options(command: argparse.ArgumentParser) -> None:
    _grid_options(command)
    _path(command, "stores", "the folder of stores")
    _path(command, "tables", "the folder of tables")
    _path(command, "figures", "the folder of figures")
    _path(command, "template", "reports/report.typ")
    _path(command, "published", "the papers' numbers (reports/published.yaml)")
    _path(command, "bibliography", "reports/references.bib")
    _path(command, "deviations", "docs/deviations.md", required=False)
    command.add_argument("--title", help="of the workspace (default: the folder's name)")
    _path(command, "output", "report.pdf to write")


def _report(options: argparse.Namespace) -> None:
    from dualhead.report import build_report

    build_report(
        _read_json(options.grid),
        results=options.results,
        stores=options.stores,
        tables=options.tables,
        figures=options.figures,
        template=options.template,
        published=options.published,
        bibliography=options.bibliography,
        deviations=options.deviations,
        output=options.output,
        title=options.title or Path.cwd().name,
    )


def _workspace_options(command: argparse.ArgumentParser) -> None:
    """Where a workspace keeps its grid and results, unless told otherwise."""
    for name, default, text in (
        ("grid", "results/grid.json", "of the workspace; `snakemake -n` writes it"),
        ("results", "results", "the folder that holds runs/ and ensembles/"),
    ):
        help_text = f"{text} (default: {default})"
        command.add_argument(
            f"--{name}", type=Path, default=Path(default), metavar="PATH", help=help_text
        )


def _explain_options(command: argparse.ArgumentParser) -> None:
    text = (
        "table, benchmark, variant and stream, as far as needed; or a run's or ensemble's address"
    )
    command.add_argument("cell", nargs="+", help=text)
    _workspace_options(command)
    _path(command, "published", "the papers' numbers, to show theirs too", required=False)
    text = "every setting, not only those that are not the defaults"
    command.add_argument("--settings", action="store_true", help=text)


def _explain(options: argparse.Namespace) -> None:
    from dualhead.explain import explain

    published = params_module.read_yaml(options.published) if options.published else None
    print(
        explain(
            _read_grid(options.grid),
            options.results,
            "/".join(options.cell),
            published=published,
            complete=options.settings,
        )
    )


def _read_grid(path: Path) -> Settings:
    """Return a workspace's grid; say where to look for one if there is none."""
    if not path.is_file():
        raise ValueError(
            f"{path}: no such file; run it in a workspace, where `snakemake -n` wrote it"
        )
    return _read_json(path)


def _status_options(command: argparse.ArgumentParser) -> None:
    _workspace_options(command)


def _status(options: argparse.Namespace) -> None:
    from dualhead.housekeeping import show_status

    show_status(_read_grid(options.grid), options.results)


def _gc_options(command: argparse.ArgumentParser) -> None:
    _workspace_options(command)
    text = "really remove; without it only the list is printed"
    command.add_argument("--remove", action="store_true", help=text)


def _gc(options: argparse.Namespace) -> None:
    from dualhead.housekeeping import collect_garbage

    collect_garbage(_read_grid(options.grid), options.results, remove=options.remove)


Options = Callable[[argparse.ArgumentParser], None]
COMMANDS: dict[str, tuple[Command, str, str, Options]] = {
    "synthesize": (
        _synthesize,
        "write a small raw dataset in the exact NTU .skeleton format",
        "dualhead synthesize --output data/raw/synthetic --classes 10 --seed 1",
        _synthesize_options,
    ),
    "download": (
        _download,
        "fetch what is public of a dataset, and say how to get the rest",
        "dualhead download --dataset ntu60 --output data/raw",
        _download_options,
    ),
    "verify": (
        _verify,
        "check raw archives and samples: counts, damage, copies, what training and test share",
        "dualhead verify --dataset ntu60 --raw data/raw/nturgbd_skeletons_s001_to_s017.zip",
        _verify_options,
    ),
    "prepare": (
        _prepare,
        "read, choose, normalize raw recordings, and write one store",
        "dualhead prepare --dataset ntu60 --raw data/raw/nturgbd_skeletons_s001_to_s017.zip "
        "--output ntu60.h5",
        _prepare_options,
    ),
    "configure": (
        _configure,
        "write one run's complete settings",
        "dualhead configure --grid results/grid.json --run RUN --output config.yaml",
        _configure_options,
    ),
    "train": (
        _train,
        "train one run; killed at any moment, it resumes where it was",
        "dualhead train --config RUN/config.yaml --store ntu60.h5 --output RUN/checkpoint.pt",
        _train_options,
    ),
    "evaluate": (
        _evaluate,
        "score every test sample with a checkpoint",
        "dualhead evaluate --checkpoint RUN/checkpoint.pt --store ntu60.h5 "
        "--scores RUN/scores.h5 --metrics RUN/metrics.json --classes RUN/classes.csv",
        _evaluate_options,
    ),
    "ensemble": (
        _ensemble,
        "sum the scores of several modalities, with weights given or fitted on held-out subjects",
        "dualhead ensemble --grid results/grid.json --ensemble ADDRESS --runs results/runs "
        "--scores scores.h5 --metrics metrics.json --classes classes.csv",
        _ensemble_options,
    ),
    "predict": (
        _predict,
        "name the five likeliest actions of any recordings",
        "dualhead predict --checkpoint checkpoint.pt --store mine.h5 --output predictions.csv",
        _predict_options,
    ),
    "convert-weights": (
        _convert_weights,
        "turn published weights into a checkpoint",
        "dualhead convert-weights weights.pt --model ms_g3d --layout ntu25 --classes 60 "
        "--output checkpoint.pt",
        _convert_options,
    ),
    "table": (
        _table,
        "write a table, ours beside the published",
        "dualhead table --grid results/grid.json --results results "
        "--published reports/published.yaml --name table1 --output table1.csv",
        _table_options,
    ),
    "summary": (
        _summary,
        "write all accuracies and curves under stable names, for DVC",
        "dualhead summary --grid results/grid.json --results results "
        "--output summary.json --curves curves.csv",
        _summary_options,
    ),
    "figure": (
        _figure,
        "draw one figure as PDF and SVG",
        "dualhead figure --grid results/grid.json --results results --stores results/store "
        "--name curves --output curves.pdf",
        _figure_options,
    ),
    "report": (
        _report,
        "set tables, figures and provenance as one PDF",
        "snakemake --cores all reproduce_tables   # which calls this with all its paths",
        _report_options,
    ),
    "explain": (
        _explain,
        "tell everything behind one number of a table",
        "dualhead explain table1/joint/ntu60_xsub",
        _explain_options,
    ),
    "status": (
        _status,
        "show which runs are done, running (with time left) and waiting",
        "dualhead status",
        _status_options,
    ),
    "gc": (
        _gc,
        "list, and on request remove, runs that no params.yaml asks for",
        "dualhead gc --remove",
        _gc_options,
    ),
}

if __name__ == "__main__":
    sys.exit(main())
