"""Everything behind a number: found by a part of its name, complete, and never another's."""

import json
import re

import pytest

from dualhead.cli.main import main
from dualhead.data.store import Store
from dualhead.report import copies, statistics
from dualhead.report.explain import JUDGED, explain
from dualhead.report.query import find
from dualhead.report.results import Cell, addresses, read_results
from dualhead.runs.scores import read_scores
from dualhead.settings import params
from dualhead.settings.grid import resolve
from tests.builders import fake_results
from tests.builders.edits import edit_record
from tests.builders.fake_results import Fake, paper_params, synthetic_params


@pytest.fixture(scope="module")
def paper() -> params.Settings:
    return resolve(paper_params(seeds=[1, 2]))


@pytest.fixture(scope="module")
def fake(tmp_path_factory) -> Fake:
    return fake_results.build(tmp_path_factory.mktemp("fake"), synthetic_params(seeds=[1, 2]))


@pytest.fixture(scope="module")
def published(root) -> params.Settings:
    return params.read_yaml(root / "reports" / "published.yaml")


@pytest.mark.parametrize(
    ("query", "cell"),
    [
        ("table1/joint/ntu60_xsub", "ntu60_xsub/dualhead/joint"),
        ("ntu60_xsub dualhead joint", "ntu60_xsub/dualhead/joint"),
        ("joint/dualhead/NTU60-Xsub", "ntu60_xsub/dualhead/joint"),
        ("table2/four/xset", "ntu120_xset/dualhead/four_stream"),
        ("fine_q", "ntu60_xsub/fine_quarter/joint"),
        ("ntu60_xview/joint_motion", "ntu60_xview/dualhead/joint_motion"),
        ("kinetics/two_stream/seed2", "kinetics/dualhead/two_stream"),
    ],
)
def test_a_cell_is_found_by_as_much_of_its_name_as_is_its_own(paper, query, cell):
    assert str(find(paper, query).cell) == cell


@pytest.mark.parametrize("form", ["{0}", "results/{0}/metrics.json", "seed2-{1}"])
@pytest.mark.parametrize("stream", ["joint", "four_stream"])
def test_an_address_names_its_cell_and_its_seed(paper, form, stream):
    address = addresses(paper, Cell("ntu60_xsub", "dualhead", stream))["2"]
    found = find(paper, form.format(address, address.rsplit("-", 1)[1]))
    assert (found.cell.stream, dict(found.seeds)) == (stream, {"2": address})


def test_several_cells_are_listed(paper):
    with pytest.raises(ValueError, match=r"'table4' fits 4 cells: .*no_attention/joint.*say more"):
        find(paper, "table4")


def test_an_unknown_cell_lists_the_nearest(paper):
    with pytest.raises(ValueError, match=r"no cell 'no_atention'.* near it are ntu60_xsub/no_att"):
        find(paper, "no_atention")


def test_nothing_asked_is_nothing_found(paper):
    with pytest.raises(ValueError, match="no cell"):
        find(paper, " / ")


def test_everything_behind_a_run_is_told(fake):
    told = explain(fake.grid, fake.results, "synthetic/dualhead/joint")
    address = addresses(fake.grid, Cell("synthetic_xsub", "dualhead", "joint"))["2"]
    metrics = json.loads((fake.results / address / "metrics.json").read_text())
    (store,) = fake.grid["stores"]
    for expected in (
        f"{metrics['last']['fusion']['softmax']['top1']:.2f}",
        f"top1 {metrics['best_on_test']['fusion']['softmax']['top1']:.2f}",
        "± ",
        "2 of 2 seeds",
        str(fake.results / address),
        "best epoch on the test set",
        "commit 0123456789ab, clean",
        "python 3.11.7, torch 2.13.0, numpy 2.4.6",
        "CPU, 2 threads",
        "1 h 31 min; 3.03 CPU-hours on 2 threads",
        "612.4 training samples/s",
        "1.84 GB",
        "3,015,253 parameters, 18.937 GMACs",
        f"{store}.h5",
        "0123456789abcdef",
        "data/raw/synthetic",
        "normalize rotate",
        "all as the defaults",
    ):
        assert expected in told, expected


def test_an_ensemble_tells_its_weights_and_every_run_it_sums(fake):
    told = explain(fake.grid, fake.results, "four_stream seed1")
    assert "joint 1, bone 1, joint_motion 1, bone_motion 1; the sum of softmax" in told
    address = addresses(fake.grid, Cell("synthetic_xsub", "dualhead", "four_stream"))["1"]
    members = fake.grid["ensembles"][address.removeprefix("ensembles/")]["members"].values()
    assert all(f"runs/{member}" in told for member in members)


def test_settings_are_what_differs_or_all(fake):
    name = "synthetic/no_attention/seed1"
    assert "model.temporal_attention: none (default cross)" in explain(
        fake.grid, fake.results, name
    )
    assert "momentum: 0.9" not in explain(fake.grid, fake.results, name)
    assert "momentum: 0.9" in explain(fake.grid, fake.results, name, complete=True)


