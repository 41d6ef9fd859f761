"""The wings: a module imports only from lower floors, and heavy packages stay where they belong."""

import ast
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

FLOORS = (
    ("files", "hdf5", "progress", "locks", "arrays", "settings"),
    ("layout",),
    ("data", "models"),
    ("runs", "workspace"),
    ("report", "serve"),
    ("cli",),
    ("__main__",),
)
"""The wings of the package (folders) and its ground (files), lowest first: what each file may import is its own wing
and what lies on lower floors. Wings of one floor never meet; files of one floor may."""
SAYS = {
    "settings": "params files, schemas, defaults, checks, the grid, and files that are read back",
    "files": "files that are whole or absent, and digests",
    "hdf5": "HDF5 opened in one place",
    "progress": "bars and log lines",
    "locks": "locks of the kernel's",
    "arrays": "types of arrays",
    "layout": "skeletons, from `layouts/*.yaml`",
    "data": "raw recordings to stores; datasets, preparation, leaks",
    "models": "both networks, their operations, checkpoints",
    "runs": "stores to trained, scored networks and ensembles",
    "workspace": "grids, locks, GPUs, status, garbage: what the rules ask of Python",
    "serve": "predictions over HTTP, on this machine",
    "report": "results to tables, figures, explanations and the PDF",
    "cli": "the command line, a module a wing",
    "__main__": "the program, which answers a Ctrl-C while the rest is imported",
}
FLOOR = {name: floor for floor, names in enumerate(FLOORS) for name in names}
ONLY = {"h5py": {"hdf5", "data/records", "data/store", "runs/scores"}, "torch": {"models", "runs"}}
"""Where heavy packages may be imported."""
SOURCE = Path(__file__).resolve().parents[1] / "src" / "dualhead"
ARCHITECTURE = SOURCE.parents[1] / "docs" / "architecture.md"
WALK = re.compile(r"^\| [^|]+ \| \[`[^`]+`\]\(([^)]+)\)(?:, `(\w+)`)? \|$", re.MULTILINE)
FILES = sorted(path for path in SOURCE.rglob("*.py") if path != SOURCE / "__init__.py")


def table_of_wings() -> str:
    """Return the table of docs/architecture.md."""
    rows = ["| floor | wing or file | holds |", "|---|---|---|"]
    for floor in reversed(range(len(FLOORS))):
        for name in FLOORS[floor]:
            shown = f"`{name}/`" if (SOURCE / name).is_dir() else f"`{name}`"
            rows.append(f"| {floor} | {shown} | {SAYS[name]} |")
    return "\n".join(rows)


def test_the_architecture_page_has_the_table_of_wings():
    page = ARCHITECTURE.read_text(encoding="utf-8")
    assert table_of_wings() in page, "write it anew: python -m tests.test_house"


def test_every_place_of_the_walk_exists():
    rows = WALK.findall(ARCHITECTURE.read_text(encoding="utf-8"))
    assert len(rows) > 15
    for target, function in rows:
        path = ARCHITECTURE.parent / target
        assert path.is_file(), target
        assert not function or f"\ndef {function}(" in path.read_text(), (target, function)


def test_every_file_stands_on_a_floor():
    top = {path.relative_to(SOURCE).parts[0].removesuffix(".py") for path in FILES}
    assert top == set(FLOOR) == set(SAYS)


def owner(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def _running_nodes(node: ast.AST) -> list[ast.AST]:
    """Return all nodes but those under `if TYPE_CHECKING:`."""
    children = []
    for child in ast.iter_child_nodes(node):
        is_typing = isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"
        children += [] if is_typing else [child, *_running_nodes(child)]
    return children


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@cache
def imports(path: Path) -> set[str]:
    """Return every module that a file imports when it runs, at its top or inside a function."""
    return imported_by(_running_nodes(parsed(path)))


def imported_by(nodes: list[ast.AST]) -> set[str]:
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "dualhead":
            found |= {f"dualhead.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def found_in(files: list[Path], look: Callable[[Path], set[str]]) -> dict[str, set[str]]:
    """Return what is found in each file where something is."""
    return {str(path.relative_to(SOURCE)): found for path in files if (found := look(path))}


def test_a_module_imports_only_from_lower_floors():
    def above(path: Path) -> set[str]:
        inside = {name.split(".")[1] for name in imports(path) if name.startswith("dualhead.")}
        highest = (
            FLOOR[owner(path)] - (SOURCE / owner(path)).is_dir()
        )  # wings of a floor never meet
        return {name for name in inside - {owner(path)} if FLOOR[name] > highest}

    assert found_in(FILES, above) == {}


def test_heavy_packages_stay_where_they_belong():
    def heavy(path: Path) -> set[str]:
        places = {path.relative_to(SOURCE).with_suffix("").as_posix(), owner(path)}
        packages = {name.split(".")[0] for name in imports(path)}
        return {name for name in packages & ONLY.keys() if not places & ONLY[name]}

    assert found_in(FILES, heavy) == {}


def test_no_module_loads_the_compiler_of_torch_when_it_is_imported():
    """It takes more than a second, and most commands compile nothing."""

    def compilers(path: Path) -> set[str]:
        top = imported_by(parsed(path).body)
        return {name for name in top if name.startswith(("torch._dynamo", "torch._inductor"))}

    assert found_in(FILES, compilers) == {}


def test_no_module_knows_where_results_lie():
    def paths(path: Path) -> set[str]:
        nodes = ast.walk(parsed(path))
        constants = {node.value for node in nodes if isinstance(node, ast.Constant)}
        return {it for it in constants if isinstance(it, str) and it.startswith("results/")}

    assert (
        found_in([path for path in FILES if owner(path) != "cli"], paths) == {}
    )  # its help names them


def test_no_function_is_longer_than_60_lines():
    def long(path: Path) -> set[str]:
        functions = (ast.FunctionDef, ast.AsyncFunctionDef)
        nodes = [node for node in ast.walk(parsed(path)) if isinstance(node, functions)]
        return {node.name for node in nodes if node.end_lineno - node.lineno + 1 > 60}

    assert found_in(FILES, long) == {}


def write_table() -> None:
    """Write the table of wings into docs/architecture.md."""
    page = ARCHITECTURE.read_text(encoding="utf-8")
    table = re.compile(r"(<!-- floors -->\n).*?(?=\n## )", re.DOTALL)
    ARCHITECTURE.write_text(table.sub(rf"\1\n{table_of_wings()}\n", page), encoding="utf-8")


if __name__ == "__main__":
    write_table()
