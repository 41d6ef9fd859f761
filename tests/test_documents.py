"""The documentation says what is true: its commands exist, its links lead somewhere, its pages are reached."""

import re
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import dualhead
from dualhead.cli.main import COMMANDS, parser
from tests.builders.documents import commands_of, inline_of, words_of

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
PAGES = [page for page in PAGES if page.name not in ("commands.md", "CHANGELOG.md")]
LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#]*)(#[^)]*)?\)")


def options_of(command: str) -> set[str]:
    (commands,) = (it for it in parser()._actions if isinstance(it.choices, dict))
    return {name for it in commands.choices[command]._actions for name in it.option_strings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_of_a_page_exists_with_its_options(page: Path) -> None:
    for line in [*commands_of(page), *inline_of(page)]:
        for part in re.split(r"\s*(?:&&|\|)\s*", line):
            program, *words = words_of(part) if part.count("'") % 2 == 0 else [""]
            if program != "dualhead" or not words or not re.fullmatch(r"[a-z-]+", words[0]):
                continue
            assert words[0] in COMMANDS, line
            given = {word.split("=")[0] for word in words if re.match(r"--[a-z]", word)}
            assert COMMANDS[words[0]].passes_on or given <= options_of(words[0]) | {"--help"}, line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_of_a_page_leads_to_a_file(page: Path) -> None:
    for target, _ in LINK.findall(re.sub(r"`[^`\n]+`(?!\])", "", page.read_text(encoding="utf-8"))):
        made = target.endswith("commands.md")
        assert made or not target or (page.parent / target).exists(), target


def test_the_index_reaches_every_page() -> None:
    index = (ROOT / "docs/index.md").read_text(encoding="utf-8")
    pages = {page.stem for page in ROOT.glob("docs/*.md")} - {"index", "commands"}
    assert pages <= set(index.split())


def test_the_readme_stays_a_front_door() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 80


def test_the_version_is_one() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == dualhead.__version__
    assert re.fullmatch(r"\d+\.\d+\.\d+", dualhead.__version__)
    assert f"\nversion: {dualhead.__version__}\n" in (ROOT / "CITATION.cff").read_text()
    said = (ROOT / "Dockerfile").read_text() + (ROOT / "README.md").read_text()
    assert set(re.findall(r"dualhead[:-](\d+\.\d+\.\d+)", said)) == {dualhead.__version__}


def test_each_package_that_comes_along_has_its_licence_listed() -> None:
    """Those that pyproject.toml asks for, and what is installed here for their sake."""
    licences = runpy.run_path(str(ROOT / "docs/licences.py"))
    listed = re.findall(r"^\| ([\w.-]+) \| ", (ROOT / "docs/licences.md").read_text(), re.MULTILINE)
    needed = set().union(*map(licences["closure"], licences["extras"]()))
    assert len(needed) > 100 and needed <= set(listed), "python docs/licences.py"


@pytest.mark.workflow
def test_the_documentation_builds_without_a_warning(tmp_path: Path) -> None:
    words = ["-W", "--keep-going", "--quiet", "--builder", "html", ROOT / "docs", tmp_path]
    done = subprocess.run([sys.executable, "-m", "sphinx", *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "tutorial.html").is_file()
