"""A SLURM for these tests, and workspaces whose jobs go through it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.builders.workspaces import BIN, ROOT, make_environment
from tests.slurm.cluster import Cluster, running_cluster, why_not

# Looks every second for jobs that have ended, where the real one looks less and less often.
QUICK = """from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor
RemoteExecutor.next_seconds_between_status_checks = property(lambda self: 1, lambda *_: None)
from snakemake.cli import main
main()
"""
ONE_CORE = ("--set-threads", "prepare=1", "train=1", "evaluate=1")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A SLURM of one node with two fake GPUs."""
    if reason := why_not():
        pytest.skip(reason)
    with running_cluster() as running:
        yield running


STARTED: list[subprocess.Popen[bytes]] = []


@pytest.fixture(autouse=True, scope="module")
def nothing_left(cluster: Cluster) -> Iterator[None]:
    """No module's processes and jobs are there for the next one."""
    yield
    for process in STARTED:
        process.kill()
        process.wait()
    STARTED.clear()
    cluster.clear()


def hear_ctrl_c() -> None:
    """Undo that a shell lets what it runs in the background ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@dataclass
class Site:
    """A workspace, the programs its jobs find first, and where Snakemake's output goes.

    Attributes:
        folder: with a params.yaml.
        bin: a folder with a `dualhead`.
        snakefile: the repository's, or a copy's.
    """

    folder: Path
    bin: Path
    snakefile: Path = ROOT / "Snakefile"

    @property
    def environment(self) -> dict[str, str]:
        path = f"{self.bin}{os.pathsep}{BIN}{os.pathsep}{os.environ['PATH']}"
        return os.environ | {"PATH": path, "HOME": str(self.bin)}

    @property
    def output(self) -> str:
        return (self.folder / "output.txt").read_text()

    def start(self, *options: str, profile: str = "--profile") -> subprocess.Popen[bytes]:
        """Start Snakemake with the project's profile for SLURM."""
        write_program(self.bin / "snakemake", QUICK)  # its Python's folder is where jobs look first
        command = ["snakemake", profile, str(self.snakefile.parent / "profiles/slurm")]
        command += ["--snakefile", str(self.snakefile), *options]
        with (self.folder / "output.txt").open("wb") as output:
            process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=self.environment,
                stdout=output,
                stderr=output,
                preexec_fn=hear_ctrl_c,
            )
        STARTED.append(process)
        return process

    def processes(self) -> list[str]:
        """Return the command lines of all processes that have to do with this workspace."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                place = str((entry / "cwd").readlink())
            except OSError:
                continue  # it has ended
            if int(entry.name) != os.getpid() and str(self.folder) in words + place:
                found.append(words)
        return found


def write_program(path: Path, text: str) -> None:
    """Write a program that can be called by its name, run by the Python beside it."""
    if not path.parent.exists():
        make_environment(path.parent)
    path.write_text(f"#!{path.parent / 'python'}\n{text}")
    path.chmod(0o755)


def jobs(cluster: Cluster) -> list[dict[str, str]]:
    """Return what SLURM knows of every job, ended ones too: Comment, Partition, JobState, ..."""
    text = cluster.run("scontrol", "--oneliner", "show", "job")
    lines = [line for line in text.splitlines() if line.startswith("JobId")]
    return [dict(re.findall(r"(\S+?)=(.*?) *(?= \S+?=|$)", line)) for line in lines]


def of_rule(listed: list[dict[str, str]], name: str) -> list[dict[str, str]]:
    """Return a rule's or a group's jobs."""
    return [job for job in listed if job.get("Comment", "").startswith(f"rule_{name}")]
