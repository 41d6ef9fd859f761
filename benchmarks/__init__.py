"""Speed, size and exactness: ours beside the slow reference of tests/reference, in one run.

`python -m benchmarks` measures, and writes results/bench/bench.json and bench.md.
"""
