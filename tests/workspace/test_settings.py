"""A workspace's settings: layers on top of each other, and every mistake refused when it is planned."""

import hashlib
import json
import random
from pathlib import Path

import pytest

from dualhead.data.datasets import DATASETS
from dualhead.settings import checks
from dualhead.settings.grid import resolve
from dualhead.settings.reading import Located
from dualhead.workspace.settings import load_workspace
from tests.builders.mutations import mutate_text, mutate_values

MINI = """extends: paper
train: {epochs: 2, milestones: [1]}
datasets:
  synthetic: {kind: synthetic, raw: [], synthesize: {classes: 3, subjects: 4, frames: [10, 12]}}
benchmarks: {synthetic_xsub: {dataset: synthetic, split: xsub}}
tables:
  table1: {kind: comparison, benchmarks: [synthetic_xsub], variant: dualhead, streams: [joint, bone]}
figures: {benchmark: synthetic_xsub, variant: dualhead, baseline: ms_g3d, stream: joint}
"""
OVER = """seeds: [7]
tables:
  only: {kind: comparison, benchmarks: [synthetic_xsub], streams: [joint]}
"""
ABLATION = "{kind: ablation, benchmark: synthetic_xsub, stream: joint, rows: [%s, dualhead]}"


@pytest.fixture
def mini(tmp_path: Path) -> Path:
    """A folder with a small params.yaml, and beside it one for a workspace that extends it."""
    folder = tmp_path / "mini"
    folder.mkdir()
    (folder / "params.yaml").write_text(MINI)
    (tmp_path / "other").mkdir()
    return folder


def other(mini: Path, text: str) -> Path:
    """Return a workspace that says only this on top of mini."""
    folder = mini.parent / "other"
    (folder / "params.yaml").write_text(f"extends: ../mini/params.yaml\n{text}\n")
    return folder


def refusal(folder: Path, **layers: object) -> str:
    """Return the one line with which a workspace is refused, without the folder's name."""
    with pytest.raises(ValueError, match=r"\S") as caught:
        load_workspace(folder, **layers)
    message = str(caught.value)
    assert message.isprintable()
    return message.replace(f"{folder}/", "")


def planned(root: Path, tmp_path: Path, name: str) -> dict[str, list[str]]:
    """Return the addresses that one of the committed params files asks for, by kind."""
    path = root / name
    if path.name == "params.yaml":
        (tmp_path / "params.yaml").write_text(path.read_text())
        settings = load_workspace(tmp_path)
    else:
        settings = load_workspace(path.parent, configfiles=[path])
    grid = resolve(settings)
    return {kind: sorted(grid[kind]) for kind in ("stores", "runs", "ensembles")}


@pytest.mark.parametrize(
    "name",
    [
        *("params.yaml", "demo/params.yaml", "tests/params.yaml"),
        *(f"examples/nw_ucla/params{kind}.yaml" for kind in ("", ".gpu", ".precision", ".short")),
    ],
)
def test_addresses_are_those_of_the_finished_runs(root, tmp_path, name):
    """Recorded when the schema was made: what is finished stays found."""
    expected = json.loads((root / "tests/golden/addresses.json").read_text())[name]
    found = planned(root, tmp_path, name)
    digest = hashlib.sha256(json.dumps(found).encode()).hexdigest()[:16]
    assert expected == {"digest": digest, **{kind: len(names) for kind, names in found.items()}}


def test_an_edit_of_the_roots_file_changes_no_other_workspace(root, tmp_path):
    """`extends: paper` is the packaged paper: the root's file is nowhere on that way."""
    before = load_workspace(root / "demo")
    text = (root / "params.yaml").read_text()
    (tmp_path / "params.yaml").write_text(
        text.replace("weight_decay: 0.0005", "weight_decay: 1e-05")
    )
    assert load_workspace(tmp_path)["train"]["weight_decay"] == 1e-5
    assert load_workspace(root / "demo") == before


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "  momentum: 0.9",
            "  momentum: 0.9\n  nesterow: false",
            "unknown setting 'nesterow' in train",
        ),
        ("  momentum: 0.9", "  momentun: 0.95", "'momentun' in train; did you mean 'momentum'?"),
        (
            "  epochs: 80",
            "  epochs: eighty",
            "train.epochs: expected a whole number, 1 or more, found 'eighty'",
        ),
        (
            "protocol: paper",
            "protocol: author",
            "protocol: expected paper | authors, found 'author'",
        ),
        ("min_max: false", 'min_max: "no"', "input.min_max: expected true or false, found 'no'"),
        (
            "recipe: 1 ",
            "trian: {epochs: 5}\nrecipe: 1 ",
            "unknown setting 'trian' in the file; did you mean 'train'?",
        ),
    ],
)
def test_the_roots_file_is_checked_like_any_other(root, tmp_path, old, new, message):
    text = (root / "params.yaml").read_text()
    edited = text.replace(old, new, 1)
    assert edited != text
    (tmp_path / "params.yaml").write_text(edited)
    line = edited[: edited.index(new.strip().split("\n")[-1])].count("\n") + 1
    if "trian" in new:
        line -= 1
    assert refusal(tmp_path).startswith(f"params.yaml:{line}: ")
    assert message in refusal(tmp_path)


