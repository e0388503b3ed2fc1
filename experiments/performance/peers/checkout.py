"""An authors' release in a checkout that the user names: how it is known, and what it cannot be without."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

from experiments.performance.work import Contender
from medreg.errors import ConfigError


class Checkout(Contender):
    """A release, told by a file in its folder.

    Args:
        folder: checkout.

    Attributes:
        marker: file that tells it.
        holds: text that the file must have, where other projects have a file of that name.

    Raises:
        ConfigError: the folder is not such a checkout.
    """

    distribution = "torch"
    module = "torch"
    marker: ClassVar[str]
    holds: ClassVar[str] = ""

    def __init__(self, folder: Path) -> None:
        if not self.recognises(folder):
            what = f"{self.marker} with {self.holds}" if self.holds else self.marker
            raise ConfigError(f"--release {folder} has no {what}; give a checkout of the {self.name}.")
        self.folder = folder.resolve()

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Whether the folder is a checkout of it."""
        file = folder / cls.marker
        return file.is_file() and (not cls.holds or cls.holds in file.read_text(encoding="utf-8"))


@contextmanager
def stand_ins(absent: Mapping[str, Sequence[str]], value: Any) -> Iterator[None]:
    """Let modules be imported that are not installed and not needed.

    Args:
        absent: module → names that are imported from it; a part of a package comes after it.
        value: of these names.
    """
    made: dict[str, ModuleType] = {}
    for name, attributes in absent.items():
        if name.split(".")[0] in made or not _installed(name):
            module = ModuleType(name)
            for attribute in attributes:
                setattr(module, attribute, value)
            made[name] = module
    sys.modules.update(made)
    try:
        yield
    finally:
        for name in made:
            del sys.modules[name]


def _installed(name: str) -> bool:
    try:
        importlib.import_module(name)
    except ImportError:
        return False
    return True
