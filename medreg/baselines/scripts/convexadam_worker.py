"""ConvexAdam with MIND features: coupled convex search, then Adam (Siebert et al., 2021 and 2024)."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from serving import Answer, CaseImage, importing, serve


def register(fixed: CaseImage, moving: CaseImage, settings: Mapping[str, Any]) -> Answer:
    """Register by array index; the tool knows no geometry.

    Args:
        fixed: fixed image.
        moving: moving image; cut or padded with zeros to the fixed shape.
        settings: arguments of `convex_adam_pt` under `options`, device, threads.
    """
    import torch
    from convexAdam.convex_adam_MIND import convex_adam_pt

    torch.set_num_threads(int(settings["threads"]))
    shape = fixed.array.shape
    # With masks the tool wants even sizes.
    size = shape if fixed.mask is None else tuple(n + n % 2 for n in shape)
    with tempfile.TemporaryDirectory() as folder:
        found = convex_adam_pt(
            torch.from_numpy(_fitted(fixed.array, size)),
            torch.from_numpy(_fitted(moving.array, size)),
            device=torch.device(settings["device"]),
            dtype=torch.float32,
            **settings["options"],
            **_masks(fixed, moving, size, Path(folder)),
        )
    return Answer(np.asarray(found)[tuple(slice(0, n) for n in shape)], "voxel")


def _masks(fixed: CaseImage, moving: CaseImage, size: tuple[int, ...], folder: Path) -> dict[str, Any]:
    """Arguments by which the tool reads masks from files; none without masks."""
    if fixed.mask is None or moving.mask is None:
        return {}
    paths = {}
    for name, mask in (("path_fixed_mask", fixed.mask), ("path_moving_mask", moving.mask)):
        paths[name] = folder / f"{name}.nii"
        nib.Nifti1Image(_fitted(mask, size), np.eye(4)).to_filename(paths[name])
    return {"use_mask": True, **paths}


def _fitted(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Cut or pad an array at its far ends, so that indices keep their meaning."""
    cut = array[tuple(slice(0, size) for size in shape)]
    return np.pad(cut, [(0, size - have) for size, have in zip(shape, cut.shape, strict=True)])


if __name__ == "__main__":
    serve(importing(register, "torch", "convexAdam.convex_adam_MIND"))
