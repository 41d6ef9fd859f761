"""Runs to tables, figures and the PDF, at plain names; they cost seconds.

results/grid.json, results/runs, results/ensembles -> results/tables, results/figures
-> reports/report.pdf; `snakemake --report reports/report.html` gathers them with the PDF's captions
"""


rule table:
    """Set one table of params.yaml, ours beside the published numbers."""
    input:
        grid=GRID_FILE,
        metrics=table_metrics,
        published=ROOT / "reports/published.yaml",
    output:
        csv=report(
            "results/tables/{table}.csv",
            caption="../report/table.rst",
            category="Tables",
            labels={"table": "{table}"},
        ),
        markdown="results/tables/{table}.md",
        latex="results/tables/{table}.tex",
    log:
        "results/logs/table/{table}.log",
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        caption=lambda w: captions.table_caption(GRID, w.table, PUBLISHED),
    message:
        "Set the table {wildcards.table}"
    shell:
        "dualhead table --grid {input.grid:q} --results results --published {input.published:q}"
        " --name {wildcards.table:q} --output {output.csv:q} > {log:q} 2>&1"


rule summary:
    """Gather accuracies and curves under names that never change, for DVC to compare."""
    input:
        grid=GRID_FILE,
        metrics=all_metrics(),
    output:
        summary="results/tables/summary.json",
        curves="results/tables/curves.csv",
    log:
        "results/logs/summary.log",
    resources:
        mem_mb=2000,
        runtime=10,
    message:
        "Gather the summary"
    shell:
        "dualhead summary --grid {input.grid:q} --results results --output {output.summary:q}"
        " --curves {output.curves:q} > {log:q} 2>&1"


rule figure:
    """Draw one figure."""
    input:
        grid=GRID_FILE,
        metrics=all_metrics(),
        store=ancient(figure_store()),
    output:
        pdf="results/figures/{figure}.pdf",
        svg=report(
            "results/figures/{figure}.svg",
            caption="../report/figure.rst",
            category="Figures",
            labels={"figure": "{figure}"},
        ),
    log:
        "results/logs/figure/{figure}.log",
    resources:
        mem_mb=4000,
        runtime=20,
    params:
        caption=lambda w: captions.figure_caption(GRID, w.figure, PUBLISHED),
    message:
        "Draw the figure {wildcards.figure}"
    shell:
        "dualhead figure --grid {input.grid:q} --results results --stores results/store"
        " --name {wildcards.figure:q} --output {output.pdf:q} > {log:q} 2>&1"


rule report:
    """Set tables, figures and where everything comes from as one PDF."""
    input:
        grid=GRID_FILE,
        summary="results/tables/summary.json",
        tables=expand("results/tables/{table}.csv", table=GRID["tables"]),
        figures=expand("results/figures/{figure}.svg", figure=FIGURES),
        template=ROOT / "reports/report.typ",
        published=ROOT / "reports/published.yaml",
        bibliography=ROOT / "reports/references.bib",
        deviations=ROOT / "docs/deviations.md",
    output:
        pdf=report(
            "reports/report.pdf",
            caption="../report/report.rst",
            category="Report",
            labels={"document": "the report"},
        ),
    log:
        "results/logs/report.log",
    resources:
        mem_mb=4000,
        runtime=20,
    message:
        "Write {output.pdf}"
    shell:
        "dualhead report --grid {input.grid:q} --results results --stores results/store"
        " --tables results/tables --figures results/figures --template {input.template:q}"
        " --published {input.published:q} --bibliography {input.bibliography:q}"
        " --deviations {input.deviations:q} --output {output.pdf:q} > {log:q} 2>&1"
