"""The affine of a NIfTI header, repaired where the header contradicts itself.

A NIfTI file holds up to three statements about its geometry (sform, qform, zooms) and they often disagree:
ACDC cine files carry an sform of unit scale beside a true qform and true zooms. The choice made here is the
one that ITK makes, so that SimpleITK, ANTs and Slicer place the same file at the same position; what was
changed is returned as notes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from nibabel.nifti1 import Nifti1Header
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

SCALE_TOLERANCE = 0.01  # relative difference of sform scale and zooms that is a lie, not rounding
SKEW_TOLERANCE = 1e-3  # largest cosine between two axes that still counts as a right angle
SCANNER = 1  # NIfTI code "scanner anatomical"; ITK trusts the directions of such an sform


@dataclass(frozen=True)
class Geometry:
    """Where a voxel array lies in the world.

    Attributes:
        affine: (4, 4) float64, voxel index → RAS mm.
        spacing_mm: voxel size of the (up to three) spatial axes, mm.
        notes: sentences about what was contradictory in the header and how it was resolved.
    """

    affine: NDArray[np.float64]
    spacing_mm: tuple[float, ...]
    notes: tuple[str, ...] = ()


def column_norms(affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the voxel size that an affine implies: the norms of its three columns, mm."""
    return np.linalg.norm(affine[:3, :3], axis=0)


def skew(affine: NDArray[np.float64]) -> float:
    """Return the largest |cosine| between two axes of an affine; 0 for a right-angled grid."""
    norms = column_norms(affine)
    if np.any(norms == 0):
        return 1.0
    directions = affine[:3, :3] / norms
    return float(np.abs(directions.T @ directions - np.eye(3)).max())


def scales_agree(affine: NDArray[np.float64], zooms: NDArray[np.float64]) -> bool:
    """Say whether the column norms of an affine equal the zooms within 1 %."""
    return bool(np.all(np.abs(column_norms(affine) - zooms) <= SCALE_TOLERANCE * zooms))


def rescale(affine: NDArray[np.float64], zooms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return an affine with the directions and origin of `affine` and the voxel size `zooms`."""
    out = affine.copy()
    out[:3, :3] = affine[:3, :3] / column_norms(affine) * zooms
    return out


def is_usable(affine: NDArray[np.float64] | None) -> bool:
    """Say whether an affine is finite and invertible."""
    return (
        affine is not None and bool(np.isfinite(affine).all()) and abs(np.linalg.det(affine[:3, :3])) > 1e-12
    )


def read_qform(header: Nifti1Header) -> NDArray[np.float64] | None:
    """Return the qform, or None if its code is 0 or its quaternion is invalid."""
    if int(header["qform_code"]) == 0:
        return None
    try:
        affine = np.asarray(header.get_qform(), dtype=np.float64)
    except (HeaderDataError, ValueError):
        return None
    return affine if is_usable(affine) else None


def read_sform(header: Nifti1Header) -> NDArray[np.float64] | None:
    """Return the sform, or None if its code is 0 or it is singular."""
    if int(header["sform_code"]) == 0:
        return None
    affine = np.asarray(header.get_sform(), dtype=np.float64)
    return affine if is_usable(affine) else None


def read_zooms(header: Nifti1Header) -> NDArray[np.float64] | None:
    """Return the voxel size of three axes, mm, with 1 for absent axes; None if the header holds none."""
    found = [abs(float(zoom)) for zoom in header.get_zooms()[:3]]
    zooms = np.array(found + [1.0] * (3 - len(found)))
    if len(found) == 2 and float(header["pixdim"][3]) > 0:
        zooms[2] = float(header["pixdim"][3])
    return zooms if np.isfinite(zooms).all() and (zooms > 0).all() else None


def resolve_geometry(header: Nifti1Header, *, ndim: int) -> Geometry:
    """Return the geometry of a NIfTI header, resolving contradictions as ITK does.

    - sform and zooms agree: the sform (the qform if there is no sform);
    - their scales differ by more than 1 %: the qform if the sform is not of scanner code, otherwise
      directions and origin of the sform with the spacing of the zooms;
    - a skewed sform gives way to a qform; without one it is kept and noted;
    - neither form: axes towards left, posterior, superior, first voxel at the origin.

    Args:
        header: NIfTI-1 or NIfTI-2 header.
        ndim: number of spatial axes of the array (2 or 3).
    """
    notes: list[str] = []
    sform, qform, zooms = read_sform(header), read_qform(header), read_zooms(header)
    if int(header["sform_code"]) > 0 and sform is None:
        notes.append("sform is singular or not finite and was ignored")
    if int(header["qform_code"]) > 0 and qform is None:
        notes.append("qform is invalid and was ignored")
    if zooms is None:
        notes.append("zooms (pixdim) are zero or not finite; the spacing was taken from the affine")
        best = sform if sform is not None else qform
        zooms = column_norms(best) if best is not None else np.ones(3)
    affine = _choose(sform, qform, zooms, sform_code=int(header["sform_code"]), notes=notes)
    if skew(affine) > SKEW_TOLERANCE:
        notes.append(
            f"axes are skewed (largest cosine {skew(affine):.3f}); ITK and SimpleITK cannot read such a grid"
        )
    spacing = zooms if scales_agree(affine, zooms) else column_norms(affine)
    return Geometry(affine, tuple(float(value) for value in spacing[:ndim]), tuple(notes))


def _choose(
    sform: NDArray[np.float64] | None,
    qform: NDArray[np.float64] | None,
    zooms: NDArray[np.float64],
    *,
    sform_code: int,
    notes: list[str],
) -> NDArray[np.float64]:
    """Pick the affine among the statements of a header, appending to `notes` what was not straightforward."""
    if sform is None and qform is None:
        notes.append(
            "no sform and no qform; taken as axes L, P, S with the first voxel at the origin, as ITK does"
        )
        return np.diag([-zooms[0], -zooms[1], zooms[2], 1.0])
    if sform is None:
        assert qform is not None
        return qform
    if skew(sform) > SKEW_TOLERANCE and qform is not None:
        notes.append("sform is skewed; the qform was used instead, as ITK does")
        return qform
    if scales_agree(sform, zooms):
        return sform
    lie = f"sform has voxel size {_text(column_norms(sform))} mm but zooms say {_text(zooms)} mm"
    if qform is not None and sform_code != SCANNER:
        notes.append(f"{lie}; the qform was used")
        return qform
    notes.append(f"{lie}; directions of the sform with the zooms were used")
    return rescale(sform, zooms)


def _text(values: NDArray[np.float64]) -> str:
    return "×".join(f"{value:.4g}" for value in values)
