"""Records of what a product was made from."""

from pathlib import Path

import pytest

from dualhead.report import made
from dualhead.workspace import grids
from tests.builders.workspaces import PARAMS


@pytest.fixture
def grid(tmp_path: Path) -> dict:
    """A grid of two tables."""
    (tmp_path / "params.yaml").write_text(PARAMS)
    return grids.plan(tmp_path)


@pytest.fixture
def results(tmp_path: Path, grid: dict) -> Path:
    """Results with a metrics.json for each run and ensemble."""
    for kind in ("runs", "ensembles"):
        for identity in grid[kind]:
            folder = tmp_path / "results" / kind / identity
            folder.mkdir(parents=True)
            (folder / "metrics.json").write_text(identity)
    return tmp_path / "results"


def test_a_table_is_made_from_its_own_runs_and_their_members(grid: dict) -> None:
    streams, ablation = made.part_of(grid, "streams"), made.part_of(grid, "ablation")
    assert {run.split("/")[1] for run in ablation["runs"]} == {"dualhead", "ms_g3d", "small"}
    assert {run.split("/")[2] for run in streams["runs"]} == {"joint", "bone"}
    assert (len(streams["ensembles"]), len(ablation["ensembles"])) == (1, 0)
    assert set(streams["fusion"]) == set(streams["runs"])
    with pytest.raises(ValueError, match="not in params"):
        made.part_of(grid, "other")


def test_only_what_a_product_reads_changes_its_ingredients(grid: dict, results: Path) -> None:
    def all_of() -> dict[str, object]:
        named = {"table": ("streams", "ablation"), "figure": ("curves",)}
        return {
            f"{kind} {name}": made.ingredients(kind, name, grid, results)
            for kind in made.READS
            for name in named.get(kind, ("",))
        }

    def changed() -> set[str]:
        return {name for name, value in all_of().items() if value != before[name]}

    before = all_of()
    small = next(results.glob("runs/*/small/*/*"))
    (small / "metrics.json").write_text("another")
    shared = {"summary ", "figure curves", "report "}
    assert changed() == {"table ablation", "explorer ", *shared}
    before = all_of()
    (small / "history.csv").write_text("another")
    assert changed() == shared
    before = all_of()
    grid["tables"]["streams"]["title"] = "Another"
    assert changed() == {"table streams", "report "}
    before = all_of()
    grid["hardware"]["device"] = "cpu"
    assert changed() == set()


def test_the_page_of_recordings_is_code_of_the_report() -> None:
    package = Path(made.__file__).parents[1]
    names = {path.name for part in made.CODE for path in made._sources(package / part)}
    assert {"page.js", "page.css", "page.html", "poses.py", "metrics.py", "scores.py"} <= names


def test_a_record_holds_for_these_products_and_ingredients_only(tmp_path: Path) -> None:
    product, record = tmp_path / "table.csv", tmp_path / "record.json"
    product.write_text("1")
    made_from = {"grid": "1"}
    assert not made.is_current(record, made_from, [product])
    made.write_record(record, made_from, [product])
    assert made.is_current(record, made_from, [product])
    assert not made.is_current(record, {"grid": "2"}, [product])
    product.write_text("2")
    assert not made.is_current(record, made_from, [product])
    product.unlink()
    assert not made.is_current(record, made_from, [product])
    record.write_text("")
    assert not made.is_current(record, made_from, [product])


def test_a_product_that_was_changed_or_lost_is_damaged(tmp_path: Path) -> None:
    results = tmp_path / "results"
    table, report = results / "tables/a.csv", tmp_path / "reports/report.pdf"
    for path, record in ((table, "table/a.json"), (report, "report/all.json")):
        path.parent.mkdir(parents=True)
        path.write_text("1")
        made.write_record(results / "made" / record, {}, [path])
    assert made.damaged_products(results) == []
    table.write_text("2")
    report.unlink()
    told = made.damaged_products(results)
    assert [line.split(": ")[0].rpartition("/")[2] for line in told] == ["report.pdf", "a.csv"]
    (results / "made/table/a.json").write_text("[]")
    assert "a.json: damaged" in made.damaged_products(results)[1]
