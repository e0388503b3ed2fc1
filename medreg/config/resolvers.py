"""OmegaConf resolvers: few, pure, and none that reads the disk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from medreg.config.identity import run_name
from medreg.errors import ConfigError


def _run_name(*, _root_: DictConfig) -> str:
    return run_name(_root_)


def _numbered(first: int, last: int) -> list[str]:
    """Names of numbered people, "0001" to "0024" for 1 and 24."""
    return [f"{number:04d}" for number in range(first, last + 1)]


def _classes(labels: Mapping[str, int] | None) -> int:
    """Number of structures and the background."""
    if labels is None:
        raise ConfigError(
            "These data name their structures only on disk; set model.out_channels to their number and one more."
        )
    return len(labels) + 1


def _by_ndim(ndim: int, flat: Any, solid: Any) -> Any:
    """The one of two values that is for images of so many dimensions."""
    chosen = flat if ndim == 2 else solid
    # A plain list would not survive where the whole node is used by interpolation, as ${augmentation} is.
    return OmegaConf.create(chosen) if isinstance(chosen, list) else chosen


def register() -> None:
    """Register medreg's resolvers; calling it again changes nothing."""
    OmegaConf.register_new_resolver("medreg.run_name", _run_name, replace=True)
    OmegaConf.register_new_resolver("medreg.numbered", _numbered, replace=True)
    OmegaConf.register_new_resolver("medreg.classes", _classes, replace=True)
    OmegaConf.register_new_resolver("medreg.by_ndim", _by_ndim, replace=True)
