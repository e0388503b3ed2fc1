"""Compose a configuration from override strings, outside an application."""

from __future__ import annotations

from collections.abc import Sequence

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from medreg.config.paths import config_dir
from medreg.config.resolvers import register
from medreg.config.suggest import check_overrides


def compose(overrides: Sequence[str] = (), *, with_hydra: bool = False) -> DictConfig:
    """Return the configuration that `python train.py <overrides>` would run.

    Args:
        overrides: strings such as `model=gradirn` or `regularisation.weight=0.05`.
        with_hydra: keep the `hydra` node (run folder, choices).

    Raises:
        ConfigError: a misspelt group, option or key; the message names the nearest valid ones.
    """
    register()
    check_overrides(list(overrides))
    return compose_unchecked(overrides, with_hydra=with_hydra)


def compose_unchecked(overrides: Sequence[str] = (), *, with_hydra: bool = False) -> DictConfig:
    """Compose without checking names; nested use inside a running Hydra application is allowed."""
    register()
    outer = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(config_dir()), version_base="1.3", job_name="train"):
            return hydra_compose("train", overrides=list(overrides), return_hydra_config=with_hydra)
    finally:
        GlobalHydra.instance().clear()
        if outer is not None:
            GlobalHydra.instance().initialize(outer)
