"""Statistics of accuracies: spreads over seeds, verdicts on published numbers, steps between variants, seeds needed.

Accuracies are in percent everywhere. The test set is the same in every comparison, so that a published run and ours
differ by method and seed alone; a step between two of our variants also has to hold for other test samples.
docs/statistics.md derives each test and gives its error rates, which benchmarks/verdicts.py measures.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportion_confint

Correct = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

LEVEL: Final = 0.05
CONFIDENCE: Final = 1 - LEVEL
POWER: Final = 0.80
ROUNDING: Final = 0.05  # points: a published 90.3 may have been any of 90.25 to 90.35
MANY_SEEDS: Final = 1_000  # who needs more is told that seeds do not decide
NUM_STRATA: Final = 500  # at which the distribution of a standard deviation is taken, for power

REPRODUCED: Final = "reproduced"
BELOW: Final = "below"
ABOVE: Final = "above"
SELECTION: Final = "selection"
UNDECIDED: Final = "undecided"
NOT_RUN: Final = "not run"
NOT_COMPARABLE: Final = "not comparable"

MCNEMAR: Final = "McNemar"
PAIRED: Final = "paired t"


class Spread(NamedTuple):
    """Accuracies of one cell over its seeds; std is nan at one seed."""

    mean: float
    std: float
    low: float
    high: float
    num_seeds: int
    num_test: int


class Step(NamedTuple):
    """Accuracy of one variant less another's, on the same test samples and the seeds that both have.

    std is that of the difference over seeds, nan at one; sample_variance what other test samples would add to it.
    """

    difference: float
    low: float
    high: float
    p_value: float
    test: str
    num_seeds: int
    std: float
    sample_variance: float


# --- one cell --------------------------------------------------------------------------


def spread(accuracies: Sequence[float], num_test: int) -> Spread:
    """Return mean, standard deviation and 95 % interval over seeds.

    Several seeds: Student's t interval of the mean. One seed: Wilson's interval of one accuracy.

    Args:
        accuracies: one a seed.
        num_test: test samples behind each of them.
    """
    values = np.asarray(accuracies, dtype=float)
    mean, num_seeds = float(values.mean()), len(values)
    if num_seeds == 1:
        low, high = proportion_confint(
            mean / 100 * num_test, num_test, alpha=LEVEL, method="wilson"
        )
        return Spread(mean, float("nan"), 100 * float(low), 100 * float(high), 1, num_test)
    std = float(values.std(ddof=1))
    margin = _t_quantile(CONFIDENCE, num_seeds) * std / np.sqrt(num_seeds)
    return Spread(
        mean, std, max(mean - margin, 0.0), min(mean + margin, 100.0), num_seeds, num_test
    )


def pooled_std(stds: Iterable[float], seeds: Iterable[float]) -> float:
    """Return the standard deviation that cells of several seeds have in common; nan if none has several."""
    known = [(std, count - 1) for std, count in zip(stds, seeds, strict=True) if count > 1]
    freedom = sum(weight for _, weight in known)
    if not freedom:
        return float("nan")
    return float(np.sqrt(sum(weight * std**2 for std, weight in known) / freedom))


@cache
def _t_quantile(confidence: float, num_seeds: int) -> float:
    """Return half the width of Student's two-sided interval, in standard errors of a mean over seeds."""
    return float(stats.t.ppf((1 + confidence) / 2, num_seeds - 1))


def _std_of(ours: Spread) -> float:
    """Return the standard deviation, at least one test sample: accuracies are counts, which may agree by chance."""
    return max(ours.std, 100 / ours.num_test)


# --- verdicts on a published number ----------------------------------------------------


def verdict(ours: Spread | None, published: float, margin: float) -> str:
    """Return the verdict of our runs on a published accuracy that was chosen like ours, and is one run's.

    below, above: the published value lies outside the 95 % prediction interval of one more run of ours.
    reproduced: our mean is equivalent to the published value: two one-sided t-tests at 5 % exclude that it is off by
    the margin or more. Where both hold, both are said (`reproduced, below`). Otherwise, and at one seed: undecided.

    Args:
        ours: our accuracies; None if there are none.
        published: the published accuracy, rounded to 0.1.
        margin: largest difference that counts as reproduced, in points; nan where no gain is claimed.
    """
    if ours is None:
        return NOT_RUN
    found = (REPRODUCED if _is_equivalent(ours, published, margin) else "", _side(ours, published))
    return ", ".join(filter(None, found)) or UNDECIDED


