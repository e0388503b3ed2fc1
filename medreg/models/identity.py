"""No registration at all: the row 'unregistered' of every table."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from medreg.inference.registration import Registration, check_pair
from medreg.models.base import RegistrationModel


class Identity(RegistrationModel):
    """The zero displacement, the reference below which no method may fall."""

    trainable: ClassVar[bool] = False

    def forward(
        self,
        fixed: Tensor,
        moving: Tensor,
        *,
        spacing_mm: Tensor | None = None,
        fixed_mask: Tensor | None = None,
        moving_mask: Tensor | None = None,
    ) -> Registration:
        """Return a zero field (B, D, *S) on the fixed grid."""
        shape = check_pair(fixed, moving)
        dtype = fixed.dtype if fixed.is_floating_point() else None
        zero = fixed.new_zeros((fixed.shape[0], len(shape), *shape), dtype=dtype)
        return Registration(displacement=zero, regularised=zero, parameters=zero)
