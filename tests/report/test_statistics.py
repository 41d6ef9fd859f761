from math import isnan, nan

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from dualhead.report import statistics

NUM_TEST = 16_487
"""Of NTU RGB+D 60 X-sub."""
FIVE = [90.1, 90.3, 90.2, 90.4, 90.25]


def spread(accuracies, num_test=NUM_TEST):
    return statistics.spread(accuracies, num_test)


# --- one cell --------------------------------------------------------------------------


def test_spread_of_three_seeds_is_worked_out_by_hand():
    found = spread([90.0, 91.0, 92.0])
    assert (found.mean, found.std, found.num_seeds) == (91.0, 1.0, 3)
    assert 91 - 4.3027 / np.sqrt(3) == pytest.approx(found.low, abs=1e-3)  # t of 2 degrees
    assert 91 + 4.3027 / np.sqrt(3) == pytest.approx(found.high, abs=1e-3)


@pytest.mark.parametrize(
    ("accuracy", "num_test", "half"),
    [(90.3, 16_487, 0.452), (96.1, 18_932, 0.276), (38.0, 19_794, 0.676)],
)
def test_spread_of_one_seed_has_no_deviation_but_the_interval_of_one_accuracy(
    accuracy, num_test, half
):
    found = spread([accuracy], num_test)
    assert isnan(found.std)
    assert 2 * half == pytest.approx(found.high - found.low, abs=2e-3)
    normal = 196 * np.sqrt(accuracy / 100 * (1 - accuracy / 100) / num_test)
    assert normal == pytest.approx(half, abs=2e-3)


def test_an_interval_stays_within_a_percentage():
    assert spread([98.0, 100.0, 99.9], 100).high <= 100


def test_the_interval_of_a_perfect_score_is_not_a_point():
    assert spread([100.0], 20).low < 99


def test_pooled_deviation_weighs_by_degrees_of_freedom():
    expected = np.sqrt((2 * 0.3**2 + 4 * 0.1**2) / 6)
    assert expected == pytest.approx(statistics.pooled_std([0.3, 0.1, nan], [3, 5, 1]))
    assert isnan(statistics.pooled_std([nan, nan], [1, nan]))


# --- verdicts --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accuracies", "published", "margin", "expected"),
    [
        (FIVE, 90.3, 0.2, "reproduced"),
        (FIVE, 90.3, 0.05, "undecided"),
        (FIVE, 90.3, nan, "undecided"),
        (FIVE, 89.4, 0.45, "above"),
        (FIVE, 91.0, 0.45, "below"),
        (FIVE, 90.7, 0.6, "reproduced, below"),
        ([90.0, 91.0], 90.4, 0.45, "undecided"),
    ],
)
def test_verdict_says_what_the_seeds_can_show(accuracies, published, margin, expected):
    assert expected == statistics.verdict(spread(accuracies), published, margin)


def test_equivalence_is_two_one_sided_tests():
    """Against scipy's own tests of the mean against each end of the margin."""
    for published in np.arange(89.9, 90.7, 0.01):
        ends = ((published - 0.2, "greater"), (published + 0.2, "less"))
        p_values = [stats.ttest_1samp(FIVE, end, alternative=side).pvalue for end, side in ends]
        said = statistics.verdict(spread(FIVE), published, 0.2)
        assert (max(p_values) <= 0.05) == ("reproduced" in said)


def test_below_and_above_leave_the_prediction_interval():
    low, high = stats.t.interval(0.95, 4, np.mean(FIVE), np.std(FIVE, ddof=1) * np.sqrt(1.2))
    rounding = 0.05
    for published, expected in (
        (low - rounding - 0.001, "above"),
        (low - rounding + 0.001, "undecided"),
        (high + rounding - 0.001, "undecided"),
        (high + rounding + 0.001, "below"),
    ):
        assert expected == statistics.verdict(spread(FIVE), published, nan)


@pytest.mark.parametrize("accuracy", [60.0, 90.3, 99.0])
def test_one_seed_decides_nothing(accuracy):
    assert statistics.verdict(spread([accuracy]), 90.3, 0.45) == "undecided"
    assert statistics.seeds_to_decide(spread([accuracy]), 90.3, 0.45) is None


def test_verdict_of_no_run_is_not_run():
    assert statistics.verdict(None, 90.3, 0.45) == "not run"


def test_seeds_that_agree_by_chance_are_not_certain():
    """On 464 samples, two seeds have the same accuracy now and then."""
    same = spread([80.0, 80.0], 464)
    assert statistics.verdict(same, 82.0, nan) == "undecided"