def test_a_key_that_is_removed_from_the_roots_file_is_the_papers(root, tmp_path):
    text = (root / "params.yaml").read_text().replace("  weight_decay: 0.0005\n", "")
    (tmp_path / "params.yaml").write_text(text)
    assert load_workspace(tmp_path)["train"]["weight_decay"] == 0.0005


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "train: {milestones: [4e1, 60]}",
            "train.milestones[0]: expected a whole number, 0 or more, found 40.0",
        ),
        (
            'train: {milestones: ["40", 60]}',
            "train.milestones[0]: expected a whole number, 0 or more, found '40'",
        ),
        (
            "train: {milestones: [null]}",
            "train.milestones[0]: expected a whole number, 0 or more, found nothing",
        ),
        (
            "input: {random_scale: [0.9]}",
            "input.random_scale: expected a list of 2, the smallest first",
        ),
        (
            "input: {random_scale: [1.1, 0.9]}",
            "input.random_scale: expected a list of 2, the smallest first",
        ),
        ("dualhead: {coarse_channels: [24, 48]}", "dualhead.coarse_channels: expected a list of 3"),
        ("dualhead: {fine_windows: [three]}", "dualhead.fine_windows[0]: expected an odd number"),
        (
            "dualhead: {fine_windows: [4]}",
            "dualhead.fine_windows[0]: expected an odd number, 1 or more, found 4",
        ),
        (
            "dualhead: {fine_channels: [12, 25, 48]}",
            "dualhead.fine_channels: expected multiples of 6",
        ),
        ("train: {batch_size: 0}", "train.batch_size: expected a whole number, 1 or more, found 0"),
        (
            "train: {learning_rate: -0.1}",
            "train.learning_rate: expected a number above 0, at most 1e+09, found -0.1",
        ),
        (
            "train: {learning_rate: .inf}",
            "train.learning_rate: expected a number above 0, at most 1e+09, found inf",
        ),
        (
            "ensemble: {streams: {two_stream: {joint: 0, bone: 0}}}",
            "two_stream: expected a weight above 0",
        ),
        (
            "ensemble: {streams: {mine: {joint: -1}}}",
            "ensemble.streams.mine.joint: expected a number, 0 or more",
        ),
        (
            "ensemble: {streams: {joint: {bone: 1}}}",
            "ensemble.streams.joint: expected another name",
        ),
        ("dualhead: {temporal_attention: no}", "expected cross | self | none, found 'no'"),
        (
            "benchmarks: {synthetic_xsub: {dataset: synthetic, split: xsubb}}",
            "benchmarks.synthetic_xsub.split: 'xsubb' is not defined; did you",
        ),
        (
            "tables: {table1: {kind: comparison, benchmarks: [synthetic_xsub], streams: [joint], metrics: top1}}",
            "tables.table1.metrics: expected a list of at least 1 different values, each top1 | top5 | mean_class",
        ),
        (
            "tables: {table1: {kind: comparison, benchmarks: [synthetic_xsub], streams: [joint], metrics: [top3]}}",
            "tables.table1.metrics[0]: expected top1 | top5 | mean_class, found 'top3'",
        ),
        ("figures: {stream: joint}", "figures: the setting 'benchmark' is missing"),
        (
            "figures: {benchmark: synthetic_xsub, variant: dualhead, baseline: ms_g3d, stream: jiont}",
            "figures.stream: 'jiont' is not defined; did you mean 'joint'?",
        ),
        (
            "datasets: {synthetic: {kind: ntu61, raw: [x]}}",
            "datasets.synthetic.kind: 'ntu61' is not defined; did you",
        ),
        (
            "datasets: {synthetic: {kind: synthetic, raw: []}}",
            "datasets.synthetic.raw: expected a file or folder",
        ),
        (
            "datasets: {synthetic: {kind: synthetic, raw: [], release: 2024-01-31, synthesize: {}}}",
            "datasets.synthetic.release: expected a whole number, 1 or more, found '2024-01-31'",
        ),
        (
            "datasets: {synthetic: {kind: synthetic, raw: [x], reuse: b}, "
            "b: {kind: ntu60, raw: [x], reuse: synthetic}}",
            "reuse: goes round in a circle: synthetic -> b -> synthetic",
        ),
        (
            "datasets: {synthetic: {kind: synthetic, raw: [x], reuse: b}, "
            "b: {kind: ntu60, raw: [x], prepare: {max_bodies: 1}}}",
            "datasets.synthetic.reuse: expected a dataset with the same `prepare` settings",
        ),
        (
            "datasets: {synthetic: {kind: synthetic, raw: [x], synthesize: {classes: 3}}}",
            "datasets.synthetic.raw: expected [] beside `synthesize`, found ['x']",
        ),
        (
            "input: {num_frames: 16, random_crop: 20}",
            "input.random_crop: expected at most 16, the frames of input.num_frames, found 20",
        ),
        (
            "variants: {slow: {model: dualhead, ms_g3d: {gcn_scales: 2}}}",
            "variants.slow.ms_g3d: expected settings of its own model, dualhead",
        ),
        (
            f"tables: {{curves: {ABLATION % 'ms_g3d'}}}",
            "tables.curves: expected another name, found that of results/tables/curves.csv",
        ),
        (
            "tables: {t: {kind: comparison, benchmarks: [synthetic_xsub], streams: [joint], variant: dualhead, "
            "variants: [ms_g3d]}}",
            "tables.t.variant: expected either `variant` or `variants`, found 'dualhead'",
        ),
        (
            "train: {learning_rate: 0.2}\ntrain: {epochs: 3}",
            "'train' stands twice, first in line 2",
        ),
        (
            "variants:\n  a: {model: dualhead}\n  a: {model: ms_g3d}",
            "'a' stands twice, first in line 3",
        ),
    ],
)
def test_what_cannot_be_is_refused_when_it_is_planned(mini, text, message):
    found = refusal(other(mini, text))
    assert message in found
    assert found.startswith("params.yaml:")


