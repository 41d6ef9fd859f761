"""Captions of figures and tables, in the PDF and in Snakemake's report alike.

Light to import: the rules of the workflow ask for captions whenever they are read.
"""

from __future__ import annotations

from dualhead.report.figures import FIGURES, ROLES, offered
from dualhead.report.published import published_ablation, published_comparison
from dualhead.report.titles import benchmark_title, stream_title, variant_title
from dualhead.settings.params import Settings


def figure_caption(grid: Settings, name: str) -> str:
    """Return a figure's caption."""
    return FIGURES[name].caption.format(**_names(grid))


def _names(grid: Settings) -> dict[str, str]:
    """Return the names that captions use, in words."""
    chosen = grid["figures"]
    variants = {role: variant_title(chosen[role]) for role in ROLES}
    known = {"benchmark": benchmark_title(grid, chosen["benchmark"])}
    known |= {"stream": stream_title(chosen["stream"])}
    known |= {"and_of_baseline": "", "beside_baseline": "", "chosen_where": "the network is surest"}
    if "baseline" in offered(grid):
        known["and_of_baseline"] = f" and of {variants['baseline']}"
        known["chosen_where"] = "the gain is largest"
        known["beside_baseline"] = (
            f", beside {variants['baseline']}'s share, with those that it confuses more"
        )
    return variants | known


def table_caption(grid: Settings, name: str, published: Settings) -> str:
    """Return a table's caption: the workspace's own, the published one, or what it compares."""
    table = grid["tables"][name]
    if "title" in table:
        return str(table["title"])
    if table["kind"] == "comparison":
        where = ", ".join(benchmark_title(grid, item) for item in table["benchmarks"])
        source = published_comparison(grid, name, published)
        return str(source["title"]) if source else f"Accuracy (%) of every stream: {where}."
    source, same_benchmark = published_ablation(grid, name, published)
    title = str(source["title"]) if source else "Ablation."
    if same_benchmark:
        return title
    where = benchmark_title(grid, table["benchmark"])
    return f"{title.split(' (the paper')[0].rstrip('.')}: {where}, {stream_title(table['stream'])}."


def table_note(grid: Settings, name: str, published: Settings) -> str:
    """Return the reservations about a table's published numbers; nothing where none of them is shown."""
    table = grid["tables"][name]
    if table["kind"] == "ablation":
        ablation, same_benchmark = published_ablation(grid, name, published)
        source = ablation if same_benchmark else None
    elif table.get("published", True):
        source = published_comparison(grid, name, published)
    else:
        known: Settings = published["tables"].get(name, {})
        source = known if table.get("variant") in known.get("ours", {}) else None
    return " ".join(str((source or {}).get("note", "")).split())
