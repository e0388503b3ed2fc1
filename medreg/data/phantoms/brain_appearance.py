"""The phantom brain in a scanner: two contrasts or three, partial volume, texture, coil shading, Rician noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from medreg.data.phantoms.brain_anatomy import Template, grid_axes
from medreg.data.phantoms.brain_shapes import Array, smooth_noise
from medreg.data.phantoms.brain_tissues import SIGNAL, TISSUES
from medreg.geometry.warp import warp

CORNERS = ((-0.25, -0.25, -0.25), (-0.25, 0.25, 0.25), (0.25, -0.25, 0.25), (0.25, 0.25, -0.25))  # voxels
BLUR_MM = 0.6  # makes four points enough
SCALE = 1000  # stored grey value of relative signal 1


@dataclass(frozen=True)
class AppearanceOptions:
    """How images are degraded.

    Attributes:
        noise_percent: Rician noise, standard deviation in percent of the white matter of a T1 image.
        bias_percent: coil shading, standard deviation in percent.
        texture_percent: variation within a tissue, standard deviation in percent.
        tissue_percent: variation of each tissue between subjects, standard deviation in percent.
    """

    noise_percent: float
    bias_percent: float
    texture_percent: float
    tissue_percent: float


@dataclass(frozen=True)
class Scan:
    """Images of one subject on one grid.

    Attributes:
        images: (X, Y, Z) int16 by contrast; 0 outside the brain mask.
        labels: (X, Y, Z) uint8.
        mask: (X, Y, Z) uint8, the brain with the fluid around it.
    """

    images: dict[str, NDArray[np.int16]]
    labels: NDArray[np.uint8]
    mask: NDArray[np.uint8]


def texture(template: Template, seed: int) -> Array:
    """Variation within tissues that belongs to the anatomy and moves with it: about unit variance."""
    generator = np.random.default_rng([seed, 2])
    axes = grid_axes(template.tissue.shape, template.affine)
    grain = smooth_noise(axes, 3.0, generator) + smooth_noise(axes, 9.0, generator)
    return (0.7 * grain).astype(np.float32)


def scan(
    template: Template,
    grain: Array,
    displacement: NDArray[np.float64],
    options: AppearanceOptions,
    *,
    affine: NDArray[np.float64],
    generator: np.random.Generator,
    contrasts: Sequence[str],
) -> Scan:
    """Image a subject.

    The image of a voxel is the mean of the slightly blurred template over four points in it; the label is
    that of its centre, so that labels obey the map exactly.

    Args:
        template: the brain.
        grain: texture on the grid of the template.
        displacement: map from the subject to the template, (3, X, Y, Z) voxels.
        options: degradation.
        affine: of the subject's grid.
        generator: of this subject.
        contrasts: names in `SIGNAL`.
    """
    signal = np.stack([_signal(template, grain, SIGNAL[name], options, generator) for name in contrasts])
    clean = _supersampled(torch.from_numpy(signal), displacement, affine, template.affine)
    indices = torch.from_numpy(np.stack([template.tissue, template.labels]))[None]
    to_template = torch.from_numpy(_to_template(displacement, affine, template.affine))[None]
    tissue, labels = warp(indices, to_template, mode="nearest", padding="zeros")[0].numpy()
    mask = (tissue > 0).astype(np.uint8)
    axes = grid_axes(mask.shape, affine)
    images = {name: _degrade(clean[i], mask, axes, options, generator) for i, name in enumerate(contrasts)}
    return Scan(images, labels.astype(np.uint8), mask)


def _signal(
    template: Template,
    grain: Array,
    means: Mapping[str, float],
    options: AppearanceOptions,
    generator: np.random.Generator,
) -> Array:
    table = np.zeros(max(TISSUES.values()) + 1, dtype=np.float32)
    for name, code in TISSUES.items():
        table[code] = means[name] * (1 + options.tissue_percent / 100 * generator.standard_normal())
    signal = table[template.tissue]
    signal *= 1 + np.float32(options.texture_percent / 100) * grain
    return ndimage.gaussian_filter(signal, BLUR_MM / template.affine[0, 0])


def _to_template(
    displacement: NDArray[np.float64], affine: NDArray[np.float64], template_affine: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Displacement from a voxel index of the subject to the voxel index of the template, (3, X, Y, Z)."""
    grid = np.indices(displacement.shape[1:], dtype=np.float64)
    gain = (np.diag(affine) / np.diag(template_affine))[:3].reshape(3, 1, 1, 1)
    offset = ((affine[:3, 3] - template_affine[:3, 3]) / np.diag(template_affine)[:3]).reshape(3, 1, 1, 1)
    return (grid + displacement) * gain + offset - grid


def _supersampled(
    signal: torch.Tensor,
    displacement: NDArray[np.float64],
    affine: NDArray[np.float64],
    template_affine: NDArray[np.float64],
) -> NDArray[np.float32]:
    to_template = torch.from_numpy(_to_template(displacement, affine, template_affine)).float()[None]
    total = torch.zeros(1, len(signal), *displacement.shape[1:])
    for corner in CORNERS:
        offset = torch.tensor(corner).reshape(1, 3, 1, 1, 1).expand_as(to_template)
        # the point that `warp` adds is the voxel index, to which the corner belongs
        total += warp(signal[None], warp(to_template, offset) + offset, padding="zeros")
    return (total[0] / len(CORNERS)).numpy()


def _degrade(
    clean: NDArray[np.float32],
    mask: NDArray[np.uint8],
    axes: list[NDArray[np.float64]],
    options: AppearanceOptions,
    generator: np.random.Generator,
) -> NDArray[np.int16]:
    bias = np.exp(options.bias_percent / 100 * smooth_noise(axes, 80.0, generator))
    sigma = options.noise_percent / 100 * SIGNAL["MR T1w"]["white_matter"]
    real, imaginary = (sigma * generator.standard_normal(clean.shape) for _ in range(2))
    noisy = np.hypot(clean * bias + real, imaginary)
    return np.rint(np.clip(noisy * SCALE, 0, 30000) * mask).astype(np.int16)
