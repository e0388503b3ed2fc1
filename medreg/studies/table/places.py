"""Where tables are: `experiments/<paper>/tables/<name>.yaml` of a checkout, the installed package, or the user."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import medreg
from medreg.config.suggest import did_you_mean
from medreg.errors import ConfigError

VARIABLE = "MEDREG_EXPERIMENTS"
EVERY = "all"


@dataclass(frozen=True)
class Place:
    """A table by its name, such as gradirn/cardiac.

    Attributes:
        folder: of the paper.
        name: of the table in it.
    """

    folder: Path
    name: str

    @property
    def paper(self) -> str:
        """Name of the paper's folder."""
        return self.folder.name

    @property
    def file(self) -> Path:
        """The table file."""
        return self.folder / "tables" / f"{self.name}.yaml"

    @property
    def published(self) -> Path:
        """The published numbers of the paper, which may be missing."""
        return self.folder / "expected.csv"

    def committed(self, scale: str) -> Path:
        """Return the file of results that were kept with the code, which may be missing."""
        return self.folder / "results" / f"{self.name}.{scale}.csv"

    def __str__(self) -> str:
        return f"{self.paper}/{self.name}"


def roots(own: Path | None = None) -> list[Path]:
    """Return the folders of experiments: the user's (an option, then MEDREG_EXPERIMENTS) before those of medreg."""
    package = Path(medreg.__file__).resolve().parent
    named = [Path(word).expanduser() for word in os.environ.get(VARIABLE, "").split(os.pathsep) if word]
    shipped = [package.parent / "experiments", package / "_experiments"]
    return [folder for folder in ([own] if own else []) + named + shipped if folder.is_dir()]


def all_tables(own: Path | None = None) -> list[Place]:
    """Return every table, papers in order; of two with one name the user's counts."""
    found: dict[str, Place] = {}
    for root in roots(own):
        for file in sorted(root.glob("*/tables/*.yaml")):
            place = Place(file.parents[1], file.stem)
            found.setdefault(str(place), place)
    return [found[name] for name in sorted(found)]


def find(names: Sequence[str], own: Path | None = None) -> list[Place]:
    """Return the tables of names such as `gradirn/cardiac`, `gradirn` for all of a paper, or `all`.

    Raises:
        ConfigError: an unknown name; the nearest are given.
    """
    known = all_tables(own)
    chosen: list[Place] = []
    for name in names:
        fitting = [place for place in known if name in (str(place), place.paper, EVERY)]
        if not fitting:
            words = {str(place) for place in known} | {place.paper for place in known} | {EVERY}
            raise ConfigError(
                f"There is no table {name!r}.{did_you_mean(name, words)} `medreg table` lists them; your own folder of "
                f"experiments is given by --experiments or {VARIABLE}."
            )
        chosen += [place for place in fitting if place not in chosen]
    return chosen
