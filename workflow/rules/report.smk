"""Runs to tables, figures and the PDF, at plain names; they cost seconds.

the run's grid, results/runs, results/ensembles -> results/tables, results/figures
-> reports/report.pdf, reports/explorer.html; `snakemake --report reports/report.html` gathers them with the PDF's captions

results/made holds a record of each: digests of all that it was made from. It is made again when
the record says anything else than what is there now, whatever the timestamps say.
"""


rule table:
    """Set one table of params.yaml, ours beside the published numbers."""
    input:
        metrics=table_inputs,
    output:
        csv=report(
            "results/tables/{table}.csv",
            caption="../report/table.rst",
            category="Tables",
            labels={"table": "{table}"},
        ),
        markdown="results/tables/{table}.md",
        latex="results/tables/{table}.tex",
        record="results/made/table/{table}.json",
    log:
        "results/logs/table/{table}.log",
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        grid=GRID_FILE,
        published=REPORT_FILES[0],
        caption=lambda w: captions.table_caption(GRID, w.table, PUBLISHED),
    message:
        "Set the table {wildcards.table}"
    shell:
        "dualhead table"
        " --grid {params.grid:q}"
        " --results results"
        " --published {params.published:q}"
        " --name {wildcards.table:q}"
        " --output {output.csv:q}"
        " --record {output.record:q}"
        " > {log:q} 2>&1"


rule summary:
    """Gather accuracies and curves under names that never change, for DVC to compare."""
    input:
        metrics=summary_inputs,
    output:
        summary="results/tables/summary.json",
        curves="results/tables/curves.csv",
        record="results/made/summary/all.json",
    log:
        "results/logs/summary.log",
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        grid=GRID_FILE,
    message:
        "Gather the summary"
    shell:
        "dualhead summary"
        " --grid {params.grid:q}"
        " --results results"
        " --output {output.summary:q}"
        " --curves {output.curves:q}"
        " --record {output.record:q}"
        " > {log:q} 2>&1"


rule figure:
    """Draw one figure."""
    input:
        metrics=figure_inputs,
        store=ancient(figure_store()),
    output:
        pdf="results/figures/{figure}.pdf",
        svg=report(
            "results/figures/{figure}.svg",
            caption="../report/figure.rst",
            category="Figures",
            labels={"figure": "{figure}"},
        ),
        record="results/made/figure/{figure}.json",
    log:
        "results/logs/figure/{figure}.log",
    resources:
        mem_mb=4000,
        runtime=20,
    params:
        grid=GRID_FILE,
        caption=lambda w: captions.figure_caption(GRID, w.figure),
    message:
        "Draw the figure {wildcards.figure}"
    shell:
        "dualhead figure"
        " --grid {params.grid:q}"
        " --results results"
        " --stores results/store"
        " --name {wildcards.figure:q}"
        " --output {output.pdf:q}"
        " --record {output.record:q}"
        " > {log:q} 2>&1"


rule report:
    """Set tables, figures and where everything comes from as one PDF."""
    input:
        shown=report_inputs,
    output:
        pdf=report(
            "reports/report.pdf",
            caption="../report/report.rst",
            category="Report",
            labels={"document": "the report"},
        ),
        record="results/made/report/all.json",
    log:
        "results/logs/report.log",
    resources:
        mem_mb=4000,
        runtime=20,
    params:
        grid=GRID_FILE,
        published=REPORT_FILES[0],
        template=REPORT_FILES[1],
        bibliography=REPORT_FILES[2],
        deviations=REPORT_FILES[3],
    message:
        "Write {output.pdf}"
    shell:
        "dualhead report"
        " --grid {params.grid:q}"
        " --results results"
        " --stores results/store"
        " --tables results/tables"
        " --figures results/figures"
        " --template {params.template:q}"
        " --published {params.published:q}"
        " --bibliography {params.bibliography:q}"
        " --deviations {params.deviations:q}"
        " --output {output.pdf:q}"
        " --record {output.record:q}"
        " > {log:q} 2>&1"


rule explorer:
    """Write the page of recordings, scores and attention: the networks that the figures compare."""
    input:
        metrics=explorer_inputs,
        store=ancient(figure_store()),
    output:
        page=report(
            "reports/explorer.html",
            caption="../report/explorer.rst",
            category="Report",
            labels={"document": "recordings, scores and attention"},
        ),
        record="results/made/explorer/all.json",
    log:
        "results/logs/explorer.log",
    resources:
        mem_mb=4000,
        runtime=20,
    params:
        grid=GRID_FILE,
    message:
        "Write {output.page}"
    shell:
        "dualhead explorer"
        " --grid {params.grid:q}"
        " --results results"
        " --stores results/store"
        " --output {output.page:q}"
        " --record {output.record:q}"
        " > {log:q} 2>&1"
