"""All conditions of a model of hearts: the vector that a network is told, and the range that training has seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from medreg.errors import CompositionError, ConfigError
from medreg.models.hearts.condition import Category, Condition

Covariates = Mapping[str, Tensor]


class Conditions(nn.Module):
    """What a model is conditioned on.

    The least and greatest value of every condition in training are part of the checkpoint, so that whoever asks for a
    heart beyond them can be told.

    Args:
        conditions: by the name of the covariate, in their order in the vector; none at all is a model without.
        **named: the same, as options name them; None leaves a condition out.
    """

    low: Tensor
    high: Tensor

    def __init__(self, conditions: Mapping[str, Condition] | None = None, **named: Condition | None) -> None:
        super().__init__()
        given = {**(conditions or {}), **named}
        self.conditions = {name: each for name, each in given.items() if each is not None}
        count = len(self.conditions)
        self.register_buffer("low", torch.full((count,), torch.inf))
        self.register_buffer("high", torch.full((count,), -torch.inf))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the covariates."""
        return tuple(self.conditions)

    @property
    def size(self) -> int:
        """Length of the vector."""
        return sum(condition.size for condition in self.conditions.values())

    def forward(self, covariates: Covariates, count: int | None = None) -> Tensor:
        """Return the vectors, (B, size).

        Args:
            covariates: name → (B,), as in a batch; may hold more than is needed.
            count: B, for a model without conditions.

        Raises:
            CompositionError: a covariate that is not there.
        """
        self.require(covariates)
        parts = [each.encode(covariates[name].to(self.low)) for name, each in self.conditions.items()]
        return torch.cat(parts, 1) if parts else self.low.new_zeros(count or 0, 0)

    def require(self, names: Sequence[str] | Covariates) -> None:
        """Refuse data that do not tell every condition.

        Raises:
            CompositionError: naming those that are missing.
        """
        missing = [name for name in self.conditions if name not in names]
        if missing:
            raise CompositionError(
                f"The model is conditioned on {', '.join(missing)}, which the data do not tell (they tell "
                f"{', '.join(names) or 'nothing'}). Leave a condition out with conditions.NAME=null, or add the "
                "column to the table of the data."
            )

    def check_categories(self, categories: Mapping[str, Sequence[str]]) -> None:
        """Refuse data whose categories have other values than the model's.

        Raises:
            CompositionError: naming both.
        """
        for name, condition in self.conditions.items():
            known = tuple(categories.get(name, ()))
            if isinstance(condition, Category) and known != condition.values:
                raise CompositionError(
                    f"model.conditions.{name} has the values {', '.join(condition.values)}, the data "
                    f"{', '.join(known) or 'none'}; set data.categories.{name} to those of the model."
                )

    def observe(self, covariates: Covariates) -> None:
        """Widen the range of training by some people's values; NaN and −1 of an unknown category count nothing."""
        for place, (name, condition) in enumerate(self.conditions.items()):
            values = covariates[name].to(self.low)
            known = values[~values.isnan() & ((values >= 0) | torch.tensor(not condition.categorical))]
            if len(known):
                self.low[place] = torch.minimum(self.low[place], known.min())
                self.high[place] = torch.maximum(self.high[place], known.max())

    def read(self, given: Mapping[str, str | float]) -> dict[str, Tensor]:
        """Return covariates of one person, name → (1,), NaN for what is not given.

        Raises:
            ConfigError: a condition that the model does not have, or a value that no person can have.
        """
        for name in given:
            if name not in self.conditions:
                raise ConfigError(
                    f"The model is not conditioned on {name}; it knows {', '.join(self.conditions) or 'no condition'}."
                )
        return {
            name: torch.tensor([each.read(name, given[name]) if name in given else torch.nan])
            for name, each in self.conditions.items()
        }

    def warnings(self, covariates: Covariates) -> list[str]:
        """Say of one person's covariates which lie beyond the range of training, and which are unknown."""
        told = []
        for place, (name, condition) in enumerate(self.conditions.items()):
            value, low, high = float(covariates[name][0]), float(self.low[place]), float(self.high[place])
            if value != value:
                told.append(f"{name} is not given; the model is told the middle of its range")
            elif low <= high and not low <= value <= high:
                limits = f"{condition.shown(low)} to {condition.shown(high)}"
                unit = f" {condition.unit}" if condition.unit else ""
                told.append(
                    f"{name}={condition.shown(value)} lies outside what training has seen ({limits}{unit})"
                )
        return told
