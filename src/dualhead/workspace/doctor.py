"""`dualhead doctor`: what this machine has for the workflow, and what a workspace still lacks."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import dualhead
from dualhead.data.pool import cores
from dualhead.settings.params import Settings
from dualhead.workspace import grids
from dualhead.workspace.gpu import visible_gpus
from dualhead.workspace.project import home
from dualhead.workspace.rules import located

SHOWN = ("torch", "numpy", "h5py", "snakemake", "dvc", "typst")
"""Packages whose version decides most."""
EXTRA = re.compile(r"""extra == ["']([\w-]+)["']""")
NAME = re.compile(r"[\w.-]+")
INTERNAL = ("dev", "bench", "docs")
"""Extras for those who work on dualhead itself."""
SECONDS = 10.0
"""Seconds that another program may take to say what it is."""


def examine(folder: Path) -> dict[str, str]:
    """Return this machine's facts, as name -> text in the order to be read.

    Args:
        folder: a workspace, or where one may be made.
    """
    versions = {name: _version(name) or "not installed" for name in SHOWN}
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "dualhead": f"{dualhead.__version__}, its workflow in {home()}",
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "Python": platform.python_version(),
        **versions,
        "required": _required(),
        "extras": _extras(),
        "cores": f"{cores()} for this process",
        "memory": f"{memory / 1e9:.1f} GB",
        "disk": f"{shutil.disk_usage(_existing(folder)).free / 1e9:.1f} GB free at {folder.absolute()}",
        "GPU": _gpus(_version("torch")),
        "SLURM": _said_by(["sbatch", "--version"]) or "none (sbatch is not in PATH)",
        **_workspace(folder),
    }


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _requirements() -> dict[str, list[str]]:
    """Return extra -> packages that it asks for; those that all need under the empty name."""
    found: dict[str, list[str]] = {"": []}
    for line in metadata.requires("dualhead") or []:
        extra, name = EXTRA.search(line), NAME.match(line)
        if name and name[0] != "dualhead":
            found.setdefault(extra[1] if extra else "", []).append(name[0])
    return found


def _absent(packages: Iterable[str]) -> list[str]:
    return [name for name in packages if not _version(name)]


def _required() -> str:
    absent = _absent(_requirements()[""])
    return f"missing: {', '.join(absent)}; pip install dualhead" if absent else "all there"


def _extras() -> str:
    """Return the extras that are installed, and the command that installs the others."""
    wanted = {it: names for it, names in _requirements().items() if it and it not in INTERNAL}
    there = [extra for extra, names in wanted.items() if not _absent(names)]
    others = sorted(set(wanted) - set(there))
    text = ", ".join(there) or "none"
    return f"{text}; to add: pip install 'dualhead[{','.join(others)}]'" if others else text


def _said_by(command: list[str]) -> str:
    """Return the lines that a program says, as one; nothing where it is not there or does not work."""
    if shutil.which(command[0]) is None:
        return ""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    lines = done.stdout.strip().splitlines()
    return "; ".join(lines) if done.returncode == 0 else ""


def _gpus(torch: str) -> str:
    names = visible_gpus(os.environ)
    if not names:
        return "none; networks train on the CPU"
    query = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    text = f"{len(names)} to be used: {_said_by(query) or 'nvidia-smi does not say which'}"
    return f"{text}; but torch {torch} is built for CPUs alone" if "+cpu" in torch else text


def _existing(folder: Path) -> Path:
    """Return the folder, or the nearest one around it that exists."""
    path = folder.absolute()
    return next(it for it in (path, *path.parents) if it.exists())


def _workspace(folder: Path) -> dict[str, str]:
    """Return the runs that a workspace asks for, and the state of its raw data."""
    if not (folder / "params.yaml").is_file():
        return {
            "workspace": f"no params.yaml in {folder.absolute()}; `dualhead init FOLDER` makes one"
        }
    try:
        grid = grids.plan(folder)
    except ValueError as error:  # what a doctor is asked about
        return {"workspace": str(error)}
    text = f"{len(grid['runs'])} runs, {len(grid['ensembles'])} ensembles in {folder.absolute()}"
    raw = {f"raw data of {it['dataset']}": _raw(folder, it) for it in grid["stores"].values()}
    return {"workspace": text, **raw}


def _raw(folder: Path, store: Settings) -> str:
    if store["synthesize"] is not None:
        return "written by the run itself"
    absent = [path for path in store["raw"] if not Path(located(str(folder / path))).exists()]
    hint = f"`dualhead download --dataset {store['kind']} --output {folder / 'data/raw'}` says how to get it"
    return f"missing: {', '.join(absent)}; {hint}" if absent else "there"
