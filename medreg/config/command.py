"""Compose the configurations of commands that are no training: a benchmark, a capture range."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig

from medreg.config.settings import names_of
from medreg.config.suggest import did_you_mean, leaf_keys, parse
from medreg.config.unchecked import compose_unchecked
from medreg.errors import ConfigError


@dataclass(frozen=True)
class Command:
    """A command with a configuration of its own.

    Attributes:
        name: as typed.
        root: its file in `configs`, without suffix.
        groups: folders of `configs` that it chooses from.
    """

    name: str
    root: str
    groups: tuple[str, ...]

    def options(self, group: str) -> list[str]:
        """Return the names that `group=` takes."""
        return names_of(group)

    def compose(self, overrides: Sequence[str] = ()) -> DictConfig:
        """Return the configuration that the command runs with these options.

        Args:
            overrides: `GROUP=NAME` or `GROUP=[NAME,…]`, and options such as `methods.greedy.timeout_s=60`.

        Raises:
            ConfigError: a misspelt group, option or key; the nearest names are given.
        """
        parsed = parse(list(overrides))
        choices = [item for item in parsed if item.key_or_group in self.groups]
        others = [item for item in parsed if item.key_or_group not in self.groups]
        for item in choices:
            self._check_choice(item)
        if others:
            chosen = compose_unchecked([str(item.input_line) for item in choices], root=self.root)
            self._check_keys(others, leaf_keys(chosen))
        return compose_unchecked(overrides, root=self.root)

    def _check_choice(self, choice: Override) -> None:
        group, value = choice.key_or_group, choice.value()
        options = self.options(group)
        for name in value if isinstance(value, list) else [value]:
            if str(name) not in options:
                raise ConfigError(
                    f"{group}: there is no option {str(name)!r}.{did_you_mean(str(name), options)} "
                    f"Options: {', '.join(options)}."
                )

    def _check_keys(self, overrides: Sequence[Override], keys: Sequence[str]) -> None:
        for item in overrides:
            key = item.key_or_group
            if key not in keys and not item.is_add() and not item.is_delete():
                hint = did_you_mean(key, [*keys, *self.groups])
                raise ConfigError(f"{self.name}: there is no option {key!r}.{hint}")


BENCHMARK = Command("medreg benchmark", root="benchmark", groups=("benchmark", "method", "logger"))
CAPTURE_RANGE = Command("medreg capture-range", root="capture", groups=("measure",))
