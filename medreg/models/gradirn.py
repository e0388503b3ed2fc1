"""GraDIRN: registration as unrolled steps of gradient descent with a learned regulariser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint as recompute

from medreg.errors import ConfigError
from medreg.geometry.compose import pyramid_shapes, resize_displacement
from medreg.geometry.precision import at_least_single, outside_inference_mode
from medreg.geometry.transformation import Transformation
from medreg.geometry.warp import Convention, Padding
from medreg.inference.registration import Registration, check_pair
from medreg.losses.similarity.base import Similarity
from medreg.models.base import RegistrationModel
from medreg.models.blocks.conv import channels_last, convolution_relu, last_convolution
from medreg.models.blocks.gradient import ImagePair, data_gradient
from medreg.models.blocks.recompute import every_other_kept

RegulariserInputs = Literal["explicit", "implicit", "none"]
Checkpoint = bool | Literal["all"]


@dataclass(frozen=True)
class StepSize:
    """How the step size τ of a block starts and whether it is learned.

    Attributes:
        init: initial value before division.
        learnable: whether training changes it.
        train_scale: κ; the effective step is κτ, so κ also multiplies the pace at which Adam moves it.
        scale_by_steps: divide `init` by 1 + the number of all steps.
    """

    init: float
    learnable: bool
    train_scale: float
    scale_by_steps: bool

    def initial(self, steps: int) -> float:
        """τ before training for a network of so many steps: init / (1 + steps), or init."""
        return self.init / (1 + steps) if self.scale_by_steps else self.init


@dataclass(frozen=True)
class RegulariserShape:
    """Architecture of the CNN that replaces the gradient of the regulariser.

    Attributes:
        layers: convolutions, the linear last one included.
        channels: number in every hidden layer.
        inputs: explicit = [field, fixed, warped]; implicit = [field, fixed, moving]; none = [field].
        last_layer_scale: factor of the initial weights of the last convolution; 1 = authors.
    """

    layers: int
    channels: int
    inputs: RegulariserInputs
    last_layer_scale: float


class LearnedRegulariser(nn.Module):
    """f_θ([u, images]): a plain CNN whose output is subtracted from the field.

    Kernels 3^D, LeakyReLU(0.2), no normalisation, no skip; 29 506 parameters in 2-D and 89 987 in 3-D with
    five layers of 32 channels and both images. Source: GraDIRN core/reg_terms.py.

    Args:
        ndim: spatial dimensions.
        shape: architecture.
        channels: channels of one image.
    """

    def __init__(self, ndim: int, shape: RegulariserShape, *, channels: int) -> None:
        super().__init__()
        inputs = ndim + (0 if shape.inputs == "none" else 2 * channels)
        sizes = [inputs] + [shape.channels] * (shape.layers - 1)
        self.hidden = nn.Sequential(*(convolution_relu(ndim, a, b) for a, b in pairwise(sizes)))
        self.last = last_convolution(ndim, sizes[-1], ndim, scale=shape.last_layer_scale)

    def forward(self, field: Tensor, images: Sequence[Tensor], *, checkpoint: bool = False) -> Tensor:
        """Step (B, D, *S) for the field (B, D, *S), given the images (B, C, *S) each.

        With `checkpoint` every other activation is computed again in the backward pass; the gradients are equal.
        """
        stacked = channels_last(torch.cat((field, *images), dim=1))
        if not checkpoint:
            return self.last(self.hidden(stacked)).contiguous()
        hidden = [module for layer in self.hidden for module in cast("nn.Sequential", layer)]
        return every_other_kept([*hidden, self.last], stacked).contiguous()


class Block(nn.Module):
    """One learned regulariser and one step size τ, applied as often as the level repeats it."""

    def __init__(self, regulariser: LearnedRegulariser, *, tau: float, learnable: bool) -> None:
        super().__init__()
        self.regulariser = regulariser
        self.tau = nn.Parameter(torch.tensor(tau), requires_grad=learnable)


class GraDIRN(RegistrationModel):
    """Unrolled descent on E(θ) = D(F, M∘φ_θ) + R(θ): ∇D in closed form by autograd, ∇R a CNN that is learned.

    One step, both terms at the same θ, both subtracted:

        θ ← θ − κ τ_b ∂/∂θ Σ N·D̄(F_ℓ, M_ℓ∘φ_θ) − f_b([field(θ), F_ℓ, M_ℓ∘φ_θ])

    with D̄ a mean-type dissimilarity and N the values of one image. Levels run from coarse to fine; at
    each, for each block, `num_repeat` steps with that block's weights. θ is the dense displacement in the
    paper; any transformation may take its place: the CNN then sees the field of θ at the resolution of the
    level (a velocity for velocity models) and its output is restricted to the parameters.

    Backpropagation goes through all steps including the inner gradients (second derivatives of the sampler).
    Under `no_grad` or `inference_mode` no graph is kept and memory does not grow with the steps.

    Source: Qiu et al., "Embedding Gradient-Based Optimization in Image Registration Networks", MICCAI 2022,
        and
    the released code.

    Deviation: `convention: exact` normalises displacements by 2/(S−1) and multiplies them by
    (S_f−1)/(S_c−1) between levels, any size is accepted; `authors` uses 2/S, 2, and sizes divisible by
    2^(levels−1).

    Args:
        ndim: spatial dimensions, 2 or 3.
        similarity: data term D̄ of the inner gradient.
        transformation: map from θ to displacement; `authors` needs a dense one.
        num_blocks: distinct blocks of each level, coarsest first.
        num_repeat: steps with each block of a level, coarsest first.
        tau: init, learnable, train_scale, scale_by_steps; see `StepSize`.
        regulariser: layers, channels, inputs, last_layer_scale; see `RegulariserShape`.
        convention: exact or authors.
        padding: value outside the moving image inside the network: border or zeros.
        first_order: treat the inner gradient as a constant in the backward pass; cheaper, biased.
        checkpoint: True computes every other activation of the CNNs again in the backward pass, "all" computes
            all of them again; same gradients.
        channels: channels of one image.
        keep_steps: return the displacement after every step.

    Raises:
        ConfigError: num_blocks and num_repeat differ in length, `authors` with parameters off the image
            grid, or another checkpoint.
    """

    def __init__(
        self,
        ndim: int,
        similarity: Similarity,
        *,
        transformation: Transformation,
        num_blocks: Sequence[int],
        num_repeat: Sequence[int],
        tau: Mapping[str, Any],
        regulariser: Mapping[str, Any],
        convention: Convention,
        padding: Padding,
        first_order: bool,
        checkpoint: Checkpoint,
        channels: int = 1,
        keep_steps: bool = True,
    ) -> None:
        super().__init__()
        if len(num_blocks) != len(num_repeat) or not num_blocks:
            raise ConfigError(
                f"model.num_blocks={list(num_blocks)} and model.num_repeat={list(num_repeat)} must name the "
                "same levels, coarsest first; give both lists one entry a level."
            )
        if checkpoint not in (False, True, "all"):
            raise ConfigError(
                f"model.checkpoint={checkpoint} is none of false, true and all; set one of them."
            )
        self.ndim, self.similarity, self.transformation = ndim, similarity, transformation
        self.num_blocks, self.num_repeat = tuple(num_blocks), tuple(num_repeat)
        self.step_size, self.architecture = StepSize(**tau), RegulariserShape(**regulariser)
        self.convention, self.padding = convention, padding
        self.first_order, self.checkpoint, self.keep_steps = first_order, checkpoint, keep_steps
        steps = sum(blocks * repeats for blocks, repeats in zip(num_blocks, num_repeat, strict=True))
        start = self.step_size.initial(steps)
        self.levels = nn.ModuleList(
            nn.ModuleList(
                Block(
                    LearnedRegulariser(ndim, self.architecture, channels=channels),
                    tau=start,
                    learnable=self.step_size.learnable,
                )
                for _ in range(blocks)
            )
            for blocks in num_blocks
        )

    def forward(
        self,
        fixed: Tensor,
        moving: Tensor,
        *,
        spacing_mm: Tensor | None = None,
        fixed_mask: Tensor | None = None,
        moving_mask: Tensor | None = None,
    ) -> Registration:
        """Run all steps; masks restrict the data term, the spacing is not seen (all is in voxels)."""
        shape = check_pair(fixed, moving, ndim=self.ndim)
        shapes = self.level_shapes(shape)
        return outside_inference_mode(
            lambda *images: self._unroll(ImagePair(*images), shapes), fixed, moving, fixed_mask, moving_mask
        )

    def monitored(self) -> dict[str, Tensor]:
        """Effective step size κτ of every block, coarsest level first."""
        blocks = [cast("Block", block) for level in self.levels for block in cast("nn.ModuleList", level)]
        scale = self.step_size.train_scale
        return {f"tau_{number}": scale * block.tau.detach() for number, block in enumerate(blocks)}

    def level_shapes(self, shape: Sequence[int]) -> list[tuple[int, ...]]:
        """Shapes of the levels, coarsest first.

        Raises:
            ConfigError: a size that `authors` cannot halve, or parameters off the image grid under `authors`.
        """
        levels = len(self.levels)
        if self.convention == "exact":
            return pyramid_shapes(shape, levels)
        factor = 2 ** (levels - 1)
        if any(size % factor for size in shape):
            raise ConfigError(
                f"model.convention=authors halves the image {levels - 1} times, but {tuple(shape)} is not "
                f"divisible by {factor}; crop or pad the data to multiples, or set model.convention=exact."
            )
        if self.transformation.parameter_shape(shape) != (self.ndim, *shape):
            raise ConfigError(
                "model.convention=authors is defined for dense fields only; set transformation=dense "
                "or model.convention=exact."
            )
        return [tuple(size // 2**level for size in shape) for level in reversed(range(levels))]

    def _schedule(self, level: int) -> list[Block]:
        """The block of every step of a level: each block of it, `num_repeat` times in a row."""
        blocks = cast("nn.ModuleList", self.levels[level])
        return [cast("Block", block) for block in blocks for _ in range(self.num_repeat[level])]

    def _unroll(self, images: ImagePair, shapes: list[tuple[int, ...]]) -> Registration:
        """All levels, coarse to fine; `shapes` ends with the shape of the images."""
        fixed = at_least_single(images.fixed)
        theta = self.transformation.identity(
            fixed.shape[0], shapes[0], dtype=fixed.dtype, device=fixed.device
        )
        steps: list[Tensor] = []
        for level, shape in enumerate(shapes):
            pair = images.at(shape)
            theta = self._enter(theta, shapes[max(level - 1, 0)], shape)
            for number, block in enumerate(self._schedule(level)):
                theta, before = self._step(block, theta, pair)
                if number:
                    steps.append(before)
            deformation = self.transformation(theta, shape)
            steps.append(deformation.displacement)
            if not self.keep_steps:
                steps.clear()
        return Registration(deformation.displacement, deformation.regularised, theta, tuple(steps))

    def _enter(self, theta: Tensor, old: tuple[int, ...], new: tuple[int, ...]) -> Tensor:
        """Parameters of the level before, resampled to the next."""
        if old == new:
            return theta
        if self.convention == "authors":
            return resize_displacement(theta, new, gain="authors")
        return self.transformation.resample(theta, old, new)

    def _learned(self, block: Block, field: Tensor, images: tuple[Tensor, ...]) -> Tensor:
        """Output of the CNN, its activations recomputed in the backward pass where asked for.

        They are nine tenths of the memory of a step. The inner gradient stays outside: recomputing it would run
        the step a third time.
        """
        if self.checkpoint == "all" and torch.is_grad_enabled():
            return recompute(block.regulariser, field, images, use_reentrant=False)
        return block.regulariser(field, images, checkpoint=bool(self.checkpoint) and torch.is_grad_enabled())

    def _step(self, block: Block, theta: Tensor, pair: ImagePair) -> tuple[Tensor, Tensor]:
        """θ after one step, and the displacement before it."""
        data = data_gradient(
            self.similarity,
            self.transformation,
            theta=theta,
            pair=pair,
            padding=self.padding,
            convention=self.convention,
            first_order=self.first_order,
        )
        second = {"explicit": data.warped, "implicit": pair.moving, "none": None}[self.architecture.inputs]
        images = () if second is None else (pair.fixed, second)
        learned = self._learned(block, data.deformation.regularised, images)
        learned = self.transformation.restrict(at_least_single(learned), pair.shape)
        theta = theta - self.step_size.train_scale * block.tau * data.gradient - learned
        return theta, data.deformation.displacement

    def extra_repr(self) -> str:
        """Schedule and switches."""
        return (
            f"ndim={self.ndim}, num_blocks={list(self.num_blocks)}, "
            f"num_repeat={list(self.num_repeat)}, convention={self.convention}, padding={self.padding}, "
            f"first_order={self.first_order}, checkpoint={self.checkpoint}"
        )
