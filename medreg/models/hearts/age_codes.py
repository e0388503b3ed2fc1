"""How the ageing heart is told age and sex: a group of seven, and a pattern of about the same weight."""

from __future__ import annotations

import torch
from torch import Tensor

from medreg.errors import require_number, require_whole
from medreg.models.hearts.condition import (
    FIRST_GROUP_ENDS,
    GROUP_YEARS,
    LAST_GROUP,
    Condition,
    Sex,
    age_group,
    number_within,
)

GROUPS = LAST_GROUP + 1


class AgeCode(Condition):
    """The age in seven groups: 1 at the group and −1 elsewhere, or 1 and 0 with noise in training.

    Source: Qiao et al., STACOM 2022 (AgeHeart), released code, utils.py (str_to_tensor, add_noise_to_label).

    Args:
        noise_sd: of the numbers around 1 and 0 in training; 0: the plain code of ±1.
    """

    unit = "years"
    size = GROUPS

    def __init__(self, *, noise_sd: float) -> None:
        require_number("conditions.age_years.noise_sd", noise_sd, least=0)
        self.noise_sd = float(noise_sd)

    def encode(self, values: Tensor) -> Tensor:
        """The code without noise; zeros alone if the age is unknown."""
        group = age_group(values).nan_to_num(-1.0).long().unsqueeze(1)
        ones = (group == torch.arange(GROUPS, device=values.device)).to(torch.get_default_dtype())
        if self.noise_sd > 0:
            return ones
        return (2 * ones - 1) * (group >= 0)

    def read(self, name: str, text: str | float) -> float:
        """An age in years, 0 to 120."""
        return number_within(name, text, 0.0, 120.0, self.unit)


class SexCode(Sex):
    """Female (1, −1) or male (−1, 1), several times over; zeros if it is unknown.

    Source: released code of AgeHeart, utils.py (str_to_tensor): the place of the 1 is the number of the sex.

    Args:
        repeats: how often; 3 gives it about the weight of the age.
    """

    def __init__(self, *, repeats: int) -> None:
        super().__init__()
        require_whole("conditions.sex.repeats", repeats, 1)
        self.repeats = repeats
        self.size = 2 * repeats

    def encode(self, values: Tensor) -> Tensor:
        """The pattern, (B, 2 × repeats)."""
        male = super().encode(values)
        return torch.cat((-male, male), 1).repeat(1, self.repeats)


def group_years(group: Tensor) -> Tensor:
    """Return an age in the middle of each group; of the open ones, half a group from their limit.

    Args:
        group: 0 to 6, of any shape.
    """
    return FIRST_GROUP_ENDS + GROUP_YEARS * (group.to(torch.get_default_dtype()) - 0.5)
