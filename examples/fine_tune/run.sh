#!/bin/sh
# sh examples/fine_tune/run.sh nw_ucla.tar.gz: train on seven actions, tune to three others, compare, in this folder.
set -eu
archive=$(realpath "$1")
cd "$(dirname "$0")"
[ -d data/raw/three ] || python recordings.py "$archive" data/raw
snakemake --snakefile ../../Snakefile --cores all --directory . runs --configfile params.seven.yaml
mkdir -p parents
cp results/runs/seven_views/dualhead/joint/seed1-*/checkpoint.pt parents/joint.pt
snakemake --snakefile ../../Snakefile --cores all --directory . reproduce_tables
