"""How far a registration model is from moving with its input: uncertainty of any model, without training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor

from medreg.errors import ConfigError, require_choice
from medreg.geometry.affine import rigid_matrix
from medreg.geometry.compose import compose
from medreg.geometry.grid import matrix_to_displacement
from medreg.geometry.warp import warp, warp_labels
from medreg.inference.registration import Registration, check_pair
from medreg.inference.sampling.draw import Listener
from medreg.models.base import RegistrationModel
from medreg.models.sampling import SamplingModel

Perturbed = Literal["moving", "both"]


class Equivariance(SamplingModel):
    """The answers of a model to perturbed inputs, each with its perturbation undone, as samples.

    The mapping between two anatomies does not depend on how an image lies in its grid. With a known rigid map T the
    model is asked about (F, M∘T); if it answers φ_T, then T∘φ_T maps F to M, and a perfect model says the same for
    every T. The spread of T_k∘φ_k is the uncertainty.

    Source: the idea is that of Tian, Hu and Iglesias, arXiv 2509.23355 (perturb the moving image, compose, take the
    variance of any pretrained model). Ours, since the text could not be read in full: rigid perturbations with uniform
    parameters, their size, T for both images (φ = T∘φ_T∘T⁻¹), and the answer to the unperturbed pair as displacement.

    Args:
        model: any registration model; it is frozen and kept in evaluation mode.
        size: largest translation along an axis, and root mean square displacement of the largest rotation about an
            axis, voxels (of the finest axis).
        perturb: "moving", or "both" images by the same map.
        samples: K.
        seed: of the perturbations, which are the same for every pair.

    Raises:
        ConfigError: a size that is not above 0, or nothing known to perturb.
    """

    trainable: ClassVar[bool] = False

    def __init__(
        self, model: RegistrationModel, *, size: float, perturb: Perturbed, samples: int, seed: int
    ) -> None:
        super().__init__(samples=samples, seed=seed)
        require_choice("model.perturb", perturb, get_args(Perturbed))
        if not size > 0:
            raise ConfigError(f"model.size is {size}; a perturbation moves by more than 0 voxels.")
        self.size, self.perturb = size, perturb
        self.model = model.requires_grad_(False)
        self.train(False)

    def train(self, mode: bool = True) -> Equivariance:
        """Stay in evaluation mode: the model is trained already."""
        return super().train(False)

    def forward(
        self,
        fixed: Tensor,
        moving: Tensor,
        *,
        spacing_mm: Tensor | None = None,
        fixed_mask: Tensor | None = None,
        moving_mask: Tensor | None = None,
        draws: int | None = None,
        listeners: Sequence[Listener] = (),
    ) -> Registration:
        """Ask about the pair, and about its perturbations."""
        shape = check_pair(fixed, moving)
        ndim = len(shape)
        generator = torch.Generator().manual_seed(self.seed)
        spacing = fixed.new_ones(ndim) if spacing_mm is None else spacing_mm.to(fixed)
        spacing = spacing.expand(len(fixed), ndim)

        def ask(seen_fixed: Tensor, seen_moving: Tensor, *masks: Tensor | None) -> Registration:
            answer: Registration = self.model(
                seen_fixed, seen_moving, spacing_mm=spacing_mm, fixed_mask=masks[0], moving_mask=masks[1]
            )
            return answer

        def one(k: int) -> Tensor:
            matrix = self._matrices(spacing, shape, generator)
            there = matrix_to_displacement(matrix, shape)
            seen, mask = warp(moving, there), _moved(moving_mask, there)
            if self.perturb == "moving":
                return _before(matrix, ask(fixed, seen, fixed_mask, mask).displacement)
            answer = ask(warp(fixed, there), seen, _moved(fixed_mask, there), mask).displacement
            back = matrix_to_displacement(torch.linalg.inv(matrix), shape)
            return _before(matrix, compose(answer, back))

        plain = ask(fixed, moving, fixed_mask, moving_mask)
        return Registration(
            plain.displacement,
            plain.regularised,
            plain.parameters,
            samples=self.draw(one, draws, listeners),
        )

    def _matrices(self, spacing: Tensor, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """The next rigid map on the grid of every pair, (B, D+1, D+1), voxels to voxels."""
        ndim = len(shape)
        entries = ndim + ndim * (ndim - 1) // 2
        theta = self.size * (2 * torch.rand(1, entries, generator=generator).to(spacing) - 1)
        finest = spacing / spacing.amin(1, keepdim=True)
        return torch.cat([rigid_matrix(theta, shape, spacing_mm=each.tolist()) for each in finest])


def _before(matrix: Tensor, displacement: Tensor) -> Tensor:
    """Displacement of T∘φ, T an affine map (B, D+1, D+1) and φ = id + u: exact, also where φ leaves the grid."""
    ndim = displacement.ndim - 2
    linear = matrix[:, :ndim, :ndim] - torch.eye(ndim).to(matrix)
    moved = torch.einsum("bij,bj...->bi...", linear, displacement)
    return displacement + matrix_to_displacement(matrix, displacement.shape[2:]) + moved


def _moved(mask: Tensor | None, displacement: Tensor) -> Tensor | None:
    return None if mask is None else warp_labels(mask, displacement)
