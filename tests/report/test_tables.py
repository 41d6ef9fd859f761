import json
import re
import shutil
from io import StringIO

import numpy as np
import pandas as pd
import pytest
import yaml
from rich.console import Console

from dualhead.files import write_record
from dualhead.report import statistics
from dualhead.report.pdf import content
from dualhead.report.published import published_margin
from dualhead.report.results import Cell, addresses, read_history
from dualhead.report.tables import build_table, curves, summary, write_summary, write_table
from dualhead.report.text import latex_text, markdown_text, printed, show_tables, verdict_text
from dualhead.settings import params
from dualhead.settings.grid import resolve
from tests.builders import fake_results
from tests.builders.edits import edit_record, sealed_again
from tests.builders.fake_results import Fake, paper_params, synthetic_params


@pytest.fixture(scope="session")
def published(root):
    return params.read_yaml(root / "reports" / "published.yaml")


@pytest.fixture(scope="module")
def paper(tmp_path_factory) -> Fake:
    """The paper's grid at three seeds; only NTU RGB+D 60 was run."""
    return fake_results.build(
        tmp_path_factory.mktemp("paper"),
        paper_params(seeds=[1, 2, 3]),
        exists=lambda run: run.startswith("ntu60"),
    )


@pytest.fixture(scope="module")
def unharmed(tmp_path_factory) -> Fake:
    return fake_results.build(tmp_path_factory.mktemp("synthetic"), synthetic_params())


@pytest.fixture
def synthetic(unharmed, tmp_path) -> Fake:
    """A copy to do harm to."""
    results = tmp_path / "results"
    shutil.copytree(unharmed.results, results)
    return unharmed._replace(results=results, stores=results / "store")


def build(fake, name, published):
    return build_table(fake.grid, name, fake.results, published)


@pytest.mark.parametrize("name", [f"table{number}" for number in range(1, 9)])
def test_every_table_of_the_paper_builds_before_anything_is_run(name, tmp_path, published):
    grid = resolve(paper_params())
    ours = build_table(grid, name, tmp_path, published).query("ours")
    assert set(ours["verdict"]) == {"not run"}
    assert ours["paper"].notna().all()
    assert ours["mean"].isna().all()


@pytest.mark.parametrize(("name", "rows"), [("table1", 25), ("table2", 16), ("table3", 15)])
def test_a_comparison_has_every_row_of_the_papers_table_in_its_order(name, rows, paper, published):
    (part,) = printed(build(paper, name, published))
    assert rows == len(part.rows)
    entries = published["tables"][name]["methods"]
    methods = [entry["label"] + entry.get("mark", "") for entry in entries]
    assert methods == [row[0] for row in part.rows[: len(methods)]]


def _printed_numbers(shared, first: str, last: str) -> list[str]:
    text = next((shared / "paper").glob("*.txt")).read_text()
    lines = text[text.index(first) : text.index(last)].splitlines()
    return [line for line in lines if re.search(r"\d\d\.\d", line)]


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [
        ("table1", "Methods Publisher NTU RGB+D 60\n", "Table 1: Comparison"),
        ("table2", "Methods Publisher NTU RGB+D 120\n", "Table 2: Comparison"),
        ("table3", "Methods Publisher Kinetics", "Table 3: Comparison"),
    ],
)
def test_the_published_comparisons_are_the_papers(name, first, last, shared, published):
    table = published["tables"][name]
    entries = [(method["label"], method["publisher"], method) for method in table["methods"]] + [
        (f"{short} DualHead-Net", "-", table["ours"]["dualhead"][stream])
        for short, stream in zip(
            ("Js", "Bs", "2s", "4s"),
            ("joint", "bone", "two_stream", "four_stream"),
            strict=True,
        )
    ]
    lines = _printed_numbers(shared, first, last)
    assert len(entries) == len(lines)
    for (label, publisher, entry), line in zip(entries, lines, strict=True):
        values = [*entry["top1"].values(), *entry.get("top5", {}).values()]
        assert line.startswith(label)
        assert f" {publisher} " in line
        assert values == [float(number) for number in line.split()[-2:]]


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [
        ("table4", "Method Params Dual head", "Table 4: Ablation"),
        ("table5", "Channel reduction Params", "Table 5: Different"),
        ("table6", "G3D pathways Params", "Table 6: Comparison"),
        ("table7", "Temporal subsample Acc", "Table 7: Ablation"),
        ("table8", "Attention type Mechanism", "Table 8: Comparison"),
    ],
)
def test_the_published_ablations_are_the_papers(name, first, last, shared, published):
    rows = published["tables"][name]["rows"]
    lines = _printed_numbers(shared, first, last)
    assert [row["top1"] for row in rows] == [float(line.split()[-1]) for line in lines]
    counts = [float(found) for line in lines for found in re.findall(r"(\d\.\d)M", line)]
    assert [row["parameters"] for row in rows if "parameters" in row] == counts


