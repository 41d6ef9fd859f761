"""Settings with mistakes: params.yaml, grids, a run's settings, published numbers."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path

from dualhead.data.datasets import DATASETS
from dualhead.settings import checks, params
from dualhead.settings.formats import read_grid, read_published, read_run
from dualhead.settings.grid import resolve
from dualhead.settings.params import Settings
from dualhead.settings.reading import Located
from dualhead.workspace.settings import load_workspace
from tests.builders.mutations import mutate_text, mutate_values
from tests.builders.workspaces import ROOT
from tests.torture.verdicts import Attempt, Outcome, Target, Verdict, refusal, same

FILES = ("params.yaml", "demo/params.yaml", "examples/nw_ucla/params.yaml")


def typed(folder: Path) -> Attempt:
    """Read a params.yaml that was mistyped."""
    texts = [(ROOT / name).read_text(encoding="utf-8") for name in FILES]
    path = folder / "params.yaml"
    plain = {}
    for text in texts:
        path.write_text(text, encoding="utf-8")
        plain[text] = load_workspace(folder)

    def attempt(seed: int) -> Verdict:
        rng = random.Random(seed)
        text = rng.choice(texts)
        path.write_text(mutate_text(text, rng), encoding="utf-8", errors="replace")
        try:
            found = load_workspace(folder)
            resolve(found)
        except ValueError as error:
            return refusal(error, str(path))
        return _planned(found, plain[text], folder, rng)

    return attempt


def valued(folder: Path) -> Attempt:
    """Check settings of which one to three are others."""
    settings = checks.load(ROOT / "demo/params.yaml")
    splits = {kind: [*dataset.splits] for kind, dataset in DATASETS.items()}

    def attempt(seed: int) -> Verdict:
        rng = random.Random(seed)
        changed = mutate_values(settings, rng)
        try:
            found = checks.checked(Located(changed, "params.yaml"), splits)
            resolve(found)
        except ValueError as error:
            return refusal(error, "params.yaml")
        return _planned(found, settings, folder, rng)

    return attempt


def _planned(found: Settings, plain: Settings, folder: Path, rng: random.Random) -> Verdict:
    """Judge settings that were accepted: the runs they ask for must be written and read back as they are."""
    grid = resolve(found)
    json.dumps(grid, allow_nan=False)
    for run, settings in rng.sample(sorted(grid["runs"].items()), min(2, len(grid["runs"]))):
        path = folder / "config.yaml"
        path.write_text(params.dump(settings), encoding="utf-8")
        back = read_run(path)
        if not (
            run.endswith(f"-{back.address}")
            and same(back.to_mapping(), json.loads(json.dumps(settings)))
        ):
            return Verdict(Outcome.ACCEPTED, f"{run} is not read back as it is")
    return Verdict(Outcome.SAME if same(found, plain) else Outcome.OTHER)


def file_of(
    write: Callable[[Path, Settings], None],
    read: Callable[[Path], Settings],
    content: Callable[[], Settings],
    folder: Path,
) -> Attempt:
    """Read a file whose text was mistyped, or of whose values some are others."""
    plain, path = content(), folder / "file"

    def attempt(seed: int) -> Verdict:
        rng = random.Random(seed)
        if seed % 2:
            write(path, plain)
            text = path.read_text(encoding="utf-8")
            path.write_text(mutate_text(text, rng), encoding="utf-8", errors="replace")
        else:
            write(path, mutate_values(plain, rng))
        try:
            found = read(path)
        except ValueError as error:
            return refusal(error, str(path))
        return Verdict(Outcome.SAME if same(found, plain) else Outcome.OTHER)

    return attempt


def _demo_grid() -> Settings:
    grid = resolve(checks.load(ROOT / "demo/params.yaml"))
    return dict(json.loads(json.dumps(grid)))


def _demo_run() -> Settings:
    return dict(next(iter(_demo_grid()["runs"].values())))


def _published() -> Settings:
    return read_published(ROOT / "reports/published.yaml")


def _write_json(path: Path, content: Settings) -> None:
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")


def _write_yaml(path: Path, content: Settings) -> None:
    path.write_text(params.dump(content), encoding="utf-8")


TARGETS: dict[str, Target] = {
    "params.yaml mistyped": typed,
    "params.yaml values": valued,
    "grid.json": partial(file_of, _write_json, read_grid, _demo_grid),
    "a run's settings": partial(file_of, _write_yaml, read_run, _demo_run),
    "published.yaml": partial(file_of, _write_yaml, read_published, _published),
}
