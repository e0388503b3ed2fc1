"""The three statements of a NIfTI header about its geometry (sform, qform, zooms), in millimetres.

Each is read as the NIfTI library that ITK contains reads it, from the header as stored: nibabel mends some
fields on opening, which would place such files elsewhere than SimpleITK does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from nibabel.nifti1 import Nifti1Header
from numpy.typing import NDArray

from medreg.errors import DataError

SCANNER = 1  # NIfTI code "scanner anatomical"
TO_MM = {1: 1e3, 2: 1.0, 3: 1e-3}  # NIfTI code of the spatial unit (m, mm, µm) → factor; others count as mm
UNITS = {1: "metre", 2: "mm", 3: "micrometre"}
NAMES = {1: "scanner", 2: "aligned", 3: "Talairach", 4: "MNI"}
SMALLEST_MM, LARGEST_MM = 1e-6, 1e4  # voxel sizes outside these are no image's, but a damaged header's
FARTHEST_MM = 1e7  # likewise an origin


@dataclass(frozen=True)
class Forms:
    """What a header says, lengths in mm.

    Attributes:
        sform: (4, 4) voxel → RAS mm; None where its code is 0 or it is singular.
        qform: (4, 4) likewise, always right-angled; None where its code is 0 or its numbers are not finite.
        zooms: voxel size of three axes; 1 for absent axes.
        sform_code: NIfTI code of the sform, 0 for none.
        qform_code: likewise.
        shape: size of the first three axes.
        unit_mm: the length unit of the header, mm.
        notes: what was not straightforward.
    """

    sform: NDArray[np.float64] | None
    qform: NDArray[np.float64] | None
    zooms: NDArray[np.float64]
    sform_code: int
    qform_code: int
    shape: tuple[int, int, int]
    unit_mm: float = 1.0
    notes: tuple[str, ...] = ()


def read_forms(header: Nifti1Header, name: str) -> Forms:
    """Read the statements of a NIfTI header.

    Args:
        header: as stored, not mended.
        name: the file, for messages.

    Raises:
        DataError: a voxel size that no image can have.
    """
    notes: list[str] = []
    dim = [int(size) for size in header["dim"]]
    shape = [max(size, 1) if axis < dim[0] else 1 for axis, size in enumerate(dim[1:4])]
    unit = int(header["xyzt_units"]) & 7
    factor = TO_MM.get(unit, 1.0)
    if factor != 1.0:
        notes.append(f"the header's unit is the {UNITS[unit]}; lengths were converted to mm")
    zooms = _zooms(header, shape, name, notes)
    codes = {form: max(int(header[f"{form}_code"]), 0) for form in ("sform", "qform")}
    rows = np.array([header[f"srow_{axis}"] for axis in "xyz"], dtype=np.float64)
    forms = {"sform": _affine(rows), "qform": _affine(_quaternion_rows(header, zooms))}
    for form, affine in forms.items():
        if codes[form] and not is_usable(affine):
            notes.append(f"{form} is singular or not finite and was ignored")
        usable = bool(codes[form]) and is_usable(affine)
        affine[:3] *= factor
        forms[form] = affine if usable else None  # type: ignore[assignment]
    return Forms(
        forms["sform"],
        forms["qform"],
        _plausible(zooms * factor, name),
        codes["sform"],
        codes["qform"],
        (shape[0], shape[1], shape[2]),
        factor,
        tuple(notes),
    )


def is_usable(affine: NDArray[np.float64] | None) -> bool:
    """Say whether an affine is finite and invertible; its scale does not count."""
    if affine is None or not np.isfinite(affine).all():
        return False
    norms = np.linalg.norm(affine[:3, :3], axis=0)
    return bool((norms > 0).all()) and abs(np.linalg.det(affine[:3, :3] / norms)) > 1e-6


def check_placement(affine: NDArray[np.float64], name: str) -> NDArray[np.float64]:
    """Return an affine (4, 4) of mm whose voxel size and origin an image can have.

    Raises:
        DataError: it cannot.
    """
    _plausible(np.linalg.norm(affine[:3, :3], axis=0), name)
    if not np.isfinite(affine).all() or np.abs(affine[:3, 3]).max() > FARTHEST_MM:
        raise DataError(
            f"{name}: the first voxel lies at {_listed(affine[:3, 3])} mm, which no image does; correct the header."
        )
    return affine


def _plausible(sizes: NDArray[np.float64], name: str) -> NDArray[np.float64]:
    if not ((sizes >= SMALLEST_MM) & (sizes <= LARGEST_MM)).all():
        raise DataError(
            f"{name}: a voxel size of {_listed(sizes)} mm, but sizes lie between {SMALLEST_MM:g} and {LARGEST_MM:g} "
            "mm; correct pixdim and unit in the header."
        )
    return sizes


def _zooms(header: Nifti1Header, shape: list[int], name: str, notes: list[str]) -> NDArray[np.float64]:
    """Return pixdim of three axes in the unit of the header; an axis of length one may lack it."""
    zooms = np.array(header["pixdim"][1:4], dtype=np.float64)
    dims = int(header["dim"][0])
    for axis, (size, zoom) in enumerate(zip(shape, zooms, strict=True)):
        if np.isfinite(zoom) and zoom > 0:
            continue
        if size > 1:
            raise DataError(
                f"{name}: the header gives axis {axis + 1} a voxel size (pixdim) of {zoom:g}; it must be above 0. "
                "Correct the header."
            )
        zooms[axis] = 1.0
        if axis < dims:
            notes.append(
                f"axis {axis + 1}, of one layer, has no voxel size (pixdim); taken as 1, as ITK does"
            )
    return zooms


def _affine(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.vstack([rows, [0.0, 0.0, 0.0, 1.0]])


def _quaternion_rows(header: Nifti1Header, zooms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the (3, 4) of quaternion, zooms, offset and qfac, by the formula in the NIfTI-1 header file."""
    vector = np.array([header[f"quatern_{part}"] for part in "bcd"], dtype=np.float64)
    offset = np.array([header[f"qoffset_{axis}"] for axis in "xyz"], dtype=np.float64)
    rest = 1.0 - float(vector @ vector)
    if rest < 1e-7:  # a half turn; the library makes the vector one of length one
        vector, rest = vector / np.linalg.norm(vector), 0.0
    a, (b, c, d) = np.sqrt(rest), vector
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    handed = np.array([1.0, 1.0, -1.0 if float(header["pixdim"][0]) < 0 else 1.0])
    return np.hstack([rotation * zooms * handed, offset[:, None]])


def _listed(values: NDArray[np.float64]) -> str:
    return "×".join(f"{value:.4g}" for value in values)
