"""Commands for tables, figures, the PDF, and explanations of a number."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from dualhead.cli.options import (
    Command,
    add_json,
    add_path,
    add_workspace_paths,
)
from dualhead.report import made
from dualhead.settings.formats import read_grid, read_published
from dualhead.settings.params import Settings
from dualhead.workspace.grids import latest
from dualhead.workspace.project import home

FILES = {
    "published": ("the papers' numbers", "reports/published.yaml"),
    "template": ("Typst's template", "reports/report.typ"),
    "bibliography": ("what is cited", "reports/references.bib"),
    "deviations": ("where ours is not the paper's", "docs/deviations.md"),
}
"""Option -> what it is, and the file of the workflow that it is unless told otherwise."""


def _product_options(command: argparse.ArgumentParser) -> None:
    add_workspace_paths(command)
    text = "JSON to write: digests of all that the product was made from"
    add_path(command, "record", text, required=False)


def _add_stores(command: argparse.ArgumentParser) -> None:
    text = "the folder of stores (default: store/ in --results)"
    add_path(command, "stores", text, required=False)


def _add_files(command: argparse.ArgumentParser, *names: str) -> None:
    for name in names:
        what, own = FILES[name]
        add_path(command, name, f"{what} (default: dualhead's own {own})", required=False)


def _file(options: argparse.Namespace, name: str) -> Path:
    """Return a file of the workflow: as told, or the one that belongs to it."""
    given: Path | None = getattr(options, name)
    return given or home() / FILES[name][1]


def _grid(options: argparse.Namespace) -> Settings:
    """Return the grid told of, or that of the run that began last, or what params.yaml asks for."""
    return read_grid(options.grid) if options.grid else latest(options.results, options.directory)


def _write_record(
    options: argparse.Namespace,
    grid: Settings,
    products: Sequence[Path],
    files: Sequence[Path] = (),
    name: str = "",
) -> None:
    """Note what products were made from, if a record is asked for."""
    if options.record:
        kind = options.command
        made_from = made.ingredients(kind, name, grid, options.results, files)
        made.write_record(options.record, made_from, products)


def _table_options(command: argparse.ArgumentParser) -> None:
    _product_options(command)
    _add_files(command, "published")
    command.add_argument("--name", action="append", help="a table of params.yaml (default: all)")
    text = "table.csv to write, .md and .tex beside it; or - for a CSV to standard output"
    add_path(command, "output", text, required=False)
    command.add_argument("--show", action="store_true", help="print the tables on the terminal")


def _table(options: argparse.Namespace) -> None:
    from dualhead.report.tables import build_table, csv_text, write_table
    from dualhead.report.text import show_tables

    grid, source = _grid(options), _file(options, "published")
    published = read_published(source)
    names = options.name or list(grid["tables"])
    frames = {
        name: build_table(made.part_of(grid, name), name, options.results, published)
        for name in names
    }
    if options.output:
        if len(frames) != 1:
            raise ValueError("--output takes one table: say which with one --name")
        if str(options.output) == "-":
            print(csv_text(frames[names[0]]), end="")
            return
        csv = options.output
        markdown, latex = csv.with_suffix(".md"), csv.with_suffix(".tex")
        write_table(frames[names[0]], csv=csv, markdown=markdown, latex=latex)
        _write_record(options, grid, [csv, markdown, latex], [source], names[0])
    if options.show or not options.output:
        show_tables(frames)


def _summary_options(command: argparse.ArgumentParser) -> None:
    _product_options(command)
    add_path(command, "output", "summary.json to write, for `dvc metrics`")
    add_path(command, "curves", "curves.csv to write, for `dvc plots`")


def _summary(options: argparse.Namespace) -> None:
    from dualhead.report.tables import write_curves, write_summary

    grid = _grid(options)
    write_summary(grid, options.results, options.output)
    write_curves(grid, options.results, options.curves)
    _write_record(options, grid, [options.output, options.curves])


def _figure_options(command: argparse.ArgumentParser) -> None:
    _product_options(command)
    _add_stores(command)
    command.add_argument("--name", required=True, help="which figure; a wrong name lists them")
    add_path(command, "output", "figure.pdf to write; .svg goes beside it")


def _figure(options: argparse.Namespace) -> None:
    from dualhead.report.figures import draw

    grid = _grid(options)
    pdf, svg = options.output, options.output.with_suffix(".svg")
    stores = options.stores or options.results / "store"
    draw(options.name, grid, options.results, stores, pdf=pdf, svg=svg)
    _write_record(options, grid, [pdf, svg], name=options.name)


def _report_options(command: argparse.ArgumentParser) -> None:
    _product_options(command)
    _add_stores(command)
    for name in ("tables", "figures"):
        text = f"the folder of {name} (default: {name}/ in --results)"
        add_path(command, name, text, required=False)
    _add_files(command, *FILES)
    command.add_argument("--title", help="of the workspace (default: the folder's name)")
    add_path(command, "output", "report.pdf to write")


def _report(options: argparse.Namespace) -> None:
    from dualhead.report.pdf import build_report

    grid, results = _grid(options), options.results
    files = {name: _file(options, name) for name in FILES}
    build_report(
        grid,
        results=results,
        stores=options.stores or results / "store",
        tables=options.tables or results / "tables",
        figures=options.figures or results / "figures",
        template=files["template"],
        published=files["published"],
        bibliography=files["bibliography"],
        deviations=files["deviations"],
        output=options.output,
        title=options.title or options.directory.absolute().name,
        date=date.today(),
    )
    _write_record(options, grid, [options.output], list(files.values()))


EXPLORED = 24
"""Recordings whose skeletons a workspace's page holds."""


