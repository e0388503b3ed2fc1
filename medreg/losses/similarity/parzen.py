"""Joint histogram of two images with Gaussian Parzen windows, in little memory.

On the CPU a kernel touches the few bins that a window reaches; elsewhere, and for derivatives of second order,
window values are made for a few thousand voxels at a time. Neither ever holds voxels × bins.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from medreg.kernels import parzen as kernels
from medreg.kernels.compile import run_chunks
from medreg.kernels.dispatch import usable

_ELEMENTS_CPU = 2**17  # window values at a time: half a MiB in float32 stays in the cache of a core
_ELEMENTS_GPU = 2**24  # a GPU wants few, large kernels
_SMALLEST_CHUNK = 128  # voxels of a sample; with fewer the loop costs more than the arithmetic
_PART = 2**15  # voxels that a kernel counts into a histogram of their own, at least
_PARTS = 32  # such histograms a sample, at most
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

    @property
    def bins_of_kernel(self) -> kernels.Bins:
        """The same in the terms of `medreg.kernels.parzen`."""
        step = (self.vmax - self.vmin) / (self.bins - 1)
        return kernels.Bins(number=self.bins, lowest=self.vmin, step=step, sigma=self.sigma / step)

    def centres(self, like: Tensor) -> Tensor:
        """(bins, 1) centres from vmin to vmax, both included."""
        return torch.linspace(self.vmin, self.vmax, self.bins, dtype=like.dtype, device=like.device)[:, None]


def joint_histogram(
    warped: Tensor, fixed: Tensor, window: ParzenWindow, *, weights: Tensor | None = None
) -> Tensor:
    """H[i, j] = Σ_x m(x)·K(w(x) − c_i)·K(f(x) − c_j) with Gaussian K, for each sample.

    Window values are made again in the backward pass and never stored: memory is that of the images.
    Differentiable any number of times; only the first derivative is lean. The kernel leaves out window values
    below 2·10⁻¹⁵ of the peak.

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
    """H = W Fᵀ by the kernel or in chunks; the backward pass builds the windows again."""

    @staticmethod
    def forward(
        ctx: Any, warped: Tensor, fixed: Tensor, weights: Tensor | None, window: ParzenWindow
    ) -> Tensor:
        ctx.save_for_backward(warped, fixed, weights)
        ctx.window = window
        count = _counted if _fusible(warped, fixed, weights) else _chunked
        return count(warped, fixed, weights, window) * window.peak**2

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        warped, fixed, weights = ctx.saved_tensors
        again = torch.is_grad_enabled()  # a derivative of this derivative is wanted: only torch has it
        derive = _gathered if _fusible(warped, fixed, weights) and not again else _chunked_gradient
        gradient = gradients[0] * ctx.window.peak**2
        return *derive(gradient, warped, fixed, weights, ctx.window, ctx.needs_input_grad[:2]), None, None


def _fusible(warped: Tensor, fixed: Tensor, weights: Tensor | None) -> bool:
    return usable(warped, fixed, *([] if weights is None else [weights]))


def _chunked(warped: Tensor, fixed: Tensor, weights: Tensor | None, window: ParzenWindow) -> Tensor:
    histogram = warped.new_zeros(len(warped), window.bins, window.bins)
    for part in _chunks(warped, window.bins):
        rows = _kernel(warped[:, part], window)
        if weights is not None:
            rows = rows * weights[:, None, part]
        histogram.baddbmm_(rows, _kernel(fixed[:, part], window).mT)
    return histogram


def _chunked_gradient(
    gradient: Tensor,
    warped: Tensor,
    fixed: Tensor,
    weights: Tensor | None,
    window: ParzenWindow,
    wanted: tuple[bool, ...],
) -> tuple[Tensor | None, Tensor | None]:
    to_warped: list[Tensor] = []
    to_fixed: list[Tensor] = []
    for part in _chunks(warped, window.bins):
        w, f = warped[:, part], fixed[:, part]
        kernel_w, kernel_f = _kernel(w, window), _kernel(f, window)
        factor = 1.0 if weights is None else weights[:, part]
        if wanted[0]:
            to_warped.append(factor * _slope(w, kernel_w, gradient @ kernel_f, window))
        if wanted[1]:
            to_fixed.append(factor * _slope(f, kernel_f, gradient.mT @ kernel_w, window))
    return _joined(to_warped), _joined(to_fixed)


def _counted(warped: Tensor, fixed: Tensor, weights: Tensor | None, window: ParzenWindow) -> Tensor:
    bins, inner = window.bins_of_kernel, slice(kernels.MARGIN, kernels.MARGIN + window.bins)
    items, parts = len(warped), _parts(warped)
    counts = torch.zeros(items * parts, *bins.padded, dtype=torch.float64)
    images = [_array(tensor, warped) for tensor in (warped, fixed, weights)]
    run_chunks(
        kernels.histogram_parts, len(counts), parts, *images, bins, counts.numpy(), work=warped.numel()
    )
    return counts.view(items, parts, *bins.padded).sum(1)[:, inner, inner].to(warped.dtype)


def _gathered(
    gradient: Tensor,
    warped: Tensor,
    fixed: Tensor,
    weights: Tensor | None,
    window: ParzenWindow,
    wanted: tuple[bool, ...],
) -> tuple[Tensor | None, Tensor | None]:
    bins, inner = window.bins_of_kernel, slice(kernels.MARGIN, kernels.MARGIN + window.bins)
    items, parts = len(warped), _parts(warped)
    upstream = torch.zeros(items, *bins.padded, dtype=torch.float64)
    upstream[:, inner, inner] = gradient
    found = [torch.empty_like(warped if want else warped[:0]) for want in wanted]
    images = [_array(tensor, warped) for tensor in (warped, fixed, weights)]
    outputs = (tensor.numpy() for tensor in (upstream, *found))
    run_chunks(kernels.gradient_parts, items * parts, parts, *images, bins, *outputs, work=warped.numel())
    return found[0] if wanted[0] else None, found[1] if wanted[1] else None


def _parts(images: Tensor) -> int:
    return max(1, min(_PARTS, images.shape[1] // _PART))


def _array(tensor: Tensor | None, like: Tensor) -> Any:
    return (like[:0] if tensor is None else tensor).detach().contiguous().numpy()


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
