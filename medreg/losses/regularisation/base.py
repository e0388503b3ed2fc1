"""What every regulariser promises to its callers, and how millimetres enter a derivative."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

from medreg.errors import DataError, require_choice
from medreg.geometry.precision import at_least_single
from medreg.kernels.dispatch import usable
from medreg.losses.fused import fused
from medreg.losses.reduction import checked_weight, masked_mean
from medreg.losses.regularisation.stencil import MeanDensity, Stencil

if TYPE_CHECKING:
    from medreg.geometry.transformation import Deformation

Units = Literal["mm", "voxel"]


class Regulariser(nn.Module, ABC):
    """Penalty R(u; λ) = mean_x λ(x)·density(u)(x) of a vector field, one value a sample.

    In `units="mm"` the derivative of component k along axis a is (s_k/s_a)·∂u_k/∂x_a, mm per mm, with the
    voxel spacing s, so that λ means the same on every grid; a second derivative is in 1/mm. In
    `units="voxel"` the spacing is ignored, as in the authors' codes. Without a spacing, voxels of 1 mm are
    assumed.

    Attributes:
        on: which field of a `Deformation` is penalised, "regularised" (velocity or displacement) or
            "displacement".
        weight: λ unless the call gives another.
        units: "mm" or "voxel".
    """

    on: ClassVar[Literal["regularised", "displacement"]] = "regularised"
    weight: float
    units: Units

    def __init__(self, *, weight: float, units: Units = "mm") -> None:
        super().__init__()
        require_choice("regularisation.units", units, get_args(Units))
        self.weight = checked_weight(weight, "regularisation")
        self.units = units

    @abstractmethod
    def density(self, field: Tensor, *, spacing_mm: Tensor | None) -> Tensor:
        """Return the unweighted penalty at each voxel, (B, 1, *S), of a field (B, D, *S) in voxels."""

    def forward(
        self,
        field: Tensor,
        *,
        spacing_mm: Tensor | None = None,
        weight: float | Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Mean of weight·density over the voxels of each sample.

        Args:
            field: (B, D, *S) displacement or velocity, voxels.
            spacing_mm: (B, D) or (D,) voxel spacing, mm.
            weight: replaces `self.weight`: a number, one value a sample (B,), or a map (B or 1, 1, *S).
            mask: (B, 1, *S) voxels of the mean; derivatives still see their neighbours outside.

        Returns:
            (B,).

        Raises:
            DataError: the shapes of field, spacing or weight do not match.
        """
        _check_field(field)
        with torch.autocast(device_type=field.device.type, enabled=False):
            return self._weighted_mean(at_least_single(field), spacing_mm, weight, mask)

    def evaluate(
        self,
        deformation: Deformation,
        *,
        spacing_mm: Tensor | None = None,
        weight: float | Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """As `forward`, on the field of the deformation that this regulariser is about (`on`)."""
        field: Tensor = getattr(deformation, self.on)
        return self(field, spacing_mm=spacing_mm, weight=weight, mask=mask)

    def stencil(self, field: Tensor, spacing: Tensor) -> Stencil | None:
        """Return the kernel that computes the density of this field as well, or None if there is none.

        Args:
            field: (B, D, *S) voxels.
            spacing: (B or 1, D) float64 mm, ones where voxels are the unit.
        """
        return None

    def density_of(self, deformation: Deformation, *, spacing_mm: Tensor | None) -> Tensor:
        """Return the unweighted penalty at each voxel, (B, 1, *S), of the field named by `on`."""
        field: Tensor = getattr(deformation, self.on)
        _check_field(field)
        return self.density(at_least_single(field), spacing_mm=spacing_mm)

    def scales(self, field: Tensor, spacing_mm: Tensor | None) -> Tensor | None:
        """Spacing as (B or 1, D) in the field's precision, or None where voxels are the unit."""
        if self.units == "voxel" or spacing_mm is None:
            return None
        spacing = spacing_mm.to(field)
        spacing = spacing[None] if spacing.ndim == 1 else spacing
        if spacing.ndim != 2 or spacing.shape[1] != field.shape[1] or len(spacing) not in (1, len(field)):
            raise DataError(
                f"The spacing has shape {tuple(spacing_mm.shape)} but a field of shape {tuple(field.shape)} "
                f"needs {(len(field), field.shape[1])} or {(field.shape[1],)}."
            )
        return spacing

    def extra_repr(self) -> str:
        """Return the constructor's settings for printing."""
        shown = {k: v for k, v in vars(self).items() if k[0] != "_" and k != "training"}
        return ", ".join(f"{name}={value}" for name, value in shown.items())

    def _weighted_mean(
        self, field: Tensor, spacing_mm: Tensor | None, weight: float | Tensor | None, mask: Tensor | None
    ) -> Tensor:
        chosen = self.weight if weight is None else weight
        if not isinstance(chosen, Tensor):
            return chosen * self._mean(field, spacing_mm, None, mask)
        if chosen.ndim in (0, 1):
            return chosen.to(field) * self._mean(field, spacing_mm, None, mask)
        if chosen.shape[1:] != (1, *field.shape[2:]) or len(chosen) not in (1, len(field)):
            raise DataError(
                f"The regularisation weight has shape {tuple(chosen.shape)}; give a number, one value a "
                f"sample ({len(field)},) or a map of shape {(len(field), 1, *field.shape[2:])}."
            )
        return self._mean(field, spacing_mm, chosen, mask)

    def _mean(
        self, field: Tensor, spacing_mm: Tensor | None, weight: Tensor | None, mask: Tensor | None
    ) -> Tensor:
        """mean_x λ(x)·density(x), by a kernel where there is one and nothing but the field has a gradient."""

        def density(u: Tensor) -> Tensor:
            return self.density(u, spacing_mm=spacing_mm)

        constant = not any(t is not None and t.requires_grad for t in (weight, mask, spacing_mm))
        if constant and usable(field):
            unit = torch.ones(1, field.shape[1], dtype=torch.float64)
            scales = self.scales(field, spacing_mm)
            stencil = self.stencil(field, unit if scales is None else scales.double())
            if stencil is not None:
                return fused(MeanDensity(density, stencil, weight, mask), field)
        values = density(field)
        return masked_mean(values if weight is None else weight.to(values) * values, mask)


def _check_field(field: Tensor) -> None:
    if field.ndim not in (4, 5) or field.shape[1] != field.ndim - 2:
        raise DataError(
            f"A regulariser was given a field of shape {tuple(field.shape)}; it needs (batch, 2, X, Y) or "
            "(batch, 3, X, Y, Z), one component an axis."
        )
