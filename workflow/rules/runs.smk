"""Stores to trained and scored networks, each at the address of all that it was made from.

results/store -> results/runs/BENCHMARK/VARIANT/MODALITY/seedS-ADDRESS/
config.yaml, checkpoint.pt, history.csv, scores.h5, metrics.json, classes.csv
results/runs/*/scores.h5 -> results/ensembles/BENCHMARK/VARIANT/STREAM/seedS-ADDRESS/
scores.h5, metrics.json, classes.csv
published/BENCHMARK/VARIANT/MODALITY/seedS-ADDRESS/ -> the same in results/runs, without training

Every input is ancient(): a run that exists is right, whatever the timestamps say.
"""


rule configure:
    """Write the one complete configuration that a run is made from."""
    output:
        config="results/runs/{run}/config.yaml",
    log:
        "results/logs/configure/{run}.log",
    params:
        grid=GRID_FILE,
    message:
        "Configure {wildcards.run}"
    shell:
        "dualhead configure"
        " --grid {params.grid:q}"
        " --run {wildcards.run:q}"
        " --output {output.config:q}"
        " > {log:q} 2>&1"


rule take_kept:
    """Take a run that is kept with the workspace as it is, instead of training it."""
    input:
        metrics=ancient("published/{run}/metrics.json"),
    output:
        config="results/runs/{run}/config.yaml",
        history="results/runs/{run}/history.csv",
        scores="results/runs/{run}/scores.h5",
        metrics="results/runs/{run}/metrics.json",
        classes="results/runs/{run}/classes.csv",
    log:
        "results/logs/take_kept/{run}.log",
    wildcard_constraints:
        run=one_of(KEPT),
    params:
        grid=GRID_FILE,
    message:
        "Take {wildcards.run} as it is kept with the workspace"
    shell:
        "dualhead keep"
        " --grid {params.grid:q}"
        " --run {wildcards.run:q}"
        " --source published"
        " --output results/runs"
        " > {log:q} 2>&1"


ruleorder: take_kept > configure
ruleorder: take_kept > train
ruleorder: take_kept > evaluate


rule train:
    """Train a network; one that was killed goes on from state.pt beside its outputs.

    exec: a signal to all of a SLURM job must not end a shell around the training that saves.
    """
    input:
        config=ancient("results/runs/{run}/config.yaml"),
        store=ancient(store_unless("checkpoint.pt", "metrics.json")),
        parent=ancient(parent_of),
    output:
        checkpoint="results/runs/{run}/checkpoint.pt",
        history="results/runs/{run}/history.csv",
    log:
        "results/logs/train/{run}.log",
    threads: lambda wildcards: train_threads()
    resources:
        gpu=HARDWARE["gpus_per_training"],
        mem_mb=16000,
        runtime=1440,
    params:
        gpus=HARDWARE["gpus_per_training"],
        device=HARDWARE["device"],
        shared=HARDWARE["trainings_per_gpu"],
        evaluate_batch_size=HARDWARE["evaluate_batch_size"],
        parent=lambda w, input: ["--parent", input.parent] if input.parent else [],
        tensorboard=lambda w: tensorboard_options(w.run),
    message:
        "Train {wildcards.run}; watch it in {log}"
    shell:
        "exec dualhead train"
        " --config {input.config:q}"
        " --store {input.store:q}"
        " --output {output.checkpoint:q}"
        " --history {output.history:q}"
        " {params.parent:q}"
        " {params.tensorboard:q}"
        " --device {params.device:q}"
        " --trainings-per-gpu {params.shared}"
        " --gpus {params.gpus}"
        " --evaluate-batch-size {params.evaluate_batch_size}"
        " --threads {threads}"
        " > {log:q} 2>&1"


rule evaluate:
    """Score every test sample: last epoch, best on the test split, best on held-out subjects."""
    input:
        checkpoint=ancient("results/runs/{run}/checkpoint.pt"),
        store=ancient(store_unless("metrics.json")),
    output:
        scores="results/runs/{run}/scores.h5",
        metrics="results/runs/{run}/metrics.json",
        classes="results/runs/{run}/classes.csv",
    log:
        "results/logs/evaluate/{run}.log",
    threads: lambda wildcards: train_threads()
    resources:
        gpu=1,
        mem_mb=16000,
        runtime=120,
    params:
        device=HARDWARE["device"],
        shared=HARDWARE["trainings_per_gpu"],
        batch_size=HARDWARE["evaluate_batch_size"],
    message:
        "Evaluate {wildcards.run}"
    shell:
        "dualhead evaluate"
        " --checkpoint {input.checkpoint:q}"
        " --store {input.store:q}"
        " --scores {output.scores:q}"
        " --metrics {output.metrics:q}"
        " --classes {output.classes:q}"
        " --device {params.device:q}"
        " --trainings-per-gpu {params.shared}"
        " --batch-size {params.batch_size}"
        " --threads {threads}"
        " > {log:q} 2>&1"


rule ensemble:
    """Sum the scores of several modalities, sample by sample."""
    input:
        scores=ancient(member_scores),
    output:
        scores="results/ensembles/{ensemble}/scores.h5",
        metrics="results/ensembles/{ensemble}/metrics.json",
        classes="results/ensembles/{ensemble}/classes.csv",
    log:
        "results/logs/ensemble/{ensemble}.log",
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        grid=GRID_FILE,
    message:
        "Ensemble {wildcards.ensemble}"
    shell:
        "dualhead ensemble"
        " --grid {params.grid:q}"
        " --ensemble {wildcards.ensemble:q}"
        " --runs results/runs"
        " --scores {output.scores:q}"
        " --metrics {output.metrics:q}"
        " --classes {output.classes:q}"
        " > {log:q} 2>&1"
