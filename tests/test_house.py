"""The rules of the house, as data: floors, names, sizes, what may be imported and what loads."""

from __future__ import annotations

import ast
import importlib
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

import syncsdk

REPO = Path(__file__).parents[1]
PACKAGE = REPO / "syncsdk"

FLOORS = {
    "errors": 0,
    "values": 1,
    "protocols": 1,
    "runtime": 1,
    "mapping": 2,
    "planning": 2,
    "resilience": 2,
    "telemetry": 2,
    "http": 3,
    "stores": 3,
    "engine": 3,
    "pipeline": 4,
    "connectors": 5,
    "cli": 8,
}
"""Every room and its floor: a module imports only lower floors."""

NEIGHBOURS = {("protocols", "values")}
"""The one door between two rooms of a floor."""

LAZY = {("pipeline", "stores")}
"""Downstairs as well, but only in functions: not every run needs the default store."""

CORE = {room for room, floor in FLOORS.items() if floor <= 4}
OUTSIDE = {"asyncio", "anyio", "random", "threading", "time", "uuid"}
"""What the core knows of through its Runtime only."""
TYPES = {("uuid", "UUID")}
"""A type of values, not a source of ids."""
MAY_WAIT = {"runtime", "stores"}

HEAVY = ("asyncio", "cattrs", "httpx", "opentelemetry", "sqlite3", "tenacity")
TOP = {"pyproject.toml", "README.md", "LICENSE", "syncsdk", "tests", "docs", "benchmarks"}

MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def dotted(path: Path) -> str:
    parts = path.relative_to(REPO).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


@frozen
class Import:
    """One imported module or name.

    Attributes:
        module: absolute, dotted.
        name: what is taken from it, or None.
        inner: it stands in a function.
        typing: it stands under ``if TYPE_CHECKING``.
    """

    module: str
    name: str | None
    inner: bool
    typing: bool


