"""Joint histogram of two images with Gaussian Parzen windows, in little memory."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

_ELEMENTS_CPU = 2**17  # window values at a time: half a MiB in float32 stays in the cache of a core
_ELEMENTS_GPU = 2**24  # a GPU wants few, large kernels
_SMALLEST_CHUNK = 128  # voxels of a sample; with fewer the loop costs more than the arithmetic
_LOWEST_EXPONENT = -40.0  # e^-40 is nothing beside 1; smaller ones become denormal and ten times as slow


class ParzenWindow(NamedTuple):
    """Gaussian windows of standard deviation sigma at equidistant bin centres, in units of intensity."""

    vmin: float
    vmax: float
    bins: int

    @property
    def sigma(self) -> float:
        """Standard deviation whose full width at half maximum is (vmax − vmin)/bins.

        Qiu et al., midir, MIDL 2021 (code): the centres are (vmax − vmin)/(bins − 1) apart.
        """
        return (self.vmax - self.vmin) / self.bins / (2.0 * math.sqrt(2.0 * math.log(2.0)))

    @property
    def peak(self) -> float:
        """Height of the normalised Gaussian."""
        return 1.0 / (math.sqrt(2.0 * math.pi) * self.sigma)

    def centres(self, like: Tensor) -> Tensor:
        """(bins, 1) centres from vmin to vmax, both included."""
        return torch.linspace(self.vmin, self.vmax, self.bins, dtype=like.dtype, device=like.device)[:, None]


def joint_histogram(
    warped: Tensor, fixed: Tensor, window: ParzenWindow, *, weights: Tensor | None = None
) -> Tensor:
    """H[i, j] = Σ_x m(x)·K(w(x) − c_i)·K(f(x) − c_j) with Gaussian K, for each sample.

    Window values, voxels × bins, are made for a few thousand voxels at a time, forward and backward, and
    never stored: memory is that of the images. Differentiable any number of times; only the first
    derivative is lean.

    Args:
        warped: (B, N) intensities.
        fixed: (B, N).
        window: kernel and centres; intensities outside [vmin, vmax] are not clipped, they fade out.
        weights: (B, N) of the voxels, constant, or None.

    Returns:
        (B, bins, bins); rows belong to the warped image.
    """
    result: Tensor = _JointHistogram.apply(warped, fixed, weights, window)
    return result


class _JointHistogram(torch.autograd.Function):
    """Chunked H = W Fᵀ; the backward pass builds the windows again."""

    @staticmethod
    def forward(
        ctx: Any, warped: Tensor, fixed: Tensor, weights: Tensor | None, window: ParzenWindow
    ) -> Tensor:
        ctx.save_for_backward(warped, fixed, weights)
        ctx.window = window
        histogram = warped.new_zeros(len(warped), window.bins, window.bins)
        for part in _chunks(warped, window.bins):
            rows = _kernel(warped[:, part], window)
            if weights is not None:
                rows = rows * weights[:, None, part]
            histogram.baddbmm_(rows, _kernel(fixed[:, part], window).mT)
        return histogram * window.peak**2

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        warped, fixed, weights = ctx.saved_tensors
        window = ctx.window
        gradient = gradients[0] * window.peak**2
        to_warped: list[Tensor] = []
        to_fixed: list[Tensor] = []
        for part in _chunks(warped, window.bins):
            w, f = warped[:, part], fixed[:, part]
            kernel_w, kernel_f = _kernel(w, window), _kernel(f, window)
            factor = 1.0 if weights is None else weights[:, part]
            if ctx.needs_input_grad[0]:
                to_warped.append(factor * _slope(w, kernel_w, gradient @ kernel_f, window))
            if ctx.needs_input_grad[1]:
                to_fixed.append(factor * _slope(f, kernel_f, gradient.mT @ kernel_w, window))
        return _joined(to_warped), _joined(to_fixed), None, None


def _kernel(values: Tensor, window: ParzenWindow) -> Tensor:
    """K(v − c) for (B, n) values, (B, bins, n), of height 1."""
    scale = 1.0 / (math.sqrt(2.0) * window.sigma)
    distance = (values * scale)[:, None] - window.centres(values) * scale
    return distance.square().neg_().clamp_(min=_LOWEST_EXPONENT).exp_()


def _slope(values: Tensor, kernel: Tensor, incoming: Tensor, window: ParzenWindow) -> Tensor:
    """Σ_i g_i dK(v − c_i)/dv = Σ_i g_i K_i (c_i − v)/σ², (B, n)."""
    weighted = kernel * incoming
    moment = (weighted * window.centres(values)).sum(1)
    return (moment - values * weighted.sum(1)) / window.sigma**2


def _chunks(values: Tensor, bins: int) -> list[slice]:
    elements = _ELEMENTS_CPU if values.device.type == "cpu" else _ELEMENTS_GPU
    size = max(_SMALLEST_CHUNK, elements // (bins * len(values)))
    return [slice(start, start + size) for start in range(0, values.shape[1], size)]


def _joined(parts: list[Tensor]) -> Tensor | None:
    return torch.cat(parts, 1) if parts else None
