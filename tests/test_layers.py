"""Data flows one way: a module imports only from lower layers, and some libraries have one room each."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "medreg"
LAYERS = {
    "errors": 0, "kernels": 0,
    "geometry": 1, "io": 1,
    "losses": 2, "metrics": 2,
    "models": 3, "inference": 3, "data": 3, "augmentation": 3, "baselines": 3,
    "tasks": 4,
    "reporting": 5, "callbacks": 5, "config": 5, "challenge": 5,
    "runner": 6, "stages": 6, "api": 6, "registering": 6, "cli": 6,
    "performance": 6, "benchmark": 6, "searching": 6, "capture": 6,
}  # fmt: skip
# Same-layer imports that the design allows: models may optimise a pair, and see it in random contrasts; commands use
# one another’s work.
SIDEWAYS = {("models", "inference"), ("inference", "models"), ("models", "augmentation")}
TOP = 6


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def room(name: str) -> str:
    return name.split(".")[1] if "." in name else ""


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


def own_room(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("file", modules(), ids=lambda file: file.relative_to(PACKAGE).as_posix())
def test_imports_point_downwards(file):
    here = own_room(file)
    if here == "__init__":
        return
    wrong = []
    for name in imports(file):
        there = room(name) if name.startswith("medreg.") else ""
        if not there or there == here or there.startswith("__"):
            continue
        assert there in LAYERS, f"{name} has no layer; add it to LAYERS"
        sideways = LAYERS[here] == LAYERS[there] and ((here, there) in SIDEWAYS or LAYERS[here] in (5, TOP))
        if LAYERS[there] >= LAYERS[here] and not sideways:
            wrong.append(f"{here} → {there} ({name})")
    assert not wrong


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
    # the bare sampler is one of the contenders of `medreg bench`
    assert set(callers) == {"geometry/warp.py", "performance/peers/grid_sample.py"}


def test_one_gate_to_instantiate():
    callers = {
        file.relative_to(PACKAGE).as_posix()
        for file in modules()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "instantiate"
    }
    assert callers == {"config/instantiate.py"}
