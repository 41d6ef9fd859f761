"""Facts about program and machine: those of the package, whatever surrounds it."""

import os
import subprocess
import sys

import pytest
import torch

from dualhead.cli.compute import let_threads_sleep
from dualhead.runs import environment
from dualhead.runs.environment import git_commit, peak_memory, versions


def git(folder, *arguments):
    identity = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    plain = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=plain).stdout


@pytest.fixture
def repository(tmp_path):
    """A repository that tracks `package` and `params.yaml`, but not `venv`."""
    for name in ("package", "venv"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "code.py").write_text("one = 1\n")
    (tmp_path / "params.yaml").write_text("seeds: [1]\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "package", "params.yaml")
    git(tmp_path, "commit", "-qm", "first")
    return tmp_path


def test_the_commit_is_that_of_the_repository_that_tracks_the_package(repository):
    expected = git(repository, "rev-parse", "--short=12", "HEAD").strip()
    assert expected == git_commit(repository / "package")


def test_an_environment_inside_another_repository_has_no_commit(repository):
    assert git_commit(repository / "venv") == ""


def test_outside_a_repository_there_is_no_commit(tmp_path):
    assert git_commit(tmp_path) == ""


def test_only_changes_of_the_package_make_it_dirty(repository):
    (repository / "params.yaml").write_text("seeds: [2]\n")
    assert not git_commit(repository / "package").endswith("-dirty")
    (repository / "package/code.py").write_text("one = 2\n")
    assert git_commit(repository / "package").endswith("-dirty")


def test_git_variables_of_the_caller_lead_nowhere_else(repository, tmp_path_factory, monkeypatch):
    other = tmp_path_factory.mktemp("other")
    git(other, "init", "-q")
    expected = git_commit(repository / "package")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other))
    assert expected == git_commit(repository / "package") != ""


def test_memory_is_counted_in_the_unit_of_the_system(monkeypatch):
    on_linux = peak_memory(torch.device("cpu"))
    monkeypatch.setattr(environment.sys, "platform", "darwin")
    assert on_linux / peak_memory(torch.device("cpu")) == pytest.approx(1024, rel=0.05)


def test_the_versions_are_those_that_run():
    assert versions()["torch"] == torch.__version__
    assert {"python", "numpy"} < versions().keys()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {"OMP_WAIT_POLICY": "PASSIVE"}),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, {"OMP_WAIT_POLICY": "ACTIVE"}),
        ({"GOMP_SPINCOUNT": "9"}, {"GOMP_SPINCOUNT": "9"}),
    ],
)
def test_threads_sleep_where_they_wait_unless_the_caller_chose(monkeypatch, given, expected):
    names = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    let_threads_sleep()
    assert expected == {name: os.environ[name] for name in names if name in os.environ}
    for name in names:
        os.environ.pop(name, None)


def test_the_command_line_imports_no_torch_before_that():
    code = "import sys, dualhead.cli.main; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
