"""Sobolev smoothing of a parameter grid, and its symmetric root: the metric in which a posterior is explored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from medreg.errors import CompositionError, ConfigError, require_choice
from medreg.geometry.banded import filtered
from medreg.geometry.separable import apply_per_axis

Form = Literal["root", "released"]
Boundary = Literal["mirror", "replicate"]

_SMALLEST = 1e-12  # eigenvalues of a filter that removes the finest pattern altogether come out around zero


def sobolev_kernel(half_width: int, strength: float) -> Tensor:
    """Samples of the kernel of (id − λ∂²)⁻¹ on 2s + 1 points, normalised to sum 1.

    The middle column of the inverse of I − λL, L the second difference (1, −2, 1) with truncated ends.

    Args:
        half_width: s, grid points.
        strength: λ, squared grid points.

    Returns:
        (2s + 1,) float64.
    """
    size = 2 * half_width + 1
    second = torch.diag(torch.full((size,), -2.0, dtype=torch.float64))
    beside = torch.ones(size - 1, dtype=torch.float64)
    second = second + torch.diag(beside, 1) + torch.diag(beside, -1)
    kernel = torch.linalg.inv(torch.eye(size, dtype=torch.float64) - strength * second)[:, half_width]
    return kernel / kernel.sum()


class SobolevFilter(nn.Module):
    """θ = A z, from a latent field z to the parameters θ of a transformation, the same along every axis.

    With S the Sobolev filter, `form="root"` is A = S^½, its symmetric root, differentiated as it is. A gradient
    step on z then moves θ by S∇E, a Sobolev-gradient step; white noise on z is S^½ξ on θ, which is what keeps the
    posterior of θ the stationary law of a Langevin sampler; and a variational bound on z is a bound.
    `form="released"` is A = S with the gradient handed through unchanged, as in the released code: the drift of θ
    is the same, but its noise is smoothed by S, and the stationary law is S H⁻¹ instead of H⁻¹.

    The object holds no tensors: it works on any grid, 2-D and 3-D, a control grid too, of any precision and device.

    Args:
        half_width: s of the kernel, grid points; 0 leaves everything as it is, parameters without a grid too.
        strength: λ of the kernel, squared grid points.
        form: "root" or "released".
        boundary: outside the grid its "mirror" image, which makes S symmetric, or its border value
            ("replicate", released form only).

    Raises:
        ConfigError: an impossible setting.

    References:
        Grzech et al., Uncertainty quantification in non-rigid image registration via stochastic gradient
        Markov chain Monte Carlo, MELBA 2021, and its released code.
    """

    def __init__(
        self, *, half_width: int, strength: float, form: Form = "root", boundary: Boundary = "mirror"
    ) -> None:
        super().__init__()
        require_choice("smoothing.form", form, get_args(Form))
        require_choice("smoothing.boundary", boundary, get_args(Boundary))
        if half_width < 0 or half_width != int(half_width):
            raise ConfigError(
                f"smoothing.half_width is {half_width}; it must be a number of grid points, 0 or more."
            )
        if not 0 <= strength < float("inf"):
            raise ConfigError(f"smoothing.strength is {strength}; it must be a finite number, 0 or more.")
        if form == "root" and boundary != "mirror":
            raise ConfigError(
                f"smoothing.boundary is {boundary!r}, which has no symmetric root; use mirror, or "
                "smoothing.form=released."
            )
        self.half_width, self.strength = int(half_width), float(strength)
        self.form: Form = form
        self.boundary: Boundary = boundary

    def forward(self, latent: Tensor) -> Tensor:
        """Parameters θ (B, C, *grid) of a latent field (B, C, *grid)."""
        if not self.half_width:
            return latent
        keys = self._keys(latent)
        if self.form == "root":
            return filtered(latent, keys, _root)
        result: Tensor = _StraightThrough.apply(latent, keys)
        return result

    def latent(self, theta: Tensor) -> Tensor:
        """The z with A z = θ, for starting points, (B, C, *grid); fine patterns of θ are amplified."""
        if not self.half_width:
            return theta
        return apply_per_axis(theta, self._keys(theta), _root_inverse if self.form == "root" else _inverse)

    def smooth(self, field: Tensor) -> Tensor:
        """S applied to a field (B, C, *grid), whichever the form."""
        return _smoothed(field, self._keys(field)) if self.half_width else field

    def extra_repr(self) -> str:
        """Settings for printing."""
        return f"half_width={self.half_width}, strength={self.strength}, form={self.form}, boundary={self.boundary}"

    def _keys(self, field: Tensor) -> list[tuple[Any, ...]]:
        if field.ndim not in (4, 5):
            raise CompositionError(
                f"A Sobolev filter was given parameters of shape {tuple(field.shape)}; it needs a grid, so use "
                "transformation=dense, svf, ffd or svffd, or smoothing=none."
            )
        return [(size, self.half_width, self.strength, self.boundary) for size in field.shape[2:]]


class _StraightThrough(torch.autograd.Function):
    """S forwards, the identity backwards."""

    @staticmethod
    def forward(ctx: Any, latent: Tensor, keys: Sequence[tuple[Any, ...]]) -> Tensor:
        return _smoothed(latent, keys)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


def _smoothed(field: Tensor, keys: Sequence[tuple[Any, ...]]) -> Tensor:
    mirror = keys[0][3] == "mirror"
    return filtered(field, keys, _filter) if mirror else apply_per_axis(field, keys, _filter)


def _filter(key: tuple[Any, ...]) -> Tensor:
    """S along an axis, (n, n)."""
    size, half_width, strength, boundary = key
    kernel = sobolev_kernel(half_width, strength)
    rows = torch.arange(size).unsqueeze(1).expand(-1, len(kernel))
    columns = rows + torch.arange(-half_width, half_width + 1)
    if boundary == "mirror":  # half-sample: … 1 0 | 0 1 … n−1 | n−1 n−2 …
        columns = columns.remainder(2 * size)
        columns = torch.minimum(columns, 2 * size - 1 - columns)
    else:
        columns = columns.clamp(0, size - 1)
    matrix = torch.zeros(size, size, dtype=torch.float64)
    return matrix.index_put_((rows, columns), kernel.expand(size, -1), accumulate=True)


def _root(key: tuple[Any, ...]) -> Tensor:
    return _power(key, 0.5)


def _root_inverse(key: tuple[Any, ...]) -> Tensor:
    return _power(key, -0.5)


def _inverse(key: tuple[Any, ...]) -> Tensor:
    return torch.linalg.pinv(_filter(key))


def _power(key: tuple[Any, ...], exponent: float) -> Tensor:
    values, vectors = torch.linalg.eigh(_filter(key))
    return (vectors * values.clamp_min(_SMALLEST) ** exponent) @ vectors.mT
