"""Where the YAML files live: beside the package in a checkout, inside it in a wheel, and in the user's folders."""

from __future__ import annotations

import os
from pathlib import Path

import medreg
from medreg.errors import ConfigError

OWN_VARIABLE = "MEDREG_CONFIGS"


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


def config_dirs() -> list[Path]:
    """Return medreg's folder of configuration groups, then those that the user names in MEDREG_CONFIGS.

    Raises:
        ConfigError: a folder that is not there.
    """
    named = [Path(word).expanduser() for word in os.environ.get(OWN_VARIABLE, "").split(os.pathsep) if word]
    for folder in named:
        if not folder.is_dir():
            raise ConfigError(f"{OWN_VARIABLE} names {folder}, which is no folder; mend or unset it.")
    return [config_dir(), *(folder.resolve() for folder in named)]


def config_file(group: str, option: str) -> Path:
    """Return the YAML file of an option, which may be missing; of two with one name medreg's counts, as for Hydra."""
    files = [folder / group / f"{option}.yaml" for folder in config_dirs()]
    return next((file for file in files if file.is_file()), files[0])
