"""Compose a configuration with Hydra, outside an application, without checking names."""

from __future__ import annotations

from collections.abc import Sequence

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from medreg.config.paths import config_dir
from medreg.config.resolvers import register


def compose_unchecked(
    overrides: Sequence[str] = (), *, root: str = "train", with_hydra: bool = False
) -> DictConfig:
    """Compose without checking names; nested use inside a running Hydra application is allowed.

    Args:
        overrides: strings as on a command line.
        root: file of `configs` to start from, without suffix.
        with_hydra: keep the `hydra` node.
    """
    register()
    outer = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(config_dir()), version_base="1.3", job_name=root):
            return hydra_compose(root, overrides=list(overrides), return_hydra_config=with_hydra)
    finally:
        GlobalHydra.instance().clear()
        if outer is not None:
            GlobalHydra.instance().initialize(outer)
