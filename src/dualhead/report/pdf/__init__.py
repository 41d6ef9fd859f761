"""The PDF: tables, figures, data and provenance of a workspace, set by Typst."""

from __future__ import annotations

import json
import shutil
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import typst

from dualhead.files import replacing
from dualhead.report import captions
from dualhead.report.claims import claims_of
from dualhead.report.copies import all_without
from dualhead.report.figures import available
from dualhead.report.figures.inputs import Inputs
from dualhead.report.figures.style import font_folder
from dualhead.report.pdf import content, front, passport, provenance, seen
from dualhead.report.pdf.markdown import blocks
from dualhead.report.pdf.protocol import protocol
from dualhead.report.pdf.runs import read_runs
from dualhead.settings.formats import read_published
from dualhead.settings.params import Settings

PRINTED = ("title", "kind", "address", "facts", "splits", "dropped")
"""Of a passport."""
CAPTIONED = ("attention",)
"""Figures that mislead without their finding, which therefore stands in the caption, too."""


def build_report(
    grid: Settings,
    *,
    results: Path,
    stores: Path,
    tables: Path,
    figures: Path,
    template: Path,
    published: Path,
    bibliography: Path,
    deviations: Path | None,
    output: Path,
    title: str,
    date: date,
) -> None:
    """Set the report of a workspace.

    Args:
        grid: the content of grid.json.
        results: the folder that holds runs/ and ensembles/.
        stores: the folder of stores, with the CSVs of what was dropped.
        tables: the folder of tables (CSV).
        figures: the folder of figures (PDF).
        template: report.typ.
        published: published.yaml.
        bibliography: references.bib.
        deviations: a Markdown text of what differs from the paper; None if there is none.
        output: the PDF to write.
        title: the workspace's name.
        date: the day that stands on the first page.

    Raises:
        ValueError: if a table is missing, a result is not what its address says, or Typst fails.
    """
    numbers = read_published(published)
    everything = _content(grid, results, stores, _read_tables(grid, tables), numbers)
    everything |= {"title": title, "date": f"{date.day} {date:%B %Y}"}
    everything["figures"] = _figures(Inputs(grid, results, stores), figures)
    text = deviations.read_text(encoding="utf-8") if deviations and deviations.is_file() else ""
    everything["deviations"] = blocks(text)
    with TemporaryDirectory() as folder:
        root = Path(folder)
        shutil.copyfile(template, root / "report.typ")
        shutil.copyfile(bibliography, root / "references.bib")
        for figure in everything["figures"]:
            shutil.copyfile(figures / f"{figure['name']}.pdf", root / f"{figure['name']}.pdf")
        (root / "content.json").write_text(json.dumps(everything, allow_nan=False), "utf-8")
        _set(root / "report.typ", template, output)


def _set(source: Path, template: Path, output: Path) -> None:
    """Compile with the figures' fonts and no others, so that the same content gives the same bytes."""
    try:
        content = typst.compile(
            source,
            root=source.parent,
            format="pdf",
            font_paths=[font_folder()],
            ignore_system_fonts=True,
        )
    except typst.TypstError as error:
        raise ValueError(f"{template}: Typst cannot set it: {error}") from error
    with replacing(output) as temporary:  # written here: an error of Typst's tells no number
        temporary.write_bytes(content)


def _read_tables(grid: Settings, folder: Path) -> dict[str, pd.DataFrame]:
    missing = [name for name in grid["tables"] if not (folder / f"{name}.csv").is_file()]
    if missing:
        raise ValueError(f"{folder}: no {missing[0]}.csv; write it with `dualhead table` first")
    return {name: pd.read_csv(folder / f"{name}.csv") for name in grid["tables"]}


def _content(
    grid: Settings, results: Path, stores: Path, tables: content.Tables, published: Settings
) -> Settings:
    """Return everything that the template prints, but for title, figures and deviations."""
    runs = read_runs(grid, results)
    data = passport.passports(grid, stores)
    copied = {one["address"]: one["copied"] for one in data}
    about_the_field = content.concerns_the_paper(grid, runs)
    used = {(run.config["store"], run.config["split"]) for run in runs}
    own = protocol(grid, runs)
    without = list(all_without(grid, results, copied))
    claims = [] if front.is_synthetic(runs) else claims_of(tables, published)
    return {
        "heading": front.heading(grid, runs, published, own),
        "abstract": front.abstract(grid, runs, tables, claims, without),
        "warnings": [*front.warnings(grid, runs), *passport.warnings(data, used)],
        "overview": front.overview(grid, runs, own),
        "main": front.main_table(tables, without),
        "claims": front.claims_table(claims),
        "copies": front.copies_table(grid, without),
        "has-published": content.has_published(tables),
        "verdicts": content.verdicts(tables),
        "abbreviations": content.abbreviations(tables),
        "tables": content.printed_tables(tables),
        "steps": content.steps(tables),
        "field": content.field(published) if about_the_field else None,
        "contradictions": published["contradictions"] if about_the_field else [],
        "data": [{key: one[key] for key in PRINTED} for one in data],
        "settings": provenance.settings_tables(grid, runs),
        "cost": provenance.cost_table(grid, runs),
        "provenance": provenance.provenance(grid, runs),
        "ensembles": provenance.ensembles(grid, results),
        "protocol": grid["protocol"],
    }


def _figures(inputs: Inputs, folder: Path) -> list[Settings]:
    """Return the figures of this grid that have been drawn, with captions and findings.

    One that another grid has left in the folder is none of them.
    """
    found = []
    for name in available(inputs.grid):
        if (folder / f"{name}.pdf").is_file():
            caption = captions.figure_caption(inputs.grid, name)
            finding = seen.figure_text(name, inputs)
            if name in CAPTIONED:
                caption = f"{caption} {finding}"
            found.append({"name": name, "caption": caption, "seen": finding})
    return found
