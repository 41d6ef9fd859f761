"""Fixtures that several test modules share."""

import gc
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the suite itself runs on all cores

from collections.abc import Generator
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
IS_SHARED = (SHARED / "golden").is_dir()
NOT_SHARED = f"no golden files and real recordings at {SHARED}"


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """Golden files and real recordings, which lie beside the repository and are never part of it."""
    if not IS_SHARED:
        pytest.skip(NOT_SHARED)
    return SHARED


@pytest.fixture(scope="session", autouse=True)
def no_wait_for_the_disk() -> Generator[None, None, None]:
    """Leave thousands of small files to the page cache: nothing here outlasts the machine's power."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


def pytest_collection_finish() -> None:
    """Leave what is imported by now out of each later search for garbage: torch alone is a million objects."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let a test of golden files or real recordings fail where these are there and it skips nevertheless."""
    report = yield
    if report.skipped and IS_SHARED and "shared" in getattr(item, "fixturenames", ()):
        report.outcome = "failed"
        report.longrepr = f"skipped, although {SHARED} is there: {call.excinfo}"
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many tests of golden files and real recordings did not run."""
    skipped = terminalreporter.stats.get("skipped", [])
    count = sum(NOT_SHARED in str(report.longrepr) for report in skipped)
    if count:
        terminalreporter.write_line(f"{count} golden tests did not run: {NOT_SHARED}")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what only `-m` may ask for by name, and let the longest files come first.

    Beside these, several workers share out the short ones.
    """
    named = str(config.option.markexpr)
    left_out = {name for name in ("network", "slurm") if name not in named}
    kept = [item for item in items if not left_out & {mark.name for mark in item.iter_markers()}]
    config.hook.pytest_deselected(items=[*({*items} - {*kept})])
    items[:] = sorted(kept, key=lambda item: item.get_closest_marker("workflow") is None)
