"""First page of the report: title, abstract, warnings, facts, claims and the main table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from dualhead.data.synthesize.motions import COARSE
from dualhead.report.claims import Tested, totals
from dualhead.report.copies import Without
from dualhead.report.pdf.protocol import Protocol
from dualhead.report.pdf.runs import (
    Grid,
    Run,
    counted,
    listed,
    made,
    number,
    table,
    without_repeats,
)
from dualhead.report.published import benchmark_key, is_partial
from dualhead.report.statistics import LEVEL, NOT_RUN
from dualhead.report.text import (
    device_text,
    duration_text,
    interval_text,
    mean_text,
    records,
    verdict_text,
)
from dualhead.report.titles import SELECTIONS, benchmark_title, stream_title, variant_title
from dualhead.settings.params import Settings
from dualhead.workspace.kept import FOLDER

Tables = Mapping[str, pd.DataFrame]
Text = Callable[[Settings], str]


def heading(grid: Grid, runs: Sequence[Run], published: Settings, own: Protocol) -> str:
    """Return the title: a reproduction only where the paper's own trainings have all been made."""
    if is_synthetic(runs):
        return "DualHead-Net: a demonstration on generated data"
    ours = [entry.get("ours", {}).get("dualhead", {}) for entry in published["tables"].values()]
    in_paper = {key for one in ours for cell in one.values() for key in cell["top1"]}
    used = {run.config["benchmark"] for run in runs}
    if not all(benchmark_key(grid, benchmark) in in_paper for benchmark in used):
        return f"DualHead-Net on {listed(_benchmarks(grid, runs))}"
    if not own.is_the_papers:
        return "DualHead-Net, trained by another protocol than the paper\N{RIGHT SINGLE QUOTATION MARK}s"
    if len(made(runs)) < len(runs) or any(is_partial(grid, benchmark) for benchmark in used):
        return "A reproduction of DualHead-Net, unfinished"
    return "A reproduction of DualHead-Net"


def is_synthetic(runs: Sequence[Run]) -> bool:
    """Return whether all recordings were generated."""
    return all(run.config["kind"] == "synthetic" for run in runs)


def _benchmarks(grid: Grid, runs: Sequence[Run]) -> list[str]:
    used = dict.fromkeys(run.config["benchmark"] for run in runs)
    return [benchmark_title(grid, benchmark) for benchmark in used]


# --- abstract --------------------------------------------------------------------------


def abstract(
    grid: Grid,
    runs: Sequence[Run],
    tables: Tables,
    claims: Sequence[Tested],
    without: Sequence[Without],
) -> list[str]:
    """Return four sentences: trainings, best result, claims, cost."""
    synthetic = is_synthetic(runs)
    ranked = "" if synthetic else _ranked(tables)
    return [
        _trained(grid, runs),
        _result(tables, without) or ranked or "No stream has been scored yet.",
        _generated(tables) if synthetic else _claimed(claims),
        _cost(runs, tables),
    ]


def _trained(grid: Grid, runs: Sequence[Run]) -> str:
    variants = dict.fromkeys(run.config["variant"] for run in runs)
    own = [run.config["variant"] for run in runs if run.config["model"]["name"] == "dualhead"]
    main = "dualhead" if "dualhead" in variants else next(iter(own), "dualhead")
    others = [variant for variant in variants if variant != main]
    text = "This workspace trains DualHead-Net, a graph network of a coarse and a fine head"
    if others:
        count = counted(len(others), "other network or variant", "other networks and variants")
        text += f", and {count}"
    text += f" from raw skeletons on {listed(_benchmarks(grid, runs))}"
    seeds = counted(len(grid["seeds"]), "seed", "seeds")
    count = counted(len(runs), "training has", "trainings have")
    return f"{text}; {len(made(runs))} of {count} been made, with {seeds}."


