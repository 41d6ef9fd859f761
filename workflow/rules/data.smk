"""Raw recordings to stores.

data/raw -> results/store/DATASET-ADDRESS.h5 and .dropped.csv, what was left out and why
"""


rule synthesize:
    """Write recordings that move like nobody, in the exact NTU format (demo and tests)."""
    output:
        raw=directory("data/raw/{store}"),
    log:
        "results/logs/synthesize/{store}.log",
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        settings=lambda w: workspace.as_options(GRID["stores"][w.store]["synthesize"]),
    message:
        "Synthesize {wildcards.store}"
    shell:
        "dualhead synthesize" " --output {output.raw:q}" " {params.settings:q}" " > {log:q} 2>&1"


rule prepare:
    """Read, choose and normalize every recording of a dataset, once for all benchmarks."""
    input:
        raw=ancient(raw_to_prepare),
        reuse=ancient(reused_store),
    output:
        store="results/store/{store}.h5",
        dropped="results/store/{store}.dropped.csv",
    log:
        "results/logs/prepare/{store}.log",
    threads: 16
    resources:
        mem_mb=16000,
        runtime=240,
    params:
        kind=lambda w: GRID["stores"][w.store]["kind"],
        reuse=lambda w, input: ["--reuse", input.reuse] if input.reuse else [],
        settings=lambda w: workspace.prepare_options(GRID["stores"][w.store]),
    message:
        "Prepare {wildcards.store}"
    shell:
        "dualhead prepare"
        " --dataset {params.kind:q}"
        " --raw {input.raw:q}"
        " {params.reuse:q}"
        " --output {output.store:q}"
        " --dropped {output.dropped:q}"
        " {params.settings:q}"
        " --workers {threads}"
        " > {log:q} 2>&1"


rule check_raw:
    """Refuse raw data that is not what the store was made from: raise its `release` then.

    It is asked again whenever a file's size or date is another than the stamp says.
    """
    input:
        raw=ancient(raw_to_check),
        store=ancient("results/store/{store}.h5"),
    output:
        stamp="results/logs/check_raw/{store}.txt",
    log:
        "results/logs/check_raw/{store}.log",
    priority: 100
    params:
        kind=lambda w: GRID["stores"][w.store]["kind"],
    message:
        "Check that {wildcards.store} is still what lies in data/raw"
    shell:
        "dualhead verify"
        " --dataset {params.kind:q}"
        " --raw {input.raw:q}"
        " --store {input.store:q}"
        " --output {output.stamp:q}"
        " > {log:q} 2>&1"
