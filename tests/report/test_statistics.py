import numpy as np
import pytest

from dualhead.report import statistics
from dualhead.report.statistics import Spread


@pytest.mark.parametrize(
    ("accuracy", "num_samples", "expected"),
    [(90.3, 16_487, 0.452), (96.1, 18_932, 0.276), (38.0, 19_794, 0.676)],
)
def test_half_width_is_the_binomial_one_of_the_papers_test_sets(accuracy, num_samples, expected):
    normal = 196 * np.sqrt(accuracy / 100 * (1 - accuracy / 100) / num_samples)
    assert expected == pytest.approx(statistics.half_width(accuracy, num_samples), abs=1e-3)
    assert normal == pytest.approx(statistics.half_width(accuracy, num_samples), abs=2e-3)


def test_half_width_of_a_perfect_score_is_not_zero():
    assert statistics.half_width(100.0, 20) > 1


def test_spread_of_three_seeds_is_worked_out_by_hand():
    spread = statistics.spread([90.0, 91.0, 92.0], 1000)
    assert (spread.mean, spread.std, spread.num_seeds) == (91.0, 1.0, 3)
    assert 91 - 4.3027 / np.sqrt(3) == pytest.approx(spread.low, abs=1e-3)  # t of 2 degrees
    assert 91 + 4.3027 / np.sqrt(3) == pytest.approx(spread.high, abs=1e-3)


def test_spread_of_one_seed_has_no_deviation_but_the_interval_of_one_accuracy():
    spread = statistics.spread([90.0], 1000)
    assert np.isnan(spread.std)
    width = statistics.half_width(90.0, 1000)
    assert 2 * width == pytest.approx(spread.high - spread.low)


def test_an_interval_stays_within_a_percentage():
    assert statistics.spread([98.0, 100.0, 99.9], 100).high <= 100


@pytest.mark.parametrize(
    ("accuracies", "published", "expected"),
    [
        ([90.1, 90.3, 90.2, 90.4, 90.25], 90.3, "reproduced"),
        ([90.1, 90.3, 90.2, 90.4, 90.25], 89.4, "above"),
        ([90.1, 90.3, 90.2, 90.4, 90.25], 91.0, "below"),
        ([90.0, 91.0], 90.4, "not distinguishable at 2 seeds"),
        ([90.3], 90.3, "not distinguishable at 1 seed"),
        ([89.0], 90.3, "below"),
        ([92.0], 90.3, "above"),
    ],
)
def test_verdict_says_what_the_seeds_can_show(accuracies, published, expected):
    spread = statistics.spread(accuracies, 16_487)
    assert expected == statistics.verdict(spread, published, 16_487)


def test_verdict_of_no_run_is_not_run():
    assert statistics.verdict(None, 90.3, 16_487) == "not run"


def test_verdict_one_seed_is_never_called_a_reproduction():
    exact = Spread(90.3, float("nan"), 90.3, 90.3, 1)
    assert statistics.verdict(exact, 90.3, 10**9) != "reproduced"


def test_mcnemar_counts_only_the_samples_on_which_two_runs_differ():
    agreeing = np.ones(50, bool)
    first = np.concatenate([agreeing, np.ones(9, bool), np.zeros(1, bool)])
    second = np.concatenate([agreeing, np.zeros(9, bool), np.ones(1, bool)])
    exact = 2 * (1 + 10) / 2**10  # 0 or 1 heads of 10 tosses, and as many tails
    assert exact == pytest.approx(statistics.mcnemar_p_value(first, second))


def test_hierarchical_bootstrap_agrees_with_a_slow_one(rng):
    first, second = rng.random((3, 200)) < 0.9, rng.random((2, 200)) < 0.8
    slow = []
    for _ in range(4000):
        samples = rng.integers(200, size=200)
        means = [
            runs[rng.integers(len(runs), size=len(runs))][:, samples].mean()
            for runs in (first, second)
        ]
        slow.append(100 * (means[0] - means[1]))
    low, high, _ = statistics.hierarchical_bootstrap(first, second, rng)
    assert np.quantile(slow, [0.025, 0.975]) == pytest.approx([low, high], abs=0.6)


def test_the_same_runs_do_not_differ(rng):
    runs = rng.random((3, 100)) < 0.9
    found = statistics.compare(runs, runs, rng)
    assert found.difference == 0
    assert found.p_value > 0.9
    assert found.low < 0 < found.high


@pytest.mark.parametrize(("seeds", "test"), [(1, "McNemar"), (3, "hierarchical bootstrap")])
def test_compare_names_the_test_that_fits_the_seeds(seeds, test, rng):
    better, worse = rng.random((seeds, 2000)) < 0.95, rng.random((seeds, 2000)) < 0.85
    found = statistics.compare(better, worse, rng)
    assert test == found.test
    assert found.p_value < 0.001
    assert 0 < found.low < found.difference < found.high


def test_a_pairing_is_sharper_than_the_binomial_error(rng):
    first = rng.random((1, 5000)) < 0.9
    second = first.copy()
    second[0, np.flatnonzero(first[0])[:20]] = False
    found = statistics.compare(first, second, rng)
    assert (found.high - found.low) / 2 < statistics.half_width(90.0, 5000) / 2


@pytest.mark.parametrize(
    ("difference", "expected"), [(0.3, 6), (0.1, 37), (-0.1, 37), (2.0, 2), (0.0, None)]
)
def test_seeds_needed_at_the_spread_of_the_field(difference, expected):
    std = statistics.assumed_std(90.3, 16_487)
    assert std == pytest.approx(0.15, abs=1e-3)
    assert expected == statistics.seeds_needed(difference, std)


def test_seeds_needed_has_80_percent_power_in_a_simulation(rng):
    from scipy.stats import ttest_ind

    count = statistics.seeds_needed(0.3, 0.15)
    found = [
        ttest_ind(rng.normal(90.3, 0.15, count), rng.normal(90.0, 0.15, count)).pvalue < 0.05
        for _ in range(1500)
    ]
    assert 0.80 < np.mean(found) < 0.93
