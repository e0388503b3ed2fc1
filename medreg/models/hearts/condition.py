"""What a heart is conditioned on, one condition at a time: how a value is read, checked and told to a network."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from medreg.errors import ConfigError

FEMALE, MALE = 0.0, 1.0  # the coding of sex, everywhere
SEXES = {"f": FEMALE, "female": FEMALE, "w": FEMALE, "woman": FEMALE, "m": MALE, "male": MALE, "man": MALE}
FIRST_GROUP_ENDS, GROUP_YEARS, LAST_GROUP = 51.0, 5.0, 6  # age groups of AgeHeart, utils.py (age_transform)


class Condition(ABC):
    """One condition of a heart.

    Attributes:
        size: numbers that a network is told.
        unit: of the value, empty for none.
        categorical: whether every value is one of a few, so that no value lies between two others.
    """

    size: int = 1
    unit: str = ""
    categorical: ClassVar[bool] = False

    @abstractmethod
    def encode(self, values: Tensor) -> Tensor:
        """Return what a network is told, (B, size), of values (B,); NaN is an unknown value."""

    @abstractmethod
    def read(self, name: str, text: str | float) -> float:
        """Return the value that a person means.

        Raises:
            ConfigError: a value that no person can have, or none at all.
        """

    def shown(self, value: float) -> str:
        """Return a value as a person writes it."""
        return f"{value:g}"


class Number(Condition):
    """A number, told as (value − centre) / scale; 0, the centre, if it is unknown.

    Args:
        centre: of the population.
        scale: of the population, above 0.
        least: below which no person's value lies.
        greatest: above which no person's value lies.
        unit: of the value.
    """

    def __init__(self, *, centre: float, scale: float, least: float, greatest: float, unit: str) -> None:
        if scale <= 0 or least >= greatest:
            raise ConfigError(
                f"A condition needs scale > 0 and least < greatest, not {scale}, {least} and {greatest}."
            )
        self.centre, self.scale, self.least, self.greatest, self.unit = centre, scale, least, greatest, unit

    def encode(self, values: Tensor) -> Tensor:
        """(value − centre) / scale."""
        return ((values - self.centre) / self.scale).nan_to_num(0.0).unsqueeze(1)

    def read(self, name: str, text: str | float) -> float:
        """A number between the limits."""
        return number_within(name, text, self.least, self.greatest, self.unit)


class AgeGroup(Condition):
    """The age in groups of five years, 0 (below 51) to 6 (76 and above), as AgeHeart's and CHeart's code has it.

    Args:
        centre: subtracted from the group.
        scale: divides it; 3 and 3 give −1 to 1, 0 and 1 the group itself (released).
    """

    unit = "years"

    def __init__(self, *, centre: float = 3.0, scale: float = 3.0) -> None:
        self.centre, self.scale = centre, scale

    def encode(self, values: Tensor) -> Tensor:
        """The scaled group; that in the middle if the age is unknown."""
        group = age_group(values)
        middle = LAST_GROUP / 2
        return ((torch.where(values.isnan(), middle, group) - self.centre) / self.scale).unsqueeze(1)

    def read(self, name: str, text: str | float) -> float:
        """An age in years, 0 to 120."""
        return number_within(name, text, 0.0, 120.0, self.unit)


class Sex(Condition):
    """Female 0 or male 1, told as ±1; 0 if it is unknown.

    Args:
        signed: False: told as 0 and 1 (released).
    """

    categorical = True

    def __init__(self, *, signed: bool = True) -> None:
        self.signed = signed

    def encode(self, values: Tensor) -> Tensor:
        """−1 or 1, or 0 or 1."""
        told = 2 * values - 1 if self.signed else values
        return told.nan_to_num(0.0 if self.signed else 0.5).unsqueeze(1)

    def read(self, name: str, text: str | float) -> float:
        """F or M, in words or as 0 and 1."""
        known = {**SEXES, "0": FEMALE, "1": MALE, "0.0": FEMALE, "1.0": MALE}
        value = known.get(str(text).strip().lower())
        if value is None:
            raise ConfigError(f"{name} is {text!r}; give F (female) or M (male).")
        return value

    def shown(self, value: float) -> str:
        """F or M."""
        return "F" if value == FEMALE else "M"


class Category(Condition):
    """One of several values, told as ones and zeros; zeros alone if it is unknown.

    Args:
        values: in the order of their codes, which must be that of the data (`data.categories`).
    """

    categorical = True

    def __init__(self, values: Sequence[str]) -> None:
        self.values = tuple(map(str, values))
        self.size = len(self.values)

    def encode(self, values: Tensor) -> Tensor:
        """One number a value, 1 for the one that it is; of codes, −1 or NaN where unknown."""
        codes = values.nan_to_num(-1.0).long().unsqueeze(1)
        return (codes == torch.arange(self.size, device=values.device)).to(torch.get_default_dtype())

    def read(self, name: str, text: str | float) -> float:
        """The code of one of the values, whatever its case."""
        places = {value.lower(): place for place, value in enumerate(self.values)}
        place = places.get(str(text).strip().lower())
        if place is None:
            raise ConfigError(f"{name} is {text!r}; give one of {', '.join(self.values)}.")
        return float(place)

    def shown(self, value: float) -> str:
        """The value itself."""
        return self.values[int(value)]


def age_group(years: Tensor) -> Tensor:
    """Return the group, 0 to 6, of ages in years: below 51, then five years each, 76 and above."""
    group = 1 + ((years - FIRST_GROUP_ENDS) / GROUP_YEARS).floor()
    return group.clamp(0, LAST_GROUP)


def number_within(name: str, text: str | float, least: float, greatest: float, unit: str) -> float:
    """Return a number of a person between limits.

    Raises:
        ConfigError: no number, or one beyond the limits.
    """
    try:
        value = float(text)
    except (TypeError, ValueError):
        value = math.nan
    if not least <= value <= greatest:
        raise ConfigError(
            f"{name} is {text!r}; give a number from {least:g} to {greatest:g}{f' ({unit})' if unit else ''}."
        )
    return value
