"""Fixtures that several test modules share."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the suite itself runs on all cores

from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """Golden files and real recordings, which lie beside the repository and are never part of it."""
    if not (SHARED / "golden").is_dir():
        pytest.skip(f"no golden files and real recordings at {SHARED}")
    return SHARED


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the longest files come first: beside them, several workers share out the short ones."""
    items.sort(key=lambda item: item.get_closest_marker("workflow") is None)
