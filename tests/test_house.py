"""The wings: a module imports only from lower floors, and heavy packages stay where they belong."""

import ast
from pathlib import Path

import pytest

FLOORS = (
    ("params", "reading", "schema", "files", "hdf5", "progress", "locks", "arrays"),
    ("layout", "defaults", "checks", "grid", "formats"),
    ("data", "models"),
    ("runs", "workspace"),
    ("report",),
    ("cli",),
)
"""The wings of the package (folders) and its ground (files), lowest first: what each file may import is its own wing
and what lies on lower floors. Wings of one floor never meet; files of one floor may."""
FLOOR = {name: floor for floor, names in enumerate(FLOORS) for name in names}
ONLY = {"h5py": {"hdf5", "data/store", "runs/scores"}, "torch": {"models", "runs"}}
"""Where heavy packages may be imported."""
SOURCE = Path(__file__).resolve().parents[1] / "src" / "dualhead"
FILES = sorted(path for path in SOURCE.rglob("*.py") if path != SOURCE / "__init__.py")


def owner(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def _running_nodes(node: ast.AST) -> list[ast.AST]:
    """Return all nodes but those under `if TYPE_CHECKING:`."""
    children = []
    for child in ast.iter_child_nodes(node):
        is_typing = isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"
        children += [] if is_typing else [child, *_running_nodes(child)]
    return children


def imports(path: Path) -> set[str]:
    """Return every module that a file imports when it runs, at its top or inside a function."""
    found = set()
    for node in _running_nodes(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "dualhead":
            found |= {f"dualhead.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_module_imports_only_from_lower_floors(path):
    inside = {name.split(".")[1] for name in imports(path) if name.startswith("dualhead.")}
    others = inside - {owner(path)}
    wing = (SOURCE / owner(path)).is_dir()
    above = {name for name in others if FLOOR[name] + wing > FLOOR[owner(path)]}
    assert not above, f"{owner(path)} (floor {FLOOR[owner(path)]}) imports {above}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
@pytest.mark.parametrize("package", ONLY)
def test_heavy_packages_stay_where_they_belong(path, package):
    place = path.relative_to(SOURCE).with_suffix("").as_posix()
    if not {place, owner(path)} & ONLY[package]:
        assert package not in {name.split(".")[0] for name in imports(path)}


@pytest.mark.parametrize(
    "path",
    [path for path in FILES if owner(path) != "cli"],  # its help texts name them
    ids=lambda path: str(path.relative_to(SOURCE)),
)
def test_no_module_knows_where_results_lie(path):
    constants = {
        node.value
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert not {text for text in constants if text.startswith("results/")}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_no_function_is_longer_than_60_lines(path):
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    long = {
        node.name: node.end_lineno - node.lineno + 1
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, functions) and node.end_lineno - node.lineno + 1 > 60
    }
    assert not long
