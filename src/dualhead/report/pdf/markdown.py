"""Reader of the little Markdown that docs/ uses: blocks and spans that Typst sets as they are."""

from __future__ import annotations

import re
from collections.abc import Iterator

from dualhead.settings.params import Settings

SPAN = re.compile(
    r"`(?P<code>[^`]+)`|\*\*(?P<strong>.+?)\*\*|(?<![\w*])\*(?P<emph>[^*\s][^*]*)\*(?!\w)"
    r"|\[(?P<link>[^\]]+)\]\((?P<url>[^)]+)\)"
)
HEADING = re.compile(r"(#+)\s+(.*)")
BULLET = re.compile(r"(\s*)(?:[-*+]|\d+[.)])\s+(.*)")
RULE = re.compile(r"\|?[\s:|-]+\|?")
FENCE = "```"


def blocks(text: str) -> list[Settings]:
    """Return headings, paragraphs, list items, tables and code of a Markdown text."""
    found: list[Settings] = []
    lines = iter(text.splitlines())
    for line in lines:
        if line.startswith(FENCE):
            found.append({"kind": "code", "text": "\n".join(_until_fence(lines))})
        elif heading := HEADING.fullmatch(line):
            found.append({"kind": "heading", "level": len(heading[1]), "spans": spans(heading[2])})
        elif line.startswith("|"):
            _add_row(found, line)
        elif bullet := BULLET.fullmatch(line):
            item = {"kind": "item", "level": len(bullet[1]) // 2, "text": bullet[2]}
            found.append(item)
        elif line.strip():
            _continue(found, line.strip())
        else:
            found.append({"kind": "gap"})
    return [_finished(block) for block in found if block["kind"] != "gap"]


def _until_fence(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        if line.startswith(FENCE):
            return
        yield line


def _add_row(found: list[Settings], line: str) -> None:
    """Add a row to the table above it, or begin one."""
    if not found or found[-1]["kind"] != "table":
        found.append({"kind": "table", "rows": []})
    if not RULE.fullmatch(line):
        cells = re.split(r"(?<!\\)\|", line.strip().strip("|"))
        found[-1]["rows"].append([spans(cell.strip().replace("\\|", "|")) for cell in cells])


def _continue(found: list[Settings], line: str) -> None:
    """Add a line to the paragraph or list item above it, or begin a paragraph."""
    if found and "text" in found[-1] and found[-1]["kind"] != "code":
        found[-1]["text"] += f" {line}"
    else:
        found.append({"kind": "paragraph", "text": line})


def _finished(block: Settings) -> Settings:
    if block["kind"] in ("paragraph", "item"):
        return {**block, "spans": spans(block["text"])}
    return block


def spans(text: str) -> list[Settings]:
    """Return a line as plain, code, strong, emphasized and linked pieces."""
    found: list[Settings] = []
    end = 0
    for match in SPAN.finditer(text):
        if match.start() > end:
            found.append({"kind": "plain", "text": text[end : match.start()]})
        kind = str(match.lastgroup if match.lastgroup != "url" else "link")
        found.append({"kind": kind, "text": match[kind], "url": match["url"] or ""})
        end = match.end()
    if end < len(text):
        found.append({"kind": "plain", "text": text[end:]})
    return found
