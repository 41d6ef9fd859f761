"""The page of recordings: skeletons that turn, scores, attention and confusion, in one HTML file."""

from __future__ import annotations

import base64
import hashlib
import json
from importlib.resources import files
from pathlib import Path
from typing import Final

from dualhead.files import replacing
from dualhead.report.viewer.content import Page, as_json

POLICY: Final = (
    "default-src 'none'; style-src '{style}'; script-src '{script}'; img-src data: blob:; "
    "base-uri 'none'; form-action 'none'"
)
"""The page's Content-Security-Policy: its own style and script, and nothing else."""


def write_page(page: Page, output: Path) -> None:
    """Write a page that needs nothing beside it and asks no network for anything.

    Args:
        page: its content; the same content gives the same bytes.
        output: the HTML file to write.
    """
    with replacing(output) as temporary:
        temporary.write_text(page_text(page), encoding="utf-8")


def page_text(page: Page) -> str:
    """Return the page as HTML; text of recordings stands in its JSON alone, where it cannot be markup."""
    style, script = _part("page.css"), _part("page.js")
    policy = POLICY.format(style=_source_hash(style), script=_source_hash(script))
    parts = {"policy": policy, "style": style, "script": script, "content": _data_block(page)}
    before, *rest = _part("page.html").split("{{")
    for piece in rest:
        name, after = piece.split("}}", 1)
        before += parts[name] + after
    return before


def _part(name: str) -> str:
    return (files(__name__) / name).read_text(encoding="utf-8")


def _source_hash(text: str) -> str:
    """Return an inline style's or script's name in a Content-Security-Policy."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _data_block(page: Page) -> str:
    """Return the content as JSON in which no character can end or begin an element."""
    text = json.dumps(as_json(page), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026")
