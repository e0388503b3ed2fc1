"""Compose the configuration of a benchmark: `configs/benchmark.yaml` with its groups `benchmark` and `method`."""

from __future__ import annotations

from collections.abc import Sequence

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from medreg.config.paths import config_dir
from medreg.config.resolvers import register
from medreg.config.suggest import leaf_keys, nearest, parse
from medreg.errors import ConfigError

GROUPS = ("benchmark", "method", "logger")


def benchmark_options(group: str) -> list[str]:
    """Return the options of one of the groups of a benchmark."""
    return sorted(file.stem for file in (config_dir() / group).glob("*.yaml"))


def compose_benchmark(overrides: Sequence[str] = ()) -> DictConfig:
    """Return the configuration that `medreg benchmark <overrides>` runs.

    Args:
        overrides: `benchmark=NAME`, `method=[NAME,…]`, and options such as `methods.greedy.timeout_s=60`.

    Raises:
        ConfigError: a misspelt group, option or key; the nearest names are given.
    """
    parsed = parse(list(overrides))
    for item in parsed:
        if item.key_or_group in GROUPS:
            value = item.value()
            for name in value if isinstance(value, list) else [value]:
                _check(str(name), benchmark_options(item.key_or_group), item.key_or_group)
    choices = [str(item.input_line) for item in parsed if item.key_or_group in GROUPS]
    others = [item for item in parsed if item.key_or_group not in GROUPS]
    if others:
        keys = leaf_keys(_compose(choices))
        for item in others:
            key = item.key_or_group
            if not item.is_add() and not item.is_delete() and key not in keys:
                _check(key, [*keys, *GROUPS], "medreg benchmark")
    return _compose(overrides)


def _check(word: str, known: Sequence[str], where: str) -> None:
    if word in known:
        return
    close = nearest(word, known)
    hint = f" Did you mean {' or '.join(repr(name) for name in close)}?" if close else ""
    shown = f" Options: {', '.join(known)}." if where in GROUPS else ""
    raise ConfigError(f"{where}: there is no option {word!r}.{hint}{shown}")


def _compose(overrides: Sequence[str]) -> DictConfig:
    register()
    outer = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(config_dir()), version_base="1.3", job_name="benchmark"):
            return hydra_compose("benchmark", overrides=list(overrides))
    finally:
        GlobalHydra.instance().clear()
        if outer is not None:
            GlobalHydra.instance().initialize(outer)
