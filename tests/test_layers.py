"""Data flows one way: a module imports only from lower layers, and some libraries have one room each."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "medreg"
# The whole order: a room imports from rooms before it and from itself, nothing else. No two rooms share a place.
ORDER = (
    "errors", "kernels", "geometry", "io", "losses", "metrics", "augmentation", "inference", "models", "data",
    "baselines", "tasks", "config", "reporting", "study", "callbacks", "runs", "registering", "segmenting",
    "generating",
    "studies.learn2reg", "studies.benchmark", "studies.smoothness", "studies.capture_range", "studies.sweep",
    "studies.uncertainty", "studies.dropout", "studies.table", "studies.elsewhere", "stages", "runner", "api", "cli",
)  # fmt: skip
# Still to be mended; nothing may be added.
PENDING: set[str] = set()
PENDING_CIRCLES: set[str] = set()


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def room(name: str) -> str:
    """Return the room of a dotted name: its package, or its study."""
    parts = name.split(".")[1:]
    return ".".join(parts[:2]) if parts[:1] == ["studies"] and len(parts) > 1 else (parts or [""])[0]


@functools.cache
def imports(file: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module)
            if node.module == "medreg":
                found.update(f"medreg.{alias.name}" for alias in node.names)
    return found


def dotted(file: Path) -> str:
    return ".".join(("medreg", *file.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")


def test_imports_point_downwards():
    place = {name: number for number, name in enumerate(ORDER)}
    wrong = set()
    for file in modules():
        here = room(dotted(file))
        for name in imports(file):
            there = room(name) if name.startswith("medreg.") else ""
            if not there or there == here or there.startswith("__") or here in ("", "studies"):
                continue
            assert there in place, f"{name} has no place in ORDER"
            if place[there] >= place[here]:
                wrong.add(f"{here} imports {there}")
    assert wrong - PENDING == set()


def test_no_circles_inside_a_package():
    graph = {dotted(file): imports(file) for file in modules()}
    circles = {name for name in graph if name in reachable(graph, name)}
    assert {name for name in circles if room(name) not in PENDING_CIRCLES} == set()


def reachable(graph: dict[str, set[str]], start: str) -> set[str]:
    found: set[str] = set()
    waiting = [start]
    while waiting:
        for name in graph.get(waiting.pop(), ()):
            if name in graph and name not in found:
                found.add(name)
                waiting.append(name)
    return found


def importers(library: str) -> set[str]:
    return {
        file.relative_to(PACKAGE).as_posix()
        for file in modules()
        if any(name == library or name.startswith(f"{library}.") for name in imports(file))
    }


def test_only_io_knows_nifti():
    # Workers run in the environments of other tools and are no part of the program.
    ours = {path for path in importers("nibabel") if not path.startswith("baselines/scripts/")}
    assert {path.split("/")[0] for path in ours} == {"io"}


def test_only_config_knows_hydra():
    assert {path.split("/")[0] for path in importers("hydra")} == {"config"}


def test_only_callbacks_know_wandb():
    assert {path.split("/")[0] for path in importers("wandb")} == {"callbacks"}


def test_only_kernels_know_numba():
    assert {path.split("/")[0] for path in importers("numba")} == {"kernels"}


def test_geometry_needs_torch_alone():
    allowed = {
        "torch",
        "medreg",
        "__future__",
        "abc",
        "collections",
        "dataclasses",
        "functools",
        "itertools",
        "math",
        "typing",
    }
    for file in (PACKAGE / "geometry").rglob("*.py"):
        foreign = {name.split(".")[0] for name in imports(file)} - allowed
        assert not foreign, f"{file.name} imports {foreign}"


def test_reporting_reads_files_only():
    for library in ("torch", "pytorch_lightning", "monai"):
        assert not {path for path in importers(library) if path.startswith("reporting/")}


def test_one_caller_of_grid_sample():
    callers = [
        file.relative_to(PACKAGE).as_posix()
        for file in modules()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and getattr(node.func, "attr", getattr(node.func, "id", "")) == "grid_sample"
    ]
    assert set(callers) == {"geometry/warp.py"}


def test_one_gate_to_instantiate():
    callers = {
        file.relative_to(PACKAGE).as_posix()
        for file in modules()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "instantiate"
    }
    assert callers == {"config/instantiate.py"}
