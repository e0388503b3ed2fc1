"""VR-Net: variational registration unrolled into warping, intensity-consistency and denoising layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from medreg.errors import CompositionError, ConfigError, NumericalError, require_choice
from medreg.geometry.precision import at_least_single
from medreg.geometry.transformation import Deformation, Transformation
from medreg.geometry.warp import Convention, Padding, warp
from medreg.inference.registration import Registration, check_pair
from medreg.models.base import RegistrationModel
from medreg.models.blocks.conv import crop
from medreg.models.blocks.intensity_consistency import Linearisation, consistency, linearise
from medreg.models.blocks.strided_unet import Initialisation, StridedUNet
from medreg.models.blocks.unet import pad_to_multiple

Parametrisation = Literal["raw", "softplus"]


class Coupling(nn.Module):
    """θ > 0 of an intensity-consistency layer: how firmly its answer is tied to the denoised field.

    Args:
        init: θ before training; squared intensity per squared voxel (L2) or intensity per squared voxel (L1).
        parametrisation: "raw", θ = κp as released (κ = 1), or "softplus", θ = log(1 + exp(κp)), never negative.
        train_scale: κ, the pace at which Adam moves θ beside the weights of the networks.
    """

    def __init__(self, *, init: float, parametrisation: Parametrisation, train_scale: float) -> None:
        super().__init__()
        if init <= 0:
            raise ConfigError(f"model.theta.init is {init}; it must be positive.")
        require_choice("model.theta.parametrisation", parametrisation, ("raw", "softplus"))
        self.soft, self.train_scale = parametrisation == "softplus", train_scale
        start = torch.tensor(init, dtype=torch.float64)
        start = start.expm1().log() if self.soft else start
        self.parameter = nn.Parameter((start / train_scale).float())

    def forward(self) -> Tensor:
        """θ as a scalar tensor.

        Raises:
            NumericalError: training has made a raw θ zero or negative.
        """
        value = self.parameter * self.train_scale
        if self.soft:
            return nn.functional.softplus(value)
        if float(value.detach()) <= 0:
            raise NumericalError(
                f"θ of an intensity-consistency layer became {float(value.detach()):.3g}, which has no meaning; "
                "set model.theta.parametrisation=softplus, or lower optimiser.lr or model.theta.train_scale."
            )
        return value


class VRNet(RegistrationModel):
    """Half-quadratic splitting of min_u (1/s)|M∘(id+u) − F|^s + λR(u), unrolled and learned.

    u ← U_init(M, F); then for every warp w: warp M by u, linearise the difference around d = u, and for every
    iteration k: v ← denoise_wk(u), u ← argmin_u (1/s)|ρ(u)|^s + (θ_wk/2)|u − v|², in closed form.

    θ of the transformation is the field u restricted to its parameters; the image is warped by its
    displacement. For a velocity the linearisation in u is first order in the update, as for a displacement.
    The layers compare one channel of intensity; a mask sets u = v where it is 0.

    Source: Jia et al., "Learning a Model-Driven Variational Network for Deformable Image Registration", IEEE TMI
        41(1):199-212, 2022, and the released model files.

    Deviation: `convention: exact` samples at x + u with border values and takes any image size (padded inside
    the networks); `midir` is the released sampler, which moves even the identity by up to half a voxel and
    takes sizes divisible by 16.

    Args:
        ndim: spatial dimensions, 2 or 3.
        transformation: map from the field to displacement.
        data_term: "l1" or "l2", the norm of the intensity difference.
        n_warp: N_w, warps; 0 leaves the initial network alone.
        n_iter: N_i, iterations within a warp.
        start: "unet", or "zero": begin with the identity.
        start_channels: number at the initial U-Net's finest level.
        initialisation: first weights of the initial U-Net, "he" or "torch" (release); see `StridedUNet`.
        denoiser: builds a denoiser from the number of dimensions.
        theta: init, parametrisation, train_scale; see `Coupling`.
        share_theta: one θ for all layers.
        share_denoiser: one denoiser for all layers.
        final: "ic" ends with an intensity-consistency layer, "denoiser" with one denoiser more.
        intensity_scale: factor of the intensities inside the layers; k is equivalent to θ/k² (L2), θ/k (L1).
        eps: ε of the L1 form, squared intensity per squared voxel.
        last_layer_scale: factor of the initial weights of the initial network's last convolution; 1 = release.
        convention: "exact", or "midir" for the released sampler.
        padding: value outside the moving image: border or zeros.
    """

    def __init__(
        self,
        ndim: int,
        transformation: Transformation,
        *,
        data_term: str,
        n_warp: int,
        n_iter: int,
        start: str,
        start_channels: int,
        initialisation: Initialisation,
        denoiser: Callable[[int], nn.Module],
        theta: Mapping[str, Any],
        share_theta: bool,
        share_denoiser: bool,
        final: str,
        intensity_scale: float,
        eps: float,
        last_layer_scale: float,
        convention: Convention,
        padding: Padding,
    ) -> None:
        super().__init__()
        _check(n_warp=n_warp, n_iter=n_iter, start=start, final=final)
        self.ndim, self.transformation = ndim, transformation
        self.data_term, self.solve = data_term, consistency(data_term, eps=eps)
        self.n_warp, self.n_iter = n_warp, n_iter
        self.intensity_scale = intensity_scale
        self.convention: Convention = convention
        self.padding: Padding = padding
        self.initial = (
            StridedUNet(
                ndim,
                2,
                start_channels=start_channels,
                initialisation=initialisation,
                last_layer_scale=last_layer_scale,
            )
            if start == "unet"
            else None
        )
        layers = n_warp * n_iter
        self.denoisers = nn.ModuleList(
            denoiser(ndim) for _ in range(min(layers, 1) if share_denoiser else layers)
        )
        self.couplings = nn.ModuleList(
            Coupling(**theta) for _ in range(min(layers, 1) if share_theta else layers)
        )
        self.final = denoiser(ndim) if final == "denoiser" else None

    def forward(
        self,
        fixed: Tensor,
        moving: Tensor,
        *,
        spacing_mm: Tensor | None = None,
        fixed_mask: Tensor | None = None,
        moving_mask: Tensor | None = None,
    ) -> Registration:
        """Run all cascades; masks restrict the data term, the spacing is not seen (all is in voxels)."""
        shape = check_pair(fixed, moving, ndim=self.ndim)
        self._check_input(fixed, shape)
        field = self._start(fixed, moving)
        fixed, moving = at_least_single(fixed), at_least_single(moving)
        deformation = self._deform(field, shape)
        steps = [deformation.displacement]
        for number in range(self.n_warp):
            at, weight = self._linearise(fixed, moving, deformation, fixed_mask, moving_mask)
            field = deformation.regularised
            for iteration in range(self.n_iter):
                field = self._layer(number * self.n_iter + iteration, field, at, weight)
            deformation = self._deform(field, shape)
            steps.append(deformation.displacement)
        if self.final is not None:
            deformation = self._deform(self._denoise(self.final, deformation.regularised), shape)
            steps.append(deformation.displacement)
        theta = self.transformation.restrict(deformation.regularised, shape)
        return Registration(deformation.displacement, deformation.regularised, theta, tuple(steps))

    def monitored(self) -> dict[str, Tensor]:
        """θ of every layer."""
        return {f"theta_{i}": cast("Coupling", c)().detach() for i, c in enumerate(self.couplings)}

    def _start(self, fixed: Tensor, moving: Tensor) -> Tensor:
        if self.initial is None:
            return at_least_single(torch.zeros_like(fixed[:, :1])).repeat(1, self.ndim, *[1] * self.ndim)
        pair = torch.cat((moving, fixed), dim=1)
        return at_least_single(_padded(self.initial, pair, cast("int", self.initial.multiple)))

    def _deform(self, field: Tensor, shape: tuple[int, ...]) -> Deformation:
        return self.transformation(self.transformation.restrict(field, shape), shape)

    def _linearise(
        self,
        fixed: Tensor,
        moving: Tensor,
        deformation: Deformation,
        fixed_mask: Tensor | None,
        moving_mask: Tensor | None,
    ) -> tuple[Linearisation, Tensor | float]:
        """The linearised difference at the present deformation, and the weight of every voxel."""

        def pulled(image: Tensor) -> Tensor:
            return warp(image, deformation.displacement, padding=self.padding, convention=self.convention)

        scale = self.intensity_scale
        at = linearise(scale * pulled(moving), scale * fixed, deformation.regularised)
        weight: Tensor | float = 1.0
        if fixed_mask is not None:
            weight = fixed_mask.to(fixed)
        if moving_mask is not None:
            weight = weight * pulled(moving_mask.to(moving))
        return at, weight

    def _layer(self, number: int, field: Tensor, at: Linearisation, weight: Tensor | float) -> Tensor:
        """One denoiser and one intensity-consistency layer; a shared one serves every number."""
        denoised = self._denoise(self.denoisers[number % len(self.denoisers)], field)
        theta = self.couplings[number % len(self.couplings)]()
        return self.solve(denoised, at, theta=theta, weight=weight)

    def _denoise(self, denoiser: nn.Module, field: Tensor) -> Tensor:
        return at_least_single(_padded(denoiser, field, cast("int", denoiser.multiple)))

    def _check_input(self, fixed: Tensor, shape: tuple[int, ...]) -> None:
        if fixed.shape[1] != 1:
            raise CompositionError(
                f"VR-Net compares one channel of intensity but the images have {fixed.shape[1]}; "
                "choose a data option with one channel, or model=gradirn."
            )
        if self.convention != "exact" and any(size % StridedUNet.multiple for size in shape):
            raise ConfigError(
                f"model.convention={self.convention} takes images whose sizes divide by {StridedUNet.multiple}, "
                f"not {shape}; crop or pad the data, or set model.convention=exact."
            )

    def extra_repr(self) -> str:
        """Cascade and switches."""
        return (
            f"ndim={self.ndim}, data_term={self.data_term}, n_warp={self.n_warp}, n_iter={self.n_iter}, "
            f"intensity_scale={self.intensity_scale}, convention={self.convention}, padding={self.padding}"
        )


def _padded(network: nn.Module, image: Tensor, multiple: int) -> Tensor:
    """The network's answer on an image padded to a multiple, cut back."""
    return crop(network(pad_to_multiple(image, multiple)), image.shape[2:])


def _check(*, n_warp: int, n_iter: int, start: str, final: str) -> None:
    if n_warp < 0 or n_iter < 1:
        raise ConfigError(f"model.n_warp={n_warp} must be 0 or more and model.n_iter={n_iter} 1 or more.")
    require_choice("model.start", start, ("unet", "zero"))
    require_choice("model.final", final, ("ic", "denoiser"))
