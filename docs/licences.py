"""Licences of dualhead's dependencies, by their own metadata: `python docs/licences.py` writes licences.md."""

import textwrap
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

PYPROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"
FIRST = ("", "workflow")
"""The extras that are listed first; the empty one is dualhead alone."""
FOR_DEVELOPERS = ("dev", "docs", "bench")
LONGEST = 80
HEAD = """\
# Licences

DualHead is under the MIT licence. It holds no code of others; these packages are installed beside it, each
under its own licence. `python docs/licences.py` reads them from the packages' own metadata. The last column
is the extra with which a package comes first, asked for by dualhead itself or by another of them.

| package | licence | comes with |
|---|---|---|
"""


def project() -> dict[str, Any]:
    """Return the table `project` of pyproject.toml."""
    table: dict[str, Any] = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    return table


def extras() -> list[str]:
    """Return what a user may install, in the order of the page."""
    others = sorted({*project()["optional-dependencies"]} - {*FIRST, *FOR_DEVELOPERS})
    return [*FIRST, *others]


def direct(extra: str) -> list[Requirement]:
    """Return what pyproject.toml asks for, for all or with an extra."""
    lines = project()["optional-dependencies"][extra] if extra else project()["dependencies"]
    return [Requirement(line) for line in lines]


def indirect(package: str) -> list[Requirement]:
    """Return what a package asks for here, without extras; nothing where it is not installed."""
    try:
        wanted = map(Requirement, metadata.requires(package) or [])
    except metadata.PackageNotFoundError:
        return []
    return [it for it in wanted if it.marker is None or it.marker.evaluate({"extra": ""})]


def closure(extra: str) -> set[str]:
    """Return all packages that come with an extra, as they are installed here."""
    found: set[str] = set()
    waiting = direct(extra)
    while waiting:
        name = waiting.pop().name.lower().replace("_", "-")
        if name not in found:
            found.add(name)
            waiting += indirect(name)
    return found


def licence(package: str) -> str:
    """Return what a package's metadata says of its licence, in one line; else how the file of its licence begins."""
    try:
        fields = metadata.metadata(package)
    except metadata.PackageNotFoundError:
        return "not installed where this page was made"
    said = (fields.get("License-Expression") or fields.get("License") or "").strip()
    kinds = [
        it.rsplit(" :: ", 1)[-1] for it in fields.get_all("Classifier", []) if "License ::" in it
    ]
    is_name = said and "\n" not in said and len(said) <= LONGEST
    text = said if is_name else ", ".join(kinds) or said or licence_file(package)
    short = textwrap.shorten(text, LONGEST, placeholder=" and others")
    return (short or "not stated in its metadata").replace("|", "/")


def licence_file(package: str) -> str:
    """Return the first line of the file of a package's licence; nothing where it brings none."""
    for file in metadata.files(package) or []:
        if ".dist-info" in str(file) and file.name.upper().startswith(("LICENSE", "LICENCE")):
            lines = file.read_text(encoding="utf-8").strip().splitlines()
            return lines[0].strip() if lines else ""
    return ""


def page() -> str:
    """Return the whole page."""
    rows, known = [], set()
    for extra in extras():
        for name in sorted(closure(extra) - known):
            known.add(name)
            comes = f"`dualhead[{extra}]`" if extra else "`dualhead`"
            rows.append(f"| {name} | {licence(name)} | {comes} |")
    return HEAD + "\n".join(rows) + "\n"


if __name__ == "__main__":
    Path(__file__).with_name("licences.md").write_text(page(), encoding="utf-8")
