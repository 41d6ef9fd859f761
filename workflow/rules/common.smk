"""What the rules share: the grid that params.yaml asks for, and functions for their inputs.

params.yaml (and `--config`) -> results/grid.json, rewritten only when its content changes.
"""

import re
import sys
from pathlib import Path

from snakemake.utils import update_config

from dualhead import checks, params
from dualhead.grid import resolve
from dualhead.report import captions, figures
from dualhead.workspace import recovery
from dualhead.workspace import rules as workspace
from dualhead.workspace.gpu import visible_gpus

ROOT = Path(os.path.relpath(workflow.basedir))  # the repository, from the workspace


def or_exit(function, *arguments):
    """Call a function; a setting that it refuses stops Snakemake with one line."""
    try:
        return function(*arguments)
    except ValueError as error:
        sys.exit(f"{Path.cwd()}: {error}")


def raw_of(store):
    """Return where a store's recordings lie; synthetic ones have a folder for each setting."""
    entry = GRID["stores"][store]
    return entry["raw"] if entry["synthesize"] is None else [f"data/raw/{store}"]


def raw_to_prepare(wildcards):
    """Return a store's recordings as far as they are there, so that `-n` can plan without."""
    made = GRID["stores"][wildcards.store]["synthesize"] is not None
    return [path for path in raw_of(wildcards.store) if made or Path(path).exists()]


def reused_store(wildcards):
    """Return the store that this one copies samples from; none if this one exists already."""
    reuse = GRID["stores"][wildcards.store]["reuse"]
    made = Path(f"results/store/{wildcards.store}.h5").exists()
    return f"results/store/{reuse}.h5" if reuse and not made else []


def stores_to_check():
    """Return the stores whose raw data is newer: was it copied again, or is it another?"""
    paths = {store: Path(f"results/store/{store}.h5") for store in GRID["stores"]}
    made = {store: path for store, path in paths.items() if path.exists()}
    downloaded = [store for store in made if GRID["stores"][store]["synthesize"] is None]
    return [store for store in downloaded if workspace.any_newer(raw_of(store), made[store])]


def raw_checks():
    """Return the stamps of those stores; see the rule check_raw."""
    return [f"results/logs/check_raw/{store}.txt" for store in stores_to_check()]


def stop_if_raw_data_is_missing():
    """Stop before the first job, and say what to download from whom, and where to put it."""
    jobs = [job for job in workflow.dag.needrun_jobs() if job.rule.name == "prepare"]
    waiting = {job.wildcards.store for job in jobs}
    stores = {name: entry for name, entry in GRID["stores"].items() if name in waiting}
    if text := workspace.missing_data(stores):
        sys.exit(text)


def store_unless(*products):
    """Return a rule's input function: the store a run reads.

    A run that has its products needs no store: it may be gone or be made anew for other runs.
    """

    def store(wildcards):
        path = f"results/store/{GRID['runs'][wildcards.run]['store']}.h5"
        made = any(Path(f"results/runs/{wildcards.run}/{name}").exists() for name in products)
        return [] if made and not Path(path).exists() else path

    return store


def member_scores(wildcards):
    """Return the score files that an ensemble sums."""
    members = GRID["ensembles"][wildcards.ensemble]["members"].values()
    return expand("results/runs/{run}/scores.h5", run=members)


def table_metrics(wildcards):
    """Return the metrics that a table reads."""
    cells = [cell for cell in GRID["cells"] if cell["table"] == wildcards.table]
    made = {address for cell in cells for address in cell["seeds"].values()}
    return sorted(f"results/{address}/metrics.json" for address in made)


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
    share = (workflow.cores or 1) // (ON_GPUS or len(GRID["runs"]) or 1)
    return max(1, min(share, 4) if GPUS else share)


def show_tables():
    """Print ours beside the paper's, and where everything lies, once a report was made."""
    made = workflow.dag.needrun_jobs(exclude_finished=False)
    if any(job.rule.name == "report" for job in made):
        options = f"--grid {GRID_FILE} --results results --published {ROOT}/reports/published.yaml"
        shell(f"dualhead table {options} --show")
        print("", *(f"{what:<13}{where}" for what, where in where_things_are()), sep="\n")


def where_things_are():
    """Return what a reader may want next, and where it is."""
    here = Path.cwd()
    name = "{table}/{stream}/{benchmark}".format(**GRID["cells"][0])
    return [
        ("The report:", here / "reports/report.pdf"),
        ("Tables:", f"{here / 'results/tables'} (.md and .tex to paste, .csv)"),
        ("Figures:", f"{here / 'results/figures'} (.pdf, .svg)"),
        ("One number:", f"dualhead explain {name}"),
    ]


def one_of(names):
    """Return the wildcard constraint that lets nothing but these names through."""
    return "|".join(map(re.escape, names)) or "(?!)"


or_exit(params.read_yaml, Path("params.yaml"))  # says in which line it is no YAML


configfile: "params.yaml"


update_config(config, workspace.typed(workflow.config_settings.overwrite_config))
PARAMS = or_exit(checks.complete, config, Path.cwd())
GRID = resolve(PARAMS)
PUBLISHED = or_exit(params.read_yaml, ROOT / "reports/published.yaml")
GRID_FILE = "results/grid.json"
FIGURES = figures.available(GRID)
HARDWARE = PARAMS["hardware"]
GPUS = 0 if HARDWARE["device"] == "cpu" else len(visible_gpus(os.environ))
ON_GPUS = GPUS * HARDWARE["trainings_per_gpu"] // HARDWARE["gpus_per_training"]

workspace.write_if_changed(Path(GRID_FILE), GRID)
Path("results/ensembles").mkdir(exist_ok=True)  # an out of DVC's, also where no table asks for one
shell.prefix(f'PATH="$PATH:{Path(sys.executable).parent}"; ')  # where `dualhead` is
if GPUS and "gpu" not in workflow.global_resources:
    workflow.register_resource("gpu", GPUS * HARDWARE["trainings_per_gpu"])
held = recovery.hold(Path(".snakemake")) if workflow.is_main_process else None


wildcard_constraints:
    store=one_of(GRID["stores"]),
    run=one_of(GRID["runs"]),
    ensemble=one_of(GRID["ensembles"]),
    table=one_of(GRID["tables"]),
    figure=one_of(FIGURES),
