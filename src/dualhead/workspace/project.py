"""Files of the workflow, the call of Snakemake on them, and new workspaces.

In a checkout the files lie at its top; a wheel holds them in the package's folder `project`, under the same names.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import dualhead
from dualhead.files import replacing
from dualhead.settings.defaults import editor_schema

EXAMPLES = {
    "paper": Path(),
    "demo": Path("demo"),
    "nw_ucla": Path("examples/nw_ucla"),
    "utd_mhad": Path("examples/utd_mhad"),
    "own": Path("examples/own"),
}
"""Name of each workspace that a new one may begin as -> its folder in the project."""
COPIED = ("params*.yaml", "published/**/*")
"""Files that a new workspace takes from its example."""
ALWAYS = (".dvc/plots/runs.json", "profiles/slurm/config.yaml")
"""Files that every workspace takes: DVC's way to draw curves, and a cluster's names and limits, to be edited."""
SCHEMA = "params.schema.json"
SCHEMA_LINE = "# yaml-language-server: $schema="
SAME = {
    ".gitignore": ".snakemake/\nslurm_logs/\n/results/\n/data/raw/*\n!/data/raw/*.dvc\n"
    "/reports/report.pdf\n/reports/*.html",
    ".dvcignore": "# What a killed process leaves, and what a running one goes on from.\n"
    "state.pt\n.*.partial\n.snakemake_timestamp\n.*.lock",
    ".dvc/.gitignore": "/config.local\n/tmp\n/cache",
}
"""Name -> text of the files that are the same in every workspace."""
TEMPLATES = (
    *("reports/published.yaml", "reports/report.typ", "reports/references.bib"),
    "docs/deviations.md",
)
"""Files that the report is set from, beside the results."""
CONFIGFILES = ("--configfile", "--configfiles")
CORES = ("--cores", "-c", "--jobs", "-j", "--profile", "--executor", "-e")
"""Options of Snakemake that say on what it runs."""


def home() -> Path:
    """Return the folder with the Snakefile and all that belongs to it.

    Raises:
        ValueError: if the package has lost them.
    """
    package = Path(str(dualhead.__file__)).parent
    for folder in (package / "project", package.parents[1]):
        if (folder / "Snakefile").is_file():
            return folder
    raise ValueError(
        f"{package / 'project'}: expected the Snakefile and its rules, found none; install dualhead again, "
        "from a wheel or a checkout"
    )


def snakemake_command(
    folder: Path, given: Sequence[str], environment: Mapping[str, str]
) -> list[str]:
    """Return the words that run the workflow in a workspace.

    Args:
        folder: the workspace.
        given: Snakemake's own options and targets; without one that says on what it runs, it takes all cores.
        environment: variables; SNAKEMAKE_PROFILE may say it too.

    Raises:
        ValueError: if the folder is no workspace, or Snakemake is not installed.
    """
    if find_spec("snakemake") is None:
        raise ValueError("Snakemake is not installed: pip install 'dualhead[workflow]'")
    if not (folder / "params.yaml").is_file():
        raise ValueError(
            f"{folder}: expected a workspace, found no params.yaml; `dualhead init {shlex.quote(str(folder))}` "
            "makes one, --directory FOLDER names another"
        )
    _refuse_missing_files(given)
    says_where = any(word.split("=")[0] in CORES or word[:2] in ("-j", "-c") for word in given)
    cores = [] if says_where or environment.get("SNAKEMAKE_PROFILE") else ["--cores", "all"]
    start = [sys.executable, "-P", "-m", "snakemake", "--snakefile", str(home() / "Snakefile")]
    return [*start, "--directory", str(folder), *cores, *given]


def _refuse_missing_files(given: Sequence[str]) -> None:
    """Refuse a --configfile that is not there; Snakemake takes all words up to the next option for such files."""
    names: list[str] = []
    is_file = False
    for word in given:
        option, _, first = word.partition("=")
        is_file = option in CONFIGFILES if word.startswith("-") else is_file
        names += [first if word.startswith("-") else word] if is_file else []
    for name in filter(None, names):
        if not Path(name).is_file():
            raise ValueError(
                f"{name}: expected a file of settings after --configfile, found none; a target goes before the options"
            )


def with_cache(folder: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Return variables by which Snakemake keeps its cache in the workspace where the home cannot be written.

    Args:
        folder: the workspace.
        environment: variables; XDG_CACHE_HOME and HOME say where the cache would be.
    """
    home_cache = Path(environment.get("HOME") or Path.home(), ".cache")
    cache = Path(environment.get("XDG_CACHE_HOME") or home_cache) / "snakemake"
    with suppress(OSError):
        cache.mkdir(parents=True, exist_ok=True)
        if os.access(cache, os.W_OK | os.X_OK):
            return dict(environment)
    return {**environment, "XDG_CACHE_HOME": str((folder / ".snakemake/cache").absolute())}


