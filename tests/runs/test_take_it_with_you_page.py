"""The walk of docs/take_it_with_you.md: tuned by its settings, exported and run by its commands and its Python."""

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from dualhead.cli import main as cli
from dualhead.layout import LAYOUTS
from dualhead.models.checkpoint import load_checkpoint
from tests.builders.checkpoints import write_checkpoint

PAGE = "docs/take_it_with_you.md"


def named(word: str) -> list[str]:
    """Return what a shell makes of a word: the files that a pattern stands for, or the word itself."""
    return sorted(map(str, Path().glob(word))) or [word] if "*" in word else [word]


@pytest.mark.workflow
def test_the_walk_goes_from_a_checkpoint_to_scores_elsewhere(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = (root / PAGE).read_text().partition("## Look")[0]
    (settings,) = re.findall(r"```yaml\n(.*?)```", page, re.S)
    (code,) = re.findall(r"```python\n(.*?)```", page, re.S)
    run, export = re.findall(r"^    ((?:snakemake|dualhead) [^\n]*)$", page, re.M)
    Path("params.yaml").write_text(settings)
    classes = tuple(f"class {number}" for number in range(5))
    small = yaml.safe_load(settings)["dualhead"]
    write_checkpoint(
        Path("parents/joint.pt"), layout=LAYOUTS["ntu25"], class_names=classes, **small
    )
    call = [*shlex.split(run), "--snakefile", str(root / "Snakefile"), "--quiet"]
    done = subprocess.run(call, capture_output=True, text=True)
    assert 0 == done.returncode, done.stderr
    words = [name for word in shlex.split(export)[1:] for name in named(word)]
    assert 0 == cli.main(words)
    found = {}
    exec(compile(code, PAGE, "exec"), found)
    assert (len(found["store"].names), 2) == found["scores"].shape
    assert set(found["best"]) <= set(found["store"].class_names)
    (checkpoint,) = Path("results/runs/mine_xsub/tuned/joint").glob("*/checkpoint.pt")
    content = load_checkpoint(checkpoint)
    assert content["digest"] == found["about"]["networks"][0]["digest"]
    assert [] == content["training"]["tuned"]["anew"]
    assert json.loads(checkpoint.with_name("metrics.json").read_text())["num_classes"] == 2
