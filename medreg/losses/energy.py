"""The registration energy E(φ; F, M) = w·D(M∘φ, F) + R(φ; λ) that every solver of the package minimises."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

import torch
from torch import Tensor, nn

from medreg.errors import DataError, require_choice
from medreg.geometry.warp import Convention, Padding, warp
from medreg.losses.regularisation.base import Regulariser
from medreg.losses.similarity.base import Similarity

if TYPE_CHECKING:
    from medreg.geometry.transformation import Deformation

_WHOLE = 1.0 - 1e-3  # rounding of interpolation weights that sum to one


def aligned(
    moving: Tensor,
    displacement: Tensor,
    *,
    fixed_mask: Tensor | None = None,
    moving_mask: Tensor | None = None,
    padding: Padding = "border",
    convention: Convention = "exact",
) -> tuple[Tensor, Tensor | None]:
    """The moving image on the fixed grid, and where it may be compared.

    Args:
        moving: (B, C, *S_moving).
        displacement: (B, D, *S), voxels.
        fixed_mask: (B, 1, *S) where the fixed image may be compared.
        moving_mask: (B, 1, *S_moving) where the moving image may be compared; it moves with the image.
        padding: intensity beyond the border of the moving image.
        convention: sampling positions, see `warp`.

    Returns:
        The warped image (B, C, *S), made of zeros where the moving mask is 0, and the mask of `overlap`.
    """
    if moving_mask is not None:
        # Not left to the overlap alone: 0·NaN would reach the gradient of the warp.
        moving = moving.masked_fill(moving_mask == 0, 0.0)
    warped = warp(moving, displacement, padding=padding, convention=convention)
    return warped, overlap(displacement, fixed_mask, moving_mask, convention=convention)


@torch.no_grad()
def overlap(
    displacement: Tensor,
    fixed_mask: Tensor | None,
    moving_mask: Tensor | None,
    *,
    convention: Convention = "exact",
) -> Tensor | None:
    """Voxels of the fixed grid to compare: in the fixed mask and sampled from within the moving mask.

    A voxel drops out as soon as one of the moving voxels that it interpolates is masked, so that masked
    intensities have no influence. It is a constant of the energy: no gradient rewards leaving the mask.
    """
    if moving_mask is None:
        return fixed_mask
    share = warp(moving_mask.to(displacement), displacement, padding="zeros", convention=convention)
    inside = share >= _WHOLE
    return inside if fixed_mask is None else inside.to(fixed_mask.dtype) * fixed_mask


@dataclass(frozen=True)
class EnergyValue:
    """One evaluation of the energy.

    Attributes:
        similarity: (B,) dissimilarity D without its weight.
        regularisation: (B,) penalty R with its weight.
        warped: (B, C, *S) moving image on the fixed grid; voxels outside its mask read as 0.
        data_weight: w, a number or (B,).
    """

    similarity: Tensor
    regularisation: Tensor
    warped: Tensor
    data_weight: float | Tensor

    @property
    def energies(self) -> Tensor:
        """w·D + R of every sample, (B,)."""
        return self.data_weight * self.similarity + self.regularisation

    @property
    def total(self) -> Tensor:
        """Mean of the energies over the batch, a scalar."""
        return self.energies.mean()


class Energy(nn.Module):
    """Similarity of the warped and the fixed image plus regularisation of the deformation.

    Args:
        similarity: D, with its weight w.
        regularisation: R, with its weight λ.
        padding: intensity beyond the border of the moving image, "border" (nearest voxel) or "zeros".
        convention: "exact", or "authors" or "midir" for the sampling positions of released codes, see `warp`.

    Raises:
        ConfigError: another padding.
    """

    def __init__(
        self,
        similarity: Similarity,
        regularisation: Regulariser,
        *,
        padding: Padding = "border",
        convention: Convention = "exact",
    ) -> None:
        super().__init__()
        require_choice("The padding of an energy (model.padding)", padding, get_args(Padding))
        self.similarity = similarity
        self.regularisation = regularisation
        self.padding: Padding = padding
        self.convention: Convention = convention

    def forward(
        self,
        fixed: Tensor,
        moving: Tensor,
        deformation: Deformation,
        *,
        spacing_mm: Tensor | None = None,
        fixed_mask: Tensor | None = None,
        moving_mask: Tensor | None = None,
        weight: float | Tensor | None = None,
        data_weight: float | Tensor | None = None,
    ) -> EnergyValue:
        """Evaluate the energy of a deformation.

        Args:
            fixed: (B, C, *S).
            moving: (B, C, *S_moving).
            deformation: displacement and regularised field on the fixed grid, voxels.
            spacing_mm: (B, D) or (D,) spacing of the fixed grid, mm.
            fixed_mask: (B, 1, *S) where the fixed image may be compared.
            moving_mask: (B, 1, *S_moving) where the moving image may be compared; it moves with the image.
            weight: λ of this call, a number, (B,) or a map; None takes the regulariser's own.
            data_weight: w of this call, a number or (B,); None takes the similarity's own.

        Raises:
            DataError: a data weight of another shape.
        """
        similarity, warped = self.dissimilarity(
            fixed, moving, deformation.displacement, fixed_mask=fixed_mask, moving_mask=moving_mask
        )
        regularisation = self.regularisation.evaluate(deformation, spacing_mm=spacing_mm, weight=weight)
        return EnergyValue(similarity, regularisation, warped, self.data_weight(data_weight, similarity))

    def data_weight(self, chosen: float | Tensor | None, similarity: Tensor) -> float | Tensor:
        """W of a call, a number or (B,), for dissimilarities (B,); None takes the similarity's own.

        Raises:
            DataError: another shape.
        """
        if chosen is None:
            return self.similarity.weight
        if not isinstance(chosen, Tensor):
            return chosen
        if chosen.ndim and chosen.shape != similarity.shape:
            raise DataError(
                f"The data weight has shape {tuple(chosen.shape)}; give a number or one value a sample, "
                f"{tuple(similarity.shape)}."
            )
        return chosen.to(similarity)

    def dissimilarity(
        self,
        fixed: Tensor,
        moving: Tensor,
        displacement: Tensor,
        *,
        fixed_mask: Tensor | None = None,
        moving_mask: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """D without its weight, (B,), and the warped image (B, C, *S); arguments as in `forward`."""
        warped, mask = aligned(
            moving,
            displacement,
            fixed_mask=fixed_mask,
            moving_mask=moving_mask,
            padding=self.padding,
            convention=self.convention,
        )
        return self.similarity(warped, fixed, mask=mask), warped

    def overlap(
        self, displacement: Tensor, fixed_mask: Tensor | None, moving_mask: Tensor | None
    ) -> Tensor | None:
        """Voxels of the fixed grid to compare, see `overlap`."""
        return overlap(displacement, fixed_mask, moving_mask, convention=self.convention)

    def extra_repr(self) -> str:
        """Return the settings for printing."""
        return f"padding={self.padding}, convention={self.convention}"
