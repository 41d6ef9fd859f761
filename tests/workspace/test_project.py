"""The workflow's files, new workspaces, and the call of Snakemake on them."""

import json
import re
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from dualhead.cli import main as door
from dualhead.settings import checks
from dualhead.settings.grid import resolve
from dualhead.workspace import doctor, project
from dualhead.workspace.settings import load_workspace
from tests.builders.installed import build_wheel


def test_a_checkouts_project_is_its_top(root: Path) -> None:
    assert project.home() == root


@pytest.mark.parametrize("example", project.EXAMPLES)
def test_a_new_workspace_asks_for_what_its_example_asks(
    root: Path, tmp_path: Path, example: str
) -> None:
    folder = tmp_path / "mine"
    written = project.init(folder, example)
    assert {path for path in folder.rglob("*") if path.is_file()} == set(written)
    expected = resolve(checks.load(root / project.EXAMPLES[example] / "params.yaml"))
    assert resolve(load_workspace(folder))["runs"].keys() == expected["runs"].keys()
    assert (folder / "data/raw").is_dir()
    first, *_ = (folder / "params.yaml").read_text().splitlines()
    schema = folder / first.partition("$schema=")[2]
    assert json.loads(schema.read_text())["properties"]["train"]


def test_init_leaves_what_is_there_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/dvc.yaml").touch()
    assert door.main(["init", str(tmp_path / "mine")]) == 0
    assert "compare dvc.yaml with those of an empty folder" in capsys.readouterr().out
    (tmp_path / "lost").symlink_to("nowhere")
    with pytest.raises(ValueError, match="found a link that leads nowhere; choose another name"):
        project.init(tmp_path / "lost", "demo")
    (tmp_path / ".gitignore").write_text("mine\n")
    assert tmp_path / ".gitignore" not in project.init(tmp_path, "demo")
    assert (tmp_path / ".gitignore").read_text() == "mine\n"
    with pytest.raises(
        ValueError, match=r"found a workspace \(params\.yaml\); choose another, or run it"
    ):
        project.init(tmp_path, "demo")
    with pytest.raises(ValueError, match="expected a new folder, found a file"):
        project.init(tmp_path / ".gitignore", "demo")


@pytest.mark.parametrize("in_git", [False, True])
def test_dvc_goes_without_git_where_there_is_none(tmp_path: Path, in_git: bool) -> None:
    if in_git:
        (tmp_path / ".git").mkdir()
    project.init(tmp_path / "mine", "demo")
    assert ("no_scm = true" in (tmp_path / "mine/.dvc/config").read_text()) is not in_git


def test_dvcs_stages_ask_for_nothing_that_a_workspace_has_not(root: Path) -> None:
    own = yaml.safe_load((root / "dvc.yaml").read_text())
    made = yaml.safe_load(project.dvc_stages((root / "dvc.yaml").read_text()))
    for name, stage in own["stages"].items():
        theirs = made["stages"][name]
        assert theirs["cmd"] == stage["cmd"].replace("snakemake", "dualhead run")
        assert theirs["outs"] == stage["outs"]
        assert theirs.get("deps") == (
            [it for it in stage["deps"] if it.startswith("results/")] if "deps" in stage else None
        )
    assert made["metrics"] == own["metrics"]
    assert made["plots"] == own["plots"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([], ["--cores", "all"]),
        (["-n", "tables"], ["--cores", "all", "-n", "tables"]),
        (["--cores", "2", "tables"], ["--cores", "2", "tables"]),
        (["-c2"], ["-c2"]),
        (["--cores=2"], ["--cores=2"]),
        (["--profile", "profiles/slurm"], ["--profile", "profiles/slurm"]),
        (
            ["--config", "seeds=[1,2]", "--configfile", "b.yaml"],
            ["--cores", "all", "--config", "seeds=[1,2]", "--configfile", "b.yaml"],
        ),
    ],
)
def test_options_are_snakemakes_own(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: list[str], words: list[str]
) -> None:
    for name in ("params.yaml", "b.yaml"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SNAKEMAKE_PROFILE", raising=False)
    called: list[list[str]] = []
    monkeypatch.setattr(project, "become", lambda command, environment: called.append(command))
    assert door.main(["run", "-d", str(tmp_path), *given]) == 0
    start = [sys.executable, "-P", "-m", "snakemake", "--snakefile", str(root / "Snakefile")]
    assert called == [[*start, "--directory", str(tmp_path), *words]]


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (["--configfile", "none.yaml"], "none.yaml"),
        (["-n", "--configfile=none.yaml"], "none.yaml"),
        (["--configfiles", "params.yaml", "tables", "-n"], "tables"),
    ],
)
def test_settings_that_are_not_there_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: list[str], name: str
) -> None:
    (tmp_path / "params.yaml").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ValueError, match=f"^{name}: expected a file of settings after --configfile"
    ):
        project.snakemake_command(tmp_path, given, {})


