"""The shape of the code that ANCHORS of the field have in common: short files, short functions, full signatures."""

from __future__ import annotations

import ast
import functools
import statistics
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "medreg"
FILE_CAP, FUNCTION_CAP = 400, 70


@functools.cache
def trees() -> list[tuple[Path, ast.Module]]:
    return [(file, ast.parse(file.read_text(encoding="utf-8"))) for file in sorted(PACKAGE.rglob("*.py"))]


def functions(tree: ast.Module) -> list[ast.FunctionDef]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]


def test_no_long_files():
    long = {file.name: len(file.read_text().splitlines()) for file, _ in trees()}
    assert {name: lines for name, lines in long.items() if lines > FILE_CAP} == {}


def test_no_long_functions():
    sizes = {
        f"{file.name}:{f.name}": f.end_lineno - f.lineno for file, tree in trees() for f in functions(tree)
    }
    assert {name: size for name, size in sizes.items() if size > FUNCTION_CAP} == {}
    assert statistics.median(sizes.values()) <= 15


def test_every_function_is_annotated():
    bare = []
    for file, tree in trees():
        for function in functions(tree):
            arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
            named = [a for a in arguments if a.arg not in ("self", "cls")]
            if function.returns is None or any(a.annotation is None for a in named):
                bare.append(f"{file.name}:{function.lineno} {function.name}")
    assert bare == []


def test_public_names_have_docstrings():
    bare, total = [], 0
    for file, tree in trees():
        nodes = [
            n
            for n in tree.body
            if isinstance(n, ast.FunctionDef | ast.ClassDef) and not n.name.startswith("_")
        ]
        for node in [tree, *nodes]:
            total += 1
            if not ast.get_docstring(node):
                bare.append(f"{file.name}: {getattr(node, 'name', 'module')}")
    assert len(bare) <= 0.02 * total, bare


def test_names_that_tempt_name_one_class_each():
    """A job, a table, a picture is one thing in the package; what is another thing has another name."""
    found: dict[str, list[str]] = {}
    for file, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and node.name in ("Job", "Table", "Picture", "Inputs", "Stack"):
                found.setdefault(node.name, []).append(file.relative_to(PACKAGE).as_posix())
    assert {name: files for name, files in found.items() if len(files) > 1} == {}
