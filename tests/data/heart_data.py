"""Made hearts of known shape on any grid, and folders of them in the layouts that users have."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np

from medreg.io.image import Volume

CODES = {"LV": 1, "MYO": 2, "RV": 4}
TABLE = "subject,visit,age_years,sex,height_cm,weight_kg,sbp_mmhg,split"


def places_at(points, *, contraction=0.0, size=1.0):
    """Structure (0 to 3) at points (..., 3) mm of a heart whose axes are X, Y and Z, apex low, RV low X and Y.

    The RV lies nearer to low X than to low Y, so that a mirror image differs.
    """
    x, y, z = np.moveaxis(np.asarray(points, float), -1, 0) / size
    x, y, z = x - 10.3, y - 8.7, z + 4.1
    squeeze = 1 - 0.3 * contraction
    cavity = (x / (21 * squeeze)) ** 2 + (y / (21 * squeeze)) ** 2 + ((z - 12) / 42) ** 2 < 1
    wall = (x / 30) ** 2 + (y / 30) ** 2 + ((z - 12) / 50) ** 2 < 1
    right = ((x + 34) / (24 * squeeze)) ** 2 + ((y + 14) / 30) ** 2 + ((z - 26) / 48) ** 2 < 1
    body = z < 35.3
    out = np.where(right & ~wall, 3, 0)
    out = np.where(wall, 2, out)
    return (np.where(cavity, 1, out) * body).astype(np.uint8)


def heart_volume(shape, affine, *, turn=None, codes=CODES, contractions=(0.0,), size=1.0):
    """A made heart as a volume (X, Y, Z, T) of a file; `turn` is the rotation of the heart in the world."""
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), -1)
    world = grid @ np.asarray(affine)[:3, :3].T + np.asarray(affine)[:3, 3]
    points = world @ (np.eye(3) if turn is None else np.asarray(turn))  # the inverse of a rotation
    table = np.array([0, *(codes[name] for name in ("LV", "MYO", "RV"))], np.int32)
    frames = [table[places_at(points, contraction=c, size=size)] for c in contractions]
    affine = np.asarray(affine, float)
    return Volume(np.stack(frames, -1), affine, tuple(np.linalg.norm(affine[:3, :3], axis=0)))


def centred(spacing, shape, axes=((1, 0, 0), (0, 1, 0), (0, 0, 1))):
    """Affine of a grid whose middle is at the origin and whose axes run along the given directions of the world."""
    affine = np.eye(4)
    affine[:3, :3] = np.asarray(axes, float).T * np.asarray(spacing, float)
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return affine


def dice(first, second, place):
    """Overlap of a structure."""
    a, b = first == place, second == place
    return 2 * (a & b).sum() / max(a.sum() + b.sum(), 1)


def write_heart(path, volume, dtype=np.uint8):
    """Write a volume as NIfTI, frames last."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    array = volume.array if volume.array.shape[-1] > 1 else volume.array[..., 0]
    image = nib.Nifti1Image(array.astype(dtype), volume.affine)
    image.header.set_qform(volume.affine, code=1)
    nib.save(image, path)
    return path


def tiny_volume(contractions=(0.0, 0.5, 1.0, 0.5), *, size=1.0, codes=CODES):
    """A made heart on the grid `tiny`."""
    shape, spacing = (32, 32, 16), (5.0, 5.0, 8.0)
    return heart_volume(shape, centred(spacing, shape), contractions=contractions, size=size, codes=codes)


def population(root, *, people=6, second=(), frames=4):
    """Write the layout of the made population: `hearts/NAME.nii.gz`, `NAME_v2.nii.gz` and conditions.csv."""
    root = Path(root)
    rows = [TABLE]
    turns = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(frames) / frames)
    for number in range(people):
        name = f"S{number:02d}"
        split = ("train", "train", "val", "test")[number % 4]
        sex = "FM"[number % 2]
        for visit in (1, 2) if number in second else (1,):
            size = 0.85 + 0.03 * number - 0.05 * (visit - 1)
            file = f"{name}.nii.gz" if visit == 1 else f"{name}_v{visit}.nii.gz"
            write_heart(root / "hearts" / file, tiny_volume(turns, size=size))
            age = 50 + 3 * number + 8 * (visit - 1)
            rows.append(f"{name},{visit},{age},{sex},{165 + number},{70 + number},{130 + number},{split}")
    (root / "conditions.csv").write_text("\n".join(rows) + "\n")
    return root
