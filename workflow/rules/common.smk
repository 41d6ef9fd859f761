"""What the rules share: the grid of the run, and functions for their inputs.

params.yaml (and `--config`) -> RUN; nothing is written here. A run that begins freezes its grid in
results/grids, and its jobs on a cluster read that one, whatever params.yaml says by then.
"""

import re
import shlex
import sys
from pathlib import Path

from snakemake.io import _IOFile
from snakemake.jobs import GroupJob, Job
from snakemake.persistence.file import FilePersistence

from dualhead.settings import formats
from dualhead.report import captions, figures, made
from dualhead.workspace import kept, recovery, rules as workspace

ROOT = Path(os.path.relpath(workflow.basedir))  # the repository, from the workspace


def or_exit(function, *arguments, **options):
    """Call a function; what it refuses, or may not write, stops Snakemake with one line."""
    try:
        return function(*arguments, **options)
    except (ValueError, OSError) as error:
        sys.exit(f"{Path.cwd()}: {error}")


RUN = or_exit(workspace.begin, workflow)
GRID = RUN.grid
GRID_FILE = RUN.grid_file
HARDWARE = RUN.hardware
PUBLISHED = or_exit(formats.read_published, ROOT / "reports/published.yaml")
FIGURES = figures.available(GRID)
KEPT = kept.kept_runs(Path(), GRID["runs"])
"""Runs that were trained elsewhere and lie in published/, beside params.yaml."""
REPORT_FILES = [
    ROOT / "reports/published.yaml",
    ROOT / "reports/report.typ",
    ROOT / "reports/references.bib",
    ROOT / "docs/deviations.md",
]
READ_FILES = {
    "table": REPORT_FILES[:1],
    "summary": [],
    "figure": [],
    "report": REPORT_FILES,
    "explorer": [],
}
"""What a product is made from beside the results."""

shell.prefix(f"PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH; ")  # `dualhead`'s


async def is_protected(file):
    """Return False: a read-only link into DVC's cache is replaced, never written to."""
    return False


_IOFile.protected = is_protected
recovery.keep_locks_of_others(FilePersistence)


def times_to_restart(job):
    """Return how often a failed job is tried again: never where it would fail the same way."""
    return job.rule.restart_times if workspace.is_worth_a_retry(job.log) else 0


Job.restart_times = property(times_to_restart)


def any_rule(group):
    """Return a rule of a group, which the SLURM plugin (2.8.0) names where it cannot submit a job.

    Without one it ends in an error that nobody sees, and the group is waited for for ever.
    """
    return min((job.rule for job in group.jobs), key=str)


GroupJob.rule = property(any_rule)


def raw_of(store):
    """Return where a store's recordings lie; synthetic ones have a folder for each setting."""
    entry = GRID["stores"][store]
    made_here = entry["synthesize"] is not None
    return [f"data/raw/{store}"] if made_here else list(map(workspace.located, entry["raw"]))


def raw_to_prepare(wildcards):
    """Return a store's recordings as far as they are there, so that `-n` can plan without."""
    made_here = GRID["stores"][wildcards.store]["synthesize"] is not None
    return [path for path in raw_of(wildcards.store) if made_here or Path(path).exists()]


def reused_store(wildcards):
    """Return the store that this one copies samples from; none if this one exists already."""
    reuse = GRID["stores"][wildcards.store]["reuse"]
    exists = Path(f"results/store/{wildcards.store}.h5").exists()
    return f"results/store/{reuse}.h5" if reuse and not exists else []


def raw_checks():
    """Return the stamps of the stores whose downloaded recordings are there; see check_raw."""
    downloaded = [name for name, it in GRID["stores"].items() if it["synthesize"] is None]
    present = [name for name in downloaded if all(map(os.path.exists, raw_of(name)))]
    return [f"results/logs/check_raw/{store}.txt" for store in present if raw_of(store)]


def raw_to_check(wildcards):
    """Return a store's recordings; if one's size or date has changed, they are checked again."""
    stamp = f"results/logs/check_raw/{wildcards.store}.txt"
    if not workspace.is_checked(raw_of(wildcards.store), Path(stamp)):
        make_again(stamp)
    return raw_of(wildcards.store)


def make_again(output):
    """Let the job of an output run, whatever the times of files say."""
    if workflow.is_main_process:
        workflow.dag.forcefiles.add(output)


def stop_if_raw_data_is_missing():
    """Stop before the first job, and say what to download from whom, and where to put it."""
    jobs = [job for job in workflow.dag.needrun_jobs() if job.rule.name == "prepare"]
    waiting = {job.wildcards.store for job in jobs}
    stores = {name: entry for name, entry in GRID["stores"].items() if name in waiting}
    if text := workspace.missing_data(stores):
        sys.exit(text)


def stop_where_nothing_may_be_written():
    """Stop before the first job if the folder of a product or log cannot be written."""
    jobs = workflow.dag.needrun_jobs()
    or_exit(workspace.refuse_unwritable, [file for job in jobs for file in [*job.output, *job.log]])


def store_unless(*products):
    """Return a rule's input function: the store a run reads.

    A run that has its products needs no store: it may be gone or be made anew for other runs.
    """

    def store(wildcards):
        path = f"results/store/{GRID['runs'][wildcards.run]['store']}.h5"
        there = any(Path(f"results/runs/{wildcards.run}/{name}").exists() for name in products)
        return [] if there and not Path(path).exists() else path

    return store


