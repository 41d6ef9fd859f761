import json
import re
import shutil
from datetime import date
from functools import lru_cache

import numpy as np
import pytest
from pypdf import PdfReader

from dualhead.data.store import Store
from dualhead.report.figures import FIGURES, available, draw
from dualhead.report.figures.inputs import Inputs
from dualhead.report.pdf import _figures, build_report
from dualhead.report.pdf.markdown import blocks, spans
from dualhead.report.tables import build_table, write_table
from dualhead.settings import params
from tests.builders import fake_results
from tests.builders.edits import edited_store
from tests.builders.fake_results import Fake, paper_params, synthetic_params

DEVIATIONS = """# Deviations
| what | ours |
|---|---|
| `learning_rate` | **0.1** |

- one
"""


PAPER, FOOT = 842, 60  # points: A4's height, and what its page number takes


def sources(fake: Fake, root, folder) -> dict:
    """Return what a report is made from, with the tables, figures and deviations of a folder."""
    return {
        "results": fake.results,
        "stores": fake.stores,
        "tables": folder,
        "figures": folder,
        "template": root / "reports" / "report.typ",
        "published": root / "reports" / "published.yaml",
        "bibliography": root / "reports" / "references.bib",
        "deviations": folder / "deviations.md",
        "output": folder / "report.pdf",
        "title": "a fake workspace",
        "date": date(2026, 11, 26),
    }


def report(fake: Fake, root, folder, figures=("curves",), deviations=DEVIATIONS):
    """Write tables, figures and the report of a workspace; return the PDF's path."""
    published = root / "reports" / "published.yaml"
    for name in fake.grid["tables"]:
        frame = build_table(fake.grid, name, fake.results, params.read_yaml(published))
        paths = [folder / f"{name}{suffix}" for suffix in (".csv", ".md", ".tex")]
        write_table(frame, csv=paths[0], markdown=paths[1], latex=paths[2])
    for name in figures:
        paths = folder / f"{name}.pdf", folder / f"{name}.svg"
        draw(name, fake.grid, fake.results, fake.stores, pdf=paths[0], svg=paths[1])
    (folder / "deviations.md").write_text(deviations)
    build_report(fake.grid, **sources(fake, root, folder))
    return folder / "report.pdf"


@lru_cache
def texts(pdf) -> list[str]:
    """Return the words of each page, single-spaced."""
    return [" ".join(page.extract_text().split()) for page in PdfReader(pdf).pages]


def headings(pdf) -> list[str]:
    return [entry.title for entry in PdfReader(pdf).outline if not isinstance(entry, list)]


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory) -> Fake:
    return fake_results.build(tmp_path_factory.mktemp("synthetic"), synthetic_params())


@pytest.fixture(scope="module")
def pdf(synthetic, root, tmp_path_factory):
    return report(synthetic, root, tmp_path_factory.mktemp("report"))


def test_the_first_page_says_that_the_data_is_synthetic(pdf):
    first, *_ = texts(pdf)
    assert "This data is synthetic." in first
    assert "a fake workspace" in first
    assert "demonstration on generated data Workspace a fake workspace, 26 November 2026" in first
    assert "commit 0123456789ab" in first
    assert "Synthetic X-sub DualHead-Net joint" in first


def test_the_report_has_bookmarks_and_no_missing_character(pdf):
    found = headings(pdf)
    for title in ("How to read the numbers", "Figures", "Data", "Cost", "Deviations", "References"):
        assert any(title in heading for heading in found), title
    assert "\N{REPLACEMENT CHARACTER}" not in "".join(texts(pdf))


@lru_cache
def pieces(pdf) -> list[tuple[int, float, float, str]]:
    """Return page, size in points and height above the page's foot of each piece of text."""
    found = []
    for number, page in enumerate(PdfReader(pdf).pages):

        def visit(text, matrix, text_matrix, font, size, number=number):
            if text.strip():
                scale = np.prod(
                    [abs(a * d - b * c) ** 0.5 for a, b, c, d, *_ in (text_matrix, matrix)]
                )
                height = text_matrix[5] * matrix[3] + matrix[5]
                found.append((number, scale * size, height, text.strip()))

        page.extract_text(visitor_text=visit)
    return found


WHOLE = pytest.mark.workflow  # from results to a PDF of all figures or all tables


@pytest.fixture(scope="module")
def whole(synthetic, root, tmp_path_factory):
    """Return the report with every figure that can be drawn, and the real deviations."""
    folder = tmp_path_factory.mktemp("whole")
    deviations = (root / "docs" / "deviations.md").read_text()
    return report(synthetic, root, folder, available(synthetic.grid), deviations)