def left_alone(folder: Path) -> list[str]:
    """Return the files of a workspace that a folder has already, which `init` leaves as they are."""
    return sorted(
        it for it in (*SAME, *ALWAYS, "dvc.yaml", ".dvc/config") if (folder / it).exists()
    )


def init(folder: Path, example: str) -> list[Path]:
    """Make a workspace, and return what was written; what is there already is left alone.

    Args:
        folder: a folder to be made, or one without a params.yaml.
        example: a key of `EXAMPLES`.

    Raises:
        ValueError: if the folder is a workspace, or a file.
        OSError: if it cannot be written.
    """
    if (folder / "params.yaml").exists():
        raise ValueError(
            f"{folder}: expected a new folder, found a workspace (params.yaml); choose another, or run it: "
            f"dualhead run --directory {folder}"
        )
    if (folder.exists() or folder.is_symlink()) and not folder.is_dir():
        found = "a file" if folder.exists() else "a link that leads nowhere"
        raise ValueError(f"{folder}: expected a new folder, found {found}; choose another name")
    (folder / "data/raw").mkdir(parents=True, exist_ok=True)
    texts = {
        ".dvc/config": _dvc_config(folder),
        "dvc.yaml": dvc_stages((home() / "dvc.yaml").read_text(encoding="utf-8")),
        SCHEMA: json.dumps(editor_schema(), indent=1),
    }
    plain = {name: f"{text}\n".encode() for name, text in (SAME | texts).items()}
    files = plain | _copied(example)
    new = [name for name in files if not (folder / name).exists()]
    for name in new:
        with replacing(folder / name) as temporary:
            temporary.write_bytes(files[name])
    return [folder / name for name in new]


def _copied(example: str) -> dict[str, bytes]:
    """Return name -> content of what is taken from the project; params.yaml, which makes a workspace, comes last."""
    source = home() / EXAMPLES[example]
    found = sorted(path for it in COPIED for path in source.glob(it) if path.is_file())
    copied = {str(path.relative_to(source)): path.read_bytes() for path in found}
    lines = copied.pop("params.yaml").decode().splitlines(keepends=True)
    own = [line for line in lines if not line.startswith(SCHEMA_LINE)]
    always = {name: (home() / name).read_bytes() for name in ALWAYS}
    return always | copied | {"params.yaml": "".join([f"{SCHEMA_LINE}{SCHEMA}\n", *own]).encode()}


def _dvc_config(folder: Path) -> str:
    """Return DVC's settings: without Git where the folder is in no repository of Git's."""
    in_git = any(
        (parent / ".git").exists() for parent in (folder.absolute(), *folder.absolute().parents)
    )
    return "[core]\n    analytics = false" + ("" if in_git else "\n    no_scm = true")


def dvc_stages(text: str) -> str:
    """Return the checkout's dvc.yaml for a workspace elsewhere, whose report is set from the package's files."""
    lines = [line for line in text.splitlines() if line.strip().removeprefix("- ") not in TEMPLATES]
    return "\n".join(lines).replace("cmd: snakemake ", "cmd: dualhead run ")


def become(command: Sequence[str], environment: Mapping[str, str]) -> None:
    """Go on as another program, in this process."""
    sys.stdout.flush()
    os.execve(command[0], list(command), dict(environment))
