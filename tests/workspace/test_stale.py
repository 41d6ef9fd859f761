"""Tables, figures and the report: made again when what they are made from is another, whatever the clocks say."""

import json
import os
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.builders.workspaces import Workspace

pytestmark = pytest.mark.workflow
PRODUCTS = ("results/tables", "results/figures", "results/made", "reports")


def date_ahead(workspace: Workspace) -> None:
    """Date all products an hour ahead, as a node or a server whose clock is ahead does."""
    for name in PRODUCTS:
        for path in (workspace.folder / name).rglob("*"):
            os.utime(path, (time.time() + 3600,) * 2)


def replace_metrics(workspace: Workspace) -> None:
    """Put another metrics.json in a run's place, with an old date, as a restored backup has."""
    path = next(workspace.folder.glob("results/runs/*/small/*/*/metrics.json"))
    path.write_text(json.dumps({"top1": 17}))
    os.utime(path, (1e9, 1e9))


def edit(name: str) -> Callable[[Workspace], None]:
    """Return what adds a line to a file and gives it an old date."""

    def change(workspace: Workspace) -> None:
        path = workspace.folder / name
        path.write_bytes(path.read_bytes() + b"\n# another line\n")
        os.utime(path, (1e9, 1e9))

    return change


def remove(pattern: str) -> Callable[[Workspace], None]:
    """Return what deletes files."""

    def change(workspace: Workspace) -> None:
        for path in workspace.folder.glob(pattern):
            path.unlink()

    return change


ONE_TABLE = {"table": 1, "report": 1}
ALL = {"table": 2, "summary": 1, "figure": 9, "report": 1, "explorer": 1}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda it: it.edit("rows: [", "title: Anew., rows: ["), ONE_TABLE),
        (replace_metrics, ALL | {"table": 1}),
        (edit("reports/published.yaml"), {"table": 2, "report": 1}),
        (edit("reports/report.typ"), {"report": 1}),
        (edit("results/tables/ablation.csv"), {"table": 1}),
        (edit("results/figures/curves.svg"), {"figure": 1}),
        (edit("reports/explorer.html"), {"explorer": 1}),
        (remove("results/made/*/*.json"), ALL),
    ],
    ids=[
        "title",
        "metrics",
        "published",
        "template",
        "damaged table",
        "damaged figure",
        "page",
        "records",
    ],
)
def test_what_is_stale_is_made_again_though_it_is_dated_ahead(
    finished: Workspace, change: Callable[[Workspace], None], expected: dict[str, int]
) -> None:
    date_ahead(finished)
    change(finished)
    calls = finished.snakemake()
    calls["table"] -= calls["report"]  # which the tables are shown after
    assert +calls == Counter(expected)
    assert finished.snakemake() == {}


def test_runs_below_tables_that_are_dated_ahead_are_made(finished: Workspace) -> None:
    date_ahead(finished)
    finished.edit("gcn_scales: 3", "gcn_scales: 4")
    calls = finished.snakemake()
    assert (calls["train"], calls["evaluate"], calls["report"]) == (1, 1, 1)


def test_a_lost_result_below_tables_that_are_up_to_date_is_made_again(finished: Workspace) -> None:
    date_ahead(finished)
    remove("results/runs/*/small/*/*/metrics.json")(finished)
    assert finished.snakemake()["evaluate"] == 1


def test_after_a_touch_what_does_not_exist_is_made(finished: Workspace) -> None:
    finished.edit("seeds: [1]", "seeds: [2]")
    touched = finished.run("snakemake", "--cores", "1", "--touch")
    assert touched.returncode == 0, touched.stderr
    calls = finished.snakemake()
    assert (calls["train"], calls["evaluate"], calls["report"]) == (4, 4, 1)
    seeds = json.loads((finished.folder / "results/grid.json").read_text())["seeds"]
    assert seeds == [2]


def test_read_only_links_are_replaced_and_what_they_link_to_is_kept(
    finished: Workspace, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    kept = {}
    for name in PRODUCTS[:3]:
        for number, path in enumerate(sorted((finished.folder / name).rglob("*.*"))):
            link = cache / f"{Path(name).name}-{number}"
            path.chmod(0o444)
            os.link(path, link)  # as DVC's cache of type hardlink has it
            kept[link] = link.read_bytes()
    finished.edit("rows: [", "title: Anew., rows: [")
    made = finished.run(*as_an_ordinary_user(), "snakemake", "--cores", "2")
    assert made.returncode == 0, made.stderr
    assert kept == {link: link.read_bytes() for link in kept}
    assert finished.snakemake() == {}


def as_an_ordinary_user() -> tuple[str, ...]:
    """Return what goes before a command so that read-only files are read-only, also to root."""
    if os.geteuid() != 0:
        return ()
    command = ("setpriv", "--bounding-set=-dac_override", "--inh-caps=-dac_override")
    if shutil.which("setpriv") is None or subprocess.run([*command, "true"]).returncode:
        pytest.skip("root cannot put its power over read-only files away here")
    return command