@WHOLE
def test_no_type_is_smaller_than_seven_points(whole):
    sizes = [(round(size, 2), text) for _, size, _, text in pieces(whole)]
    assert len(sizes) > 500
    assert [piece for piece in sizes if piece[0] < 7] == []


@WHOLE
def test_no_page_but_the_last_is_under_half_full(whole):
    lowest = {}
    for number, _, height, _ in pieces(whole):
        if height > FOOT:
            lowest[number] = min(height, lowest.get(number, PAPER))
    last = max(lowest)
    assert {page: height for page, height in lowest.items() if height > PAPER / 2} in (
        {},
        {last: lowest[last]},
    )


@WHOLE
def test_every_figure_and_table_is_referred_to(pdf, whole):
    for kind, made in (("Figure", whole), ("Table", pdf)):  # deviations name the paper's tables
        everything = " ".join(texts(made))
        numbers = {int(number) for number in re.findall(rf"{kind} (\d+)\.", everything)}
        assert numbers == set(range(1, len(numbers) + 1))
        for number in numbers - {1}:  # the summary stands on the first page, by itself
            assert len(re.findall(rf"{kind} {number}\b", everything)) > 1, f"{kind} {number}"


@WHOLE
def test_text_and_figures_have_one_type_face(whole):
    fonts = set()
    for page in PdfReader(whole).pages:
        resources = [page["/Resources"]]
        resources += [
            it.get_object()["/Resources"]
            for it in page["/Resources"].get("/XObject", {}).values()
            if "/Resources" in it.get_object()
        ]
        for one in resources:
            fonts |= {
                it.get_object()["/BaseFont"].split("+")[-1] for it in one.get("/Font", {}).values()
            }
    assert any(name.startswith("STIXGeneral") for name in fonts)
    assert {name for name in fonts if not name.startswith(("STIX", "DejaVuSansMono"))} == set()


def test_the_contents_can_be_clicked(pdf):
    page = PdfReader(pdf).pages[0]
    kinds = [note.get_object().get("/Subtype") for note in page["/Annots"]]
    assert kinds.count("/Link") > 8


def test_the_page_of_recordings_can_be_clicked(pdf):
    notes = [note.get_object() for page in PdfReader(pdf).pages for note in page.get("/Annots", [])]
    targets = [note["/A"]["/URI"] for note in notes if "/URI" in note.get("/A", {})]
    assert targets.count("explorer.html") == 1


def test_the_same_results_give_the_same_report(pdf, synthetic, root, tmp_path):
    assert pdf.read_bytes() == report(synthetic, root, tmp_path).read_bytes()


def test_every_run_and_what_was_left_out_is_in_the_report(pdf, synthetic):
    everything = "".join(texts(pdf)).replace("\u200b", "")
    for run in synthetic.grid["runs"]:
        assert run.rsplit("-", 1)[1] in everything
    assert "the file ends in frame 3" in everything
    assert "learning_rate" in everything


@WHOLE
def test_the_papers_report_has_all_tables_whatever_was_run(root, tmp_path):
    fake = fake_results.build(tmp_path, paper_params(), exists=lambda run: "ms_g3d" in run)
    pdf = report(fake, root, tmp_path, figures=())
    first, *rest = texts(pdf)
    assert "Not everything has been run. 30 of 31 trainings" in first
    everything = " ".join([first, *rest])
    for number in range(1, 9):
        assert f"the paper's Table {number}" in everything
    assert "GCA-LSTM" in everything
    assert "Where DualHead-Net stands" in everything
    assert "not run" in first


def test_the_data_page_counts_people_cameras_and_copies(pdf):
    everything = " ".join(texts(pdf))
    assert "3 cameras, 1 replication, 2 setups, 3 subjects" in everything
    assert "Same content twice none" in everything


@pytest.fixture(scope="module")
def doubtful(root, tmp_path_factory):
    """Return the pages of a partial dataset's report, with held-out subjects and a copied sample, and its words."""
    folder = tmp_path_factory.mktemp("doubtful")
    settings = fake_results.held_out_params()
    settings["datasets"]["synthetic"]["partial"] = True
    fake = fake_results.build(folder, settings)
    (path,) = fake.stores.glob("*.h5")
    with Store(path) as store:
        places = [int(part[0]) for part in store.split("xsub")]
        train, test = (store.names[place] for place in places)
        starts = [store.ragged(range(place))[2].sum() for place in places]
        length = min(len(store.bodies(place)[0]) for place in places)
    with edited_store(path) as file:
        rows = file["joints"][starts[0] : starts[0] + length]
        file["joints"][starts[1] : starts[1] + length] = rows
        file["body/length"][sorted(places)] = length
    return texts(report(fake, root, folder, figures=("selection",))), f"{test} = {train}"


