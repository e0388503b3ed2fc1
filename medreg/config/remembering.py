"""Composition that remembers: groups are composed once for each choice of options, values are set in a copy.

A composition of medreg takes some 0.3 s, most of it for reading and merging YAML that is the same whatever the values.
"""

from __future__ import annotations

import copy
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

from hydra import initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import JobRuntime
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from medreg.config.paths import config_dir


class RememberingLoader:
    """A Hydra configuration loader that remembers what it composed for each choice of groups.

    Everything but `compose` and `load_sweep_config` is the wrapped loader's.

    Args:
        loader: Hydra's own.
    """

    def __init__(self, loader: ConfigLoaderImpl) -> None:
        self._loader = loader
        self._composed: dict[tuple[str | None, ...], DictConfig] = {}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "_loader":  # asked for while it is unpickled
            raise AttributeError(name)
        return getattr(self._loader, name)

    def __getstate__(self) -> dict[str, Any]:
        """Return what another process needs; it composes for itself."""
        return {"_loader": self._loader, "_composed": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def compose(self, config_name: str | None, lines: Sequence[str]) -> DictConfig:
        """Return the configuration of these overrides, with its Hydra node, as Hydra's loader would."""
        overrides = OverridesParser.create(config_loader=self._loader).parse_overrides(list(lines))
        self._loader.validate_sweep_overrides_legal(overrides, RunMode.RUN, from_shell=False)
        elsewhere = any(
            one.get_key_element() == "hydra.searchpath" for one in overrides
        )  # brings groups of its own
        chosen = [one for one in overrides if elsewhere or self._chooses(one)]
        cfg = copy.deepcopy(self._with_groups(config_name, chosen))
        if not elsewhere:
            ConfigLoaderImpl._apply_overrides_to_config(
                [one for one in overrides if not self._chooses(one)], cfg
            )
            _name_overrides(cfg, overrides)
        cfg.hydra.runtime.cwd = str(Path.cwd())
        return cfg

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: Sequence[str]) -> DictConfig:
        """Return the configuration of one job of a sweep, as Hydra's loader would."""
        own = OmegaConf.to_container(master_config.hydra.overrides.hydra)
        assert isinstance(own, list)
        cfg = self.compose(master_config.hydra.job.config_name, [*own, *sweep_overrides])
        OmegaConf.copy_cache(from_config=master_config, to_config=cfg)
        return cfg

    def _chooses(self, override: Override) -> bool:
        """Whether an override chooses an option of a group, by Hydra's own rule."""
        return self._loader.repository.group_exists(override.key_or_group) and not isinstance(
            override.value(), dict
        )

    def _with_groups(self, config_name: str | None, chosen: Sequence[Override]) -> DictConfig:
        lines = [str(one.input_line) for one in chosen]
        key = (config_name, *lines)
        if key not in self._composed:
            self._composed[key] = self._loader.load_configuration(config_name, lines, RunMode.RUN)
        return self._composed[key]


def remembering(loader: ConfigLoaderImpl) -> RememberingLoader:
    """Return what remembers for this loader: one for all with the same folders, until a file there changes."""
    places = tuple((one.provider, one.path) for one in loader.get_search_path().get_path())
    folders = [
        path.removeprefix("file://") for _, path in places if path and path.startswith(("/", "file://"))
    ]
    key = (str(JobRuntime.instance().get("name")), places, tuple(map(_newest, folders)))
    if key not in _known:
        _known[key] = RememberingLoader(loader)
    return _known[key]


_known: dict[tuple[Hashable, ...], RememberingLoader] = {}


def loader_of(job_name: str) -> RememberingLoader:
    """Return the loader of medreg's folder of configurations and of the user's."""
    outer = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(config_dir()), version_base="1.3", job_name=job_name):
            found = GlobalHydra.instance().config_loader()
            assert isinstance(found, ConfigLoaderImpl)
            return remembering(found)
    finally:
        GlobalHydra.instance().clear()
        if outer is not None:
            GlobalHydra.instance().initialize(outer)


def _newest(folder: str) -> tuple[int, int]:
    """Return how many files a folder holds and when the newest was changed, in ns."""
    times = [file.stat().st_mtime_ns for file in Path(folder).rglob("*.yaml")]
    return len(times), max(times, default=0)


def _name_overrides(cfg: DictConfig, overrides: Sequence[Override]) -> None:
    """Write the overrides where Hydra keeps those of a job."""
    own = [one for one in overrides if not one.is_hydra_override()]
    cfg.hydra.overrides.hydra = [one.input_line for one in overrides if one.is_hydra_override()]
    cfg.hydra.overrides.task = [one.input_line for one in own]
    style = cfg.hydra.job.config.override_dirname
    cfg.hydra.job.override_dirname = get_overrides_dirname(
        overrides=own, kv_sep=style.kv_sep, item_sep=style.item_sep, exclude_keys=style.exclude_keys
    )
