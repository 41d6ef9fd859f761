"""Scripts of situations that people meet, run as they are, each judged by what it prints.

They lie beside the repository, and are left out where they do not; those that need root or a tool that is not here too.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

from tests.builders.workspaces import ROOT
from tests.torture.right import RIGHT, faults
from tests.torture.sessions import alive
from tests.torture.verdicts import Attempt, Outcome, Target, Verdict

SCRIPTS = ROOT.parent / "shared/cases/workflow"
SECONDS = 3600
"""Longest time of a script; some ask Snakemake for forty things."""
MOVED = {
    "from dualhead import params": "from dualhead.settings import checks as params",
    "from dualhead.gpu import": "from dualhead.workspace.gpu import",
    "import _git_commit": "import git_commit as _git_commit",
    "from dualhead.train import": "from dualhead.runs.environment import",
    "from dualhead.cli import main": "from dualhead.cli.main import main",
    # Workers are new Pythons, which read a script that begins them.
    "\nsys.exit(main(sys.argv[1:]))": '\nif __name__ == "__main__":\n    sys.exit(main(sys.argv[1:]))',
    # A plan writes no grid any more: what is planned is read where Snakemake prints it.
    '; python -c "\nimport json; g=json': '; grep -E "^(train|total) " a.txt; python -c "\nimport json; g=json',
    # DVC puts aside what git tracks, so also what a command has printed into such a file.
    "git add -A; git commit -qm mine": "echo a.txt >> .git/info/exclude; git add -A; git commit -qm mine",
    # Another Snakemake of the machine is left alone.
    'pg=$(ps -eo pgid,args | grep "[s]nakemake --directory mini --cores 1" | head -1 | awk '
    "'{print $1}')": 'pg=$(for it in $(pgrep -f "snakemake --directory mini --cores 1"); do '
    '[ "$(readlink /proc/$it/cwd)" = "$PWD/mini" ] && ps -o pgid= -p $it; done | head -1 | tr -d " ")',
    # pip reads long metadata of many releases where the mirror is far.
    "timeout 280 v/bin/python": "timeout 1500 v/bin/python",
    # Another user may read this Python, and git trusts what root has made.
    "--clear-groups env": "--clear-groups --inh-caps=+dac_read_search --ambient-caps=+dac_read_search env",
    'chown "$u:4000" "$H/w/home$u"': "printf '[safe]\\n\\tdirectory = *\\n' > \"$H/w/home$u/.gitconfig\"; "
    'chown -R "$u:4000" "$H/w/home$u"',
}
"""Words of the scripts -> the same of today."""
NEEDS = {
    "strace": ("w04", "w05"),
    "setpriv": ("w03-", "w08", "w09"),
    "unshare": ("w14",),
    "mount": ("w10",),
    "/root/.pyenv/versions": ("w22", "w23"),
}
"""Tool -> begins of the names of the scripts that need it, as root."""


def is_runnable(name: str) -> bool:
    """Return whether a script is there and has what it needs."""
    tools = [tool for tool, names in NEEDS.items() if name.startswith(names)]
    has_tools = all(shutil.which(tool) or Path(tool).is_dir() for tool in tools)
    return (SCRIPTS / f"{name}.sh").is_file() and has_tools and not (tools and os.geteuid())


def adapted(text: str, folder: Path, *, is_common: bool) -> str:
    """Return a script with today's names, and its folders written out, which some quote too well."""
    for old, new in MOVED.items():
        text = text.replace(old, new)
    return text if is_common else re.sub(r"\$(H|VENV)\b", lambda it: _named(folder)[it[1]], text)


def _named(folder: Path) -> dict[str, str]:
    return {"PROJECT": str(ROOT), "H": str(folder), "VENV": sys.prefix}


def build(folder: Path) -> None:
    """Make what the scripts begin with: a clone, the results of a small workspace, the same with DVC."""
    clone = folder / "clone"
    subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
    subprocess.run(["git", "checkout", "--quiet", "-B", "main"], cwd=clone, check=True)
    shutil.copytree(SCRIPTS / "mini", clone / "mini")
    # The one seed that the demo, which it extends, had when the scripts were written.
    with (clone / "mini/params.yaml").open("a", encoding="utf-8") as params:
        params.write("\nseeds: [1]\n")
    (folder / "scripts").mkdir()
    for script in SCRIPTS.glob("*.sh"):
        text = script.read_text(encoding="utf-8")
        text = adapted(text, folder, is_common=script.name == "env.sh")
        (folder / "scripts" / script.name).write_text(text, encoding="utf-8")
    made = subprocess.run(
        ["snakemake", "--cores", "2", "--directory", "mini", "reproduce_tables"],
        cwd=clone,
        env=environment(folder) | {"PYTHONPATH": str(clone / "src")},
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, made.stderr
    assert "Data and pipelines are up to date." in run(folder, "base-dvc")


def environment(folder: Path) -> dict[str, str]:
    """Return the variables of a script."""
    who = [f"GIT_{who}_{key}" for who in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")]
    path = f"{sys.prefix}/bin{os.pathsep}{os.environ['PATH']}"
    mine = {"PATH": path, "OMP_NUM_THREADS": "1", "DVC_NO_ANALYTICS": "1"}
    return os.environ | dict.fromkeys(who, "test@example.org") | _named(folder) | mine


def run(folder: Path, name: str) -> str:
    """Run a script to its end; return what it printed. Nothing of it is left."""
    with (folder / f"{name}.txt").open("w") as output:
        process = subprocess.Popen(
            ["env", "--default-signal", "bash", folder / "scripts" / f"{name}.sh"],
            cwd=folder,
            env=environment(folder),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            process.wait(SECONDS)
        finally:
            for left in alive(process.pid):
                os.kill(left, signal.SIGKILL)
    return (folder / f"{name}.txt").read_text(encoding="utf-8", errors="replace")


def attempt_of(name: str, folder: Path) -> Attempt:
    """Run a script; all begin with the same clone and results, which are made once."""
    base = folder.parent / "scripts"
    if not base.exists():
        base.mkdir()
        build(base)

    def attempt(_: int) -> Verdict:
        try:
            found = faults(RIGHT[name], run(base, name))
        except subprocess.TimeoutExpired as error:
            return Verdict(Outcome.HANG, str(error))
        return Verdict(Outcome.ACCEPTED if found else Outcome.SAME, "; ".join(found))

    return attempt


TARGETS: dict[str, Target] = {
    name: partial(attempt_of, name) for name in RIGHT if is_runnable(name)
}
