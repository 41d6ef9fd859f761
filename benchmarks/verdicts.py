"""Error rates and power of every verdict of the report, by simulation with the report's own functions.

`python -m benchmarks.verdicts --docs docs/statistics.md` writes its tables into that text.

A run is right on a test sample if base + the sample's ease + the network's own ease with it + the seed's luck + noise
is positive (all normal). The ease of a sample is common to all networks, the own ease to all seeds of one network.
Published numbers are one run's, at the epoch that does best on the test set.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.stats import norm, ttest_ind, ttest_rel

from benchmarks.results import replace_block
from benchmarks.timing import say
from dualhead.files import write_text
from dualhead.report import statistics

SEEDS = (1, 2, 3, 5)
EPOCHS = 20
"""After the last drop of the learning rate: as many accuracies the best is chosen of."""
MAX_OF_EPOCHS = 1.867
"""Expectation of the largest of so many standard normal values."""
ROWS = 3
"""Variants of a simulated ablation beside the reference; all but the first equal it."""
UNEQUAL = ((2, 2), (3, 3), (5, 5), (2, 5), (2, 10), (3, 10))


class Benchmark(NamedTuple):
    """A test set, how much seeds and epochs vary there, and what is claimed."""

    name: str
    num_test: int
    accuracy: float
    spread: float  # standard deviation over seeds, points
    selection: float  # what choosing the epoch on the test set gains, points
    gain: float  # that the paper claims over a rival, points


class Ablation(NamedTuple):
    """A test set, and how networks and seeds differ on it."""

    name: str
    num_test: int
    accuracy: float
    own_ease: float
    luck: float
    other_luck: float  # of the variants, where seeds of the reference have `luck`


BENCHMARKS = (
    Benchmark("16,487 samples, small spread", 16_487, 90.3, 0.15, 0.2, 0.4),
    Benchmark("16,487 samples, middle spread", 16_487, 90.3, 0.24, 0.4, 0.4),
    Benchmark("16,487 samples, large spread", 16_487, 90.3, 0.43, 0.4, 0.9),
    Benchmark("464 samples", 464, 85.0, 1.6, 1.5, 5.0),
)
ABLATIONS = (
    Ablation("16,487 samples, alike", 16_487, 90.3, 0.0, 0.028, 0.028),
    Ablation("16,487 samples, unlike", 16_487, 90.3, 0.7, 0.028, 0.028),
    Ablation("16,487 samples, unequal spreads", 16_487, 90.3, 0.0, 0.0, 0.06),
    Ablation("464 samples, unlike", 464, 85.0, 1.0, 0.14, 0.14),
)
STEPS = {16_487: (0.0, 0.4, 0.9), 464: (0.0, 5.0)}
EASE = 2.5


# --- verdicts on published numbers -----------------------------------------------------


def accuracies(
    benchmark: Benchmark, offset: float, num_runs: int, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Return (runs, 2): the accuracy of each run's last epoch and of its best one, as counts allow.

    Args:
        benchmark: whose test samples are the same for all runs, so that their ease is part of the accuracy.
        offset: of the network, points.
        num_runs: seeds.
        rng: of seeds and epochs.
    """
    of_epochs = benchmark.selection / MAX_OF_EPOCHS
    of_seeds = np.sqrt(benchmark.spread**2 - of_epochs**2)
    run = benchmark.accuracy + offset + of_seeds * rng.standard_normal((num_runs, 1))
    epochs = run + of_epochs * rng.standard_normal((num_runs, EPOCHS))
    counts = np.round(epochs / 100 * benchmark.num_test)
    chosen = np.stack([counts[:, -1], counts.max(axis=1)], axis=1)
    return 100 * chosen / benchmark.num_test


def verdict_rates(
    benchmark: Benchmark, offset: float, num_seeds: int, trials: int, rng: np.random.Generator
) -> dict[str, float]:
    """Return how often each verdict on last and on best epochs is given, in percent: `last below`.

    `unlike below` is what a comparison of our last epoch with their best one would say.
    """
    found: dict[str, int] = {}
    for _ in range(trials):
        published = round(float(accuracies(benchmark, 0.0, 1, rng)[0, 1]), 1)
        ours = accuracies(benchmark, offset, num_seeds, rng)
        last, best = (statistics.spread(list(row), benchmark.num_test) for row in ours.T)
        margin = benchmark.gain / 2
        said = {
            "last": statistics.verdict_of_last(last, best, published, margin),
            "best": statistics.verdict(best, published, margin),
            "unlike": statistics.verdict(last, published, margin),
        }
        for key, verdict in said.items():
            for word in verdict.split(", "):
                found[f"{key} {word}"] = found.get(f"{key} {word}", 0) + 1
    return {key: 100 * count / trials for key, count in found.items()}


