"""The commands of docs/take_it_with_you.md that show recordings, done as they stand there."""

import json
import re
import shlex

import numpy as np

from dualhead.cli import main as cli
from tests.builders.checkpoints import write_checkpoint


def test_the_page_shows_and_draws_a_recording(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_checkpoint(tmp_path / "joint.pt")
    write_checkpoint(tmp_path / "bone.pt", modality="bone", seed=2)
    joints = np.random.default_rng(3).normal(1, 0.3, (24, 20, 3))
    frames = [{"bodies": [{"trackingId": 5, "joints": one.tolist()}]} for one in joints]
    (tmp_path / "walk.json").write_text("\n".join(map(json.dumps, frames)))
    page = (root / "docs/take_it_with_you.md").read_text()
    commands = re.findall(r"^    dualhead ((?:view|draw) [^\n]*)$", page, re.MULTILINE)
    assert len(commands) == 6
    for command in commands:
        assert cli.main(shlex.split(command)) == 0, command
    sizes = {path.name: path.stat().st_size for path in tmp_path.glob("*.*")}
    assert min(sizes[name] for name in ("walk.html", "both.html", "walk.png", "turning.gif")) > 5000


def test_the_pictures_of_the_page_are_small(root):
    shown = re.findall(r"\]\((pictures/[^)]*)\)", (root / "docs/take_it_with_you.md").read_text())
    assert shown == ["pictures/explorer.png", "pictures/confusion_dark.png"]
    assert all((root / "docs" / name).stat().st_size < 150_000 for name in shown)