def imports(path: Path) -> list[Import]:
    """All imports of a file, also those in functions."""
    package = (
        dotted(path).split(".") if path.name == "__init__.py" else dotted(path).split(".")[:-1]
    )
    found: list[Import] = []

    def visit(node: ast.AST, inner: bool, typing: bool) -> None:
        if isinstance(node, ast.Import):
            found.extend(Import(alias.name, None, inner, typing) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found.extend(Import(module, alias.name, inner, typing) for alias in node.names)
        inner = inner or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        guards = isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        for child in ast.iter_child_nodes(node):
            visit(child, inner, typing or guards)

    visit(ast.parse(path.read_text()), False, False)
    return found


def rooms_used(path: Path) -> Iterator[tuple[str, Import]]:
    """The rooms that a file imports."""
    for each in imports(path):
        parts = each.module.split(".")
        if parts[0] == "syncsdk" and each.name != "__version__":
            # `from . import stores` names a module, `from .stores import X` what is in one.
            yield (parts[1] if len(parts) > 1 else each.name or "syncsdk"), each


# -- Floors ----------------------------------------------------------------------------


def test_every_room_has_a_floor() -> None:
    assert {room(path) for path in MODULES} - set(FLOORS) == set()


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_a_module_imports_only_lower_floors(path: Path) -> None:
    here = room(path)
    allowed = {each for each, floor in FLOORS.items() if floor < FLOORS[here]} | {here}
    allowed |= {other for mine, other in NEIGHBOURS if mine == here}

    for other, _ in rooms_used(path):
        assert other in allowed, f"{dotted(path)} imports {other}"


@pytest.mark.parametrize(("here", "other"), sorted(LAZY))
def test_some_rooms_are_entered_in_functions_only(here: str, other: str) -> None:
    used = [each for name, each in rooms_used(PACKAGE / f"{here}.py") if name == other]

    assert used
    assert all(each.inner for each in used)


def test_the_package_itself_imports_no_room() -> None:
    assert [each for each in imports(PACKAGE / "__init__.py") if "syncsdk" in each.module] == []


def test_no_module_knows_the_tests() -> None:
    for path in MODULES:
        for each in imports(path):
            assert each.module.split(".")[0] not in ("tests", "benchmarks", "docs")


@pytest.mark.parametrize("path", [p for p in MODULES if room(p) in CORE - MAY_WAIT], ids=dotted)
def test_the_core_meets_clock_randomness_and_threads_through_its_runtime_only(path: Path) -> None:
    for each in imports(path):
        top = each.module.split(".")[0]
        assert top not in OUTSIDE or (each.module, each.name) in TYPES, f"it imports {each.module}"
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and node.attr in ("now", "utcnow", "today"):
            owner = ast.unparse(node.value)
            assert not owner.endswith(("datetime", "date")), f"line {node.lineno}: {owner}.now"


def test_the_runtime_knows_the_event_loop_in_functions_only() -> None:
    for each in imports(PACKAGE / "runtime.py"):
        if each.module.split(".")[0] in ("asyncio", "anyio", "concurrent"):
            assert each.inner or each.typing


@pytest.mark.parametrize("path", [p for p in MODULES if room(p) in CORE], ids=dotted)
def test_the_core_imports_heavy_packages_in_functions_only(path: Path) -> None:
    for each in imports(path):
        if each.module == "httpx" and dotted(path) == "syncsdk.http.client":
            continue  # its clients are httpx's
        if each.module.split(".")[0] in HEAVY:
            assert each.inner or each.typing, f"it imports {each.module}"


# -- What loads ------------------------------------------------------------------------


def python(*arguments: str) -> str:
    """Run a fresh interpreter that turns warnings into errors; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        cwd=REPO,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_import_is_silent() -> None:
    assert python("-c", "import syncsdk") == ""


def test_the_import_of_every_module_is_silent() -> None:
    names = [dotted(path) for path in sorted(PACKAGE.rglob("*.py"))]

    assert python("-c", f"import {', '.join(names)}") == ""


LOADED = "import sys; before = set(sys.modules); {}; print(*set(sys.modules) - before)"


def loaded(code: str) -> set[str]:
    return {name.split(".")[0] for name in python("-c", LOADED.format(code)).split()}


def test_the_import_loads_nothing_but_a_table_of_names() -> None:
    assert loaded("import syncsdk") & set(HEAVY) == set()
    assert "attrs" not in loaded("import syncsdk")


def test_the_transports_load_no_client_of_their_own() -> None:
    assert loaded("from syncsdk.http import ReliableTransport, Retry") & set(HEAVY) == set()
    assert "httpx" in loaded("from syncsdk.http import Client")


def test_a_pipeline_can_be_built_before_anything_heavy_is_loaded() -> None:
    names = "Pipeline, Batch, SQLiteStore, Watermark, upsert"

    assert loaded(f"from syncsdk import {names}") & set(HEAVY) == set()


# -- Names -----------------------------------------------------------------------------


def test_the_root_has_at_most_40_names() -> None:
    assert len(syncsdk.__all__) <= 40
    assert syncsdk.__all__ == sorted(syncsdk._HOME)


def test_every_name_of_the_root_resolves_to_what_its_module_has() -> None:
    for name, home in syncsdk._HOME.items():
        module = importlib.import_module(f"syncsdk.{home}")
        assert getattr(syncsdk, name) is getattr(module, name)
        assert name in module.__all__, f"{name} is not in syncsdk.{home}.__all__"
    assert set(syncsdk.__all__) <= set(dir(syncsdk))


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Pipelin'"):
        _ = syncsdk.Pipelin  # type: ignore[attr-defined]


def test_the_stubs_list_the_same_names_from_the_same_modules() -> None:
    tree = ast.parse((PACKAGE / "__init__.pyi").read_text())
    stubs = {
        alias.asname: node.module
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname == alias.name
    }
    declared = {
        node.target.id
        for node in tree.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }

    assert stubs == syncsdk._HOME
    assert declared == {"__version__", "__all__"}


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_all_lists_what_is_there(path: Path) -> None:
    module = importlib.import_module(dotted(path))

    assert len(set(module.__all__)) == len(module.__all__)
    assert [name for name in module.__all__ if not hasattr(module, name)] == []


def test_the_version_is_that_of_the_project() -> None:
    text = (REPO / "pyproject.toml").read_text()

    assert f'\nversion = "{syncsdk.__version__}"\n' in text


# -- Size ------------------------------------------------------------------------------


def lines_of_code(text: str) -> int:
    """Count lines that are neither blank, nor comment, nor docstring."""
    prose: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            if isinstance(node.value.value, str):
                prose.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    skipped = {
        tokenize.COMMENT,
        tokenize.DEDENT,
        tokenize.ENDMARKER,
        tokenize.INDENT,
        tokenize.NEWLINE,
        tokenize.NL,
    }
    code: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in skipped:
            code.update(range(token.start[0], token.end[0] + 1))
    return len(code - prose)


def test_lines_of_code_are_counted_right() -> None:
    docs = '"""Doc.\n\nMore.\n"""\n\n'
    text = (
        docs + 'x = 1  # why\n# comment\n\n\ndef f():\n    "doc"\n    return [\n        1,\n    ]\n'
    )

    assert lines_of_code(text) == 5


MOST = {"flow": 5_500, "mapping": 5_000, "HTTP": 2_500}
"""Lines of code of the core, by what one has to read together."""


def test_the_core_stays_small() -> None:
    parts = {"mapping": "mapping", "resilience": "HTTP", "http": "HTTP"}
    counts = dict.fromkeys(MOST, 0)
    for path in MODULES:
        if room(path) in CORE:
            counts[parts.get(room(path), "flow")] += lines_of_code(path.read_text())

    assert all(counts[name] < most for name, most in MOST.items()), counts


# -- What is in the repository ---------------------------------------------------------


def tracked() -> list[str]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPO, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [name for name in listed.stdout.split("\0") if name]


def test_nothing_else_lies_at_the_top() -> None:
    names = {name.split("/")[0] for name in tracked()}

    assert {name for name in names if not name.startswith(".")} <= TOP


# Spelt in parts, for this file is read as well.
MACHINE = re.compile(
    rf"(?<![\w.<>-])/(?:{'work'}|{'root'}|{'farm'})/|{'pypi'}\.org|python{'hosted'}\.org"
    rf"|{'index'}-url|PIP_{'INDEX'}|registry\.{'npmjs'}"
)


def test_no_file_knows_the_machine_it_was_written_on() -> None:
    found = []
    for name in tracked():
        path = REPO / name
        if path.is_file():
            text = path.read_bytes().decode(errors="replace")
            for number, line in enumerate(text.splitlines(), 1):
                if MACHINE.search(line):
                    found.append(f"{name}:{number}: {line.strip()[:80]}")

    assert found == []


# -- Docstrings ------------------------------------------------------------------------


def classes() -> dict[str, ast.ClassDef]:
    """All classes of the package, by name."""
    return {
        node.name: node
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
    }


def contracts(known: dict[str, ast.ClassDef]) -> set[str]:
    """The methods whose meaning a protocol documents, for all who implement them."""
    documented: set[str] = set()
    for made in known.values():
        if any(ast.unparse(base).startswith("Protocol") for base in made.bases):
            said = ast.get_docstring(made) or ""
            for node in made.body:
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    if ast.get_docstring(node) or re.search(rf"\b{node.name}\b", said):
                        documented.add(node.name)
    return documented


def undocumented(path: Path, known: set[str]) -> Iterator[str]:
    """What is public in a module and says nothing of itself."""
    tree = ast.parse(path.read_text())
    if not ast.get_docstring(tree):
        yield dotted(path)

    def visit(body: list[ast.stmt], prefix: str, in_class: bool) -> Iterator[str]:
        for node in body:
            if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            overloaded = "overload" in map(ast.unparse, node.decorator_list)
            if node.name.startswith("_") or overloaded:
                continue
            stands_for_itself = isinstance(node, ast.ClassDef) or not in_class
            if not ast.get_docstring(node) and (stands_for_itself or node.name not in known):
                yield f"{prefix}.{node.name}"
            if isinstance(node, ast.ClassDef):
                yield from visit(node.body, f"{prefix}.{node.name}", True)

    yield from visit(tree.body, dotted(path), False)


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=dotted)
def test_everything_public_says_what_the_caller_gets(path: Path) -> None:
    assert list(undocumented(path, contracts(classes()))) == []


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_the_docstring_of_a_module_says_what_it_decides_and_in_what_order_to_read_it(
    path: Path,
) -> None:
    said = ast.get_docstring(ast.parse(path.read_text())) or ""

    assert len(said.split()) > 20
    assert said.split("\n")[0].endswith(".")


def public_methods(kind: Any) -> set[str]:
    return {name for name in vars(kind) if not name.startswith("_")}


def test_the_stores_have_the_methods_of_their_protocol() -> None:
    from syncsdk.protocols import StateStore

    for store in (syncsdk.MemoryStore, syncsdk.SQLiteStore):
        assert public_methods(StateStore) <= public_methods(store)
