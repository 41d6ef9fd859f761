"""The PDF: tables, figures, data and provenance of a workspace, set by Typst."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import typst

from dualhead.files import replacing
from dualhead.params import Settings, read_yaml
from dualhead.report import content, passport, provenance
from dualhead.report.markdown import blocks
from dualhead.report.runs import read_runs

CAPTIONS: Mapping[str, str] = {
    "network": "DualHead-Net as it is built here: channels and frames of each stage (the paper's "
    "Figures 2 to 4). TA and SA weigh one head's features by the other's.",
    "curves": "Training: loss, training and test accuracy of every modality of {variant}"
    "{and_of_baseline}, on {benchmark}. Lines are means over seeds, bands their range; dotted "
    "lines mark where the learning rate falls.",
    "class_gain": "Accuracy of {variant} less that of {baseline} for each class, {stream}, on "
    "{benchmark} (the paper's Figure 5), with 95 % intervals over the class's test samples.",
    "heads": "What the coarse head, the fine head and their fusion get right of each class: "
    "{variant}, {stream}, on {benchmark}.",
    "confusion": "Confusion of {variant}, {stream}, on {benchmark}: all classes, and the pairs "
    "that are confused most{beside_baseline}.",
    "strips": "Test recordings over time (frame numbers below), with the scores of {variant}"
    "{and_of_baseline} for the true class and for the one it is confused with (the paper's "
    "Figures 1 and 6). Chosen where the gain is largest: examples, not evidence.",
    "attention": "What {variant} attends to, {stream}, on {benchmark}. Joints: the larger and darker, "
    "the more spatial attention (mean of both blocks, over the range that stands beside the "
    "name). Frames: temporal attention of what enters the coarse blocks. Each class's first test "
    "recording was asked; shown are those over which temporal attention varies most.",
    "parameters": "Accuracy with 95 % interval, and parameters, of every variant: {stream}, "
    "{benchmark}.",
    "selection": "What choosing the epoch on the test set gains over taking the last one. The "
    "field reports the former; our numbers are the latter. Where subjects are held out of the "
    "training, also what choosing it on them gains, which needs no look at the test set.",
}


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
        title: of the workspace.

    Raises:
        ValueError: if a table is missing, a result is not what its address says, or Typst fails.
    """
    everything = _content(grid, results, stores, _read_tables(grid, tables), read_yaml(published))
    everything |= {"title": title, "figures": _figures(grid, figures, everything["names"])}
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
    """Compile; without system fonts and date, so that the same content gives the same bytes."""
    try:
        with replacing(output) as temporary:
            typst.compile(
                source, output=temporary, root=source.parent, format="pdf", ignore_system_fonts=True
            )
    except typst.TypstError as error:
        raise ValueError(f"{template}: Typst cannot set it: {error}") from error


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
    about_the_field = content.concerns_the_paper(grid, runs)
    return {
        "names": content.names(grid, published),
        "warnings": [*content.warnings(grid, runs), *passport.warnings(data)],
        "overview": content.overview(grid, runs, published),
        "main": content.main_table(tables),
        "has-published": content.has_published(tables),
        "verdicts": content.verdicts(tables),
        "tables": content.printed_tables(tables, published),
        "steps": content.steps(tables),
        "field": content.field(published) if about_the_field else None,
        "data": data,
        "settings": provenance.settings_tables(grid, runs),
        "cost": provenance.cost_table(grid, runs, published),
        "provenance": provenance.provenance(runs),
        "ensembles": provenance.ensembles(grid, results),
        "protocol": grid["protocol"],
    }


def _figures(grid: Settings, folder: Path, names: Mapping[str, str]) -> list[Settings]:
    """Return the figures that have been drawn, with their captions."""
    return [
        {"name": name, "caption": caption.format(**names)}
        for name, caption in CAPTIONS.items()
        if (folder / f"{name}.pdf").is_file()
    ]
