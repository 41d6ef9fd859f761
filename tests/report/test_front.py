"""The first page: titles and protocols are earned, claims are tested, copies are left out by name."""

import numpy as np
import pytest

from dualhead.data.store import Store
from dualhead.report.claims import CONTRADICTED, HOLDS, ONE_RUN, claims_of, totals
from dualhead.report.copies import all_without, copied_tests
from dualhead.report.pdf.front import abstract, copies_table, heading, main_table, warnings
from dualhead.report.pdf.protocol import protocol
from dualhead.report.pdf.runs import read_runs
from dualhead.report.results import Cell, addresses
from dualhead.report.statistics import NOT_RUN, UNDECIDED
from dualhead.report.tables import build_table
from dualhead.runs.scores import read_scores
from dualhead.settings import params
from tests.builders import fake_results
from tests.builders.fake_results import paper_params, synthetic_params


@pytest.fixture(scope="module")
def published(root) -> params.Settings:
    return params.read_yaml(root / "reports" / "published.yaml")


@pytest.fixture(scope="module")
def one_seed(tmp_path_factory) -> fake_results.Fake:
    return fake_results.build(tmp_path_factory.mktemp("one_seed"), synthetic_params())


def grid_of(changes):
    settings = paper_params()
    for section, values in changes.items():
        settings[section] = {**settings[section], **values}
    return fake_results.resolve(settings)


def told(grid, folder, published):
    runs = read_runs(grid, folder)
    return heading(grid, runs, published, protocol(grid, runs)), protocol(grid, runs)


def test_nothing_is_called_a_reproduction_before_it_is_made(tmp_path, published):
    title, own = told(grid_of({}), tmp_path, published)
    assert title == "A reproduction of DualHead-Net, unfinished"
    assert own == (True, "the paper\N{RIGHT SINGLE QUOTATION MARK}s")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"train": {"epochs": 65}}, "epochs 65 (not 80)"),
        ({"train": {"learning_rate": 0.05}}, "learning rate 0.05 (not 0.1)"),
        ({"evaluate": {"fusion": "logits"}}, "1 setting is not"),
        ({"input": {"num_frames": 64}}, "1 setting is not"),
        ({"prepare": {"normalize": "first_frame"}}, "1 setting is not"),
    ],
)
def test_another_schedule_is_not_the_papers_protocol(changes, said, tmp_path, published):
    title, own = told(grid_of(changes), tmp_path, published)
    assert not own.is_the_papers
    assert said in own.text
    assert "reproduction" not in title


def test_a_dataset_that_the_paper_does_not_use_is_no_reproduction(tmp_path, published):
    settings = synthetic_params()
    settings["datasets"]["synthetic"]["kind"] = "nw_ucla"
    settings["benchmarks"]["synthetic_xsub"]["split"] = "xview"
    title, own = told(fake_results.resolve(settings), tmp_path, published)
    assert title == "DualHead-Net on NW-UCLA X-view"
    assert own.text.endswith("the paper does not use this dataset")


def test_generated_recordings_are_called_a_demonstration(tmp_path, published):
    title, _ = told(fake_results.resolve(synthetic_params()), tmp_path, published)
    assert title == "DualHead-Net: a demonstration on generated data"


def paper_tables(fake, published, names):
    return {name: build_table(fake.grid, name, fake.results, published) for name in names}


@pytest.fixture(scope="module")
def ntu(tmp_path_factory):
    """Return the ablations of NTU RGB+D 60 with four seeds of three variants, the others not run."""
    made = ("/dualhead/joint", "ms_g3d", "no_attention", "self_spatial/joint/seed1")
    settings = paper_params(seeds=[1, 2, 3, 4])
    return fake_results.build(
        tmp_path_factory.mktemp("ntu"),
        settings,
        exists=lambda run: run.startswith("ntu60_xsub") and any(name in run for name in made),
    )


def test_each_claim_of_the_paper_has_a_verdict_by_what_was_run(ntu, published):
    tables = paper_tables(ntu, published, ["table1", "table4", "table5", "table8"])
    frame = tables["table4"]
    claims = {claim.claim: claim for claim in claims_of(tables, published)}
    assert len(claims) == len(claims_of(tables, published)) == 2 + 3 + 2 + 2 + 1
    size = claims["The full network has fewer parameters than MS-G3D"]
    assert (size.paper, size.ours) == ("3.0 M for 3.2 M", "3.015 M for 3.195 M")
    assert size.verdict == HOLDS
    baseline = claims["The full network is better than its baseline, MS-G3D"]
    row = frame[frame["row"] == "ms_g3d"].iloc[0]
    assert baseline.paper == "\N{MINUS SIGN}0.9"
    assert baseline.ours.startswith(f"{row['step']:+.2f}".replace("-", "\N{MINUS SIGN}"))
    shown = row["step_p_holm"] < 0.05
    assert baseline.verdict == (HOLDS if row["step"] < 0 else CONTRADICTED) if shown else UNDECIDED
    assert claims["Spatial attention helps beside temporal attention"].verdict == NOT_RUN
    assert (
        claims["Spatial attention from the other head is better than from the own"].verdict
        == ONE_RUN
    )
    for verdict in {claim.verdict for claim in claims.values()} - {ONE_RUN, HOLDS}:
        assert verdict in totals(list(claims.values()))