@pytest.mark.parametrize(
    "section",
    [
        "tables",
        "variants",
        "datasets",
        "benchmarks",
        "figures",
        "protocols",
        "train",
        "seeds",
        "recipe",
    ],
)
def test_a_section_whose_lines_are_commented_out_says_so(mini, section):
    found = refusal(other(mini, f"{section}:\n#  all of it"))
    assert found.startswith(f"params.yaml:2: {section}: expected ")
    assert found.endswith("found nothing (are all its lines commented out?)")


@pytest.mark.parametrize("text", ["tables: {}", "tables: []"])
def test_a_workspace_has_a_table(mini, text):
    assert "tables: expected a mapping of at least 1" in refusal(other(mini, text))


@pytest.mark.parametrize(
    "name", ["no", "on", "1", "2024-01-31", "null", "1e5", "x,y", "my variant", "ü&%#"]
)
def test_a_name_is_what_stands_in_the_file(mini, name):
    text = f"variants: {{{json.dumps(name)}: {{model: dualhead, dualhead: {{subsample: 1}}}}}}\n"
    settings = load_workspace(
        other(mini, text + "tables: {t: " + ABLATION % json.dumps(name) + "}")
    )
    assert {run["variant"] for run in resolve(settings)["runs"].values()} == {name, "dualhead"}


@pytest.mark.parametrize("name", ["no", "on", "2024-01-31"])
def test_a_word_of_older_yaml_is_a_name_without_quotes(mini, name):
    text = f"variants: {{{name}: {{model: ms_g3d}}}}\ntables: {{t: {ABLATION % name}}}"
    assert name in load_workspace(other(mini, text))["variants"]


def test_a_number_in_place_of_a_name_is_refused_with_its_spelling(mini):
    text = "variants: {60: {model: dualhead}}\ntables: {t: " + ABLATION % "60" + "}"
    assert "params.yaml:3: tables.t.rows[0]: expected a name; write '60', in quotes" in refusal(
        other(mini, text)
    )


@pytest.mark.parametrize(
    "name",
    ["a/b", "../x", ".", "..", "", "{x}", "-x", " x", "x ", "a\\b", "a\nb", "n" * 101, "\u0081"],
)
@pytest.mark.parametrize("section", ["variants", "datasets", "benchmarks", "tables", "streams"])
def test_a_name_that_is_no_part_of_a_path_is_refused(mini, section, name):
    entries = {
        "variants": {"model": "dualhead"},
        "datasets": {"kind": "synthetic", "raw": ["x"]},
        "benchmarks": {"dataset": "synthetic", "split": "xsub"},
        "tables": {
            "kind": "ablation",
            "benchmark": "synthetic_xsub",
            "stream": "joint",
            "rows": ["dualhead"],
        },
        "streams": {"joint": 1},
    }
    text = json.dumps({section: {name: entries[section]}})[1:-1]
    text = f'"ensemble": {{{text}}}' if section == "streams" else text
    assert "expected a name that can be a part of a path" in refusal(other(mini, text))