def verdict_of_last(last: Spread | None, best: Spread, published: float, margin: float) -> str:
    """Return the verdict of our last epochs on a published accuracy, which is of an epoch chosen on the test set.

    As `verdict`, but a last epoch is `below` only if our own best epoch is, too. If only the last one is, the way
    of choosing the epoch explains it: `selection`.
    """
    found = verdict(last, published, margin)
    if BELOW not in found or BELOW in verdict(best, published, margin):
        return found
    return REPRODUCED if REPRODUCED in found else SELECTION


def _is_equivalent(ours: Spread, published: float, margin: float) -> bool:
    if ours.num_seeds == 1:
        return False
    width = _t_quantile(1 - 2 * LEVEL, ours.num_seeds) * _std_of(ours) / np.sqrt(ours.num_seeds)
    return bool(abs(ours.mean - published) + width <= margin)  # False if the margin is nan


def _side(ours: Spread, published: float) -> str:
    """Return `below` or `above` if the published value is not one more run of ours; else nothing."""
    if ours.num_seeds == 1:
        return ""
    width = _t_quantile(CONFIDENCE, ours.num_seeds) * np.sqrt(1 + 1 / ours.num_seeds)
    if abs(ours.mean - published) <= width * _std_of(ours) + ROUNDING:
        return ""
    return ABOVE if ours.mean > published else BELOW


def seeds_to_decide(ours: Spread, published: float, margin: float) -> int | None:
    """Return the number of seeds that give a verdict in 80 % of attempts, if mean and spread are as measured.

    None where no number of seeds would (up to a thousand), and at one seed, which has no spread.
    """
    if ours.num_seeds == 1:
        return None
    offset, std = abs(ours.mean - published), _std_of(ours)

    def power(num_seeds: int) -> float:
        stds, root = _std_strata(std, num_seeds), np.sqrt(num_seeds)
        near = margin - _t_quantile(1 - 2 * LEVEL, num_seeds) * stds / root
        far = _t_quantile(CONFIDENCE, num_seeds) * stds * np.sqrt(1 + 1 / num_seeds) + ROUNDING
        error = std / root
        beyond = _outside(offset, error, far)
        within = 1 - _outside(offset, error, np.minimum(np.where(near > 0, near, 0), far))
        return float(np.mean(beyond + within))

    return _fewest_seeds(power)


# --- steps between two variants --------------------------------------------------------


def compare(first: Correct, second: Correct) -> Step:
    """Return the accuracy of `first` less that of `second`, with interval and p-value.

    Several seeds: Student's t-test of the differences between runs of the same seed, with what other test samples
    would change added to its variance. One seed: McNemar's test, which speaks of these two runs alone, and Agresti and
    Min's interval.

    Args:
        first: (seeds, samples), True where a run is right.
        second: (seeds, samples), of the same seeds and samples in the same order.
    """
    num_seeds, num_samples = first.shape
    by_sample = 100 * (first.astype(float) - second)
    difference = float(by_sample.mean())
    if num_seeds == 1:
        better, worse = (int((by_sample == 100 * sign).sum()) for sign in (1, -1))
        middle, own = paired_share(better, worse, num_samples)
        half = float(stats.norm.ppf((1 + CONFIDENCE) / 2)) * 100 * np.sqrt(own)
        p_value, std, variance = mcnemar_p_value(first[0], second[0]), float("nan"), 0.0
        low, high = 100 * middle - half, 100 * middle + half
        return Step(difference, low, high, p_value, MCNEMAR, 1, std, variance)
    std = max(float(by_sample.mean(axis=1).std(ddof=1)), 100 / num_samples)
    variance = sample_variance(by_sample)
    error = _standard_error(std, variance, num_seeds)
    half = _t_quantile(CONFIDENCE, num_seeds) * error
    p_value = 2 * float(stats.t.sf(abs(difference) / error, num_seeds - 1))
    low, high = difference - half, difference + half
    return Step(difference, low, high, p_value, PAIRED, num_seeds, std, variance)


