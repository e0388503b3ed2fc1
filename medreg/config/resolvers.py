"""OmegaConf resolvers: few, pure, and none that reads the disk."""

from __future__ import annotations

from omegaconf import DictConfig, OmegaConf

from medreg.config.identity import run_name


def _run_name(*, _root_: DictConfig) -> str:
    return run_name(_root_)


def register() -> None:
    """Register medreg's resolvers; calling it again changes nothing."""
    OmegaConf.register_new_resolver("medreg.run_name", _run_name, replace=True)
