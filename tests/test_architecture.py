"""Who may import whom: the table in docs/DESIGN.md is what the code does."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "sv_toolkit"
DESIGN = (ROOT / "docs/DESIGN.md").read_text(encoding="utf-8")
WITHOUT_TORCH = ("errors", "config", "io", "data", "features", "extraction", "ivector", "metrics", "backends", "reporting", "cli")


def read_table():
    """Room -> rooms it may import, from the block under 'Who may import whom'."""
    block = DESIGN.split("Who may import whom")[1].split("\n\n")[1]
    allowed = {}
    for room, sources in re.findall(r"(\w+) +<- +(everything;|\w+(?: \w+)*)", block):
        words = sources.split()
        allowed[room] = None if words[0] == "everything;" else set(words) - {"nothing"}
    return allowed


ALLOWED = read_table()
FILES = sorted(path for path in PACKAGE.rglob("*.py"))


def room_of(path):
    """The package or the top module that a file belongs to; "" for sv_toolkit/__init__.py."""
    first = path.relative_to(PACKAGE).parts[0]
    return "" if first == "__init__.py" else first.removesuffix(".py")


def imports(tree, top_level_only=False):
    """Absolute names of what a module imports; `if TYPE_CHECKING:` blocks are never run and do not count as top level."""
    nodes = list(_run_on_import(tree.body)) if top_level_only else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from ((alias.name, node) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports are absolute here"
            if node.module == "sv_toolkit":  # `from sv_toolkit import errors`
                yield from ((f"sv_toolkit.{alias.name}", node) for alias in node.names)
            else:
                yield node.module, node


def _run_on_import(body):
    for node in body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield node
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from _run_on_import(node.orelse)
        elif isinstance(node, (ast.If, ast.Try, ast.With, ast.ClassDef)):
            for field in ("body", "orelse", "finalbody", "handlers"):
                for child in getattr(node, field, []):
                    yield from _run_on_import(child.body if isinstance(child, ast.ExceptHandler) else [child])


def parse(path):
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def test_the_table_knows_every_room_and_no_other():
    assert ALLOWED["cli"] is None
    assert ALLOWED["errors"] == set()
    assert {room_of(path) for path in FILES} - {""} == set(ALLOWED)
    assert set(WITHOUT_TORCH) <= set(ALLOWED)
    for room, sources in ALLOWED.items():
        assert not sources or sources <= set(ALLOWED) - {"cli"}, room


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_what_its_room_may(path):
    room = room_of(path)
    allowed = ALLOWED.get(room, {"models", "verification"})  # of `sv_toolkit.load`
    wrong = []
    for name, node in imports(parse(path)):
        target = name.split(".")[1] if name.startswith("sv_toolkit.") else None
        if target is None or target.startswith("__") or target == room:
            continue
        if allowed is not None and target not in allowed:
            wrong.append(f"line {node.lineno} imports {name}")
    assert wrong == [], f"docs/DESIGN.md lets {room} import {sorted(allowed)}"


@pytest.mark.parametrize("path", [f for f in FILES if room_of(f) in ("", *WITHOUT_TORCH)], ids=lambda path: str(path.relative_to(PACKAGE)))
def test_rooms_that_work_without_torch_never_import_it_at_top_level(path):
    heavy = [name for name, _ in imports(parse(path), top_level_only=True) if name.split(".")[0] == "torch"]
    assert heavy == []


def test_they_do_work_without_torch():
    """What the source says may still be undone by what it imports in turn."""
    modules = sorted(".".join(path.relative_to(ROOT).with_suffix("").parts) for path in FILES if room_of(path) in WITHOUT_TORCH)
    lines = [
        "import sys, importlib",
        "sys.modules['torch'] = None",
        *(f"importlib.import_module({name.removesuffix('.__init__')!r})" for name in modules),
    ]
    result = subprocess.run([sys.executable, "-c", "\n".join(lines)], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("path", [f for f in FILES if room_of(f) == "cli"], ids=lambda path: path.name)
def test_commands_import_nothing_heavy_before_they_run(path):
    light = set(sys.stdlib_module_names) | {"click"}
    heavy = [
        name
        for name, _ in imports(parse(path), top_level_only=True)
        if name.split(".")[0] not in light
        and not name.startswith(("sv_toolkit.cli", "sv_toolkit.errors", "sv_toolkit.features.registry"))  # names alone
    ]
    assert heavy == []


def test_nothing_prints_past_the_commands():
    wrong = []
    for path in FILES:
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
                wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}: print")
    assert wrong == []
