"""Settings of Sphinx: `make docs` builds build/docs/index.html, and each warning is an error."""

from pathlib import Path

import dualhead
from dualhead.cli.main import COMMANDS, parser

project = "DualHead"
author = "The DualHead developers"
version = release = dualhead.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = f"DualHead {release}"
exclude_patterns = ["build"]
myst_heading_anchors = 3
autodoc_typehints = "none"  # docstrings say shapes and units; signatures show the types
autodoc_member_order = "bysource"
pygments_style = "default"
highlight_language = "none"


def write_commands(path: Path) -> None:
    """Write the page of all commands: what `--help` says of each."""
    (commands,) = (it for it in parser()._actions if isinstance(it.choices, dict))
    pages = [
        f"## {name}\n\n```text\n{commands.choices[name].format_help()}```" for name in COMMANDS
    ]
    text = "\n\n".join(["# Commands", "What `dualhead COMMAND --help` says.", *pages]) + "\n"
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


write_commands(Path(__file__).with_name("commands.md"))