def parent_of(wildcards):
    """Return the checkpoint that a run begins with; none for most."""
    digest = GRID["runs"][wildcards.run]["train"].get("from")
    return GRID["parents"][digest] if digest else []


def tensorboard_options(run):
    """Return the options of a training that is watched with TensorBoard."""
    wanted = HARDWARE.get("tensorboard", False)
    return ["--tensorboard", f"results/tensorboard/{run}"] if wanted else []


def member_scores(wildcards):
    """Return the score files that an ensemble sums."""
    members = GRID["ensembles"][wildcards.ensemble]["members"].values()
    return expand("results/runs/{run}/scores.h5", run=members)


def products_of(kind, name=""):
    """Return what one rule of the report makes, and the record of what it was made from."""
    made_here = {
        "table": [f"results/tables/{name}.{suffix}" for suffix in ("csv", "md", "tex")],
        "summary": ["results/tables/summary.json", "results/tables/curves.csv"],
        "figure": [f"results/figures/{name}.{suffix}" for suffix in ("pdf", "svg")],
        "report": ["reports/report.pdf"],
        "explorer": ["reports/explorer.html"],
    }
    return made_here[kind], f"results/made/{kind}/{name or 'all'}.json"


def made_from(kind, name, inputs):
    """Return the inputs of a product; one that was not made from just these, as they are, is made again.

    Those of a product that stays are ancient, for their times count for nothing.
    """
    products, record = products_of(kind, name)
    wanted = or_exit(made.ingredients, kind, name, GRID, Path("results"), READ_FILES[kind])
    is_current = made.is_current(Path(record), wanted, map(Path, products))
    if not is_current:
        make_again(record)
    stays = is_current and not workflow.dag_settings.forcerun
    return list(map(ancient, inputs)) if stays else inputs


def table_inputs(wildcards):
    """Return the metrics that a table reads."""
    results = made.results_of(GRID, wildcards.table)
    metrics = [f"results/{result}/metrics.json" for result in results]
    return made_from("table", wildcards.table, metrics)


def summary_inputs(wildcards):
    """Return the metrics of all runs and ensembles."""
    return made_from("summary", "", all_metrics())


def figure_inputs(wildcards):
    """Return the metrics of all runs and ensembles."""
    return made_from("figure", wildcards.figure, all_metrics())


def report_inputs(wildcards):
    """Return the tables, figures and summary that the report shows."""
    tables = expand("results/tables/{table}.csv", table=GRID["tables"])
    figures = expand("results/figures/{figure}.svg", figure=FIGURES)
    return made_from("report", "", [*tables, *figures, "results/tables/summary.json"])


def explorer_inputs(wildcards):
    """Return the metrics of all runs and ensembles."""
    return made_from("explorer", "", all_metrics())


def all_metrics():
    """Return the metrics of every run and ensemble."""
    runs = expand("results/runs/{run}/metrics.json", run=GRID["runs"])
    return runs + expand("results/ensembles/{it}/metrics.json", it=GRID["ensembles"])


def figure_store():
    """Return the store whose recordings the figures show."""
    dataset = GRID["benchmarks"][GRID["figures"]["benchmark"]]["dataset"]
    names = [name for name, entry in GRID["stores"].items() if entry["dataset"] == dataset]
    return expand("results/store/{store}.h5", store=names)


def train_threads():
    """Return the threads of one training: as many run at once as there are GPUs or cores."""
    share = (workflow.cores or 1) // (RUN.at_once or len(GRID["runs"]) or 1)
    return max(1, min(share, 4) if RUN.gpus else share)


def show_tables():
    """Print ours beside the paper's, and where everything lies, once a report was made."""
    jobs = workflow.dag.needrun_jobs(exclude_finished=False)
    if any(job.rule.name == "report" for job in jobs) and not workflow.touch:
        published = REPORT_FILES[0]
        shell(
            "dualhead table --grid {GRID_FILE:q} --results results --published {published:q} --show"
            " || echo 'The tables cannot be shown here; all is made.'"
        )
        print("", *(f"{what:<13}{where}" for what, where in where_things_are()), sep="\n")


def where_things_are():
    """Return what a reader may want next, and where it is."""
    here = Path.cwd()
    name = "{table}/{stream}/{benchmark}".format(**GRID["cells"][0])
    return [
        ("The report:", here / "reports/report.pdf"),
        ("To look at:", here / "reports/explorer.html"),
        ("Tables:", f"{here / 'results/tables'} (.md and .tex to paste, .csv)"),
        ("Figures:", f"{here / 'results/figures'} (.pdf, .svg)"),
        ("One number:", f"dualhead explain {name}"),
    ]


def one_of(names):
    """Return the wildcard constraint that lets nothing but these names through."""
    return "|".join(map(re.escape, names)) or "(?!)"


wildcard_constraints:
    store=one_of(GRID["stores"]),
    run=one_of(GRID["runs"]),
    ensemble=one_of(GRID["ensembles"]),
    table=one_of(GRID["tables"]),
    figure=one_of(FIGURES),