def _result(tables: Tables, without: Sequence[Without]) -> str:
    """Return the best stream of each benchmark at the last epoch; nothing where no comparison has one."""
    best: dict[str, Settings] = {}
    for record in _our_comparisons(tables):
        if record["metric"] == "top1" and record["mean"] is not None:
            before = best.get(record["benchmark"])
            if before is None or record["mean"] > before["mean"]:
                best[record["benchmark"]] = record
    if not best:
        return ""
    first, *others = best.values()
    text = f"At the last epoch the best of our streams has {_result_text(first, without)}"
    numbers = [f"{record['mean']:.2f} % on {record['column']}" for record in others]
    return f"{text}{', and ' * bool(numbers)}{listed(numbers)}."


def _result_text(record: Settings, without: Sequence[Without]) -> str:
    variant, _, stream = str(record["row"]).partition("/")
    text = f"{record['mean']:.2f} % top-1 on {record['column']} ({variant_title(variant)}, {stream_title(stream)}; "
    text += f"95 % interval {interval_text(record)}"
    if record["paper"] is not None:
        text += f"; the paper, at its best epoch on the test set: {record['paper']:.1f} %"
    if pair := _pair(record, without):
        text += f"; {pair[1]:.2f} % without the test samples that stand in training too"
    return text + ")"


def _generated(tables: Tables) -> str:
    text = (
        "The recordings were generated by a program, so that none of these numbers tests a claim of "
        "the paper: they show that every step works."
    )
    return " ".join(filter(None, [text, _ranked(tables)]))


def _ranked(tables: Tables) -> str:
    """Return a sentence for each ablation that has been run."""
    return " ".join(filter(None, map(_ranking, tables.values())))


def _ranking(frame: pd.DataFrame) -> str:
    """Return the networks of an ablation from best to worst with their spread; nothing unless all have been run."""
    found = {record["row"]: record for record in records(frame)}.values()
    if any(it["kind"] != "ablation" or it["mean"] is None for it in found):
        return ""
    best = sorted(found, key=lambda it: float(it["mean"]), reverse=True)
    ranks = listed([f"{it['label']} {mean_text(it)} %" for it in best])
    text = f"Side by side they come out as {ranks}"
    tested = [it for it in best if it["reference"] is not None]
    if any(int(it["step_seeds"]) == 1 for it in tested):
        return f"{text}: one run each, which ranks no networks."
    shown = [str(it["label"]) for it in tested if it["step_p_holm"] < LEVEL]
    full = {"dualhead": "our full network"}
    bases = {full.get(name, variant_title(name)) for name in (it["reference"] for it in tested)}
    of = f"the step from {listed(sorted(bases))} is shown for {listed(shown) if shown else 'none'}"
    return f"{text} (mean and standard deviation over seeds); {of}."


def _claimed(claims: Sequence[Tested]) -> str:
    if not claims:
        return "No claim of the paper is tested here."
    run = [claim for claim in claims if claim.verdict != NOT_RUN]
    papers = "the paper\N{RIGHT SINGLE QUOTATION MARK}s claims"
    if not run:
        return f"None of {papers} has been tested yet; the tables ask for {len(claims)}."
    return f"Of {papers}, {len(run)} of {len(claims)} that the tables ask for have been tested: {totals(run)}."


def _cost(runs: Sequence[Run], tables: Tables) -> str:
    found = [record for frame in tables.values() for record in records(frame)]
    gains = [
        record["best_on_test"] - record["mean"]
        for record in found
        if record["ours"] and record["mean"] is not None and record["metric"] == "top1"
    ]
    spent = duration_text(sum(metrics["train_seconds"] for _, metrics in made(runs)))
    devices = dict.fromkeys(device_text(str(metrics["device"])) for _, metrics in made(runs))
    if not gains:
        return "Nothing has been spent on training yet."
    return (
        f"To choose each epoch on the test set, as the field does, would add {np.mean(gains):.2f} points on average; "
        f"all trainings together took {spent} ({listed(devices)})."
    )


# --- warnings and facts ----------------------------------------------------------------


