"""params: merging, checking, and addresses."""

import copy
from pathlib import Path

import pytest
import yaml

from dualhead.settings import checks, params
from dualhead.settings.grid import resolve
from dualhead.workspace.settings import load_workspace


@pytest.fixture
def paper(root: Path) -> params.Settings:
    return checks.load(root / "params.yaml")


def workspace(folder: Path, **sections: object) -> Path:
    path = folder / "params.yaml"
    path.write_text(yaml.safe_dump({"extends": "paper", **sections}))
    return path


def runs(settings: params.Settings) -> set[str]:
    return set(resolve(settings)["runs"])


def test_the_root_spells_out_the_paper(root):
    """As committed; an edit of the root's file is its own affair."""
    assert checks.load(root / "params.yaml") == checks.load(params.packaged_params())


def test_the_paper_asks_for_31_runs_a_seed(paper):
    assert len(runs(paper)) == 31
    paper["seeds"] = [1, 2, 3, 4, 5]
    assert len(runs(paper)) == 155


def test_twenty_runs_make_tables_1_to_3(paper):
    paper["tables"] = {name: paper["tables"][name] for name in ("table1", "table2", "table3")}
    assert len(runs(paper)) == 20


@pytest.mark.parametrize(
    ("protocol", "expected"),
    [
        ("paper", (0.1, [40, 60], 80, "mean")),
        ("authors", (0.05, [40, 60, 80], 120, "mean")),
    ],
)
def test_protocol_switches_what_paper_and_code_disagree_on(paper, protocol, expected):
    paper["protocol"] = protocol
    grid = resolve(paper)
    train = next(run["train"] for run in grid["runs"].values() if run["dataset"] == "ntu60")
    keys = ("learning_rate", "milestones", "epochs", "loss")
    assert expected == tuple(train[key] for key in keys)
    assert set(grid["fusion"].values()) == {"softmax" if protocol == "paper" else "logits"}


def test_one_changed_variant_moves_only_its_own_runs(paper):
    before = runs(paper)
    paper["variants"]["subsample_4"]["dualhead"]["subsample"] = 5
    assert len(before - runs(paper)) == 1


def test_a_changed_benchmark_moves_its_runs_alone(paper):
    before = runs(paper)
    paper["benchmarks"]["ntu120_xset"]["train"] = {"epochs": 81}
    assert {run.split("/")[0] for run in before - runs(paper)} == {"ntu120_xset"}


def test_changed_preparation_moves_every_run_of_the_dataset_and_of_those_that_reuse_it(paper):
    before = runs(paper)
    paper["datasets"]["ntu60"]["release"] = 2
    moved = {run.split("/")[0] for run in before - runs(paper)}
    assert moved == {"ntu60_xsub", "ntu60_xview", "ntu120_xsub", "ntu120_xset"}


@pytest.mark.parametrize("section", ["hardware", "tables", "figures"])
def test_what_changes_no_result_is_no_part_of_an_address(paper, section):
    before = runs(paper)
    changed = copy.deepcopy(paper)
    changed["hardware"]["evaluate_batch_size"] = 3
    changed["tables"] = {"table4": paper["tables"]["table4"]}
    assert runs(changed) <= before
    changed["evaluate"]["fusion"] = "logits"
    assert runs(changed) <= before


def test_the_spelling_of_a_number_is_no_other_run():
    assert params.address({"rate": 1}) == params.address({"rate": 1.0})
    assert params.address({"rate": 1}) != params.address({"rate": 1.5})
    assert params.address({"flag": True}) != params.address({"flag": False})


def test_a_workspace_says_only_what_differs(tmp_path, paper):
    path = workspace(tmp_path, train={"epochs": 3}, seeds=[7])
    settings = checks.load(path)
    assert settings["train"] == paper["train"] | {"epochs": 3}
    assert settings["seeds"] == [7]
    assert settings["tables"] == paper["tables"]


