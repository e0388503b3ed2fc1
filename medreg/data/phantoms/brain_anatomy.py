"""The template brain: labels and tissues on a fine grid in RAS mm, from solids and a folded ribbon."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medreg.data.phantoms import brain_nuclei as nuclei
from medreg.data.phantoms.brain_shapes import (
    Array,
    ellipsoid,
    smooth_noise,
    smooth_union,
    wave_noise,
)
from medreg.data.phantoms.brain_tissues import CODES, TISSUES

CENTRE_MM = (0.0, -15.0, 4.0)  # centre of the field of view; the origin is the anterior commissure
SIZE = 0.94  # of the brain relative to the numbers below, which were read off a large head
EXTENT_MM = (160.0, 192.0, 160.0)  # field of view of the template


@dataclass(frozen=True)
class FoldingOptions:
    """How the cortex is folded.

    Attributes:
        wavelength_mm: from gyrus to next but one; a gyrus is about half as wide.
        depth_mm: mean depth of sulci.
        thickness_mm: of the cortex.
        width_mm: half the gap between the banks of a sulcus.
    """

    wavelength_mm: float
    depth_mm: float
    thickness_mm: float
    width_mm: float


@dataclass(frozen=True)
class Template:
    """The brain of which all subjects are deformations.

    Attributes:
        tissue: (X, Y, Z) uint8, codes of `TISSUES`; 0 outside the brain mask.
        labels: (X, Y, Z) uint8, codes of `LABELS`.
        ventricle_mm: (X, Y, Z) float32 signed distance to the lateral ventricles, for their change of size.
        affine: (4, 4) voxel → RAS mm.
    """

    tissue: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    ventricle_mm: Array
    affine: NDArray[np.float64]


def grid_axes(shape: Sequence[int], affine: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """World coordinates along the three axes of an axis-aligned grid, mm."""
    return [affine[k, 3] + affine[k, k] * np.arange(shape[k]) for k in range(3)]


def centred_affine(shape: Sequence[int], spacing_mm: Sequence[float]) -> NDArray[np.float64]:
    """Affine of an axis-aligned RAS grid whose middle is the centre of the field of view."""
    affine = np.diag([*(float(s) for s in spacing_mm), 1.0])
    affine[:3, 3] = [c - s * (n - 1) / 2 for c, s, n in zip(CENTRE_MM, spacing_mm, shape, strict=True)]
    return affine


def build_template(spacing_mm: float, folding: FoldingOptions, seed: int) -> Template:
    """Build the template.

    Args:
        spacing_mm: voxel size of the template; 1 mm shows folds well.
        folding: the cortex.
        seed: of folds and irregularities.
    """
    shape = tuple(round(extent / spacing_mm) + 1 for extent in EXTENT_MM)
    affine = centred_affine(shape, [spacing_mm] * 3)
    axes = grid_axes(shape, affine)
    generator = np.random.default_rng([seed, 1])
    points = _irregular(axes, generator)
    side = points[0] > 0
    points[0] = np.abs(points[0])
    solids = _solids(points)
    tissue = _brain(solids, points, axes, folding, spacing_mm, generator)
    ventricle = nuclei.lateral_ventricle(points)
    _paint_nuclei(tissue, points, ventricle, inside=solids["mask"] < 0)
    # at this size the fluid in a sulcus counts as cortex, as in segmentations of real scans
    filled = np.where((tissue == TISSUES["csf"]) & (solids["cerebrum"] < 0), TISSUES["cortex"], tissue)
    leaves = (tissue == TISSUES["csf"]) & (solids["cerebellum"] < 0)
    labels = _label(np.where(leaves, TISSUES["cerebellum_cortex"], filled), side)
    return Template(tissue, labels, ventricle.astype(np.float32), affine)


def _irregular(axes: Sequence[NDArray[np.float64]], generator: np.random.Generator) -> list[Array]:
    """Coordinates with smooth irregularities, so that nothing is an exact ellipsoid or symmetric."""
    shape = tuple(len(axis) for axis in axes)
    out = []
    for k, axis in enumerate(axes):
        line = axis.reshape([-1 if i == k else 1 for i in range(3)])
        wobble = 2.0 * smooth_noise(axes, 34.0, generator) + 0.6 * smooth_noise(axes, 13.0, generator)
        # the midline stays nearly straight
        strength = 0.5 if k == 0 else 1.0
        out.append(((np.broadcast_to(line, shape) + strength * wobble) / SIZE).astype(np.float32))
    return out


def _solids(p: Sequence[Array]) -> dict[str, Array]:
    """Signed distances of the large parts, for |x|."""
    cerebrum = ellipsoid(p, (21, -16, 23), (49, 87, 55))
    cerebrum = smooth_union(cerebrum, ellipsoid(p, (20, 34, 8), (30, 38, 34)), 10)
    cerebrum = smooth_union(cerebrum, ellipsoid(p, (21, -72, 6), (30, 33, 27)), 10)
    temporal = ellipsoid(p, (45, -14, -19), (21, 46, 23), tilt_deg=-8)
    cerebrum = smooth_union(cerebrum, temporal, 6)
    cerebellum = smooth_union(
        ellipsoid(p, (25, -62, -38), (29, 28, 22), tilt_deg=10), ellipsoid(p, (0, -62, -34), (15, 25, 22)), 5
    )
    stem = nuclei.brain_stem(p)
    mask = smooth_union(smooth_union(cerebrum, cerebellum, 12), stem, 14) - 1.5
    # the space below the midbrain, between the temporal lobes
    cistern = ellipsoid(p, (0, -18, -36), (25, 27, 24))
    cerebrum = np.maximum(cerebrum, -cistern)
    cerebrum = np.maximum(cerebrum, 2.0 - cerebellum)
    core = nuclei.core(p)
    cerebrum = np.maximum(cerebrum, np.minimum(np.float32(1.0) - p[0], core))
    return {"cerebrum": cerebrum, "cerebellum": cerebellum, "stem": stem, "mask": mask, "core": core}


def _brain(
    solids: dict[str, Array],
    points: Sequence[Array],
    axes: Sequence[NDArray[np.float64]],
    folding: FoldingOptions,
    spacing_mm: float,
    generator: np.random.Generator,
) -> NDArray[np.uint8]:
    """Tissue map: cerebrum with its folds, cerebellum with its leaves, brain stem, fluid."""
    tissue = np.where(solids["mask"] < 0, TISSUES["csf"], 0).astype(np.uint8)
    pial = _folded(solids["cerebrum"], points, axes, folding, spacing_mm, generator)
    pial = np.where(solids["core"] < 0, np.maximum(pial, -solids["core"]), pial)
    thickness = folding.thickness_mm + 0.35 * smooth_noise(axes, 12.0, generator).astype(np.float32)
    # a solid core has no cortex; elsewhere the ribbon follows the pial surface
    deep = (solids["core"] < 0) & (solids["cerebrum"] < 0)
    tissue[(pial > 0) & (solids["cerebrum"] < 0)] = TISSUES["cortex"]
    tissue[((pial > thickness) | deep) & (solids["cerebrum"] < 0)] = TISSUES["white_matter"]
    leaves = _leaves(solids["cerebellum"], points, smooth_noise(axes, 14.0, generator).astype(np.float32))
    tissue[leaves > 0] = TISSUES["cerebellum_cortex"]
    tissue[leaves > 2.7] = TISSUES["cerebellum_white_matter"]
    tissue[(solids["stem"] < 0)] = TISSUES["brain_stem"]
    return tissue


def _folded(
    hull: Array,
    points: Sequence[Array],
    axes: Sequence[NDArray[np.float64]],
    folding: FoldingOptions,
    spacing_mm: float,
    generator: np.random.Generator,
) -> Array:
    """Depth below the pial surface in mm: below the hull, and away from sheets that cut into it.

    The sheets are the zero set of a random field of one wavelength. It is constant along the inward normal of
    the hull, which makes the sheets stand on it as sulci do.
    """
    depth = -hull
    smooth = ndimage.gaussian_filter(depth, 3.0 / spacing_mm)
    near = (depth > -2) & (depth < 34)
    slope = [np.asarray(g)[near] for g in np.gradient(smooth, spacing_mm)]
    length = np.maximum(np.sqrt(sum(s * s for s in slope)), 0.3)
    # sulci bend on their way down
    bend = [2.5 * smooth_noise(axes, 13.0, generator)[near] for _ in axes]
    feet = [
        axis[i] - depth[near] * s / length + b
        for axis, i, s, b in zip(axes, np.nonzero(near), slope, bend, strict=True)
    ]
    feet_mm = np.stack(feet, axis=1).astype(np.float32)
    reach = 1 + 0.35 * smooth_noise(axes, 16.0, generator).astype(np.float32)
    out = np.minimum(depth, nuclei.sylvian(points))
    for share in (1.0, 0.65):  # deep sulci, and shallower ones between them
        wave = np.full(depth.shape, 9, dtype=np.float32)
        wave[near] = wave_noise(feet_mm, folding.wavelength_mm * share, generator)
        gap = (folding.width_mm + 0.8 * np.exp(-np.maximum(depth, 0) / 3)) * share
        sulcus = np.maximum(
            _sheet_distance(wave, folding.wavelength_mm * share, spacing_mm) - gap,
            depth - folding.depth_mm * reach * (1.0 if share == 1.0 else 0.4),
        )
        out = np.minimum(out, sulcus)
    return out


def _sheet_distance(wave: Array, wavelength_mm: float, spacing_mm: float) -> Array:
    """Distance to the zero set of a field of one wavelength, to first order."""
    steep = np.sqrt(sum(np.square(g) for g in np.gradient(wave, spacing_mm)))
    typical = np.float32(2 * np.pi / wavelength_mm)
    return np.abs(wave) / np.clip(steep, 0.35 * typical, 2.0 * typical)


def _leaves(hull: Array, points: Sequence[Array], noise: Array) -> Array:
    """Depth below the surface of the cerebellum in mm; its leaves fan out around the fourth ventricle."""
    depth = -hull
    forward, up = points[1] + 44, points[2] + 32
    radius = np.sqrt(forward**2 + up**2)
    phase = 13 * np.arctan2(up, -forward) + 0.5 * noise
    sheet = np.abs(np.sin(phase)) * radius / 13
    return np.minimum(depth, np.maximum(sheet - 0.35, depth - 8 - 3 * noise))


def _paint_nuclei(
    tissue: NDArray[np.uint8], p: Sequence[Array], ventricle: Array, *, inside: NDArray[np.bool_]
) -> None:
    """Paint deep structures over the white matter, fluid spaces last."""
    for name, solid in (
        ("corpus_callosum", nuclei.corpus_callosum(p)),
        ("hippocampus", nuclei.hippocampus(p)),
        ("thalamus", nuclei.thalamus(p)),
        ("putamen", nuclei.putamen(p)),
        ("pallidum", nuclei.pallidum(p)),
        ("caudate", nuclei.caudate(p)),
        ("ventricle", ventricle),
        ("third_ventricle", nuclei.third_ventricle(p)),
        ("fourth_ventricle", nuclei.fourth_ventricle(p)),
    ):
        tissue[(solid < 0) & inside] = TISSUES[name]


def _label(tissue: NDArray[np.uint8], right: NDArray[np.bool_]) -> NDArray[np.uint8]:
    table = np.zeros((2, max(TISSUES.values()) + 1), dtype=np.uint8)
    for name, codes in CODES.items():
        table[:, TISSUES[name]] = codes
    return np.where(right, table[1][tissue], table[0][tissue])