def test_every_citation_has_an_entry(root, published):
    entries = re.findall(r"@\w+\{(\w+),", (root / "reports" / "references.bib").read_text())
    text = json.dumps(published)
    cited = re.findall(r'"citation": "(\w+)"', text) + re.findall(r" @(\w+)", text)
    assert set(cited) <= set(entries)
    assert len(entries) == len(set(entries))


def test_ours_is_the_mean_over_seeds_at_the_last_epoch(paper, published):
    frame = build(paper, "table4", published).set_index("row")
    cell = Cell("ntu60_xsub", "dualhead", "joint")
    metrics = [
        json.loads((paper.results / address / "metrics.json").read_text())
        for address in addresses(paper.grid, cell).values()
    ]
    last = [one["last"]["fusion"]["softmax"]["top1"] for one in metrics]
    best = [one["best_on_test"]["fusion"]["softmax"]["top1"] for one in metrics]
    row = frame.loc["dualhead"]
    assert np.mean(last) == pytest.approx(row["mean"])
    assert np.std(last, ddof=1) == pytest.approx(row["std"])
    assert np.mean(best) == pytest.approx(row["best_on_test"])
    assert row["mean"] - 90.3 == pytest.approx(row["difference"])
    assert row["num_seeds"] == 3


@pytest.fixture(scope="module")
def held_out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("held_out")
    return fake_results.build(folder, fake_results.held_out_params(seeds=[1, 2]))


def test_the_best_on_validation_stands_between_last_and_best_on_test(held_out, published):
    frame = build(held_out, "selection", published)
    row = frame.set_index("row").loc["held_out/joint"]
    cell = Cell("synthetic_xsub", "held_out", "joint")
    best = [
        json.loads((held_out.results / address / "metrics.json").read_text())["best_on_validation"]
        for address in addresses(held_out.grid, cell).values()
    ]
    expected = np.mean([one["fusion"]["softmax"]["top1"] for one in best])
    assert row["best_on_validation"] == pytest.approx(expected)
    header = markdown_text(frame).splitlines()[2]
    titles = [title.strip() for title in header.strip("|").split("|")]
    assert [title.removeprefix("Synthetic X-sub ") for title in titles[1:]] == [
        *("Last epoch", "95 % interval", "Best on validation", "Best on test")
    ]
    assert "2s fitted DualHead-Net, subjects held out (ours)" in list(frame["label"])


def test_a_table_without_held_out_subjects_has_no_column_for_them(held_out, published):
    frame = build(held_out, "comparison", published)
    assert frame["best_on_validation"].isna().all()
    assert "validation" not in markdown_text(frame)


def test_published_rows_are_left_out_where_asked(paper, published):
    grid = json.loads(json.dumps(paper.grid))
    assert not build(paper, "table1", published)["ours"].all()
    grid["tables"]["table1"]["published"] = False
    assert build_table(grid, "table1", paper.results, published)["ours"].all()


def test_a_step_is_the_difference_of_two_variants(paper, published):
    frame = build(paper, "table4", published).set_index("row")
    row = frame.loc["ms_g3d"]
    assert row["mean"] - frame.loc["dualhead", "mean"] == pytest.approx(row["step"])
    assert pytest.approx(row["step_paper"]) == 89.4 - 90.3
    assert row["step_low"] < row["step"] < row["step_high"]
    assert pd.isna(frame.loc["dualhead", "step"])


def test_a_row_that_stands_twice_is_printed_twice(paper, published):
    (part,) = printed(build(paper, "table8", published))
    assert len(part.rows) == 4
    assert part.rows[0][2:] == part.rows[2][2:]


