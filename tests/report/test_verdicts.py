"""The error rates that docs/statistics.md states: within the target, and found again by a short simulation."""

import re

import numpy as np
import pytest
from benchmarks import verdicts

TARGET = 5.0


def table(text, *columns):
    """Return the rows of the table that has these columns, as mappings, and the standard error of a rate of 5 %."""
    lines = text.splitlines()
    place = next(i for i, line in enumerate(lines) if line.startswith(f"| {' | '.join(columns)} |"))
    error = float(re.findall("known to ±([0-9.]+)", "\n".join(lines[:place]))[-1])
    rows = []
    for line in lines[place + 2 :]:
        if not line.startswith("|"):
            break
        rows.append(
            dict(zip(columns, [it.strip() for it in line.strip("|").split("|")], strict=True))
        )
    return rows, error


@pytest.fixture(scope="module")
def text(root):
    return (root / "docs" / "statistics.md").read_text()


def test_the_same_method_is_rarely_called_below_or_above(text):
    rows, error = table(text, *verdicts.FALSE_VERDICTS)
    assert len(rows) == len(verdicts.BENCHMARKS) * len(verdicts.SEEDS)
    for row in rows:
        for column in ("Last: below or above", "Best: below or above"):
            assert float(row[column]) <= TARGET + 2 * error, row


def test_a_method_without_the_gain_is_rarely_called_a_reproduction(text):
    rows, error = table(text, *verdicts.VERDICTS_OF_RIVAL)
    for row in rows:
        for column in ("Last: reproduced", "Best: reproduced"):
            assert float(row[column]) <= TARGET + 2 * error, row


def test_equal_variants_are_rarely_shown_to_differ(text):
    rows, error = table(text, *verdicts.STEP_COLUMNS)
    assert {row["Seeds"] for row in rows} == {"2", "3", "5"}
    for row in rows:
        of_rate = error * np.sqrt(3) if row["True step"] != "0" else error  # a third of the trials
        for column in ("Equal variant: p < 0.05", "Any equal one shown (Holm)"):
            assert float(row[column]) <= TARGET + 2 * of_rate, row


def test_one_seed_decides_nothing(text):
    for columns in (verdicts.FALSE_VERDICTS, verdicts.VERDICTS_OF_RIVAL):
        for row in table(text, *columns)[0]:
            if row["Seeds"] == "1":
                assert {float(row[column]) for column in columns[4:]} == {0.0}


@pytest.mark.parametrize("num_seeds", [2, 3, 5])
def test_a_short_simulation_finds_the_stated_verdicts(text, num_seeds, rng):
    """So that a change of a test cannot leave its table behind."""
    trials, place = 600, 1
    benchmark = verdicts.BENCHMARKS[place]
    found = verdicts.verdict_rates(benchmark, 0.0, num_seeds, trials, rng)
    rows, _ = table(text, *verdicts.FALSE_VERDICTS)
    row = rows[len(verdicts.SEEDS) * place + verdicts.SEEDS.index(num_seeds)]
    assert (row["Spread"], row["Seeds"]) == (f"{benchmark.spread:g}", str(num_seeds))
    for column, keys in (
        ("Best: below or above", ("best below", "best above")),
        ("Last: selection", ("last selection",)),
        ("Best: reproduced", ("best reproduced",)),
    ):
        stated = float(row[column])
        error = 100 * np.sqrt(max(stated / 100 * (1 - stated / 100), 0.001) / trials)
        assert sum(found.get(key, 0) for key in keys) == pytest.approx(stated, abs=4 * error)


def test_a_short_simulation_finds_the_stated_steps(text, rng):
    trials, ablation = 150, verdicts.ABLATIONS[-1]
    found = verdicts.step_rates(ablation, 5.0, 5, trials, rng)
    rows, _ = table(text, *verdicts.STEP_COLUMNS)
    row = next(
        row
        for row in rows
        if (row["Networks"], row["Seeds"], row["True step"]) == (ablation.name, "5", "5")
    )
    stated = float(row["The step: p < 0.05"])
    assert found["raw"] == pytest.approx(stated, abs=4 * 100 * np.sqrt(0.25 / trials))
    assert found["any false"] <= TARGET + 4 * 100 * np.sqrt(0.05 * 0.95 / trials)
    assert found["spread"] == pytest.approx(float(row["Spread"]), rel=0.2)


def test_the_command_fills_the_marks_of_a_text(tmp_path):
    path = tmp_path / "text.md"
    path.write_text("before\n<!-- verdicts begin -->\nold\n<!-- verdicts end -->\nafter\n")
    verdicts.main(["--trials", "1", "--docs", str(path)])
    text = path.read_text()
    assert text.startswith("before") and text.endswith("after\n") and "old" not in text
    assert len(table(text, *verdicts.OTHER_TESTS)[0]) == 2 * len(verdicts.UNEQUAL)