def test_the_abstract_counts_the_claims_that_have_been_tested(ntu, published):
    runs = read_runs(ntu.grid, ntu.results)
    tables = paper_tables(ntu, published, ["table1", "table4", "table5", "table8"])
    claims = claims_of(tables, published)
    run = [claim for claim in claims if claim.verdict != NOT_RUN]
    assert 0 < len(run) < len(claims)
    sentence = abstract(ntu.grid, runs, tables, claims, [])[2]
    assert f"{len(run)} of {len(claims)} that the tables ask for have been tested" in sentence
    waiting = [claim for claim in claims if claim.verdict == NOT_RUN]
    assert "has been tested yet" in abstract(ntu.grid, runs, tables, waiting, [])[2]


def test_a_step_that_turns_out_the_other_way_contradicts_its_claim(ntu, published):
    frame = paper_tables(ntu, published, ["table4"])["table4"]
    at = frame["row"] == "no_attention"
    for step, p, expected in (
        (0.5, 0.01, CONTRADICTED),
        (-0.5, 0.01, HOLDS),
        (0.5, 0.2, UNDECIDED),
    ):
        frame.loc[at, ["step", "step_p_holm"]] = step, p
        found = {claim.claim: claim.verdict for claim in claims_of({"table4": frame}, published)}
        assert found["Attention across the heads helps"] == expected


def test_every_number_is_given_without_the_copied_test_samples(tmp_path, published):
    fake = fake_results.build(tmp_path, synthetic_params(seeds=[1, 2]), copied=7)
    (path,) = fake.stores.glob("*.h5")
    with Store(path) as store:
        copied = copied_tests(store)
        tests = [store.names[place] for place in store.split("xsub")[1]]
    assert copied["xsub"] == set(tests[:7])
    without = list(all_without(fake.grid, fake.results, {path.stem: copied}))
    assert {one.cell for one in without} == {
        Cell(entry["benchmark"], entry["variant"], entry["stream"]) for entry in fake.grid["cells"]
    }
    for stream in ("joint", "four_stream"):
        cell = Cell("synthetic_xsub", "dualhead", stream)
        (one,) = (it for it in without if it.cell == cell)
        expected = []
        for address in addresses(fake.grid, cell).values():
            scores = read_scores(fake.results / address / "scores.h5", "last", "fusion", "softmax")
            rows = zip(scores.names, scores.values.argmax(1), scores.labels, strict=True)
            kept = [best == label for name, best, label in rows if name not in tests[:7]]
            expected.append(100 * sum(kept) / len(kept))
        assert one.accuracies["last"][1] == pytest.approx(np.mean(expected))
        text = f"{np.mean(expected):.2f}"
        tables = {"comparison": build_table(fake.grid, "comparison", fake.results, published)}
        assert text in str(main_table(tables, without)["rows"])
        assert text in str(copies_table(fake.grid, without)["rows"])
        runs = read_runs(fake.grid, fake.results)
        assert len(abstract(fake.grid, runs, tables, [], without)) == 4


def test_no_column_speaks_of_copies_where_there_are_none(one_seed, published):
    fake = one_seed
    (path,) = fake.stores.glob("*.h5")
    with Store(path) as store:
        without = list(all_without(fake.grid, fake.results, {path.stem: copied_tests(store)}))
    tables = {"comparison": build_table(fake.grid, "comparison", fake.results, published)}
    assert copies_table(fake.grid, without) is None
    titles = [column["title"] for column in main_table(tables, without)["columns"]]
    assert "Without copies" not in titles


def test_the_abstract_ranks_generated_networks_with_their_spread(tmp_path, published):
    fake = fake_results.build(tmp_path, synthetic_params(seeds=[1, 2, 3]))
    frame = build_table(fake.grid, "table4", fake.results, published)
    runs, means = read_runs(fake.grid, fake.results), {}
    text = abstract(fake.grid, runs, {"table4": frame}, [], [])[2]
    for variant in fake.grid["tables"]["table4"]["rows"]:
        cell = Cell("synthetic_xsub", variant, "joint")
        paths = [fake.results / it / "scores.h5" for it in addresses(fake.grid, cell).values()]
        found = [read_scores(path, "last", "fusion", "softmax") for path in paths]
        right = [100 * np.mean(it.values.argmax(1) == it.labels) for it in found]
        means[np.mean(right)] = f"{np.mean(right):.2f} ± {np.std(right, ddof=1):.2f} %"
    places = [text.index(means[mean]) for mean in sorted(means, reverse=True)]
    assert places == sorted(places) and len(places) == 4
    assert "is shown for" in text
    frame.loc[0, "mean"] = np.nan
    assert "Side by side" not in abstract(fake.grid, runs, {"table4": frame}, [], [])[2]


def test_one_run_each_ranks_nothing(one_seed, published):
    frame = build_table(one_seed.grid, "table4", one_seed.results, published)
    runs = read_runs(one_seed.grid, one_seed.results)
    assert "which ranks no networks" in abstract(one_seed.grid, runs, {"table4": frame}, [], [])[2]


@pytest.mark.parametrize(("classes", "said"), [(8, "each of 2 fine ones"), (4, ""), (9, "")])
def test_the_warning_says_how_generated_classes_are_crossed(tmp_path, classes, said):
    settings = synthetic_params()
    settings["datasets"]["synthetic"] |= {"raw": [], "synthesize": {"classes": classes}}
    grid = fake_results.resolve(settings)
    text = warnings(grid, read_runs(grid, tmp_path))[0]["text"]
    assert ("coarse motions" in text) == bool(said) and said in text