def test_dirty_code_and_a_gpu_are_said(tmp_path):
    fake = fake_results.build(tmp_path, synthetic_params())
    for path in fake.results.glob("runs/*/*/joint/*/metrics.json"):
        changes = {"git": "abc-dirty", "device": "NVIDIA H200", "data": {"fingerprint": "f00d"}}
        edit_record(path, lambda metrics, changes=changes: metrics.update(changes))
    told = explain(fake.grid, fake.results, "dualhead/joint")
    assert "commit abc, DIRTY" in told
    assert "1.52 GPU-hours" in told
    assert "f00d, as the training saw it" in told


def test_an_accuracy_without_the_test_samples_that_were_trained_on_is_told(fake, monkeypatch):
    assert "WARNING" not in explain(fake.grid, fake.results, "dualhead/bone/seed1")
    (path,) = fake.stores.glob("*.h5")
    with Store(path) as store:
        train, test = (part.tolist() for part in store.split("xsub"))
        copied = {store.names[position] for position in test[:7]}
    groups = [[train[0], *test[:7]]]
    monkeypatch.setattr(copies, "same_content", lambda store: groups)
    address = addresses(fake.grid, Cell("synthetic_xsub", "dualhead", "bone"))["1"]
    scores = read_scores(fake.results / address / "scores.h5", "last", "fusion", "softmax")
    rows = zip(scores.names, scores.values.argmax(1), scores.labels, strict=True)
    right = [best == label for name, best, label in rows if name not in copied]
    told = explain(fake.grid, fake.results, "dualhead/bone/seed1")
    expected = f"7 test samples .* top1 without them {100 * sum(right) / len(right):.2f}"
    assert re.search(expected, told)


def test_verdicts_are_told_with_and_without_copied_test_samples(tmp_path, published):
    table = {"kind": "comparison", "benchmarks": ["ntu60_xsub"], "variant": "dualhead"}
    tables = {"one": table | {"streams": ["joint"], "metrics": ["top1"]}}
    fake = fake_results.build(
        tmp_path, paper_params(seeds=[1, 2, 3], tables=tables), num_test=60, copied=9
    )
    told = explain(fake.grid, fake.results, "dualhead/joint", published=published)
    cell = Cell("ntu60_xsub", "dualhead", "joint")
    found = read_results(fake.grid, fake.results, cell)
    (store,) = fake.stores.glob("*.h5")
    with Store(store) as opened:
        copied = copies.copied_tests(opened)["xsub"]
    assert len(copied) == 9
    for parts, names in (("all test samples", frozenset()), ("without 9 copied", copied)):
        last, best = (_spread_without(fake.results, found, it, names) for it in JUDGED)
        expected = (
            f"{statistics.verdict_of_last(last, best, 90.3, 0.2)} (last epoch), "
            f"{statistics.verdict(best, 90.3, 0.2)} (best on test); {parts}"
        )
        assert re.sub(r" \(\d+\)", "", expected) in re.sub(r" \(\d+\)", "", told)


def _spread_without(results, found, selection, copied):
    """Return the spread of accuracies over the samples that are not copied, counted one by one."""
    values = []
    for one in found:
        scores = read_scores(results / one.address / "scores.h5", selection, "fusion", "softmax")
        rows = zip(scores.names, scores.values.argmax(1), scores.labels, strict=True)
        right = [best == label for name, best, label in rows if name not in copied]
        values.append(100 * sum(right) / len(right))
    return statistics.spread(values, len(right))


def test_an_ensemble_where_the_paper_has_no_number_is_set_beside_others(tmp_path, published):
    settings = {
        "datasets": {"nw_ucla": {"kind": "nw_ucla", "raw": ["nw_ucla.tar.gz"]}},
        "benchmarks": {"nw_ucla_xview": {"dataset": "nw_ucla", "split": "xview"}},
        "tables": {
            "one": {
                "kind": "comparison",
                "benchmarks": ["nw_ucla_xview"],
                "variant": "dualhead",
                "streams": ["two_stream"],
                "metrics": ["top1"],
            }
        },
    }
    fake = fake_results.build(tmp_path, paper_params(seeds=[1], **settings), num_test=60, copied=9)
    told = explain(fake.grid, fake.results, "two_stream", published=published)
    assert re.search(r"CTR-GCN 96\.5: ours .\d+\.\d\d, .\d+\.\d\d without 9 copied", told)
    assert "no verdict, as it is another method's" in told
    assert "CTR-GCN" not in explain(fake.grid, fake.results, "dualhead/joint", published=published)


def test_what_was_not_run_is_said_with_the_papers_number(tmp_path, published):
    grid = resolve(paper_params())
    told = explain(grid, tmp_path, "table1/joint/ntu60_xsub", published=published)
    assert "ours            not run" in told
    assert "the paper's     90.3" in told
    assert "the store is not here" in told


def test_the_command_needs_no_option_in_a_workspace(fake, monkeypatch, capsys):
    monkeypatch.chdir(fake.results.parent)
    assert main(["explain", "comparison", "bone"]) == 0
    assert "synthetic_xsub/dualhead/bone" in capsys.readouterr().out
    assert main(["explain", "bonne"]) == 1
    assert "near it are" in capsys.readouterr().err


def test_outside_a_workspace_the_command_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["explain", "joint"]) == 1
    assert "a workspace is a folder with a params.yaml" in capsys.readouterr().err
