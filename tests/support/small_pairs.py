"""A CSV of tiny labelled pairs, and the command that trains on it in a second."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy.ndimage import gaussian_filter

AFFINE = np.diag([2.0, 2.0, 3.0, 1.0])
SPLITS = ("train", "train", "val", "test", "test")


def small_pairs(folder: Path, splits: Sequence[str] = SPLITS) -> Path:
    """Write images, labels and `pairs.csv`; the case p<i> is in the i-th set. Return the CSV."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(len(splits)):
        for k, end in enumerate("fm"):
            noise = np.random.default_rng(2 * i + k).normal(size=(16, 16, 8))
            image = gaussian_filter(noise, 2.0).astype(np.float32)
            nib.save(nib.Nifti1Image(image, AFFINE), folder / f"{end}{i}.nii.gz")
            label = (image > np.median(image)).astype(np.uint8)
            nib.save(nib.Nifti1Image(label, AFFINE), folder / f"{end}l{i}.nii.gz")
    return listed(folder, splits)


def listed(folder: Path, splits: Sequence[str]) -> Path:
    """Write the CSV alone."""
    rows = [
        f"f{i}.nii.gz,m{i}.nii.gz,fl{i}.nii.gz,ml{i}.nii.gz,{split},p{i}" for i, split in enumerate(splits)
    ]
    table = folder / "pairs.csv"
    table.write_text("\n".join(["fixed,moving,fixed_label,moving_label,split,id", *rows]) + "\n")
    return table


def other_label(folder: Path, case: int) -> None:
    """Correct the moving label of a case."""
    file = folder / f"ml{case}.nii.gz"
    array = np.asarray(nib.load(file).dataobj)
    nib.save(nib.Nifti1Image(np.roll(array, 5, 0), AFFINE), file)


def command(table: Path, *more: str) -> list[str]:
    return [
        "data=folder", f"data.dataset.root={table}", "model=voxelmorph", "model.encoder=[4,4]", "model.decoder=[4]",
        "model.out=[4]", "trainer.max_epochs=1", "logger=none", "report=false", "pictures=0", *more,
    ]  # fmt: skip
