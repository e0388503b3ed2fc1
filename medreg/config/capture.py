"""Compose the configuration of a capture range: `configs/capture.yaml` with its group `measure`."""

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

GROUP = "measure"


def measure_options() -> list[str]:
    """Return the names that `measure=` takes."""
    return sorted(file.stem for file in (config_dir() / GROUP).glob("*.yaml"))


def compose_capture(overrides: Sequence[str] = ()) -> DictConfig:
    """Return the configuration that `medreg capture-range <overrides>` runs.

    Args:
        overrides: `measure=[NAME,…]`, and options such as `draws=2` or `criterion.final=5`.

    Raises:
        ConfigError: a misspelt measure or key; the nearest names are given.
    """
    parsed = parse(list(overrides))
    choices = [item for item in parsed if item.key_or_group == GROUP]
    for item in choices:
        value = item.value()
        for name in value if isinstance(value, list) else [value]:
            _check(str(name), measure_options(), GROUP)
    keys = leaf_keys(_compose([str(item.input_line) for item in choices]))
    # A node such as `families.joint` may be replaced whole.
    nodes = {key.rsplit(".", depth)[0] for key in keys for depth in range(1, key.count(".") + 1)}
    for item in parsed:
        if item.key_or_group != GROUP and not item.is_add() and not item.is_delete():
            _check(item.key_or_group, [*keys, *nodes, GROUP], "medreg capture-range")
    return _compose(overrides)


def _check(word: str, known: Sequence[str], where: str) -> None:
    if word in known:
        return
    close = nearest(word, known)
    hint = f" Did you mean {' or '.join(repr(name) for name in close)}?" if close else ""
    shown = f" Options: {', '.join(known)}." if where == GROUP else ""
    raise ConfigError(f"{where}: there is no option {word!r}.{hint}{shown}")


def _compose(overrides: Sequence[str]) -> DictConfig:
    register()
    outer = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(config_dir()), version_base="1.3", job_name="capture"):
            return hydra_compose("capture", overrides=list(overrides))
    finally:
        GlobalHydra.instance().clear()
        if outer is not None:
            GlobalHydra.instance().initialize(outer)
