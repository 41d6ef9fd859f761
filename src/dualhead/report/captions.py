"""What stands below figures and above tables, in the PDF and in Snakemake's report alike.

Light to import: the rules of the workflow ask for captions whenever they are read.
"""

from __future__ import annotations

from collections.abc import Mapping

from dualhead.params import Settings
from dualhead.report.published import (
    benchmark_title,
    published_ablation,
    published_comparison,
    stream_title,
)

ROLES = ("variant", "baseline")
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


def figure_caption(grid: Settings, name: str, published: Settings) -> str:
    """Return what a figure shows; nothing for one that has no caption."""
    return CAPTIONS.get(name, "").format(**names(grid, published))


def names(grid: Settings, published: Settings) -> dict[str, str]:
    """Return what the figures show, in words."""
    chosen = grid["figures"]
    variants = {key: published["variants"].get(chosen[key], chosen[key]) for key in ROLES}
    benchmark = benchmark_title(grid, chosen["benchmark"], published)
    baseline = (chosen["benchmark"], chosen["baseline"], chosen["stream"])
    there = [(cell["benchmark"], cell["variant"], cell["stream"]) for cell in grid["cells"]]
    known = {"benchmark": benchmark, "stream": stream_title(chosen["stream"])}
    known |= {"and_of_baseline": "", "beside_baseline": ""}
    if baseline in there:
        known["and_of_baseline"] = f" and of {variants['baseline']}"
        known["beside_baseline"] = (
            f", beside {variants['baseline']}'s share, and those that it confuses more"
        )
    return variants | known


def table_caption(grid: Settings, name: str, published: Settings) -> str:
    """Return a table's caption: the workspace's own, the published one, or what it compares."""
    table = grid["tables"][name]
    if "title" in table:
        return str(table["title"])
    if table["kind"] == "comparison":
        where = ", ".join(benchmark_title(grid, item, published) for item in table["benchmarks"])
        source = published_comparison(grid, name, published)
        return str(source["title"]) if source else f"Accuracy (%) of every stream: {where}."
    source, same_benchmark = published_ablation(grid, name, published)
    title = str(source["title"]) if source else "Ablation."
    if same_benchmark:
        return title
    where = benchmark_title(grid, table["benchmark"], published)
    return f"{title.split(' (the paper')[0].rstrip('.')}: {where}, {stream_title(table['stream'])}."