def test_a_configfile_replaces_the_grid_whole(mini, tmp_path):
    (tmp_path / "over.yaml").write_text(OVER)
    settings = load_workspace(mini, configfiles=[tmp_path / "over.yaml"])
    assert (settings["seeds"], [*settings["tables"]]) == ([7], ["only"])
    assert settings["train"]["epochs"] == 2
    assert len(resolve(settings)["runs"]) == 1
    assert settings == load_workspace(other(mini, OVER))


def test_a_later_configfile_is_the_stronger(mini, tmp_path):
    for name, seed in (("a.yaml", 3), ("b.yaml", 4)):
        (tmp_path / name).write_text(f"seeds: [{seed}]\n")
    assert load_workspace(mini, configfiles=[tmp_path / "a.yaml", tmp_path / "b.yaml"])[
        "seeds"
    ] == [4]


def test_a_configfile_that_extends_takes_the_place_of_params_or_is_refused(mini, tmp_path):
    path = tmp_path / "over.yaml"
    path.write_text(f"extends: mini/params.yaml\n{OVER}")
    assert [*load_workspace(mini, configfiles=[path], replace=True)["tables"]] == ["only"]
    assert f"{path}:1: expected changes of params.yaml, found `extends`" in refusal(
        mini, configfiles=[path]
    )


@pytest.mark.parametrize(
    ("overrides", "section", "expected"),
    [
        ({"seeds": ["9"]}, "seeds", [9]),
        ({"seeds": "[3, 4]"}, "seeds", [3, 4]),
        ({"protocol": "authors"}, "protocol", "authors"),
        ({"train": {"learning_rate": "1e-05"}}, "train", {"learning_rate": 1e-5}),
        ({"input": {"min_max": "true"}}, "input", {"min_max": True}),
        ({"input": {"min_max": True}}, "input", {"min_max": True}),
    ],
)
def test_what_config_says_is_read_as_yaml(mini, overrides, section, expected):
    found = load_workspace(mini, overrides=overrides)[section]
    assert expected == (
        {key: found[key] for key in expected} if isinstance(expected, dict) else found
    )


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"seeds": 3}, "--config: seeds: expected a list"),
        ({"seeds": ["x"]}, "--config: seeds[0]: expected a whole number, 0 or more, found 'x'"),
        (
            {"train": {"epoch": "3"}},
            "--config: unknown setting 'epoch' in train; did you mean 'epochs'?",
        ),
        (
            {"tables": {"table1": {"streams": ["bone"]}}},
            "--config: tables.table1: the setting 'kind' is missing",
        ),
    ],
)
def test_what_config_says_is_checked(mini, overrides, message):
    assert message in refusal(mini, overrides=overrides)


@pytest.mark.parametrize(
    "base", ["nowhere.yaml", "../mini", "3", "[paper]", "x" * 5000, "loop.yaml"]
)
def test_what_cannot_be_extended_is_refused_with_its_line(mini, base):
    folder = mini.parent / "other"
    (folder / "loop.yaml").symlink_to("loop.yaml")
    (folder / "params.yaml").write_text(f"seeds: [1]\nextends: {base}\n")
    assert refusal(folder).startswith("params.yaml:2: extends: expected `paper`, or a params file")


def test_a_folder_in_place_of_a_params_file_is_refused(tmp_path):
    (tmp_path / "params.yaml").mkdir()
    assert refusal(tmp_path) == "params.yaml: cannot be read: Is a directory"
    assert "params.yaml: no such file; a workspace is a folder" in refusal(tmp_path / "nowhere")


@pytest.mark.parametrize("seed", range(60))
def test_a_text_with_mistakes_is_read_or_refused_in_one_line(root, tmp_path, seed):
    rng = random.Random(seed)
    text = (root / rng.choice(("params.yaml", "demo/params.yaml"))).read_text()
    (tmp_path / "params.yaml").write_text(mutate_text(text, rng), encoding="utf-8")
    try:
        resolve(load_workspace(tmp_path))
    except ValueError as error:
        assert "\n" not in str(error)
        assert str(error).startswith(str(tmp_path))


@pytest.mark.parametrize("batch", range(4))
def test_values_with_mistakes_are_resolved_or_refused_in_one_line(root, batch):
    settings = checks.load(root / "demo/params.yaml")
    splits = {kind: [*dataset.splits] for kind, dataset in DATASETS.items()}
    for seed in range(100 * batch, 100 * batch + 100):
        changed = mutate_values(settings, random.Random(seed))
        try:
            json.dumps(
                resolve(checks.checked(Located(changed, "params.yaml"), splits)), allow_nan=False
            )
        except ValueError as error:
            assert "\n" not in str(error)
            assert str(error).startswith("params.yaml: ")
