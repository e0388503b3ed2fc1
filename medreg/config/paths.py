"""Where the YAML files live: beside the package in a checkout, inside it in an installed wheel."""

from __future__ import annotations

from pathlib import Path

import medreg
from medreg.errors import ConfigError


def config_dir() -> Path:
    """Return the folder of the configuration groups.

    Raises:
        ConfigError: the installation holds no configuration files.
    """
    package = Path(medreg.__file__).resolve().parent
    for candidate in (package / "_configs", package.parent / "configs"):
        if (candidate / "train.yaml").is_file():
            return candidate
    raise ConfigError(
        f"No configuration files beside {package}: the installation is incomplete. "
        "Install medreg again (pip install --force-reinstall medreg)."
    )