def false_verdicts(trials: int, rng: np.random.Generator) -> list[list[str]]:
    """Return a row for each benchmark and number of seeds: what is said of the very same method."""
    rows = []
    for benchmark in BENCHMARKS:
        for num_seeds in SEEDS:
            rates = verdict_rates(benchmark, 0.0, num_seeds, trials, rng)
            off = [sum(rates.get(f"{key} {it}", 0) for it in ("below", "above")) for key in KEYS]
            more = [
                rates.get("last selection", 0),
                *(rates.get(f"{k} reproduced", 0) for k in KEYS[:2]),
            ]
            rows.append([*_names(benchmark, num_seeds), *map(_percent, (*off, *more))])
    return rows


KEYS = ("last", "best", "unlike")
FALSE_VERDICTS = (
    *("Test set", "Spread", "Selection", "Seeds", "Last: below or above", "Best: below or above"),
    *("Unlike: below or above", "Last: selection", "Last: reproduced", "Best: reproduced"),
)


def verdicts_of_rival(trials: int, rng: np.random.Generator) -> list[list[str]]:
    """Return a row for each benchmark and number of seeds: what is said of a method without the claimed gain."""
    rows = []
    for benchmark in BENCHMARKS:
        for num_seeds in SEEDS:
            rates = verdict_rates(benchmark, -benchmark.gain, num_seeds, trials, rng)
            shown = [
                rates.get(f"{key} {it}", 0) for it in ("reproduced", "below") for key in KEYS[:2]
            ]
            names = _names(benchmark, num_seeds)
            rows.append([*names[:2], f"{benchmark.gain:g}", names[3], *map(_percent, shown)])
    return rows


VERDICTS_OF_RIVAL = (
    *("Test set", "Spread", "Gain", "Seeds", "Last: reproduced", "Best: reproduced"),
    *("Last: below", "Best: below"),
)


def _names(benchmark: Benchmark, num_seeds: int) -> list[str]:
    return [
        benchmark.name.split(", ")[0],
        f"{benchmark.spread:g}",
        f"{benchmark.selection:g}",
        str(num_seeds),
    ]


def _percent(rate: float) -> str:
    return f"{rate:.1f}"


# --- steps -----------------------------------------------------------------------------


def right(
    ablation: Ablation,
    step: float,
    luck: float,
    ease: npt.NDArray[np.float32],
    num_seeds: int,
    rng: np.random.Generator,
) -> npt.NDArray[np.bool_]:
    """Return (seeds, samples): where the runs of one network are right."""
    total = np.sqrt(1 + EASE**2 + ablation.own_ease**2 + luck**2)
    base = norm.ppf((ablation.accuracy + step) / 100) * total
    own = ablation.own_ease * rng.standard_normal(len(ease), dtype=np.float32)
    of_seed = luck * rng.standard_normal((num_seeds, 1), dtype=np.float32)
    noise = rng.standard_normal((num_seeds, len(ease)), dtype=np.float32)
    positive: npt.NDArray[np.bool_] = noise + of_seed + (EASE * ease + own + np.float32(base)) > 0
    return positive


def step_rates(
    ablation: Ablation, step: float, num_seeds: int, trials: int, rng: np.random.Generator
) -> dict[str, float]:
    """Return how often a table of three steps shows each, in percent, and the spread of a run.

    Args:
        ablation: the test set and the networks.
        step: of the first variant, points; the others equal the reference.
        num_seeds: of every variant.
        trials: tables.
        rng: of everything.
    """
    shown = np.zeros((trials, 2, ROWS))
    variances = []
    for trial in range(trials):
        ease = rng.standard_normal(ablation.num_test, dtype=np.float32)
        reference = right(ablation, 0.0, ablation.luck, ease, num_seeds, rng)
        found = [
            statistics.compare(
                right(ablation, size, ablation.other_luck, ease, num_seeds, rng), reference
            )
            for size in (step, *[0.0] * (ROWS - 1))
        ]
        p_values = [one.p_value for one in found]
        shown[trial] = np.less([p_values, statistics.holm(p_values)], statistics.LEVEL)
        variances.append(found[1].std ** 2 / 2)
    equal = shown[:, :, 1:] if step else shown
    return {
        "spread": float(np.sqrt(np.mean(variances))),
        "raw false": 100 * float(equal[:, 0].mean()),
        "any false": 100 * float(equal[:, 1].any(axis=1).mean()),
        "raw": 100 * float(shown[:, 0, 0].mean()),
        "holm": 100 * float(shown[:, 1, 0].mean()),
    }


