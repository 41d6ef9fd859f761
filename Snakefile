"""The paper's tables from raw recordings: `snakemake --cores all reproduce_tables`.

params.yaml, data/raw -> results/store -> results/runs, results/ensembles -> results/tables,
results/figures -> reports/report.pdf, reports/explorer.html. The same for another workspace, a folder with a params.yaml:
`snakemake --cores all --directory demo reproduce_tables`.
"""


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/runs.smk"
include: "workflow/rules/report.smk"


report: "workflow/report/workflow.rst"


localrules:
    reproduce_tables,
    data,
    runs,
    tables,
    figures,
    configure,
    take_kept,
    check_raw,


rule reproduce_tables:
    """All that params.yaml asks for, in one PDF, and the page of its recordings."""
    default_target: True
    input:
        "reports/report.pdf",
        "reports/explorer.html",
        all_metrics(),
        raw_checks(),


rule data:
    """Every store: one file a dataset."""
    input:
        expand("results/store/{store}.h5", store=GRID["stores"]),
        raw_checks(),


rule runs:
    """Every run and every ensemble, trained and scored."""
    input:
        all_metrics(),
        raw_checks(),


rule tables:
    """Every table as CSV, Markdown and LaTeX, and the summary for `dvc metrics`."""
    input:
        all_metrics(),
        expand("results/tables/{table}.csv", table=GRID["tables"]),
        "results/tables/summary.json",


rule figures:
    """Every figure as PDF and SVG."""
    input:
        all_metrics(),
        expand("results/figures/{figure}.pdf", figure=FIGURES),


onstart:
    # Snakemake's limit of 100 jobs a second makes it look for jobs each second, once for each that ended.
    workflow.scheduler.job_rate_limiter = None
    if not workflow.touch:
        stop_if_raw_data_is_missing()
        stop_where_nothing_may_be_written()
        or_exit(workspace.start, RUN)


onerror:
    or_exit(workspace.end, failed=True)


onsuccess:
    or_exit(workspace.end, failed=False)
    show_tables()