def test_a_workspace_without_published_numbers_shows_only_ours(synthetic, published):
    frame = build(synthetic, "comparison", published)
    assert frame["ours"].all()
    assert frame["paper"].isna().all()
    titles = [column.title for column in printed(frame)[0].columns]
    assert titles == ["Method", "Last epoch", "95 % interval", "Best on test"]


def test_a_synthetic_ablation_keeps_the_labels_but_not_the_numbers(synthetic, published):
    frame = build(synthetic, "table4", published)
    assert "Dual head + TA" in set(frame["label"])
    assert frame["paper"].isna().all()
    assert "paper" not in frame["title"].iloc[0]


def test_another_dataset_shows_its_published_methods_but_no_verdict(tmp_path, published):
    table = {"kind": "comparison", "benchmarks": ["nw_ucla"], "streams": ["joint"]}
    settings = synthetic_params(
        datasets={"nw_ucla": {"kind": "nw_ucla", "raw": ["data/raw"]}},
        benchmarks={"nw_ucla": {"dataset": "nw_ucla", "split": "xview"}},
        tables={"table1": table},
        figures={"benchmark": "nw_ucla", "variant": "dualhead", "baseline": "ms_g3d"}
        | {"stream": "joint"},
    )
    fake = fake_results.build(tmp_path, settings)
    frame = build(fake, "table1", published)
    assert {"InfoGCN", "LSTC-MDA"} < set(frame["label"])
    assert frame["verdict"].isna().all()
    assert [column.title for column in printed(frame)[0].columns][2] == "Published"


def test_a_partial_dataset_gets_no_verdict(tmp_path, published):
    settings = paper_params(tables={"table7": paper_params()["tables"]["table7"]})
    settings["datasets"]["ntu60"]["partial"] = True
    fake = fake_results.build(tmp_path, settings)
    assert set(build(fake, "table7", published)["verdict"]) == {"not comparable"}


def test_two_variants_can_stand_in_one_comparison(tmp_path, published):
    table = {"kind": "comparison", "benchmarks": ["synthetic_xsub"], "streams": ["joint"]}
    both = {**table, "variants": ["dualhead", "ms_g3d"]}
    fake = fake_results.build(tmp_path, synthetic_params(tables={"both": both}))
    rows = list(build(fake, "both", published)["row"])
    assert rows == ["dualhead/joint", "ms_g3d/joint"]


def test_a_swapped_metrics_file_is_refused_by_name(synthetic, published):
    joint, bone = (
        synthetic.results / addresses(synthetic.grid, Cell("synthetic_xsub", "dualhead", name))["1"]
        for name in ("joint", "bone")
    )
    shutil.copy(bone / "metrics.json", joint / "metrics.json")
    with pytest.raises(ValueError, match=r"expected .*dualhead/joint.*found .*dualhead/bone"):
        build(synthetic, "comparison", published)


def with_scores_of_the_baseline(fake):
    """Put the baseline's score file into our run; return both runs' folders."""
    ours, baseline = (
        fake.results / addresses(fake.grid, Cell("synthetic_xsub", name, "joint"))["1"]
        for name in ("dualhead", "ms_g3d")
    )
    shutil.copy(baseline / "scores.h5", ours / "scores.h5")
    return ours, baseline


def test_a_swapped_score_file_is_refused_by_name(synthetic, published):
    ours, _ = with_scores_of_the_baseline(synthetic)
    with pytest.raises(ValueError, match=rf"{ours.name}.*another run's"):
        build(synthetic, "table4", published)


def edit(path, *keys, value):
    """Change one number of a metrics.json, and its digest with it."""

    def change(metrics):
        for key in keys[:-1]:
            metrics = metrics[key]
        metrics[keys[-1]] = value

    edit_record(path, change)


@pytest.mark.parametrize("selection", ["last", "best_on_test"])
@pytest.mark.parametrize("metric", ["top1", "top5", "mean_class"])
def test_an_edited_accuracy_is_refused_by_name(synthetic, published, selection, metric):
    address = addresses(synthetic.grid, Cell("synthetic_xsub", "dualhead", "bone"))["1"]
    path = synthetic.results / address / "metrics.json"
    edit(path, selection, "fusion", "softmax", metric, value=99.5)
    with pytest.raises(ValueError, match=rf"bone/seed1-.*give {selection} {metric} .*99\.50"):
        build(synthetic, "comparison", published)


