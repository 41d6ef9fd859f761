"""Tests of golden files: where the files are they run or fail, elsewhere they are counted."""

import shutil

import pytest

pytest_plugins = ["pytester"]

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
def test_a_golden_test_runs_or_fails_where_its_files_are(root, pytester, is_shared, code, expected):
    folder = pytester.path / "project" / "tests"
    folder.mkdir(parents=True)
    shutil.copy(root / "tests" / "conftest.py", folder)
    (folder / "test_some.py").write_text(TESTS)
    if is_shared:
        (pytester.path / "shared" / "golden").mkdir(parents=True)
    found = pytester.runpytest_inprocess("-p", "no:cacheprovider", folder)
    assert found.ret == code
    found.stdout.fnmatch_lines_random([f"*{text}*" for text in expected])