BEST = [accuracy + 0.6 for accuracy in FIVE]


@pytest.mark.parametrize(
    ("best", "published", "margin", "expected"),
    [
        (BEST, 90.9, 0.1, "selection"),
        (BEST, 90.25, 0.2, "reproduced"),
        (BEST, 90.9, 0.9, "reproduced"),
        (BEST, 92.0, 0.2, "below"),
        (FIVE, 90.9, 0.9, "reproduced, below"),
        (BEST, 89.4, 0.2, "above"),
        (BEST, 90.45, 0.1, "undecided"),
    ],
)
def test_a_last_epoch_is_below_only_if_the_best_one_is(best, published, margin, expected):
    found = statistics.verdict_of_last(spread(FIVE), spread(best), published, margin)
    assert expected == found


@pytest.mark.parametrize(("offset", "margin"), [(0.1, 0.45), (0.8, 0.2)])
def test_seeds_to_decide_decide_in_80_percent_of_a_simulation(offset, margin, rng):
    ours = statistics.Spread(90.3 - offset, 0.24, nan, nan, 3, NUM_TEST)
    count = statistics.seeds_to_decide(ours, 90.3, margin)
    decided = {
        seeds: np.mean(
            [
                statistics.verdict(spread(rng.normal(ours.mean, 0.24, seeds)), 90.3, margin)
                != "undecided"
                for _ in range(2000)
            ]
        )
        for seeds in (count - 1, count)
    }
    error = 3 * np.sqrt(0.8 * 0.2 / 2000)
    assert decided[count] > 0.8 - error
    assert decided[count - 1] < 0.8 + error


def test_no_number_of_seeds_decides_between_margin_and_noise():
    """Off by more than the margin, yet by less than one run of theirs may be."""
    ours = statistics.Spread(90.0, 0.24, nan, nan, 5, NUM_TEST)
    assert statistics.seeds_to_decide(ours, 90.3, 0.2) is None


# --- steps -----------------------------------------------------------------------------


def runs(rng, num_seeds, num_samples, shift=0.0, own=0.0, seed=0.02):
    """Return (seeds, samples): right where base + a sample's ease + own ease + a seed's luck + noise is positive."""
    ease = np.random.default_rng(99).standard_normal(num_samples) * 2.5
    own_ease = own * rng.standard_normal(num_samples)
    luck = seed * rng.standard_normal((num_seeds, 1))
    noise = rng.standard_normal((num_seeds, num_samples))
    return 3.5 + shift + ease + own_ease + luck + noise > 0


def test_mcnemar_counts_only_the_samples_on_which_two_runs_differ():
    agreeing = np.ones(50, bool)
    first = np.concatenate([agreeing, np.ones(9, bool), np.zeros(1, bool)])
    second = np.concatenate([agreeing, np.zeros(9, bool), np.ones(1, bool)])
    exact = 2 * (1 + 10) / 2**10  # 0 or 1 heads of 10 tosses, and as many tails
    assert exact == pytest.approx(statistics.mcnemar_p_value(first, second))


def test_a_step_is_scipys_paired_test_where_samples_add_nothing(rng, monkeypatch):
    monkeypatch.setattr(statistics, "sample_variance", lambda by_sample: 0.0)
    first, second = runs(rng, 4, 3000, shift=0.1), runs(rng, 4, 3000)
    found = statistics.compare(first, second)
    expected = stats.ttest_rel(100 * first.mean(axis=1), 100 * second.mean(axis=1))
    low, high = expected.confidence_interval(0.95)
    assert expected.pvalue == pytest.approx(found.p_value)
    assert (low, high) == pytest.approx((found.low, found.high))


def test_methods_that_err_on_different_samples_need_a_larger_step(rng):
    alike = statistics.compare(runs(rng, 4, 3000, shift=0.1), runs(rng, 4, 3000))
    unlike = statistics.compare(runs(rng, 4, 3000, own=1.0), runs(rng, 4, 3000, own=1.0))
    assert alike.sample_variance < 0.1 * unlike.sample_variance
    assert alike.high - alike.low < unlike.high - unlike.low


