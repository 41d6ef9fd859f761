"""Commands for tables, figures, the PDF, and explanations of a number."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from dualhead.cli.options import (
    Command,
    add_path,
    add_workspace_paths,
)
from dualhead.report import made
from dualhead.settings.formats import read_grid, read_published
from dualhead.settings.params import Settings
from dualhead.workspace.grids import latest


def _product_options(command: argparse.ArgumentParser) -> None:
    add_path(command, "grid", "results/grid.json of the workspace")
    add_path(command, "results", "the folder that holds runs/ and ensembles/")
    text = "JSON to write: digests of all that the product was made from"
    add_path(command, "record", text, required=False)


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
    add_path(command, "published", "the papers' numbers (reports/published.yaml)")
    command.add_argument("--name", action="append", help="a table of params.yaml (default: all)")
    add_path(command, "output", "table.csv to write; .md and .tex go beside it", required=False)
    command.add_argument("--show", action="store_true", help="print the tables on the terminal")


def _table(options: argparse.Namespace) -> None:
    from dualhead.report.tables import build_table, write_table
    from dualhead.report.text import show_tables

    grid = read_grid(options.grid)
    published = read_published(options.published)
    names = options.name or list(grid["tables"])
    frames = {
        name: build_table(made.part_of(grid, name), name, options.results, published)
        for name in names
    }
    if options.output:
        if len(frames) != 1:
            raise ValueError("--output takes one table: say which with one --name")
        csv = options.output
        markdown, latex = csv.with_suffix(".md"), csv.with_suffix(".tex")
        write_table(frames[names[0]], csv=csv, markdown=markdown, latex=latex)
        _write_record(options, grid, [csv, markdown, latex], [options.published], names[0])
    if options.show or not options.output:
        show_tables(frames)


def _summary_options(command: argparse.ArgumentParser) -> None:
    _product_options(command)
    add_path(command, "output", "summary.json to write, for `dvc metrics`")
    add_path(command, "curves", "curves.csv to write, for `dvc plots`")


def _summary(options: argparse.Namespace) -> None:
    from dualhead.report.tables import write_curves, write_summary

    grid = read_grid(options.grid)
    write_summary(grid, options.results, options.output)
    write_curves(grid, options.results, options.curves)
    _write_record(options, grid, [options.output, options.curves])


def _figure_options(command: argparse.ArgumentParser) -> None:
    _product_options(command)
    add_path(command, "stores", "the folder of stores")
    command.add_argument("--name", required=True, help="which figure; a wrong name lists them")
    add_path(command, "output", "figure.pdf to write; .svg goes beside it")


def _figure(options: argparse.Namespace) -> None:
    from dualhead.report.figures import draw

    grid = read_grid(options.grid)
    pdf, svg = options.output, options.output.with_suffix(".svg")
    draw(options.name, grid, options.results, options.stores, pdf=pdf, svg=svg)
    _write_record(options, grid, [pdf, svg], name=options.name)


def _report_options(command: argparse.ArgumentParser) -> None:
    _product_options(command)
    add_path(command, "stores", "the folder of stores")
    add_path(command, "tables", "the folder of tables")
    add_path(command, "figures", "the folder of figures")
    add_path(command, "template", "reports/report.typ")
    add_path(command, "published", "the papers' numbers (reports/published.yaml)")
    add_path(command, "bibliography", "reports/references.bib")
    add_path(command, "deviations", "docs/deviations.md", required=False)
    command.add_argument("--title", help="of the workspace (default: the folder's name)")
    add_path(command, "output", "report.pdf to write")


def _report(options: argparse.Namespace) -> None:
    from dualhead.report.pdf import build_report

    grid = read_grid(options.grid)
    build_report(
        grid,
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
        date=date.today(),
    )
    files = [options.template, options.published, options.bibliography, options.deviations]
    _write_record(options, grid, [options.output], [file for file in files if file])


def _explain_options(command: argparse.ArgumentParser) -> None:
    text = (
        "table, benchmark, variant and stream, as far as needed; or a run's or ensemble's address"
    )
    command.add_argument("cell", nargs="+", help=text)
    add_workspace_paths(command)
    add_path(command, "published", "the papers' numbers, to show theirs too", required=False)
    text = "every setting, not only those that are not the defaults"
    command.add_argument("--settings", action="store_true", help=text)


def _explain(options: argparse.Namespace) -> None:
    from dualhead.report.explain import explain

    published = read_published(options.published) if options.published else None
    print(
        explain(
            read_grid(options.grid) if options.grid else latest(options.results, Path()),
            options.results,
            "/".join(options.cell),
            published=published,
            complete=options.settings,
        )
    )


COMMANDS: dict[str, Command] = {
    "table": Command(
        _table,
        "write a table, ours beside the published",
        "dualhead table --grid results/grid.json --results results "
        "--published reports/published.yaml --name table1 --output table1.csv",
        _table_options,
    ),
    "summary": Command(
        _summary,
        "write all accuracies and curves under stable names, for DVC",
        "dualhead summary --grid results/grid.json --results results "
        "--output summary.json --curves curves.csv",
        _summary_options,
    ),
    "figure": Command(
        _figure,
        "draw one figure as PDF and SVG",
        "dualhead figure --grid results/grid.json --results results --stores results/store "
        "--name curves --output curves.pdf",
        _figure_options,
    ),
    "report": Command(
        _report,
        "set tables, figures and provenance as one PDF",
        "snakemake --cores all reproduce_tables   # which calls this with all its paths",
        _report_options,
    ),
    "explain": Command(
        _explain,
        "tell everything behind one number of a table",
        "dualhead explain table1/joint/ntu60_xsub",
        _explain_options,
    ),
}
