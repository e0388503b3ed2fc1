"""Say for every value of a composed configuration which file, or the command line, it comes from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from medreg.config.compose import compose
from medreg.config.paths import config_dir, config_file
from medreg.config.suggest import parse

COMMAND_LINE = "command line"


@dataclass(frozen=True)
class Origin:
    """A leaf of the configuration: dotted key, value as written, value resolved, and where it was set."""

    key: str
    written: str
    value: str
    source: str


def _leaves(node: object, prefix: str = "") -> dict[str, object]:
    if isinstance(node, dict) and node:
        found: dict[str, object] = {}
        for key, child in node.items():
            found.update(_leaves(child, f"{prefix}.{key}" if prefix else str(key)))
        return found
    return {prefix: node}


def _sources(overrides: Sequence[str]) -> dict[str, str]:
    """Walk the defaults list in order; the last file that sets a key is its source."""
    root = config_dir()
    loader = ConfigLoaderImpl(create_config_search_path(str(root)))
    defaults = loader.compute_defaults_list("train", list(overrides), RunMode.RUN)
    found: dict[str, str] = {}
    for entry in defaults.defaults:
        if entry.config_path is None:
            continue
        file = config_file("", entry.config_path)
        if not file.is_file():
            continue
        plain = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
        if not isinstance(plain, dict):
            continue
        plain.pop("defaults", None)
        package = entry.package or ""
        for key in _leaves(plain):
            name = ".".join(part for part in (package, key) if part)
            ours = file.is_relative_to(root)
            found[name] = f"configs/{file.relative_to(root).as_posix()}" if ours else str(file)
    groups = {entry.override_key for entry in defaults.defaults}
    for item in parse(overrides):
        if item.key_or_group not in groups:
            found[item.key_or_group] = COMMAND_LINE
    return found


def _source_of(key: str, sources: dict[str, str]) -> str:
    """Return the source of a key or of the nearest node above it that a file or the command line set."""
    parts = key.split(".")
    for length in range(len(parts), 0, -1):
        name = ".".join(parts[:length])
        if name in sources:
            return sources[name]
    return "?"


def origins(overrides: Sequence[str]) -> list[Origin]:
    """Return every leaf of the composed configuration with its origin.

    Raises:
        ConfigError: a misspelt name among the overrides.
    """
    cfg = compose(overrides)
    sources = _sources(overrides)
    raw = OmegaConf.to_container(cfg, resolve=False)
    result = []
    for key, written in _leaves(raw).items():
        result.append(Origin(key, str(written), _resolved(cfg, key, written), _source_of(key, sources)))
    return result


def _resolved(cfg: DictConfig, key: str, written: object) -> str:
    if not isinstance(written, str) or "${" not in written:
        return str(written)
    value = OmegaConf.select(cfg, key, throw_on_resolution_failure=False)
    return f"→ {written}" if OmegaConf.is_config(value) else str(value)
