"""Local normalised cross correlation (LNCC), for intensities related linearly in every neighbourhood."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from medreg.errors import ConfigError, require_choice
from medreg.kernels import lncc as kernels
from medreg.kernels.compile import run_chunks
from medreg.losses.fused import Evaluation, fused
from medreg.losses.reduction import masked_mean
from medreg.losses.similarity.base import Similarity
from medreg.losses.similarity.window import box_sum, window_count

Border = Literal["inside", "zeros"]


class LocalCovariance(NamedTuple):
    """Sums of centred products over the window around each voxel, (B, C, *S) each."""

    cross: Tensor
    warped: Tensor
    fixed: Tensor


def local_covariance(
    warped: Tensor, fixed: Tensor, window: int, *, border: Border = "inside", mask: Tensor | None = None
) -> LocalCovariance:
    """Σ wf − Σw·Σf/n, Σ w² − (Σw)²/n and Σ f² − (Σf)²/n over the window of each voxel.

    Args:
        warped: (B, C, *S).
        fixed: (B, C, *S).
        window: odd width in voxels, equal for all axes.
        border: "inside" sums over, and divides by, the n voxels of the window that lie inside image and mask;
            "zeros" takes all voxels outside as intensity 0 and n as the whole window (the rule of VoxelMorph,
            MONAI and midir, which makes an edge of every border that is not black).
        mask: (B, 1, *S) or None.
    """
    if border == "zeros":
        padding = [window // 2] * 2 * (fixed.ndim - 2)
        seen = None if mask is None else F.pad(mask, padding)
        sums = _covariance(F.pad(warped, padding), F.pad(fixed, padding), window, None, seen)
        inner = (..., *[slice(window // 2, -(window // 2) or None)] * (fixed.ndim - 2))
        return LocalCovariance(*(s[inner] for s in sums))
    return _covariance(warped, fixed, window, mask, mask)


def _covariance(
    warped: Tensor, fixed: Tensor, window: int, mask: Tensor | None, centre_mask: Tensor | None
) -> LocalCovariance:
    # Covariances ignore a shift: without the global means the differences below stay accurate in float32.
    w, f = warped - _mean(warped, centre_mask), fixed - _mean(fixed, centre_mask)
    if mask is None:
        mw, mf = w, f
        n = window_count(f.shape[2:], window, dtype=f.dtype, device=f.device)
    else:
        mw, mf = mask * w, mask * f
        n = box_sum(mask, window).clamp_min(torch.finfo(f.dtype).eps)
    # Two stacks, so that the usual fixed image without gradient is left out of the backward pass.
    sum_w, sum_ww, sum_wf = box_sum(torch.cat([mw, mw * w, mw * f], 1), window).chunk(3, 1)
    sum_f, sum_ff = box_sum(torch.cat([mf, mf * f], 1), window).chunk(2, 1)
    mean_f = sum_f / n
    return LocalCovariance(
        cross=sum_wf - sum_w * mean_f,
        warped=(sum_ww - sum_w.square() / n).clamp_min(0.0),
        fixed=(sum_ff - sum_f * mean_f).clamp_min(0.0),
    )


def _mean(image: Tensor, mask: Tensor | None) -> Tensor:
    with torch.no_grad():
        values = image.flatten(2)
        if mask is None:
            mean = values.mean(2)
        else:
            m = mask.flatten(2)
            mean = (m * values).sum(2) / m.sum(2).clamp_min(1.0)
        return mean.reshape(*mean.shape, *[1] * (image.ndim - 2))


def _check(window: int, border: str) -> None:
    if window < 3 or window % 2 == 0:
        raise ConfigError(f"similarity.window is {window}; it must be an odd number of voxels, 3 or more.")
    require_choice("similarity.border", border, get_args(Border))


@dataclass(frozen=True)
class LocalCorrelation:
    """−mean_x c²/(ab + ε), or −mean_x c/√(ab + ε) if signed, of the local covariance c and variances a, b.

    Attributes:
        window: odd width in voxels.
        border: "inside" or "zeros", see `local_covariance`.
        eps: ε.
        signed: which of the two.
        mask: (B, 1, *S) or None.
    """

    window: int
    border: Border
    eps: float
    signed: bool
    mask: Tensor | None

    def formula(self, warped: Tensor, fixed: Tensor) -> Tensor:
        """Return the (B,) value, all window sums in memory."""
        sums = local_covariance(warped, fixed, self.window, border=self.border, mask=self.mask)
        product = sums.warped * sums.fixed + self.eps
        values = sums.cross / product.sqrt() if self.signed else sums.cross.square() / product
        return -masked_mean(values, self.mask)

    def evaluate(self, inputs: Sequence[Tensor], wanted: Sequence[bool]) -> Evaluation:
        """Return values and gradients from one sweep through the images, see `medreg.kernels.lncc`."""
        warped, fixed = (image.detach().contiguous() for image in inputs)
        samples, channels, *shape = fixed.shape
        volume = (shape[0], 1, shape[1]) if len(shape) == 2 else tuple(shape)
        radius = self.window // 2
        items = samples * channels
        gradients = [_empty(fixed, any(wanted)), _empty(fixed, wanted[1])]
        # What is computed twice at the seams of slabs is small beside slabs of twenty half windows.
        parts = max(1, min(volume[0] // (20 * radius), -(-8 // items)))
        values = torch.zeros(items, parts, dtype=torch.float64)
        count = _voxels(fixed, self.mask) * channels
        scale = torch.where(count > 0, -1.0 / count, 0.0)
        images = kernels.Images(
            warped=warped.view(items, *volume).numpy(),
            fixed=fixed.view(items, *volume).numpy(),
            mask=_mask_of(fixed, self.mask).view(-1, *volume).numpy(),
            means=torch.stack([_mean(image, self.mask).flatten() for image in (warped, fixed)], 1)
            .double()
            .numpy(),
            scale=scale.repeat_interleave(channels).numpy(),
        )
        rule = kernels.Rule(
            radius=torch.tensor([radius, radius if len(shape) == 3 else 0, radius]).numpy(),
            zeros=self.border == "zeros",
            eps=self.eps,
            signed=self.signed,
        )
        outputs = [values.view(-1).numpy(), *(g.view(-1, *volume).numpy() for g in gradients)]
        run_chunks(kernels.sweep, items * parts, parts, images, rule, *outputs, work=fixed.numel())
        mean = values.view(samples, -1).sum(1) * scale
        kept = (g if want else None for g, want in zip(gradients, wanted, strict=True))
        return Evaluation(mean.to(fixed.dtype), tuple(kept))


def _empty(image: Tensor, needed: bool) -> Tensor:
    return torch.empty_like(image if needed else image[:0])


def _mask_of(image: Tensor, mask: Tensor | None) -> Tensor:
    return image[:0, :1] if mask is None else mask.detach().contiguous()


def _voxels(image: Tensor, mask: Tensor | None) -> Tensor:
    """Weight of the voxels of each sample, (B,) float64."""
    if mask is None:
        return torch.full((len(image),), image[0, 0].numel(), dtype=torch.float64)
    return mask.detach().flatten(1).sum(1, dtype=torch.float64)


class LNCC(Similarity):
    """Squared local correlation: D = −mean_x cov(w, f)² / (var(w)·var(f) + ε), window sums around x.

    In [−1, 0]; blind to the sign of the correlation (Avants et al., Med. Image Anal. 2008, CC;
    Balakrishnan et al., VoxelMorph, TMI 2019, CC).

    Deviation: at the border only voxels inside the image count; `border="zeros"` is the papers' code.

    Args:
        window: odd width in voxels.
        weight: factor in the energy.
        eps: ε, in window sums of intensities to the fourth power.
        border: "inside" or "zeros", see `local_covariance`.
    """

    _signed = False

    def __init__(self, *, window: int, weight: float, eps: float = 1e-5, border: Border = "inside") -> None:
        super().__init__(weight=weight)
        _check(window, border)
        self.window = window
        if not eps >= 0:
            raise ConfigError(f"similarity.eps is {eps}; it must be a number, 0 or more.")
        self.eps = eps
        self.border: Border = border

    def compare(self, warped: Tensor, fixed: Tensor, mask: Tensor | None) -> Tensor:
        """Return the (B,) negative mean of the local correlation."""
        return fused(LocalCorrelation(self.window, self.border, self.eps, self._signed, mask), warped, fixed)


class LNCCSigned(LNCC):
    """Local correlation with its sign: D = −mean_x cov(w, f) / √(var(w)·var(f) + ε), window sums around x.

    In [−1, 1]; a neighbourhood of inverted contrast costs +1 where the squared form would reward it. Arguments
    as `LNCC`.
    """

    _signed = True