def test_the_cache_goes_into_the_workspace_where_the_home_cannot_be_written(tmp_path: Path) -> None:
    usable = {"HOME": str(tmp_path), "A": "b"}
    assert project.with_cache(tmp_path, usable) == usable
    own = {"XDG_CACHE_HOME": str(tmp_path / ".snakemake/cache")}
    for lost in ({"HOME": "/proc/none"}, {"XDG_CACHE_HOME": "/proc/none", "HOME": str(tmp_path)}):
        assert project.with_cache(tmp_path, lost) == {**lost, **own}


def test_a_profile_from_the_environment_says_the_cores(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").touch()
    assert "--cores" not in project.snakemake_command(tmp_path, [], {"SNAKEMAKE_PROFILE": "p"})


def test_run_in_a_folder_that_is_no_workspace_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert door.main(["run", "--directory", str(tmp_path)]) == 1
    assert capsys.readouterr().err == (
        f"dualhead run: {tmp_path}: expected a workspace, found no params.yaml; `dualhead init {tmp_path}` "
        "makes one, --directory FOLDER names another\n"
    )


def test_only_run_passes_options_on(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        door.main(["status", "--cores", "2"])
    assert "unrecognized arguments: --cores 2" in capsys.readouterr().err


def test_doctor_says_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project.init(tmp_path / "mine", "nw_ucla")
    assert door.main(["doctor", "--json", "--directory", str(tmp_path / "mine")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["raw data of nw_ucla"].startswith(
        "missing: data/raw/nw_ucla.tar.gz; `dualhead download --dataset nw_ucla"
    )
    assert re.match(r"\d+ runs, \d+ ensembles", found["workspace"])
    assert found["required"] == "all there"
    (tmp_path / "mine/data/raw/nw_ucla").mkdir()  # unpacked counts
    assert doctor.examine(tmp_path / "mine")["raw data of nw_ucla"] == "there"
    assert "`dualhead init FOLDER` makes one" in doctor.examine(tmp_path)["workspace"]
    (tmp_path / "mine/params.yaml").write_text("extends: paper\ntrain: {epoch: 1}\n")
    found = doctor.examine(tmp_path / "mine")
    assert "params.yaml:2: unknown setting 'epoch' in train" in found["workspace"]
    assert found["cores"]


def test_doctor_names_packages_that_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["numpy>=2.0", "nowhere>=1", 'absent[x]>=1; extra == "more"', 'numpy; extra == "there"']
    monkeypatch.setattr(doctor.metadata, "requires", lambda _: lines)
    found = doctor.examine(Path())
    assert found["required"] == "missing: nowhere; pip install dualhead"
    assert found["extras"] == "there; to add: pip install 'dualhead[more]'"


@pytest.mark.workflow
def test_a_wheel_holds_all_that_a_checkout_uses(root: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(build_wheel(tmp_path)) as wheel:
        held = set(wheel.namelist())
    for rule in root.glob("workflow/*/*"):
        assert f"dualhead/project/{rule.relative_to(root)}" in held
    for example in project.EXAMPLES.values():
        for pattern in project.COPIED:
            for path in filter(Path.is_file, (root / example).glob(pattern)):
                assert f"dualhead/project/{path.relative_to(root)}" in held
    code = {
        str(it.relative_to(root / "src"))
        for it in (root / "src/dualhead").rglob("*")
        if it.is_file()
    }
    assert {it for it in code if "__pycache__" not in it} <= held
