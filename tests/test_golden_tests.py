"""Tests of golden files: where the files are they run or fail, elsewhere they are counted."""

import shutil
import subprocess
import sys

import pytest

TESTS = """
import pytest

def test_that_runs(shared):
    assert shared.is_dir()

def test_that_skips(shared):
    pytest.skip("not today")

def test_without_golden_files():
    pytest.skip("as it likes")
"""


@pytest.mark.parametrize(
    ("is_shared", "code", "expected"),
    [
        (True, 1, ("1 failed, 1 passed, 1 skipped", "although")),
        (False, 0, ("3 skipped", "2 golden tests did not run: no golden files")),
    ],
)
def test_a_golden_test_runs_or_fails_where_its_files_are(root, tmp_path, is_shared, code, expected):
    folder = tmp_path / "project" / "tests"
    folder.mkdir(parents=True)
    shutil.copy(root / "tests" / "conftest.py", folder)
    (folder / "test_some.py").write_text(TESTS)
    if is_shared:
        (tmp_path / "shared" / "golden").mkdir(parents=True)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(folder)]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert found.returncode == code, found.stdout
    for text in expected:
        assert text in found.stdout