def warnings(grid: Grid, runs: Sequence[Run]) -> list[Settings]:
    """Return the warnings that come before the first number."""
    found = []
    used = {run.config["dataset"]: run.config["kind"] for run in runs}
    if "synthetic" in used.values():
        text = (
            "The recordings behind these numbers were generated by a program. The accuracies show "
            "that the pipeline works from raw files to this page; they say nothing about how well "
            "DualHead-Net recognizes real actions, and cannot be compared with the paper's."
        )
        text += _crossed(grid)
        found.append({"title": "This data is synthetic.", "text": text})
    partial = sorted(name for name in used if grid["datasets"][name].get("partial"))
    if partial:
        text = (
            f"{', '.join(partial)}: recordings of the published dataset are missing, so that "
            "accuracies are not comparable with published ones; no verdict is given on them."
        )
        found.append({"title": "A dataset is partial.", "text": text})
    missing = len(runs) - len(made(runs))
    if missing:
        text = (
            f"{missing} of {len(runs)} trainings have not been made; their cells say “{NOT_RUN}”."
        )
        found.append({"title": "Not everything has been run.", "text": text})
    return found + _kept_warning(runs) + _code_warning(runs)


def _crossed(grid: Grid) -> str:
    """Return how generated classes cross coarse and fine motions; nothing where they do not."""
    plans = [store["synthesize"] for store in grid["stores"].values() if store["synthesize"]]
    fine, rest = divmod(max((int(it.get("classes", 0)) for it in plans), default=0), len(COARSE))
    if fine < 2 or rest:
        return ""
    return (
        f" Each of {len(COARSE)} coarse motions comes with each of {fine} fine ones, so that neither alone names "
        "a class, as the paper supposes of real actions. The recordings were made for that, and for no "
        "ranking of networks."
    )


def _kept_warning(runs: Sequence[Run]) -> list[Settings]:
    """Return the warning that runs were not trained by this workspace, and the code and device of their training."""
    kept = [run for run in runs if run.is_kept]
    if not kept:
        return []
    done = [metrics for _, metrics in made(kept)]
    devices = dict.fromkeys(device_text(str(metrics["device"])) for metrics in done)
    commits = dict.fromkeys(str(metrics["git"]) or "of no repository" for metrics in done)
    text = (
        f"Taken over: {len(kept)} of {counted(len(runs), 'training', 'trainings')}, made on {listed(devices)} by code "
        f"of commit {listed(commits)}. Settings, learning curves and scores of every test sample lie in the folder "
        f"{FOLDER}/ of this workspace. Ensembles, tables, figures and verdicts are made here from those scores, "
        "whose digests have been compared."
    )
    return [{"title": "These runs were published, not trained here.", "text": text}]


def _code_warning(runs: Sequence[Run]) -> list[Settings]:
    dirty = sum(str(metrics["git"]).endswith("-dirty") for _, metrics in made(runs))
    if not dirty:
        return []
    text = f"{dirty} of {len(made(runs))} trainings ran code with changes that no commit holds."
    return [{"title": "Code was changed.", "text": text}]


def overview(grid: Grid, runs: Sequence[Run], own: Protocol) -> list[list[str]]:
    """Return the facts at the top: benchmarks, trainings, protocol, device and code."""
    done = made(runs)
    devices = dict.fromkeys(device_text(str(metrics["device"])) for _, metrics in done)
    commits = dict.fromkeys(str(metrics["git"]) or "no repository" for _, metrics in done)
    spent = duration_text(sum(metrics["train_seconds"] for _, metrics in done))
    return [
        ["Benchmarks", listed(_benchmarks(grid, runs))],
        [
            "Trainings",
            f"{len(done)} of {len(runs)}; seed{'s' * (len(grid['seeds']) > 1)} {listed(map(str, grid['seeds']))}",
        ],
        ["Protocol", own.text],
        ["Device", f"{listed(devices) or 'none yet'}; {spent} of training"],
        ["Code", f"commit {listed(commits)}" if commits else "none yet"],
    ]


# --- tables of the first page ----------------------------------------------------------


