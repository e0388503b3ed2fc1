"""Compose a configuration with Hydra, outside an application, without checking names."""

from __future__ import annotations

from collections.abc import Sequence

from omegaconf import DictConfig, open_dict

from medreg.config.remembering import loader_of
from medreg.config.resolvers import register


def compose_unchecked(
    overrides: Sequence[str] = (), *, root: str = "train", with_hydra: bool = False
) -> DictConfig:
    """Compose without checking names; use inside a running Hydra application is allowed.

    Args:
        overrides: strings as on a command line.
        root: file of `configs` to start from, without suffix.
        with_hydra: keep the `hydra` node.
    """
    register()
    cfg = loader_of(root).compose(root, overrides)
    if not with_hydra and "hydra" in cfg:
        with open_dict(cfg):
            del cfg["hydra"]
    return cfg
