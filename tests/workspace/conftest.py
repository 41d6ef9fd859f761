"""Workspaces that several modules of tests share."""

from pathlib import Path

import pytest

from tests.builders.workspaces import Workspace, copy_workspace, make_workspace


@pytest.fixture
def fresh(tmp_path: Path) -> Workspace:
    """A workspace in which nothing has been made."""
    return make_workspace(tmp_path)


@pytest.fixture(scope="session")
def finished_once(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace in which everything has been made; not to be changed."""
    workspace = make_workspace(tmp_path_factory.mktemp("finished"))
    workspace.snakemake("reproduce_tables")
    return workspace


@pytest.fixture
def finished(finished_once: Workspace, tmp_path: Path) -> Workspace:
    """A copy, timestamps and all, of a workspace in which everything has been made."""
    return copy_workspace(finished_once, tmp_path / "copy")