def main_table(tables: Tables, without: Sequence[Without]) -> Settings:
    """Return our rows of every comparison: paper, ours, interval, difference, verdict in words."""
    ours = _our_comparisons(tables) or [
        record for frame in tables.values() for record in records(frame) if record["ours"]
    ]
    best = {key: SELECTIONS[key].column for key in SELECTIONS}
    fields: list[tuple[str, str, Text]] = [
        ("Benchmark", "left", lambda record: str(record["column"])),
        ("Network", "left", lambda record: variant_title(_names(record)[0])),
        ("Stream", "left", lambda record: _names(record)[1]),
        ("Paper", "right", lambda record: number(record["paper"], "{:.1f}")),
        (best["last"], "right", mean_text),
        ("95 % interval", "right", interval_text),
        ("Diff.", "right", lambda record: number(record["difference"], "{:+.2f}")),
        ("Verdict (last)", "left", verdict_text()),
        ("Without copies", "right", lambda record: _without_text(record, without)),
        (
            best["best_on_validation"],
            "right",
            lambda it: number(it["best_on_validation"], "{:.2f}"),
        ),
        (best["best_on_test"], "right", lambda record: number(record["best_on_test"], "{:.2f}")),
        ("Verdict (best)", "left", verdict_text("_best")),
    ]
    rows = [[text(record) for _, _, text in fields] for record in ours]
    kept = [place for place in range(len(fields)) if any(row[place] for row in rows)]
    if all(record["paper"] is None for record in ours):
        kept = [place for place in kept if not fields[place][0].startswith("Verdict")]
    columns = [(fields[place][0], fields[place][1]) for place in kept]
    return table(columns, without_repeats([[row[place] for place in kept] for row in rows]))


def _our_comparisons(tables: Tables) -> list[Settings]:
    return [
        record
        for frame in tables.values()
        for record in records(frame)
        if record["ours"] and record["kind"] == "comparison"
    ]


def _names(record: Settings) -> tuple[str, str]:
    """Return a row's variant, and its stream in words without the word `stream`."""
    variant, _, stream = str(record["row"]).partition("/")
    return variant, stream_title(stream).removesuffix(" stream") if stream else ""


def _pair(record: Settings, without: Sequence[Without]) -> tuple[float, float] | None:
    """Return a record's last accuracy with and without copied test samples, where there are any."""
    variant, _, stream = str(record["row"]).partition("/")
    wanted = (record["benchmark"], variant, stream)
    return next((one.accuracies["last"] for one in without if one.cell == wanted), None)


def _without_text(record: Settings, without: Sequence[Without]) -> str:
    pair = _pair(record, without) if record["metric"] == "top1" else None
    return f"{pair[1]:.2f}" if pair else ""


def claims_table(claims: Sequence[Tested]) -> Settings | None:
    """Return the paper's claims, one line each; None if none is tested."""
    columns = [
        ("Claim", "left"),
        ("Source", "left"),
        ("Paper", "right"),
        ("Here", "right"),
        ("Verdict", "left"),
    ]
    return table(columns, claims) if claims else None


def copies_table(grid: Grid, without: Sequence[Without]) -> Settings | None:
    """Return every number with and without the copied test samples; None if there are none."""
    columns = [("Benchmark", "left"), ("Network", "left"), ("Stream", "left")]
    chosen = list(dict.fromkeys(key for one in without for key in one.accuracies))
    for key in chosen:
        title = SELECTIONS[key].column
        columns += [(f"{title}|all", "right"), (f"{title}|without", "right")]
    rows = []
    for one in without:
        names = [benchmark_title(grid, one.cell.benchmark), variant_title(one.cell.variant)]
        names.append(stream_title(one.cell.stream).removesuffix(" stream"))
        pairs = [one.accuracies.get(key) for key in chosen]
        numbers = [f"{value:.2f}" if pair else "" for pair in pairs for value in pair or (0, 0)]
        rows.append([*names, *numbers])
    return table(columns, without_repeats(rows)) if rows else None
