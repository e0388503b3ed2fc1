"""What is odd about an image file: the findings that `medreg doctor` prints."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from medreg.io.foreign import is_foreign, itk_affine, read_itk_image
from medreg.io.header import Geometry, right_angled, skew
from medreg.io.image import existing_file, read_image
from medreg.io.nifti import geometry_of, load_nibabel
from medreg.io.sequence import StatedGrid, array_shape

THICK_SLICES = 3.0  # ratio of largest to smallest voxel side from which a volume is a stack of slices


@dataclass(frozen=True)
class Finding:
    """One oddity of a file.

    Attributes:
        code: short stable name, for counting over a data set (`unit_spacing`, `left_handed`, …).
        severity: "error" (unusable), "warning" (results in mm may be wrong) or "info".
        message: what was found.
        remedy: what to do about it; empty where nothing needs doing.
    """

    code: str
    severity: str
    message: str
    remedy: str = ""


@dataclass(frozen=True)
class HeaderReport:
    """Geometry and findings of one file.

    Attributes:
        path: the file.
        shape: array shape on disk, frames included.
        dtype: type on disk.
        spacing_mm: voxel size after repair.
        axis_codes: world direction of each axis, such as ("L", "P", "S").
        affine: (4, 4) after repair, voxel → RAS mm.
        findings: oddities, worst first.
    """

    path: Path
    shape: tuple[int, ...]
    dtype: str
    spacing_mm: tuple[float, ...]
    axis_codes: tuple[str, ...]
    affine: NDArray[np.float64]
    findings: tuple[Finding, ...]


def header_report(path: str | Path, *, voxels: bool = True, stated: StatedGrid | None = None) -> HeaderReport:
    """Inspect the header, and with `voxels` the values, of a NIfTI file.

    Args:
        path: the file.
        voxels: look at the values too.
        stated: the grid of a `.npy` file, which has no header.

    Raises:
        DataError: the file is missing or cannot be opened at all.
    """
    path = existing_file(path)
    if stated is not None:
        shape, kind = array_shape(path)
        note = Finding("stated", "info", "an array without a header; its grid is that of the options")
        return HeaderReport(path, shape, kind, stated.spacing_mm, tuple(stated.axes), stated.affine, (note,))
    if is_foreign(path):
        return _foreign_report(path, voxels=voxels)
    image = load_nibabel(path)
    geometry = geometry_of(image, ndim=min(len(image.shape), 3), name=str(path))
    findings = _header_findings(image, geometry)
    if voxels:
        findings += _voxel_findings(path, image.shape)
    order = {"error": 0, "warning": 1, "info": 2}
    findings.sort(key=lambda finding: order[finding.severity])
    codes = tuple(str(code) for code in nib.orientations.aff2axcodes(geometry.affine))
    dtype = str(image.get_data_dtype())
    return HeaderReport(
        path, tuple(image.shape), dtype, geometry.spacing_mm, codes, geometry.affine, tuple(findings)
    )


def _foreign_report(path: Path, *, voxels: bool) -> HeaderReport:
    """Report on a MetaImage or NRRD file, whose header cannot contradict itself."""
    image = read_itk_image(path)
    components = image.GetNumberOfComponentsPerPixel()
    shape = (*image.GetSize(), *((components,) if components > 1 else ()))
    affine = itk_affine(image)
    spacing = tuple(float(value) for value in image.GetSpacing())
    findings = _voxel_findings(path, shape) if voxels else []
    codes = tuple(str(code) for code in nib.orientations.aff2axcodes(affine))
    return HeaderReport(path, shape, image.GetPixelIDTypeAsString(), spacing, codes, affine, tuple(findings))


def _header_findings(image: Any, geometry: Geometry) -> list[Finding]:
    """Return what the header alone shows."""
    found: list[Finding] = []
    spacing, affine = np.array(geometry.spacing_mm), geometry.affine
    if np.allclose(spacing, 1.0):
        found.append(
            Finding(
                "unit_spacing",
                "warning",
                "spacing is exactly 1 mm on every axis",
                "if the true spacing was lost, all results in mm are in voxels; correct the header",
            )
        )
    if np.linalg.det(affine[:3, :3]) < 0:
        found.append(Finding("left_handed", "info", "the affine is left-handed (an axis is mirrored)"))
    if not right_angled(affine):
        found.append(
            Finding(
                "skewed",
                "warning",
                f"axes are not at right angles (largest cosine {skew(affine):.3f})",
                "resample to an orthogonal grid; ITK tools refuse this file",
            )
        )
    if spacing.max() / spacing.min() >= THICK_SLICES:
        found.append(
            Finding(
                "thick_slices",
                "info",
                f"slices are {spacing.max():.3g} mm apart, {spacing.min():.3g} mm in plane",
            )
        )
    if len(image.shape) > 3:
        found.append(Finding("frames", "info", f"{image.shape[3]} frames or channels on the fourth axis"))
    if image.get_data_dtype().kind not in "biuf":
        found.append(
            Finding(
                "dtype", "error", f"voxels of type {image.get_data_dtype()}", "convert to a grey-value image"
            )
        )
    found += [Finding("contradictory_header", "warning", note) for note in geometry.notes]
    return found


def _voxel_findings(path: Path, shape: tuple[int, ...]) -> list[Finding]:
    """Return what the values of the first frame show."""
    frame = 0 if len(shape) > 3 else None
    array = read_image(path, frame=frame).array
    finite = np.isfinite(array)
    if not finite.all():
        count = int((~finite).sum())
        return [
            Finding(
                "not_finite",
                "error",
                f"{count} voxels are NaN or infinite",
                "mend or mask them, then save again",
            )
        ]
    if array.size and float(array.max()) == float(array.min()):
        return [
            Finding(
                "constant",
                "error",
                f"all voxels equal {float(array.flat[0]):g}",
                "the file is empty; export it again",
            )
        ]
    return []
