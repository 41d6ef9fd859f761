"""Commands of the documentation, as a reader would type them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"^ {4}(\S.*)$", re.MULTILINE)
INLINE = re.compile(r"`((?:dualhead|make|snakemake|dvc) [^`]+)`")


def commands_of(page: Path) -> list[str]:
    """Return the lines of the indented blocks of a page, without their comments."""
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    return [without_comment(line) for line in INDENTED.findall(text)]


def without_comment(line: str) -> str:
    """Return a shell's line without what follows a #."""
    return re.sub(r"\s+#\s.*$", "", line).strip()


def inline_of(page: Path) -> list[str]:
    """Return the commands that stand within the sentences of a page."""
    return INLINE.findall(BLOCK.sub("", page.read_text(encoding="utf-8")))


def words_of(command: str) -> list[str]:
    """Return a command's words."""
    return shlex.split(command)