def paired_share(better: float, worse: float, count: int) -> tuple[float, float]:
    """Return the middle and variance of a difference of paired proportions, adjusted by Agresti and Min (2005).

    Half a sample more in each of the four cells gives it a width where all samples agree.

    Args:
        better: samples on which only the first is right.
        worse: samples on which only the second is.
        count: all samples.
    """
    middle = (better - worse) / (count + 2)
    return middle, ((better + worse + 1) / (count + 2) - middle**2) / (count + 2)


def mcnemar_p_value(first: Correct, second: Correct) -> float:
    """Return the p-value of McNemar's test for two runs on the same (samples,)."""
    table = [[int((a & b).sum()) for b in (second, ~second)] for a in (first, ~first)]
    discordant = table[0][1] + table[1][0]
    return float(mcnemar(table, exact=discordant < 1000, correction=True).pvalue)


def sample_variance(by_sample: Floats) -> float:
    """Return the variance (points squared) that the choice of test samples gives to a difference of methods.

    Two methods that are equally good in general err on different samples, and one of them seems better on those at
    hand. It is the variance of the samples' mean differences, less what chance from seed to seed puts into it.

    Args:
        by_sample: (seeds, samples), 100, 0 or -100 where one run is right and the other is not; two seeds or more.
    """
    num_seeds, num_samples = by_sample.shape
    of_means = by_sample.mean(axis=0).var(ddof=1)
    by_chance = by_sample.var(axis=0, ddof=1).mean() / num_seeds
    return float(max(of_means - by_chance, 0.0) / num_samples)


def _standard_error(std: float, variance: float, num_seeds: int) -> float:
    return float(np.sqrt(std**2 / num_seeds + variance))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values of one table after Holm's correction for their number; nan stays nan.

    (statsmodels' takes 0.2 s a call, because it collects garbage each time.)
    """
    corrected = np.array(p_values, dtype=float)
    order = np.argsort(corrected)[: np.count_nonzero(~np.isnan(corrected))]
    raised = corrected[order] * np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(raised), 1)
    return [float(value) for value in corrected]


def seeds_needed(
    difference: float, std: float, *, variance: float = 0.0, num_tests: int = 1
) -> int | None:
    """Return the seeds each variant needs to show a step by `compare` in 80 % of attempts, at 5 %.

    None if it would take more than a thousand, as where the samples' share alone hides the step.

    Args:
        difference: the step, in points.
        std: standard deviation, over seeds, of the difference between two runs of one seed.
        variance: the result of `sample_variance`.
        num_tests: p-values that Holm corrects together; asked is the smallest level that one of them may get.
    """
    level = LEVEL / num_tests

    def power(num_seeds: int) -> float:
        errors = np.sqrt(_std_strata(std, num_seeds) ** 2 / num_seeds + variance)
        bounds = _t_quantile(1 - level, num_seeds) * errors
        error = _standard_error(std, variance, num_seeds)
        return float(np.mean(_outside(abs(difference), error, bounds)))

    return _fewest_seeds(power) if std > 0 and difference else None


def _fewest_seeds(power: Callable[[int], float]) -> int | None:
    """Return the fewest seeds, at least two, at which the power is 80 %; None if a thousand are too few."""
    seeds = range(2, MANY_SEEDS + 1)
    index = bisect_left(seeds, True, key=lambda count: power(count) >= POWER)
    return seeds[index] if index < len(seeds) else None


@cache
def _std_shares(num_seeds: int) -> Floats:
    middles = (np.arange(NUM_STRATA) + 0.5) / NUM_STRATA
    shares: Floats = np.sqrt(stats.chi2.ppf(middles, num_seeds - 1) / (num_seeds - 1))
    return shares


def _std_strata(std: float, num_seeds: int) -> Floats:
    """Return equally probable values that the standard deviation of so many seeds takes if `std` is the true one."""
    return std * _std_shares(num_seeds)


def _outside(mean: float, error: float, bounds: Floats) -> Floats:
    """Return the probability that a normal variable is further from 0 than each bound."""
    found: Floats = stats.norm.sf((bounds - mean) / error) + stats.norm.cdf(
        (-bounds - mean) / error
    )
    return found
