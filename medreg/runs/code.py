"""Which code a run depends on: the modules that its classes import, each with a digest of what it does.

Only what can change a result counts: not commands, configuration, reports and callbacks, nor what starts a run.
Comments, docstrings and formatting do not count either, so that a corrected sentence makes no result old.
"""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from medreg.config.instantiate import targets, trusted_prefixes
from medreg.io.atomic import read_json, write_json
from medreg.io.cache import cache_folder
from medreg.io.digest import digest_of

# Rooms of medreg that start, record and show work but do not change what it computes.
WITHOUT_EFFECT = (
    "medreg.cli", "medreg.config", "medreg.callbacks", "medreg.reporting", "medreg.runs", "medreg.runner",
    "medreg.stages", "medreg.api", "medreg.errors", "medreg.study",
)  # fmt: skip
# Parts of a configuration that do not change a result.
NOT_RESULTS = ("logger", "callbacks", "hydra", "paths")


def code_of(config: Mapping[str, Any]) -> dict[str, str]:
    """Return module → digest for every module of medreg or of a user's package that a configuration depends on.

    Args:
        config: plain values, as `OmegaConf.to_container` gives them.
    """
    kept = {key: value for key, value in config.items() if key not in NOT_RESULTS}
    return code_of_targets(targets(kept))


def code_of_targets(names: Iterable[str]) -> dict[str, str]:
    """Return module → digest for the modules that dotted names lie in and for all that these import."""
    packages = {"medreg", *(prefix.split(".")[0] for prefix in trusted_prefixes())}
    known = read_json(_memory()) or {}
    before = dict(known)
    found: dict[str, str] = {}
    waiting = [_module_of(name) for name in names if name.split(".")[0] in packages]
    while waiting:
        name = waiting.pop()
        if not name or name in found or name.startswith(WITHOUT_EFFECT):
            continue
        found[name], imported = _read(name, known)
        waiting += [_module_of(other) for other in imported if other.split(".")[0] in packages]
    if known != before:
        with suppress(OSError):  # a full disk or a home that cannot be written costs a second, no more
            write_json(_memory(), known, indent=None)
    return dict(sorted(found.items()))


def changed(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Return the modules that differ, are new or are gone, in order."""
    return [name for name in sorted({*before, *now}) if before.get(name) != now.get(name)]


@cache
def _module_of(name: str) -> str:
    """Return the longest part of a dotted name that is a module, empty if there is none."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        candidate = ".".join(parts[:length])
        if _file(candidate) is not None:
            return candidate
    return ""


@cache
def _file(name: str) -> Path | None:
    """Return the file of a module or package without importing it."""
    top, *below = name.split(".")
    root = _root(top)
    if root is None:
        return None
    place = root.joinpath(*below)
    candidates = (place / "__init__.py", place.with_suffix(".py")) if below else (root / "__init__.py", root)
    return next((file for file in candidates if file.is_file()), None)


@cache
def _root(top: str) -> Path | None:
    """Return the folder of a package, or the file of a single module."""
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None or spec.origin is None:
        return None
    file = Path(spec.origin)
    return file.parent if file.name == "__init__.py" else file


def _read(name: str, known: dict[str, Any]) -> tuple[str, list[str]]:
    """Return the digest of a module and the dotted names that it imports, also inside functions."""
    file = _file(name)
    assert file is not None  # names come from `_module_of`
    status = file.stat()
    stamp = [status.st_mtime_ns, status.st_size]
    entry = known.get(str(file))
    if not isinstance(entry, list) or entry[0] != stamp:
        tree = ast.parse(file.read_text(encoding="utf-8"))
        package = name if file.name == "__init__.py" else name.rpartition(".")[0]
        imported = list(dict.fromkeys(_imports(tree, package)))
        entry = known[str(file)] = [stamp, digest_of(ast.dump(_without_docstrings(tree))), imported]
    return entry[1], entry[2]


def _memory() -> Path:
    """Return the file that remembers what was read of each module: parsing a hundred takes a second."""
    return cache_folder() / f"code-{sys.version_info.major}.{sys.version_info.minor}.json"


def _imports(tree: ast.Module, package: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:]
    return tree
