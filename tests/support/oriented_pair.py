"""A pair on an anisotropic, oriented grid: permuted, flipped and turned axes, an offset, and known motion."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

SHAPE = (34, 40, 32)
SPACING = (1.5, 1.0, 2.0)  # mm


def oriented_affine() -> np.ndarray:
    """First axis to the back, second to the left, third upwards, all turned by 12 degrees about it; far away."""
    angle = np.deg2rad(12.0)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    axes = np.array([[0.0, -1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ axes @ np.diag(SPACING)
    affine[:3, 3] = (37.0, -81.0, 12.5)
    return affine


def arrays(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return fixed, moving and the displacement (3, X, Y, Z) in voxels with fixed(x) = moving(x + u(x))."""
    random = np.random.default_rng(seed)
    texture = gaussian_filter(random.normal(size=SHAPE), 2.2)
    texture = (texture - texture.min()) / (texture.max() - texture.min())
    grid = np.indices(SHAPE, dtype=float)
    centre = np.array(SHAPE).reshape(3, 1, 1, 1) / 2
    radius = np.sqrt((((grid - centre) / np.array(SHAPE).reshape(3, 1, 1, 1)) ** 2).sum(0))
    moving = texture * (radius < 0.42)
    moving = gaussian_filter(moving, 0.7)
    shift = np.stack([gaussian_filter(random.normal(size=SHAPE), 7) for _ in range(3)])
    shift *= np.array([2.0, 2.5, 1.5]).reshape(3, 1, 1, 1) / np.abs(shift).max(axis=(1, 2, 3), keepdims=True)
    shift += np.array([0.6, -0.8, 0.4]).reshape(3, 1, 1, 1)
    fixed = map_coordinates(moving, grid + shift, order=1, mode="constant")
    return fixed.astype(np.float32), moving.astype(np.float32), shift


def write_pair(folder: Path) -> tuple[Path, Path]:
    """Write fixed.nii and moving.nii on the oriented grid."""
    files = []
    for name, array in zip(("fixed", "moving"), arrays()[:2], strict=True):
        files.append(folder / f"{name}.nii")
        nib.Nifti1Image(array, oriented_affine()).to_filename(files[-1])
    return files[0], files[1]


def pulled(moving: np.ndarray, displacement: np.ndarray) -> np.ndarray:
    """Return moving(x + u(x)) by an independent library: linear, zero outside."""
    position = np.indices(displacement.shape[1:], dtype=float) + displacement
    return map_coordinates(moving.astype(float), position, order=1, mode="constant")