def test_the_samples_share_is_what_another_test_set_would_change(rng):
    """Without seeds' luck, the difference of two methods varies from test set to test set by this much."""
    differences, variances = [], []
    for _ in range(300):
        first, second = (runs(rng, 3, 400, own=1.0) for _ in range(2))
        by_sample = 100.0 * (first.astype(float) - second)
        variances.append(statistics.sample_variance(by_sample))
        chance = by_sample.var(axis=0, ddof=1).mean() / 3 / 400
        differences.append((by_sample.mean(), chance))
    total, chance = np.var([it[0] for it in differences]), np.mean([it[1] for it in differences])
    assert total - chance == pytest.approx(np.mean(variances), rel=0.35)


def test_the_same_runs_do_not_differ(rng):
    same = runs(rng, 3, 100)
    found = statistics.compare(same, same)
    assert found.difference == 0
    assert found.p_value > 0.9
    assert found.low < 0 < found.high


@pytest.mark.parametrize(("seeds", "test"), [(1, "McNemar"), (3, "paired t")])
def test_compare_names_the_test_that_fits_the_seeds(seeds, test, rng):
    found = statistics.compare(runs(rng, seeds, 4000, shift=1.0), runs(rng, seeds, 4000))
    assert (test, seeds) == (found.test, found.num_seeds)
    assert found.p_value < 0.01
    assert 0 < found.low < found.difference < found.high


def test_an_interval_of_one_run_each_is_agresti_and_mins_and_has_a_width():
    """Their adjusted interval for 20 pairs of which 5 changed one way and 2 the other; and for none at all."""
    first, second = np.zeros((1, 20), bool), np.zeros((1, 20), bool)
    alike = statistics.compare(first, second)
    assert (alike.difference, -alike.low) == pytest.approx((0, alike.high)) and alike.high > 5
    first[0, :5] = second[0, 5:7] = True
    middle, spread = (5.5 - 2.5) / 22, 8 / 22
    margin = stats.norm.ppf(0.975) * np.sqrt((spread - middle**2) / 22)
    found = statistics.compare(first, second)
    expected = 100 * np.array([3 / 20, middle - margin, middle + margin])
    assert (found.difference, found.low, found.high) == pytest.approx(tuple(expected))


def test_holm_is_worked_out_by_hand():
    found = statistics.holm([0.01, nan, 0.04, 0.03])
    assert found[0] == pytest.approx(0.03)  # times 3
    assert isnan(found[1])
    assert found[2:] == pytest.approx([0.06, 0.06])  # 0.03 times 2; and not smaller than that
    assert all(isnan(value) for value in statistics.holm([nan, nan]))


def test_holm_agrees_with_statsmodels(rng):
    p_values = rng.random(9) ** 3
    assert multipletests(p_values, method="holm")[1] == pytest.approx(statistics.holm(p_values))


@pytest.mark.parametrize(("step", "std", "num_tests"), [(0.4, 0.21, 1), (0.4, 0.34, 3), (2, 2, 1)])
def test_seeds_needed_have_80_percent_power_by_the_reports_test(step, std, num_tests, rng):
    count = statistics.seeds_needed(step, std, num_tests=num_tests)
    power = {
        seeds: np.mean(
            stats.ttest_1samp(rng.normal(step, std, (4000, seeds)), 0, axis=1).pvalue
            < 0.05 / num_tests
        )
        for seeds in (count - 1, count)
    }
    assert power[count] > 0.8 - 0.02
    assert power[count - 1] < 0.8 + 0.02


def test_seeds_needed_have_80_percent_power_where_samples_matter(rng):
    """The whole test, on scores: two networks that err on different samples."""
    trials = [
        statistics.compare(runs(rng, 4, 1500, shift=0.4, own=1.0), runs(rng, 4, 1500, own=1.0))
        for _ in range(200)
    ]
    step = float(np.mean([trial.difference for trial in trials]))
    std = float(np.sqrt(np.mean([trial.std**2 for trial in trials])))
    variance = float(np.mean([trial.sample_variance for trial in trials]))
    count = statistics.seeds_needed(step, std, variance=variance)
    assert count > statistics.seeds_needed(step, std)
    shown = [
        statistics.compare(
            runs(rng, count, 1500, shift=0.4, own=1.0), runs(rng, count, 1500, own=1.0)
        ).p_value
        < 0.05
        for _ in range(400)
    ]
    assert np.mean(shown) == pytest.approx(0.85, abs=0.1)


@pytest.mark.parametrize(
    ("step", "std", "variance"), [(0.0, 0.2, 0), (0.3, nan, 0), (nan, 0.2, 0), (0.3, 0.2, 0.1)]
)
def test_no_number_of_seeds_shows_what_cannot_be_shown(step, std, variance):
    assert statistics.seeds_needed(step, std, variance=variance) is None