def _explorer_options(command: argparse.ArgumentParser) -> None:
    _product_options(command)
    _add_stores(command)
    command.add_argument("--title", help="of the workspace (default: the folder's name)")
    add_path(command, "output", "explorer.html to write")


def _explorer(options: argparse.Namespace) -> None:
    from dualhead.report.viewer import write_page
    from dualhead.report.viewer.of_results import page_of_workspace

    grid, results = _grid(options), options.results
    stores = options.stores or results / "store"
    title = options.title or Path.cwd().name
    page = page_of_workspace(grid, results, stores, title=title, count=EXPLORED)
    write_page(page, options.output)
    _write_record(options, grid, [options.output])


def _explain_options(command: argparse.ArgumentParser) -> None:
    text = (
        "table, benchmark, variant and stream, as far as needed; or a run's or ensemble's address"
    )
    command.add_argument("cell", nargs="+", help=text)
    add_workspace_paths(command)
    _add_files(command, "published")
    add_json(command)
    text = "every setting, not only those that are not the defaults"
    command.add_argument("--settings", action="store_true", help=text)


def _explain(options: argparse.Namespace) -> None:
    from dualhead.report.explain import behind, explain

    published = read_published(_file(options, "published"))
    grid, results, query = _grid(options), options.results, "/".join(options.cell)
    if options.json:
        print(json.dumps(behind(grid, results, query, published=published), indent=1))
    else:
        complete = options.settings
        print(explain(grid, results, query, published=published, complete=complete))


COMMANDS: dict[str, Command] = {
    "table": Command(
        _table,
        "write a table, ours beside the published",
        "dualhead table --name table1 --output table1.csv",
        _table_options,
        prints=True,
    ),
    "summary": Command(
        _summary,
        "write all accuracies and curves under stable names, for DVC",
        "dualhead summary --output summary.json --curves curves.csv",
        _summary_options,
    ),
    "figure": Command(
        _figure,
        "draw one figure as PDF and SVG",
        "dualhead figure --name curves --output curves.pdf",
        _figure_options,
    ),
    "report": Command(
        _report,
        "set tables, figures and provenance as one PDF",
        "dualhead report --output report.pdf   # of tables and figures that a run of the workflow has made",
        _report_options,
    ),
    "explorer": Command(
        _explorer,
        "write the page of a workspace's recordings, scores and attention, to click through",
        "dualhead explorer --output explorer.html   # of runs that the workflow has made",
        _explorer_options,
    ),
    "explain": Command(
        _explain,
        "tell everything behind one number of a table",
        "dualhead explain table1/joint/ntu60_xsub",
        _explain_options,
    ),
}