@pytest.mark.parametrize("name", ["metrics.json", "scores.h5"])
def test_a_file_of_the_same_cell_with_other_settings_is_refused(synthetic, published, name):
    """The address alone tells a run of 80 epochs from one of 12."""
    address = addresses(synthetic.grid, Cell("synthetic_xsub", "dualhead", "joint"))["1"]
    path = synthetic.results / address / name
    if name == "metrics.json":
        edit(path, "address", value="0000000a")
    else:
        with sealed_again(path) as file:
            file.attrs["identity"] = file.attrs["identity"].replace(address[-8:], "0000000a")
    with pytest.raises(ValueError, match=rf"seed1-.*{name}.*{address[-8:]}.*found.*0000000a"):
        build(synthetic, "comparison", published)


def test_a_swapped_score_file_is_refused_though_as_good(synthetic, published):
    """Two seeds may well have the same accuracy; the scores say whose they are."""
    ours, baseline = with_scores_of_the_baseline(synthetic)
    stated = json.loads((baseline / "metrics.json").read_text())
    for selection in ("last", "best_on_test"):
        edit(ours / "metrics.json", selection, "fusion", value=stated[selection]["fusion"])
    with pytest.raises(ValueError, match=r"another run's, synthetic_xsub/ms_g3d/joint"):
        build(synthetic, "comparison", published)


def test_a_test_sample_that_was_scored_twice_is_refused(synthetic, published):
    address = addresses(synthetic.grid, Cell("synthetic_xsub", "dualhead", "joint"))["1"]
    with sealed_again(synthetic.results / address / "scores.h5") as file:
        first = file["names"].asstr()[0]
        file["names"][1] = first
    with pytest.raises(ValueError, match=rf"scores\.h5: sample {first} is there twice"):
        build(synthetic, "comparison", published)


def test_without_score_files_the_stated_accuracies_stand(synthetic, published):
    for path in synthetic.results.glob("runs/*/*/*/*/scores.h5"):
        path.unlink()
    assert build(synthetic, "comparison", published)["mean"].notna().any()


def test_a_damaged_metrics_file_is_named(synthetic, published):
    cell = Cell("synthetic_xsub", "dualhead", "joint")
    path = synthetic.results / addresses(synthetic.grid, cell)["1"] / "metrics.json"
    path.write_text("{")
    with pytest.raises(ValueError, match=r"metrics\.json: damaged: expected JSON"):
        build(synthetic, "comparison", published)


def test_an_edited_metrics_file_is_refused(synthetic, published):
    cell = Cell("synthetic_xsub", "dualhead", "joint")
    path = synthetic.results / addresses(synthetic.grid, cell)["1"] / "metrics.json"
    path.write_text(path.read_text().replace('"parameters": 3', '"parameters": 2'))
    with pytest.raises(ValueError, match=r"metrics\.json: damaged or edited.* without training"):
        build(synthetic, "comparison", published)


def test_scores_of_the_same_run_that_were_made_another_time_are_refused(synthetic, published):
    """Whole, sealed and its own run's, but not those that the metrics were measured on."""
    address = addresses(synthetic.grid, Cell("synthetic_xsub", "dualhead", "joint"))["1"]
    path = synthetic.results / address / "scores.h5"
    stated = (path.parent / "metrics.json").read_bytes()
    with sealed_again(path) as file:
        file["last/fusion/softmax"][0] = file["last/fusion/softmax"][0] * 0.999
    (path.parent / "metrics.json").write_bytes(stated)
    with pytest.raises(ValueError, match=r"scores\.h5: damaged, edited or another run's"):
        build(synthetic, "comparison", published)


def test_an_unknown_table_names_the_known_ones(synthetic, published):
    with pytest.raises(ValueError, match="table4"):
        build(synthetic, "table9", published)


def test_the_csv_holds_what_the_frame_holds(paper, published, tmp_path):
    frame = build(paper, "table1", published)
    paths = {"csv": "t.csv", "markdown": "t.md", "latex": "t.tex"}
    write_table(frame, **{key: tmp_path / name for key, name in paths.items()})
    read = pd.read_csv(tmp_path / "t.csv")
    assert list(read.columns) == list(frame.columns)
    np.testing.assert_allclose(read["mean"], frame["mean"], atol=1e-6)
    assert markdown_text(read) == markdown_text(frame)
    assert latex_text(read) == latex_text(frame)