def steps(trials: int, rng: np.random.Generator) -> list[list[str]]:
    """Return a row for each ablation, number of seeds (two and more: one never shows a step) and step.

    A third of the trials does for power.
    """
    rows = []
    for ablation in ABLATIONS:
        for num_seeds in SEEDS[1:]:
            for step in STEPS[ablation.num_test]:
                count = max(trials // 3, 1) if step else trials
                rates = step_rates(ablation, step, num_seeds, count, rng)
                names = [ablation.name, f"{rates['spread']:.2f}", str(num_seeds), f"{step:g}"]
                told = [rates[key] for key in ("raw false", "any false", "raw", "holm")]
                power = [_percent(rate) if step else "" for rate in told[2:]]
                rows.append([*names, *map(_percent, told[:2]), *power])
            say(f"{ablation.name}, {num_seeds} seeds: done")
    return rows


STEP_COLUMNS = (
    *("Networks", "Spread", "Seeds", "True step", "Equal variant: p < 0.05"),
    *("Any equal one shown (Holm)", "The step: p < 0.05", "The step shown (Holm)"),
)


def other_tests(trials: int, rng: np.random.Generator) -> list[list[str]]:
    """Return the false positives of Welch's test and of the paired one for unequal seed counts and spreads."""
    rows = []
    for first, second in UNEQUAL:
        for ratio in (1, 3):
            ours = rng.standard_normal((trials, first)) * ratio
            theirs = rng.standard_normal((trials, second))
            common = min(first, second)
            p_values = (
                ttest_ind(ours, theirs, axis=1, equal_var=False).pvalue,
                ttest_rel(ours[:, :common], theirs[:, :common], axis=1).pvalue,
            )
            rates = [100 * float(np.mean(it < statistics.LEVEL)) for it in p_values]
            rows.append([f"{first} and {second}", f"{ratio} to 1", *map(_percent, rates)])
    return rows


OTHER_TESTS = ("Seeds", "Spreads", "Welch", "Paired by common seeds")


# --- the tables ------------------------------------------------------------------------


def report(trials: int) -> str:
    """Return all tables in Markdown; steps have a quarter of the trials, because each takes whole test sets."""
    rng = np.random.default_rng(0)
    of_steps = max(trials // 4, 1)
    of_tests = 25 * trials
    return "\n\n".join(
        [
            f"**The same method as theirs** (%; {_error(trials)}).",
            _table(FALSE_VERDICTS, false_verdicts(trials, rng)),
            f"**A method without the claimed gain** (%; {_error(trials)}).",
            _table(VERDICTS_OF_RIVAL, verdicts_of_rival(trials, rng)),
            "**Steps of an ablation of three rows, of which all but the first equal the reference** "
            f"(%; {_error(of_steps)}; a third of them where the step is not 0).",
            _table(STEP_COLUMNS, steps(of_steps, rng)),
            f"**False positives of two tests on accuracies alone** (%; {_error(of_tests)}).",
            _table(OTHER_TESTS, other_tests(of_tests, rng)),
        ]
    )


def _error(trials: int) -> str:
    """Return how many trials there are, and the standard error of a rate of 5 %."""
    error = 100 * np.sqrt(0.05 * 0.95 / trials)
    return f"{trials:,} trials: a rate of 5 % is known to \N{PLUS-MINUS SIGN}{error:.2g}, one standard error"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, [":---", *["---:"] * (len(columns) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables, or put them into a file between its marks."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.verdicts", description=__doc__)
    parser.add_argument("--trials", type=int, default=4_000)
    parser.add_argument(
        "--docs", type=Path, help="put the tables there, between the marks `verdicts`"
    )
    options = parser.parse_args(arguments)
    text = report(options.trials)
    if options.docs:
        known = options.docs.read_text(encoding="utf-8")
        write_text(options.docs, replace_block(known, "verdicts", text))
    else:
        print(text)


if __name__ == "__main__":
    main()
