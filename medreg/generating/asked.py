"""What a person says of the person whose heart is wanted, in words of the command line or of the data."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from medreg.errors import ConfigError
from medreg.models.hearts.conditions import Conditions

FLAGS = {
    "age_years": "--age",
    "sex": "--sex",
    "height_cm": "--height",
    "weight_kg": "--weight",
    "sbp_mmhg": "--sbp",
}
SHORT = {"age": "age_years", "height": "height_cm", "weight": "weight_kg", "sbp": "sbp_mmhg"}  # from Python
Given = Mapping[str, str | float | None]


def read_conditions(conditions: Conditions, given: Given) -> dict[str, Tensor]:
    """Return covariates of one person, name → (1,), NaN for what is not said.

    Args:
        conditions: of the model.
        given: by the name of the covariate, or short as on the command line (`age`); None is not said.

    Raises:
        ConfigError: a condition that the model does not have, said twice, or a value that no person can have.
    """
    said: dict[str, str | float] = {}
    for word, value in given.items():
        name = SHORT.get(word, word)
        if name not in conditions.conditions:
            if value is None:
                continue
            raise ConfigError(f"The model is not conditioned on {told(name)}; it knows {known(conditions)}.")
        if name in said:
            raise ConfigError(f"{told(name)} is given twice; leave one of them out.")
        if value is not None:
            said[name] = value
    return {
        name: torch.tensor([each.read(told(name), said[name]) if name in said else torch.nan])
        for name, each in conditions.conditions.items()
    }


def odd_conditions(conditions: Conditions, covariates: Mapping[str, Tensor]) -> list[str]:
    """Say of one person's covariates which lie beyond the range of training, and which are unknown."""
    unknown = [name for name in conditions.names if bool(covariates[name].isnan().any())]
    outside = [
        note
        for note in conditions.warnings(covariates)
        if not note.startswith(tuple(f"{n} " for n in unknown))
    ]
    if not unknown:
        return outside
    words = "its range" if len(unknown) == 1 else "their ranges"
    return [*outside, f"not given: {', '.join(map(told, unknown))}; the model is told the middle of {words}"]


def require_condition(conditions: Conditions, name: str, verb: str) -> None:
    """Refuse a model that is not told what a command changes.

    Raises:
        ConfigError: naming what it is told.
    """
    if name not in conditions.conditions:
        raise ConfigError(
            f"The model is not conditioned on {name}, so it cannot {verb}; it knows {known(conditions)}. Train one "
            f"that is told {name}, such as by `python train.py model=ageheart data=heart_population`."
        )


def known(conditions: Conditions) -> str:
    """The conditions of a model as a person gives them."""
    return ", ".join(map(told, conditions.names)) or "no condition"


def told(name: str) -> str:
    """A covariate and its flag."""
    flag = FLAGS.get(name)
    return f"{name} (--condition {name}=…)" if flag is None else f"{name} ({flag})"


def shown(conditions: Conditions, covariates: Mapping[str, Tensor]) -> dict[str, str | float | None]:
    """One person's covariates for tables and records: numbers, categories in words, None where unknown."""
    found: dict[str, str | float | None] = {}
    for name, each in conditions.conditions.items():
        value = float(covariates[name][0])
        if value != value:
            found[name] = None
        else:
            found[name] = each.shown(value) if each.categorical else round(value, 4)  # of float32
    return found