def test_markdown_has_as_many_cells_in_each_row(paper, published):
    lines = markdown_text(build(paper, "table3", published)).splitlines()
    assert {line.count("|") for line in lines if line.startswith("|")} == {15}


def test_latex_cites_and_escapes(paper, published):
    text = latex_text(build(paper, "table1", published))
    assert r"2s-AGCN~\cite{agcn} & CVPR19 & 88.5" in text
    assert r"accuracy (\%)" in text
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 1
    rows = [
        line for line in text.splitlines() if line.endswith(r"\\") and "multicolumn" not in line
    ]
    assert {line.count("&") for line in rows} == {13}


def test_latex_prints_what_stands_in_a_title(paper, published):
    frame = build(paper, "table1", published)
    frame["title"], frame["table"] = r"1 % of #1 & $x_1$ {e} ~f^g \h", "50 % & more"
    text = latex_text(frame)
    printed_title = (
        r"1 \% of \#1 \& \$x\_1\$ \{e\} \textasciitilde{}f\textasciicircum{}g \textbackslash{}h"
    )
    assert rf"\caption{{{printed_title}}}\label{{tab:50-----more}}" in text


def test_the_terminal_shows_ours_with_verdicts(paper, published):
    console = Console(file=StringIO(), width=160)
    show_tables({"table1": build(paper, "table1", published)}, console)
    shown = console.file.getvalue()
    assert "4s DualHead-Net" in shown
    assert "Verdict (last)" in shown
    assert "Verdict (best)" in shown
    assert "GCA-LSTM" not in shown


def test_the_summary_has_stable_names(synthetic, tmp_path):
    found = summary(synthetic.grid, synthetic.results)
    assert set(found["synthetic_xsub"]["dualhead"]) == {
        "joint",
        "bone",
        "two_stream",
        "four_stream",
    }
    assert found["synthetic_xsub"]["ms_g3d"]["joint"]["seeds"] == 1
    write_summary(synthetic.grid, synthetic.results, tmp_path / "summary.json")
    assert found == json.loads((tmp_path / "summary.json").read_text())


def test_the_curves_hold_every_epoch_of_every_run(synthetic):
    frame = curves(synthetic.grid, synthetic.results)
    assert len(frame) == fake_results.EPOCHS * len(synthetic.grid["runs"])
    assert {"run", "modality", "seed", "epoch", "loss", "test_fusion_top1"} <= set(frame.columns)


def test_the_field_never_mixes_the_inputs_of_kinetics(published):
    inputs = published["field"]["kinetics"]
    assert len(inputs) == 2
    marks = {mark for row in published["field"]["methods"] for mark in row["marks"]}
    assert marks == {"", "2nd", "unverified"}
    assert all(row["source"] for row in published["field"]["methods"])


# --- verdicts, margins, corrections ----------------------------------------------------


@pytest.mark.parametrize(
    ("benchmark", "variant", "stream", "metric", "expected"),
    [
        ("ntu60_xsub", "dualhead", "joint", "top1", 0.2),  # 90.3 over 89.9 without attention
        ("ntu60_xsub", "no_attention", "joint", "top1", 0.2),
        ("ntu60_xsub", "ms_g3d", "joint", "top1", 0.45),
        ("ntu60_xsub", "temporal_attention", "joint", "top1", 0.05),
        ("ntu60_xsub", "dualhead", "two_stream", "top1", 0.1),  # 91.7 over 91.5
        ("ntu60_xview", "dualhead", "joint", "top1", 0.15),  # of the two streams
        ("kinetics", "dualhead", "four_stream", "top1", 0.2),  # 38.4 over 38.0
        ("kinetics", "dualhead", "joint", "top5", 0.1),
        ("ntu60_xsub", "dualhead", "bone_motion", "top1", 0.1),
    ],
)
def test_the_margin_is_half_of_the_claimed_gain(
    benchmark, variant, stream, metric, expected, paper, published
):
    found = published_margin(paper.grid, Cell(benchmark, variant, stream), metric, published)
    assert expected == pytest.approx(found)