def test_grid_sections_are_replaced_whole(tmp_path):
    table = {"kind": "ablation", "benchmark": "mine", "stream": "joint", "rows": ["dualhead"]}
    path = workspace(
        tmp_path,
        datasets={"own": {"kind": "synthetic", "raw": ["data/raw/own"]}},
        benchmarks={"mine": {"dataset": "own", "split": "xsub"}},
        tables={"only": table},
        figures={
            "benchmark": "mine",
            "variant": "dualhead",
            "baseline": "ms_g3d",
            "stream": "joint",
        },
    )
    grid = resolve(checks.load(path))
    assert [len(grid["runs"]), len(grid["stores"])] == [1, 1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trian": {}}, "unknown setting 'trian' in the file; did you mean 'train'"),
        (
            {"train": {"epoch": 3}},
            "params.yaml:3: unknown setting 'epoch' in train; did you mean 'epochs'.; `dualhead schema` lists",
        ),
        (
            {"variants": {"x": {"model": "dualhead", "frame_strid": 1}}},
            "'frame_strid' in variants.x",
        ),
        (
            {"variants": {"x": {"model": "dualhead", "dualhead": {"subsampel": 1}}}},
            "unknown setting 'subsampel' in variants.x.dualhead",
        ),
        (
            {"variants": {"x": {"model": "st_gcn"}}},
            "variants.x.model: expected dualhead . ms_g3d, found 'st_gcn'",
        ),
        ({"train": {"epochs": "many"}}, "train.epochs: expected a whole number"),
        ({"train": {"weight_decay": "small"}}, "train.weight_decay: expected a number"),
        ({"train": {"loss": "median"}}, "train.loss: expected sum . mean, found 'median'"),
        ({"input": {"min_max": 1}}, "input.min_max: expected true or false"),
        ({"protocol": "mine"}, "protocol: expected paper . authors"),
        ({"seeds": [1, 1]}, "seeds: expected a list of at least 1 different values"),
        ({"seeds": []}, "seeds: expected a list"),
        (
            {"train": {"validation": 1.0}},
            r"train.validation: expected a number, 0 or more, below 1, found 1",
        ),
        (
            {"variants": {"x": {"model": "dualhead", "train": {"validation": -0.1}}}},
            "variants.x.train.validation: expected a number, 0 or more, below 1, found -0.1",
        ),
        (
            {"ensemble": {"streams": {"mine": {"joint": "fitted", "bone": 1.0}}}},
            "ensemble.streams.mine: expected all weights as numbers or all as `fitted`",
        ),
        (
            {"ensemble": {"streams": {"mine": {"joint": "best"}}}},
            "ensemble.streams.mine.joint: expected a number",
        ),
        (
            {"tables": {"t": {"kind": "ablation"}}},
            "tables.t: the setting 'benchmark' is missing; expected a name",
        ),
        (
            {"benchmarks": {"b": {"dataset": "nowhere", "split": "xsub"}}},
            "benchmarks.b.dataset: 'nowhere' is not defined",
        ),
    ],
)
def test_a_wrong_setting_is_one_line_that_says_where(tmp_path, changes, message):
    path = workspace(tmp_path, **changes)
    with pytest.raises(ValueError, match=message) as caught:
        checks.load(path)
    assert "\n" not in str(caught.value)


def test_a_file_that_extends_itself_is_refused(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text("extends: params.yaml\n")
    with pytest.raises(ValueError, match="extends itself"):
        checks.load(path)


def test_yaml_cannot_make_objects(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text("seeds: !!python/object/apply:os.getcwd []\n")
    with pytest.raises(ValueError, match="not valid YAML"):
        checks.load(path)


def test_a_dumped_run_has_the_same_address(paper, tmp_path):
    address, settings = next(iter(resolve(paper)["runs"].items()))
    path = tmp_path / "config.yaml"
    path.write_text(params.dump(settings))
    assert address.endswith(params.address(params.read_yaml(path)))


def selection_table(variant: str) -> params.Settings:
    """Return tables that ask for fitted weights of a variant."""
    streams = ["two_stream", "two_stream_fitted", "four_stream_weighted"]
    table = {"kind": "comparison", "benchmarks": ["ntu60_xsub"], "streams": streams}
    return {"selection": table | {"variant": variant}}


def test_weights_cannot_be_fitted_where_nobody_is_held_out(tmp_path):
    path = workspace(tmp_path, tables=selection_table("dualhead"))
    message = (
        r"tables.selection: two_stream_fitted fits its weights on held-out subjects, but dualhead "
        r"on ntu60_xsub holds none out; take a variant whose train.validation is above 0"
    )
    with pytest.raises(ValueError, match=message):
        checks.load(path)


def test_one_training_serves_equal_and_fitted_weights(tmp_path):
    grid = resolve(checks.load(workspace(tmp_path, tables=selection_table("held_out"))))
    assert (len(grid["runs"]), len(grid["ensembles"])) == (4, 3)
    assert {run["train"]["validation"] for run in grid["runs"].values()} == {0.1}
    weights = [entry["weights"] for entry in grid["ensembles"].values()]
    assert {"joint": "fitted", "bone": "fitted"} in weights
    assert {"joint": 0.6, "bone": 0.6, "joint_motion": 0.4, "bone_motion": 0.4} in weights


def test_the_whole_plan_of_nw_ucla_is_ten_trainings_a_seed(root):
    folder = root / "examples/nw_ucla"
    grid = resolve(load_workspace(folder, configfiles=[folder / "params.gpu.yaml"]))
    assert len(grid["runs"]) == 10 * len(grid["seeds"])
    assert {cell["table"] for cell in grid["cells"]} == {"table1", "table4", "selection"}
