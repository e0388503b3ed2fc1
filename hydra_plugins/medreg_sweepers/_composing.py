"""Composition of many jobs that differ in values only: the groups are composed once, the values set in a copy."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf


class RememberingLoader:
    """A Hydra configuration loader that remembers what it composed for each choice of groups.

    A composition of medreg takes some 0.3 s, most of it for reading and merging YAML that is the same for all jobs of a
    sweep. Everything but `load_sweep_config` is the wrapped loader's.

    Args:
        loader: Hydra's own.
    """

    def __init__(self, loader: ConfigLoaderImpl) -> None:
        self._loader = loader
        self._composed: dict[tuple[str, ...], DictConfig] = {}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "_loader":  # asked for while it is unpickled
            raise AttributeError(name)
        return getattr(self._loader, name)

    def __getstate__(self) -> dict[str, Any]:
        """Return what another process needs; it composes for itself."""
        return {"_loader": self._loader, "_composed": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: Sequence[str]) -> DictConfig:
        """Return the configuration of one job, as Hydra's loader would."""
        lines = [*OmegaConf.to_container(master_config.hydra.overrides.hydra), *sweep_overrides]  # type: ignore[misc]
        overrides = OverridesParser.create(config_loader=self._loader).parse_overrides(lines)
        groups = [one for one in overrides if self._chooses(one)]
        cfg = copy.deepcopy(self._with_groups(master_config.hydra.job.config_name, groups))
        ConfigLoaderImpl._apply_overrides_to_config([one for one in overrides if not self._chooses(one)], cfg)
        _name_overrides(cfg, overrides)
        OmegaConf.copy_cache(from_config=master_config, to_config=cfg)
        return cfg

    def _chooses(self, override: Override) -> bool:
        """Whether an override chooses an option of a group, by Hydra's own rule."""
        return self._loader.repository.group_exists(override.key_or_group) and not isinstance(
            override.value(), dict
        )

    def _with_groups(self, config_name: str | None, groups: Sequence[Override]) -> DictConfig:
        key = tuple(str(one.input_line) for one in groups)
        if key not in self._composed:
            self._composed[key] = self._loader.load_configuration(config_name, list(key), RunMode.RUN)
        return self._composed[key]


def _name_overrides(cfg: DictConfig, overrides: Sequence[Override]) -> None:
    """Write the overrides where Hydra keeps those of a job."""
    own = [one for one in overrides if not one.is_hydra_override()]
    cfg.hydra.overrides.hydra = [one.input_line for one in overrides if one.is_hydra_override()]
    cfg.hydra.overrides.task = [one.input_line for one in own]
    style = cfg.hydra.job.config.override_dirname
    cfg.hydra.job.override_dirname = get_overrides_dirname(
        overrides=own, kv_sep=style.kv_sep, item_sep=style.item_sep, exclude_keys=style.exclude_keys
    )