def test_no_baseline_is_within_the_margin_of_the_claim(published):
    """The numbers that once were called reproductions of what was claimed over them."""
    for table in published["tables"].values():
        for streams in table.get("ours", {}).values():
            for entry in streams.values():
                for metric, rivals in entry.get("rival", {}).items():
                    for key, rival in rivals.items():
                        gain = abs(entry[metric][key] - rival)
                        assert published["margin"] * gain < gain


def test_a_rival_is_a_published_number(published):
    """Rivals are written beside each claim, so they must not drift from where they stand themselves."""
    baseline = published["tables"]["ms_g3d"]["ours"]["ms_g3d"]
    for name in ("table1", "table2", "table3"):
        for stream, entry in published["tables"][name]["ours"]["dualhead"].items():
            of_stream = baseline["two_stream" if stream == "four_stream" else stream]
            for metric, rivals in entry["rival"].items():
                for key, rival in rivals.items():
                    if (stream, key) == ("joint", "ntu60/xsub"):
                        assert rival == published["tables"]["table4"]["rows"][1]["top1"]
                    else:
                        assert rival == of_stream[metric][key]
                        claim = of_stream["rival"][metric][key]
                        assert stream == "four_stream" or claim == entry[metric][key]


def test_both_verdicts_stand_in_the_table(paper, published):
    frame = build(paper, "table1", published).query("ours")
    for _, row in frame.iterrows():
        cell = Cell(row["benchmark"], row["variant"], row["stream"])
        last, best = (
            statistics.spread(
                [
                    json.loads((paper.results / address / "metrics.json").read_text())[selection][
                        "fusion"
                    ]["softmax"]["top1"]
                    for address in addresses(paper.grid, cell).values()
                ],
                int(row["num_test"]),
            )
            for selection in ("last", "best_on_test")
        )
        assert row["verdict_best"] == statistics.verdict(best, row["paper"], row["margin"])
        assert row["verdict"] == statistics.verdict_of_last(last, best, row["paper"], row["margin"])
        assert best.std == pytest.approx(row["best_std"])


def test_an_undecided_verdict_says_how_many_seeds_would_decide():
    record = {"verdict": "undecided", "seeds_to_decide": 6.0}
    assert verdict_text()(record) == "undecided (6)"
    assert verdict_text()(record | {"seeds_to_decide": None}) == "undecided"


def test_holm_corrects_the_rows_of_a_table(paper, published):
    frame = build(paper, "table4", published).query("reference.notna()")
    smallest = frame["step_p"].idxmin()
    expected = min(1.0, 3 * frame.loc[smallest, "step_p"])
    assert expected == pytest.approx(frame.loc[smallest, "step_p_holm"])
    assert (frame["step_p_holm"] >= frame["step_p"]).all()
    assert set(frame["step_test"]) == {"paired t"}


def test_steps_are_paired_by_the_seeds_that_both_have(tmp_path, published):
    settings = paper_params(tables={"table4": paper_params()["tables"]["table4"]}, seeds=[1, 2, 3])
    lacking = ("no_attention/joint/seed1-", "ms_g3d/joint/seed1-", "ms_g3d/joint/seed2-")
    fake = fake_results.build(
        tmp_path, settings, exists=lambda run: not any(part in run for part in lacking)
    )
    frame = build(fake, "table4", published).set_index("row")
    assert list(frame["step_seeds"].dropna()) == [1, 2, 3]
    assert list(frame["step_test"].dropna()) == ["McNemar", "paired t", "paired t"]
    values = {
        name: [
            json.loads((fake.results / address / "metrics.json").read_text())["last"]["fusion"][
                "softmax"
            ]["top1"]
            for seed, address in addresses(fake.grid, Cell("ntu60_xsub", name, "joint")).items()
            if seed in "23"
        ]
        for name in ("no_attention", "dualhead")
    }
    expected = np.mean(values["no_attention"]) - np.mean(values["dualhead"])
    assert expected == pytest.approx(frame.loc["no_attention", "step"])


def test_seeds_needed_are_unknown_without_a_spread(tmp_path, published):
    settings = paper_params(tables={"table7": paper_params()["tables"]["table7"]})
    fake = fake_results.build(tmp_path, settings)
    assert build(fake, "table7", published)["seeds_needed"].isna().all()


