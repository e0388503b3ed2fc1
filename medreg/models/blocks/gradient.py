"""Gradient of a similarity with respect to the parameters of a transformation, inside a network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from medreg.geometry.compose import resize
from medreg.geometry.precision import at_least_single
from medreg.geometry.transformation import Deformation, Transformation
from medreg.geometry.warp import Convention, Padding, warp
from medreg.losses.similarity.base import Similarity


@dataclass(frozen=True)
class ImagePair:
    """Images of one level of a pyramid.

    Attributes:
        fixed: (B, C, *S).
        moving: (B, C, *S) on the fixed grid.
        fixed_mask: (B, 1, *S) in [0, 1], or None.
        moving_mask: (B, 1, *S) in [0, 1], or None.
    """

    fixed: Tensor
    moving: Tensor
    fixed_mask: Tensor | None = None
    moving_mask: Tensor | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Spatial shape S."""
        return tuple(self.fixed.shape[2:])

    def at(self, shape: Sequence[int]) -> ImagePair:
        """The pair on another grid by linear interpolation without smoothing (as the authors do)."""

        def resized(image: Tensor) -> Tensor:
            return resize(at_least_single(image), shape)

        masks = (None if mask is None else resized(mask) for mask in (self.fixed_mask, self.moving_mask))
        return ImagePair(resized(self.fixed), resized(self.moving), *masks)


@dataclass(frozen=True)
class DataGradient:
    """Gradient of the data term and what was computed on the way.

    Attributes:
        gradient: derivative by the parameters θ, (B, *parameter_shape).
        deformation: that of θ.
        warped: (B, C, *S) the moving image under that deformation.
    """

    gradient: Tensor
    deformation: Deformation
    warped: Tensor


def _compared(
    pair: ImagePair, displacement: Tensor, *, padding: Padding, convention: Convention
) -> Tensor | None:
    """The voxels to compare: fixed mask times warped moving mask; no gradient flows through it."""
    if pair.moving_mask is None:
        return pair.fixed_mask
    moved = warp(pair.moving_mask, displacement.detach(), padding=padding, convention=convention)
    return moved if pair.fixed_mask is None else moved * pair.fixed_mask


def summed_dissimilarity(
    similarity: Similarity, warped: Tensor, fixed: Tensor, *, mask: Tensor | None
) -> Tensor:
    """Σ_b N_b D̄_b: per-sample mean-type dissimilarities times the number of compared values, added up.

    The sum makes the gradient of a sample independent of the batch it is in. Source: GraDIRN
    core/sim_terms.py, which multiplies a batch mean by numel(fixed); the same without a small 1/N in
    between.
    """
    values = similarity(warped, fixed, mask=mask)
    if mask is None:
        return values.sum() * fixed[0].numel()
    return (values * mask.flatten(1).sum(dim=1)).sum() * fixed.shape[1]


def data_gradient(
    similarity: Similarity,
    transformation: Transformation,
    *,
    theta: Tensor,
    pair: ImagePair,
    padding: Padding,
    convention: Convention,
    first_order: bool,
) -> DataGradient:
    """Gradient g = ∂/∂θ Σ_b N_b D̄(F_b, M_b ∘ φ_θ), divided by the number of voxels that share one parameter.

    For parameters on the image grid the divisor is 1. For control points at spacing δ it is about δ^D, so
    that a step size means about the same displacement for every transformation.

    Where gradients are enabled the result stays on the graph: deformation and warped image always, the
    gradient itself unless `first_order`. Where they are disabled nothing is kept. Runs in at least single
    precision under autocast.

    Args:
        similarity: per-sample dissimilarity.
        transformation: map from θ to displacement.
        theta: (B, *parameter_shape(S)).
        pair: images of the level.
        padding: value outside the moving image.
        convention: rule of the sampler, see `medreg.geometry.warp.warp`.
        first_order: treat the gradient as a constant in the backward pass; cheaper and biased.
    """
    outer = torch.is_grad_enabled()
    with torch.enable_grad(), torch.autocast(theta.device.type, enabled=False):
        point = theta if outer and theta.requires_grad else theta.detach().requires_grad_(True)
        deformation = transformation(point, pair.shape)
        warped = warp(pair.moving, deformation.displacement, padding=padding, convention=convention)
        mask = _compared(pair, deformation.displacement, padding=padding, convention=convention)
        total = summed_dissimilarity(similarity, warped, pair.fixed, mask=mask)
        (gradient,) = torch.autograd.grad(
            total, point, create_graph=outer and not first_order, retain_graph=outer
        )
    sharing = math.prod(pair.shape) / math.prod(theta.shape[2:])
    gradient = gradient / sharing if sharing != 1 else gradient
    if outer:
        return DataGradient(gradient, deformation, warped)
    still = Deformation(deformation.displacement.detach(), deformation.regularised.detach())
    return DataGradient(gradient, still, warped.detach())