def test_a_partial_dataset_is_said_on_the_first_page(doubtful):
    assert "A dataset is partial." in doubtful[0][0]


def test_a_test_sample_with_the_content_of_a_training_one_is_on_the_first_page(doubtful):
    (first, *_), pair = doubtful
    assert "Test samples are in training" in first
    assert f"1 of 120 test samples have the content of a training one: {pair}" in first


def test_three_ways_to_choose_an_epoch_and_fitted_weights_are_reported(doubtful):
    pages, _ = doubtful
    text = " ".join(pages)
    assert "Best on validation" in pages[0]
    assert "How the epoch and the weights are chosen" in text
    assert "2s fitted DualHead-Net, subjects held out" in text
    assert "fitted on held-out subjects" in text


@pytest.mark.parametrize("planted", ["settings", "splits"])
def test_a_store_of_other_settings_or_with_a_leak_makes_no_report(
    pdf, synthetic, root, tmp_path, planted
):
    (path,) = shutil.copytree(synthetic.stores, tmp_path / "store").glob("*.h5")
    with edited_store(path) as file:
        if planted == "settings":
            settings = json.loads(file.attrs["settings"]) | {"normalize": "none"}
            file.attrs["settings"] = json.dumps(settings)
            expected = rf"{path.name}: a store made with other settings: .*'normalize': 'none'"
        else:
            part = file["splits/xset"][:]
            part[np.flatnonzero(part == 0)[0]] = 1
            file["splits/xset"][:] = part
            expected = rf"{path.name}: split xset: expected no setup in both training and test"
    changes = {"stores": path.parent, "output": tmp_path / "report.pdf"}
    with pytest.raises(ValueError, match=expected):
        build_report(synthetic.grid, **sources(synthetic, root, pdf.parent) | changes)


def test_a_missing_table_is_named(synthetic, root, tmp_path):
    with pytest.raises(ValueError, match=r"no comparison\.csv"):
        build_report(synthetic.grid, **sources(synthetic, root, tmp_path) | {"deviations": None})


def test_a_figure_that_another_grid_has_left_is_not_shown(synthetic, tmp_path):
    for name in FIGURES:
        (tmp_path / f"{name}.pdf").touch()
    chosen = synthetic.grid["figures"] | {"baseline": "fine_quarter"}
    grid = synthetic.grid | {"figures": chosen}
    assert "class_gain" in available(synthetic.grid) and "class_gain" not in available(grid)
    shown = _figures(Inputs(grid, synthetic.results, synthetic.stores), tmp_path)
    assert available(grid) == [figure["name"] for figure in shown]


def test_a_wrong_template_is_named_and_leaves_no_file(pdf, synthetic, root, tmp_path):
    (tmp_path / "wrong.typ").write_text("#unknown-function()")
    changes = {"template": tmp_path / "wrong.typ", "output": tmp_path / "report.pdf"}
    with pytest.raises(ValueError, match=r"wrong\.typ: Typst cannot set it"):
        build_report(synthetic.grid, **sources(synthetic, root, pdf.parent) | changes)
    assert not list(tmp_path.glob("*report.pdf*"))


def test_markdown_spans_keep_their_kinds():
    found = spans("use `a_b` and **c** or *d*, see [e](http://f)")
    assert [(span["kind"], span["text"]) for span in found[:4]] == [
        ("plain", "use "),
        ("code", "a_b"),
        ("plain", " and "),
        ("strong", "c"),
    ]
    assert found[-1] == {"kind": "link", "text": "e", "url": "http://f"}


def test_markdown_stars_in_formulas_are_no_emphasis():
    assert [span["kind"] for span in spans("2 * 3 * 4 and x*y*z")] == ["plain"]


def test_markdown_items_run_on_over_lines():
    found = blocks("- one\n  more\n- two\n\npara\ngraph\n")
    assert [block["text"] for block in found] == ["one more", "two", "para graph"]
    assert [block["kind"] for block in found] == ["item", "item", "paragraph"]


def test_markdown_tables_drop_their_rule():
    (found,) = blocks("| a | b |\n|---|:-:|\n| 1 | x \\| y |\n")
    assert [[cell[0]["text"] for cell in row] for row in found["rows"]] == [
        ["a", "b"],
        ["1", "x | y"],
    ]
