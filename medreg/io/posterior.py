"""The files that hold what is known of a displacement after sampling it; all of them lie on the fixed grid.

| file | content | unit |
| --- | --- | --- |
| `mean_displacement.nii.gz` | ITK field, mean of the samples; applies to the moving image as any field does | mm, LPS |
| `displacement_sd.nii.gz` | image of vectors, standard deviation of every component of the field | mm along L, P, S |
| `displacement_sd_norm.nii.gz` | root of the summed variances of the components | mm |
| `probability_<structure>.nii.gz` | share of the samples in which the warped structure covers the voxel | 1 |
| `volumes.csv` | volume of every warped structure in every sample | ml |
| `sample_000.nii.gz` … | ITK fields, the samples that were asked for | mm, LPS |
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medreg.io.atomic import replacing
from medreg.io.field import write_field
from medreg.io.field_itk import write_spread
from medreg.io.foreign import LPS
from medreg.io.image import write_image

VOLUME_COLUMNS = ("sample", "chain", "structure", "volume_ml")


@dataclass(frozen=True, eq=False)
class PosteriorArrays:
    """What is written of the posterior of one pair.

    Attributes:
        affine: (4, 4) of the fixed grid, voxel → RAS mm.
        mean: (D, *S) voxels of the fixed grid, pull; D = 2 for a 2-D image file.
        covariance: (D, D, *S) voxels², of the displacement at every voxel.
        probabilities: structure → (*S), 0 … 1.
        volumes: rows of `VOLUME_COLUMNS`.
        samples: displacements as `mean`.
    """

    affine: NDArray[np.float64]
    mean: NDArray[np.floating]
    covariance: NDArray[np.floating]
    probabilities: Mapping[str, NDArray[np.floating]] = field(default_factory=dict)
    volumes: Sequence[Mapping[str, Any]] = ()
    samples: Sequence[NDArray[np.floating]] = ()


def write_posterior(folder: str | Path, arrays: PosteriorArrays) -> list[Path]:
    """Write what is known of a displacement into a folder and return the files; those of an earlier call go.

    Raises:
        FieldFormatError: wrong shapes, or values that are not finite.
    """
    folder = Path(folder)
    _clear(folder)
    affine = arrays.affine
    files = [write_field(folder / "mean_displacement.nii.gz", arrays.mean, affine)]
    variance = variance_lps_mm(arrays.covariance, affine)
    files.append(write_spread(folder / "displacement_sd.nii.gz", np.sqrt(variance), affine))
    norm = np.sqrt(variance.sum(0))
    files.append(write_image(folder / "displacement_sd_norm.nii.gz", norm, affine))
    for name, probability in arrays.probabilities.items():
        files.append(write_image(folder / f"probability_{file_word(name)}.nii.gz", probability, affine))
    for number, sample in enumerate(arrays.samples):
        files.append(write_field(folder / f"sample_{number:03d}.nii.gz", sample, affine))
    if arrays.volumes:
        files.append(_write_volumes(folder / "volumes.csv", arrays.volumes))
    return files


def variance_lps_mm(covariance: NDArray[np.floating], affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the variances (3, *S) along L, P and S, mm², of a displacement with a covariance (D, D, *S) in voxels².

    With d = M u, M = diag(−1, −1, 1) A[:3, :D], they are the diagonal of M C Mᵀ: where the grid is oblique, the
    covariances of the components count, too. Rounding below zero is cut off.
    """
    matrix = LPS @ np.asarray(affine, dtype=np.float64)[:3, : len(covariance)]
    variance = np.einsum("ki,ij...,kj->k...", matrix, np.asarray(covariance, dtype=np.float64), matrix)
    return np.maximum(variance, 0.0)


def file_word(name: str) -> str:
    """Return the name of a structure as a part of a file name."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", name)


def _clear(folder: Path) -> None:
    """Remove samples and probabilities of an earlier call, of which there may have been more."""
    for pattern in ("sample_*.nii.gz", "probability_*.nii.gz", "volumes.csv"):
        for file in folder.glob(pattern):
            file.unlink()


def _write_volumes(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    with replacing(path) as part, part.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, VOLUME_COLUMNS)
        writer.writeheader()
        writer.writerows({name: row[name] for name in VOLUME_COLUMNS} for row in rows)
    return path