def test_marked_rows_have_a_footnote(paper, published):
    text = markdown_text(build(paper, "table1", published))
    assert "| 4s Shift-GCN* |" in text
    assert "4s Shift-GCN has 90.7 and 96.5 in a later survey (Sun et al., Table III)" in text
    assert r"(Sun et al.~\cite{survey}, Table III)" in latex_text(build(paper, "table1", published))
    assert "RotClips" in build(paper, "table2", published)["note"].iloc[0]


def test_the_baseline_in_full_is_one_line_of_params(root, tmp_path, published):
    """The optional table, as it stands in the params.yaml; its trainings are counted above it."""
    text = (root / "params.yaml").read_text()
    found = re.search(
        r"# (\d+) more trainings a seed:\n((?:  #[ ]+.*\n)+)",
        text[text.index("baseline in full") :],
    )
    line = re.sub(r"\n +# +", " ", found[2].strip().removeprefix("# "))
    table = yaml.safe_load(line)
    settings = paper_params()
    before = resolve(settings)
    grid = resolve({**settings, "tables": settings["tables"] | table})
    assert len(grid["runs"]) - len(before["runs"]) == int(found[1])
    frame = build_table(grid, "ms_g3d", tmp_path, published)
    assert len(frame) == 20
    paper = frame.set_index(["row", "benchmark"])["paper"]
    assert paper["ms_g3d/two_stream", "ntu120_xset"] == 88.4
    assert "MS-G3D's author" in frame["note"].iloc[0]


def test_an_edited_history_is_refused_and_kept(synthetic):
    """Nobody is told to remove it: that would train the run again."""
    run = addresses(synthetic.grid, Cell("synthetic_xsub", "dualhead", "joint"))["1"]
    path = synthetic.results / run / "history.csv"
    assert read_history(synthetic.results, run.removeprefix("runs/")) is not None
    path.write_text(path.read_text().replace("1,", "2,", 1))
    with pytest.raises(ValueError, match=r"history\.csv: damaged, edited.* restore it from a copy"):
        read_history(synthetic.results, run.removeprefix("runs/"))


def test_a_history_that_is_lost_is_refused(tmp_path):
    run = tmp_path / "runs/run"
    write_record(run / "metrics.json", {}, {"history.csv": "0" * 64})
    with pytest.raises(
        ValueError, match=r"history\.csv: metrics\.json beside it names it, found none"
    ):
        read_history(tmp_path, "run")
    write_record(run / "metrics.json", {}, {})
    assert read_history(tmp_path, "run") is None


def test_a_number_of_several_tables_is_counted_once(paper, published):
    tables = {name: build(paper, name, published) for name in paper.grid["tables"]}
    rows = sum(int((frame["ours"] & frame["paper"].notna()).sum()) for frame in tables.values())
    last, best = (sum(int(row[place]) for row in content.verdicts(tables)) for place in (1, 2))
    assert rows == 24 + 18  # Tables 1 to 3; Tables 4 to 8
    assert last == best == 24 + 11  # our joints stand in six tables, MS-G3D's in two


def steps_of(record):
    """Return the printed row of one step, by column."""
    found = content.steps({"table4": pd.DataFrame([record])})
    return dict(
        zip([column["title"] for column in found["columns"]], found["rows"][0], strict=True)
    )


@pytest.mark.parametrize(
    ("seeds", "p", "holm", "shown"),
    [
        (1, 0.0001, 0.0003, "one run each"),
        (3, 0.03, 0.09, "no, 3 seeds each"),
        (5, 0.01, 0.03, "yes, 5 seeds each"),
        (None, None, None, "not run"),
    ],
)
def test_a_step_is_shown_by_the_corrected_p_and_never_by_one_run(
    paper, published, seeds, p, holm, shown
):
    record = build(paper, "table4", published).set_index("row").loc["ms_g3d"].to_dict()
    record |= {"row": "ms_g3d", "step_seeds": seeds, "step_p": p, "step_p_holm": holm}
    row = steps_of(record)
    assert shown == row["Shown?"]
    assert row["Table"] == "table4"  # the template sets the number of the report's own table
    assert (row["p"], row["p (Holm)"]) == tuple(
        "" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"
        for value in (p, holm)
    )
