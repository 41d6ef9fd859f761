"""A copy of the workflow whose `dualhead` only notes how it was called: for tests of the rules."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
WORKFLOW = ("Snakefile", "workflow", "profiles", "params.yaml", "dvc.yaml", ".gitignore")
WORKFLOW += (".dvc", ".dvcignore", "reports", "docs")

FAKE = """#!{python}
import hashlib, json, pathlib, sys
words = sys.argv[1:]
with pathlib.Path(__file__).with_name("calls.txt").open("a") as calls:
    calls.write(" ".join(words) + chr(10))
if words[0] == "{failing}":
    for name in ("state.pt", "checkpoint.pt"):
        pathlib.Path(words[words.index("--output") + 1]).with_name(name).touch()
    sys.exit("{said}")
OUTPUTS = "--output --dropped --history --scores --metrics --classes --curves".split()
CURVES = "epoch,test_fusion_top1,benchmark,variant,modality,seed" + chr(10)
CURVES += "1,50,xsub,dualhead,joint,1" + chr(10) + "2,60,xsub,dualhead,joint,1" + chr(10)
told = dict(zip(words, words[1:]))
if words[0] == "verify" and "other" in pathlib.Path(told["--raw"]).read_text():
    sys.exit(told["--raw"] + ": not what the store was made from")
grid = pathlib.Path(told["--grid"]).read_text() if words[0] == "summary" else ""
stamp = hashlib.sha256((" ".join(words) + grid).encode()).hexdigest()
for option in OUTPUTS:
    if option in told:
        path = pathlib.Path(told[option])
        paths = [path]
        paths += [path.with_suffix(s) for s in (".md", ".tex") if words[0] == "table"]
        paths += [path.with_suffix(".svg")] * (words[0] == "figure")
        paths = [path / "a.skeleton"] if words[0] == "synthesize" else paths
        for file in paths:
            file.parent.mkdir(parents=True, exist_ok=True)
            text = CURVES if option == "--curves" else stamp
            text = json.dumps({{"top1": int(stamp[:4], 16)}}) if file.suffix == ".json" else text
            file.write_text(text)
if words[0] == "verify":
    from dualhead.workspace.rules import signature
    with pathlib.Path(told["--output"]).open("a") as stamp:
        stamp.write(chr(10) + "signature: " + signature([pathlib.Path(told["--raw"])]))
if "--record" in told:
    from dualhead.report import made
    output = pathlib.Path(told["--output"])
    more = {{"table": [".md", ".tex"], "figure": [".svg"]}}.get(words[0], [])
    products = [output, *map(output.with_suffix, more)]
    products += [pathlib.Path(told[it]) for it in ["--curves"] * (words[0] == "summary")]
    files = ["--published"] * (words[0] == "table")
    files += "--published --template --bibliography --deviations".split() * (words[0] == "report")
    wanted = made.ingredients(
        words[0], told.get("--name", ""), json.loads(pathlib.Path(told["--grid"]).read_text()),
        pathlib.Path(told["--results"]), [pathlib.Path(told[name]) for name in files])
    made.write_record(pathlib.Path(told["--record"]), wanted, products)
"""

PARAMS = """extends: paper
seeds: [1]
datasets:
  synthetic: {kind: synthetic, raw: [], synthesize: {classes: 4}}
benchmarks:
  synthetic_xsub: {dataset: synthetic, split: xsub}
variants:
  small: {model: dualhead, dualhead: {gcn_scales: 3}}
tables:
  streams: {kind: comparison, benchmarks: [synthetic_xsub], variant: dualhead,
            streams: [joint, bone, two_stream]}
  ablation: {kind: ablation, benchmark: synthetic_xsub, stream: joint,
             rows: [dualhead, ms_g3d, small]}
