"""A wheel of the working tree, installed into an environment that has no checkout in sight."""

from __future__ import annotations

import os
import shutil
import site
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = (
    "src",
    "workflow",
    "profiles",
    "docs",
    ".dvc/plots",
    "reports",
    "demo/params.yaml",
    "Snakefile",
    "dvc.yaml",
)
SOURCES += ("params.yaml", "pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE")


@dataclass
class Installation:
    """A fresh virtual environment with the wheel; of the environment that runs the tests it sees the other packages."""

    wheel: Path
    programs: Path

    def run(
        self, folder: Path, *command: str, timeout: float = 1800
    ) -> subprocess.CompletedProcess[str]:
        """Run a command of that environment in a folder."""
        known = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        path = f"{self.programs}{os.pathsep}/usr/bin{os.pathsep}/bin"
        environment = known | {
            "PATH": path,
            "HOME": str(self.programs.parent),
            "DVC_NO_ANALYTICS": "1",
        }
        return subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=timeout
        )

    def check(self, folder: Path, *command: str) -> str:
        """Run a command, which must succeed; return what it printed."""
        done = self.run(folder, *command)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout


def build_wheel(parent: Path) -> Path:
    """Build a wheel from a copy of the sources, so that nothing of an earlier build is in it."""
    sources = parent / "sources"
    patterns = ("examples/*/params*.yaml", "examples/*/published/**/*")
    examples = [path for it in patterns for path in ROOT.glob(it) if path.is_file()]
    for name in (*SOURCES, *(str(path.relative_to(ROOT)) for path in examples)):
        source, target = ROOT / name, sources / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(
                source, target, ignore=shutil.ignore_patterns("*.egg-info", "__pycache__", "build")
            )
        else:
            shutil.copy(source, target)
    options = ["--no-build-isolation", "--no-deps", "--quiet", "--wheel-dir", str(parent)]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, str(sources)], check=True)
    shutil.rmtree(sources)
    (wheel,) = parent.glob("dualhead-*.whl")
    return wheel


def install(parent: Path) -> Installation:
    """Install a wheel of the working tree into a fresh environment, with `pip install` as a user types it."""
    wheel = build_wheel(parent)
    environment = parent / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    (packages,) = environment.glob("lib/python*/site-packages")
    (packages / "others.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    python = environment / "bin/python"
    words = ["--python", str(python), "install", "--quiet", "--no-deps", str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", *words], check=True)
    return Installation(wheel, environment / "bin")
