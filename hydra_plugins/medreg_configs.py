"""Folders of the user's own configuration groups, named in MEDREG_CONFIGS, found by Hydra after those of medreg."""

from __future__ import annotations

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin


class OwnConfigs(SearchPathPlugin):
    """Add the folders, so that every command composes with them and every check knows them."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append the user's folders; Hydra calls this whenever it begins to compose."""
        from medreg.config.paths import config_dirs

        for folder in config_dirs()[1:]:
            search_path.append("MEDREG_CONFIGS", str(folder))