figures: {benchmark: synthetic_xsub, variant: dualhead, baseline: ms_g3d, stream: joint}
"""


@dataclass
class Workspace:
    """A folder with the whole workflow, and a log of what its rules called."""

    folder: Path
    bin: Path
    variables: dict[str, str] = field(default_factory=dict)
    before: Callable[[], object] | None = None  # called in each process before its command

    @property
    def params(self) -> Path:
        return self.folder / "params.yaml"

    @property
    def environment(self) -> dict[str, str]:
        """Variables with which `dualhead` is the fake, and git and DVC know nothing of the user."""
        path = f"{self.bin}{os.pathsep}{BIN}{os.pathsep}{os.environ['PATH']}"
        home = {"HOME": str(self.bin), "GIT_CONFIG_NOSYSTEM": "1", "DVC_NO_ANALYTICS": "1"}
        home |= {
            f"GIT_{who}_{key}": "test@example.org"
            for who in ("AUTHOR", "COMMITTER")
            for key in ("NAME", "EMAIL")
        }
        mine = {"PATH": path, "GIT_CONFIG_GLOBAL": os.devnull}
        return os.environ | home | mine | self.variables

    def run(self, *command: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        """Run a command there; `dualhead` is the fake, all else the environment's own."""
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            preexec_fn=self.before,
        )

    def snakemake(self, *options: str) -> Counter[str]:
        """Run Snakemake, which must succeed; return how often it called each subcommand."""
        return self.calls_of("snakemake", "--cores", "2", *options)

    def calls_of(self, *command: str) -> Counter[str]:
        """Run a command, which must succeed; return how often it called each subcommand."""
        calls = self.bin / "calls.txt"
        calls.write_text("")
        done = self.run(*command)
        assert done.returncode == 0, done.stdout + done.stderr
        return Counter(line.split()[0] for line in calls.read_text().splitlines())

    def edit(self, old: str, new: str) -> None:
        """Change params.yaml."""
        text = self.params.read_text()
        assert old in text, f"no {old!r} in {self.params}"
        self.params.write_text(text.replace(old, new))


def make_environment(programs: Path) -> None:
    """Make a twin of the Python environment that runs the tests, whose `dualhead` may be another."""
    programs.mkdir(parents=True)
    python = programs / "python"
    python.symlink_to(sys.executable)
    if (settings := BIN.parent / "pyvenv.cfg").is_file():
        shutil.copy(settings, programs.parent)
        (programs.parent / "lib").symlink_to(BIN.parent / "lib")
    _write_snakemake(programs)


def _write_snakemake(programs: Path) -> None:
    call = "import sys\nfrom snakemake.cli import main\nsys.exit(main())\n"
    _write_program(programs / "snakemake", f"#!{programs / 'python'}\n{call}")


def _write_program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def make_workspace(
    parent: Path, *, failing: str = "none", said: str = "dualhead: told to fail"
) -> Workspace:
    """Copy the workflow to parent/repository, with a small synthetic params.yaml."""
    folder, programs = parent / "repository", parent / "bin"
    make_environment(programs)
    _write_program(
        programs / "dualhead", FAKE.format(python=sys.executable, failing=failing, said=said)
    )
    for name in WORKFLOW:
        source = ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        folder.mkdir(exist_ok=True)
        copy(source, folder / name)
    (folder / "params.yaml").write_text(PARAMS)
    (folder / "reports/report.typ").touch()
    return Workspace(folder, programs)


def copy_workspace(workspace: Workspace, parent: Path) -> Workspace:
    """Copy a workspace, timestamps and all, with an environment of its own."""
    shutil.copytree(workspace.folder.parent, parent, symlinks=True)
    _write_snakemake(parent / "bin")
    return Workspace(parent / "repository", parent / "bin")


def job_counts(text: str) -> dict[str, int]:
    """Return the table of jobs that Snakemake printed."""
    rows = [line.split() for line in text.split("Job stats:")[1].splitlines()[3:]]
    rows = rows[: next(i for i, row in enumerate(rows) if len(row) != 2)]
    return {name: int(count) for name, count in rows}
