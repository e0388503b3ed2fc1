"""Compose a configuration from override strings, outside an application."""

from __future__ import annotations

from collections.abc import Sequence

from omegaconf import DictConfig

from medreg.config.suggest import check_overrides
from medreg.config.unchecked import compose_unchecked


def compose(overrides: Sequence[str] = (), *, with_hydra: bool = False) -> DictConfig:
    """Return the configuration that `python train.py <overrides>` would run.

    Args:
        overrides: strings such as `model=gradirn` or `regularisation.weight=0.05`.
        with_hydra: keep the `hydra` node (run folder, choices).

    Raises:
        ConfigError: a misspelt group, option or key; the message names the nearest valid ones.
    """
    check_overrides(list(overrides))
    return compose_unchecked(overrides, with_hydra=with_hydra)
