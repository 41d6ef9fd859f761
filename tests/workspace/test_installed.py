"""A stranger's way: a wheel, a fresh environment, an empty folder, and the tutorial typed line by line."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest
from pypdf import PdfReader

from dualhead.settings import params
from tests.builders.documents import commands_of, inline_of
from tests.builders.installed import ROOT, Installation, install

pytestmark = pytest.mark.workflow
SMALLER = {
    "seeds": [1],
    "input": {"num_frames": 16},
    "dualhead": {
        **{"gcn_scales": 3, "g3d_scales": 2},
        **{"coarse_channels": [12, 12, 24], "fine_channels": [12, 12, 24]},
    },
    "ms_g3d": {"gcn_scales": 2, "g3d_scales": 2, "channels": [12, 12, 24]},
    "train": {"epochs": 2, "batch_size": 8, "forward_batch_size": 8, "milestones": [1]},
    "datasets": {
        "synthetic": {
            **{"kind": "synthetic", "raw": []},
            "synthesize": {"classes": 3, "subjects": 4, "cameras": 2, "frames": [12, 20]},
        }
    },
}
"""What makes the demo one of seconds: less to learn from, less to learn with."""
TABLES = {"table1": {"streams": ["joint_motion", "bone_motion", "two_motions"]}, "table4": {}}
"""Those of its tables that the tutorial speaks of, and what is changed in them."""


def make_smaller(path: Path) -> None:
    """Change the demo's params.yaml to one of seconds."""
    small = params.merge(params.read_yaml(path), SMALLER, sections=set(SMALLER) - {"datasets"})
    small["tables"] = {name: small["tables"][name] | changes for name, changes in TABLES.items()}
    path.write_text(params.dump(small))


class Walk(NamedTuple):
    """The tutorial as its reader saw it."""

    home: Path
    said: dict[str, str]  # command -> what it printed, the last time it was typed


def typed(installed: Installation, folder: Path, command: str) -> str:
    """Type a line into a shell; return what it printed, errors and all."""
    done = installed.run(folder, "bash", "-c", f"{command} 2>&1")
    assert done.returncode == 0, f"{command}: {done.stdout}"
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    return install(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def walk(installed: Installation, tmp_path_factory: pytest.TempPathFactory) -> Walk:
    """Every command of the tutorial, one after the other, on a demo that is made smaller once it is there."""
    home = tmp_path_factory.mktemp("stranger")
    place, said = home, {}
    for command in commands_of(ROOT / "docs/tutorial.md"):
        if command.startswith("cd "):
            place = (place / command.removeprefix("cd ")).resolve()
            continue
        said[command] = typed(installed, place, command)
        if command == "dualhead init demo --example demo":
            make_smaller(home / "demo/params.yaml")
    return Walk(home, said)


def test_the_package_is_the_wheels(installed: Installation, tmp_path: Path) -> None:
    place = installed.check(tmp_path, "python", "-c", "import dualhead; print(dualhead.__file__)")
    assert place.startswith(str(installed.programs.parent))
    found = json.loads(installed.check(tmp_path, "dualhead", "doctor", "--json"))
    assert found["required"] == "all there"
    assert found["dualhead"].endswith("dualhead/project")


def test_the_tutorial_goes_to_the_demos_report(walk: Walk) -> None:
    pages = PdfReader(walk.home / "demo/reports/report.pdf").pages
    assert "synthetic" in "".join(page.extract_text() for page in pages).lower()


def test_what_the_tutorial_says_is_made_again_is(walk: Walk) -> None:
    counts = dict(re.findall(r"^(\w+) +(\d+)$", walk.said["dualhead run -n"], re.MULTILINE))
    assert {name: counts[name] for name in ("configure", "train", "evaluate")} == dict.fromkeys(
        ("configure", "train", "evaluate"), "1"
    )
    assert "synthesize" not in counts
    assert "fewer_hops" in (walk.home / "demo/results/tables/table4.csv").read_text()
    unwanted = re.findall(r"^unwanted .* (\S+)$", walk.said["dualhead gc"], re.MULTILINE)
    assert [path.rsplit("/", 1)[0] for path in unwanted] == ["results/grids"]


def test_what_the_tutorial_shows_is_there(walk: Walk) -> None:
    said = walk.said
    told = json.loads(said["dualhead explain table4/no_attention --json"])
    assert (told["variant"], told["tables"]) == ("no_attention", ["table4"])
    assert "borne out by the scores" in said["dualhead explain table4/no_attention"]
    assert "files are as they were written" in said["dualhead verify results"]
    (prediction,) = (said[line] for line in said if line.startswith("dualhead predict"))
    assert "S001C001P001R001A001" in prediction
    assert "missing: data/raw/recordings" in said["dualhead doctor --directory mine"]


def test_the_readmes_commands_work(installed: Installation, walk: Walk, tmp_path: Path) -> None:
    """Those of the demo and of own files where the tutorial has been, the paper's and make's in a checkout."""
    names = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    checkout = tmp_path / "checkout"
    for name in names.stdout.splitlines():
        if not name.startswith("tests/") and (ROOT / name).is_file():
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, checkout / name)
    made = walk.home / "demo"
    for name in ("joint", "bone"):  # of which the demo has the motion
        (checkpoint,) = made.glob(f"results/runs/*/dualhead/{name}_motion/*/checkpoint.pt")
        shutil.copy(checkpoint, tmp_path / f"{name}.pt")
    shutil.copy(next(made.glob("data/raw/*/S001C001P001R001A001.skeleton")), tmp_path / "walk.json")
    shutil.rmtree(walk.home / "mine")
    (tmp_path / "demo").symlink_to(made)
    for command in [*commands_of(ROOT / "README.md"), *inline_of(ROOT / "README.md")]:
        if command == "dualhead init demo --example demo":
            continue  # typed in the tutorial
        if command.startswith("make "):
            installed.check(checkout, "make", "--dry-run", command.split()[1])
        elif command == "snakemake --cores 8 reproduce_tables":
            done = installed.run(checkout, "python", "-m", *command.split())
            assert "Raw data is missing; nothing was started." in done.stderr + done.stdout
        elif command.startswith("snakemake "):
            installed.check(checkout, "python", "-m", *command.split())
        elif "table1/joint/ntu60_xsub" in command:
            assert "ntu60_xsub/dualhead/joint" in typed(installed, checkout, command)
        else:
            typed(installed, tmp_path, command)


def test_a_second_run_has_nothing_to_do(installed: Installation, walk: Walk) -> None:
    assert "Nothing to be done" in typed(installed, walk.home, "dualhead run --directory demo")


def test_dvc_works_in_such_a_workspace(installed: Installation, walk: Walk) -> None:
    demo = walk.home / "demo"
    installed.check(demo, "python", "-m", "dvc", "repro")
    metrics = json.loads(installed.check(demo, "python", "-m", "dvc", "metrics", "show", "--json"))
    assert "synthetic_xsub" in json.dumps(metrics)
    again = installed.check(demo, "python", "-m", "dvc", "repro")
    assert "Data and pipelines are up to date" in again
