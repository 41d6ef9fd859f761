#!/bin/sh
# sh examples/fine_tune/run.sh nw_ucla.tar.gz: the table, from the scores in published/; nothing is trained.
# sh examples/fine_tune/run.sh nw_ucla.tar.gz anew: train on seven actions, tune to three others, compare; all in this folder.
set -eu
archive=$(realpath "$1")
cd "$(dirname "$0")"
[ -d data/raw/three ] || python recordings.py "$archive" data/raw
if [ "${2:-}" = anew ]; then
    snakemake --snakefile ../../Snakefile --cores all --directory . runs --configfile params.seven.yaml
    cp results/runs/seven_views/dualhead/joint/seed1-*/checkpoint.pt parents/joint.pt
fi
snakemake --snakefile ../../Snakefile --cores all --directory . reproduce_tables
