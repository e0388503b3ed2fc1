"""Settings that one YAML file holds as a whole, such as a preset of `medreg register` or a method of a search."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from medreg.config.numbers import check_numbers
from medreg.config.paths import config_dirs, config_file
from medreg.config.suggest import leaf_keys, nearest
from medreg.config.typed import check_kinds, check_same_kind
from medreg.errors import ConfigError


def names_of(group: str) -> list[str]:
    """Return the files of a folder of `configs`, without suffix."""
    return sorted({file.stem for folder in config_dirs() for file in (folder / group).glob("*.yaml")})


def read_settings(
    group: str, name: str, overrides: Sequence[str], *, kind: str
) -> tuple[Path, dict[str, Any]]:
    """Return the file of some settings, and the settings with what the user changed.

    Args:
        group: folder of `configs`.
        name: one of its files, or the path of a YAML file of the same form.
        overrides: changes such as `model.energy.similarity.window=7`.
        kind: what the settings are, for messages.

    Raises:
        ConfigError: an unknown name or key, with the nearest ones; a file that cannot be read.
    """
    file = Path(name) if name.endswith((".yaml", ".yml")) else config_file(group, name)
    if not file.is_file():
        known = names_of(group)
        raise ConfigError(
            f"There is no {kind} {name!r}.{_hint(name, known)} "
            f"{kind.capitalize()}s: {', '.join(known)}, or a YAML file."
        )
    try:
        node = OmegaConf.load(file)
        keys = leaf_keys(node)
        for text in overrides:
            key = text.split("=", 1)[0]
            if "=" not in text or key not in keys:
                raise ConfigError(
                    f"--set {text}: the {kind} {file.stem} has no option {key!r}.{_hint(key, keys)}"
                )
        merged = OmegaConf.merge(node, OmegaConf.from_dotlist(list(overrides)))
        settings = OmegaConf.to_container(merged, resolve=True)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, OmegaConfBaseException) as error:
        raise ConfigError(f"Cannot read the {kind} {file}: {str(error).splitlines()[0]}") from error
    if not isinstance(settings, dict):
        raise ConfigError(f"The {kind} {file} holds no options.")
    check_numbers(settings)
    for key in (text.split("=", 1)[0] for text in overrides):
        check_same_kind(key, OmegaConf.select(merged, key), OmegaConf.select(node, key))
    check_kinds(settings)
    return file, {str(key): value for key, value in settings.items()}


def _hint(word: str, known: Sequence[str]) -> str:
    close = nearest(word, known)
    return f" Did you mean {' or '.join(close)}?" if close else ""
