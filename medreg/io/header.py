"""The affine of a NIfTI header, chosen as ITK chooses where the header contradicts itself.

A NIfTI file holds up to three statements about its geometry (sform, qform, zooms) and they often disagree:
ACDC cine files carry an sform of unit scale beside a true qform and true zooms, SPM writes an aligned sform beside
the scanner's qform. The choice made here is that of ITK 5.4 (`NiftiImageIO`), so that SimpleITK, ANTs and Slicer
place the same file at the same position; what was not straightforward is returned as notes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from nibabel.nifti1 import Nifti1Header
from numpy.typing import NDArray

from medreg.errors import DataError
from medreg.io.forms import NAMES, SCANNER, Forms, check_placement, read_forms

ROUNDING = 1e-6  # relative difference of two voxel sizes that single precision explains
SCALE_TOLERANCE = 0.01  # relative difference of sform scale and zooms that is a lie, not rounding
RIGHT_ANGLED = 1e-4  # largest deviation of directions from orthonormal ones that ITK accepts
SAME_FORM = 1e-4  # largest difference of two forms that ITK takes for rounding, unit of the header
SAME_PLACE = 0.1  # voxels; two forms that place a corner further apart are worth a note


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


def right_angled(affine: NDArray[np.float64]) -> bool:
    """Say whether the axes of an affine are at right angles as far as ITK asks for, which refuses others."""
    norms = column_norms(affine)
    if np.any(norms == 0):
        return False
    directions = affine[:3, :3] / norms
    return bool(np.abs(directions @ directions.T - np.eye(3)).max() <= RIGHT_ANGLED)


def rescale(affine: NDArray[np.float64], zooms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return an affine with the directions and origin of `affine` and the voxel size `zooms`."""
    norms = column_norms(affine)
    out = affine.copy()
    if np.abs(norms - zooms).max() > ROUNDING * zooms.min():
        out[:3, :3] = affine[:3, :3] / norms * zooms
    return out


def resolve_geometry(header: Nifti1Header, *, ndim: int, name: str) -> Geometry:
    """Return the geometry of a NIfTI header as ITK reads it.

    - The voxel size is that of the zooms, whatever the scale of the forms.
    - Directions and origin are those of the sform if it is right-angled and of scanner code, equal to the qform or
      alone; otherwise those of the qform.
    - A skewed sform alone, which ITK refuses, is kept as it is and noted.
    - Neither form: axes towards left, posterior, superior, first voxel at the origin.

    Args:
        header: NIfTI-1 or NIfTI-2 header as stored.
        ndim: number of spatial axes of the array (2 or 3).
        name: the file, for messages.

    Raises:
        DataError: voxel size or origin that no image can have.
    """
    forms = read_forms(header, name)
    notes = list(forms.notes)
    affine = check_placement(_choose(forms, notes, name), name)
    if not right_angled(affine):
        notes.append(
            f"axes are skewed (largest cosine {skew(affine):.2g}); ITK and SimpleITK cannot read such a grid"
        )
    if ndim == 2 and np.abs(affine[2, :2]).max() > RIGHT_ANGLED * np.abs(affine[:2, :2]).max():
        notes.append("the plane of this 2-D file is tilted; ITK, whose 2-D images lie flat, reads its shadow")
    spacing = column_norms(affine)
    if np.abs(spacing - forms.zooms).max() <= ROUNDING * forms.zooms.min():
        spacing = forms.zooms  # the same but for rounding
    return Geometry(affine, tuple(float(value) for value in spacing[:ndim]), tuple(notes))


def forms_differ(forms: Forms) -> float:
    """Return by how many voxels sform and qform place a corner of the image apart, 0 if one of them lacks."""
    if forms.sform is None or forms.qform is None:
        return 0.0
    far = np.array(forms.shape) - 1.0
    corners = np.array([[*(far * pick), 1.0] for pick in np.ndindex(2, 2, 2)]).T
    return float(np.abs(np.linalg.solve(forms.qform, forms.sform @ corners) - corners)[:3].max())


def _choose(forms: Forms, notes: list[str], name: str) -> NDArray[np.float64]:
    """Pick the affine among the statements of a header, appending to `notes` what was not straightforward."""
    sform, qform, zooms = forms.sform, forms.qform, forms.zooms
    if sform is None and qform is None:
        notes.append(
            "no sform and no qform; taken as axes L, P, S with the first voxel at the origin, as ITK does"
        )
        return np.diag([-zooms[0], -zooms[1], zooms[2], 1.0])
    if sform is None:
        assert qform is not None
        return rescale(qform, zooms)
    if not right_angled(sform):
        if qform is None:
            return sform
        notes.append("sform is skewed; the qform was used instead, as ITK does")
        return rescale(qform, zooms)
    lie = np.abs(column_norms(sform) - zooms).max() > SCALE_TOLERANCE * zooms.min()
    if lie:
        notes.append(
            f"sform has voxel size {_text(column_norms(sform))} mm but zooms say {_text(zooms)} mm; the zooms were used"
        )
    if qform is None:
        return rescale(sform, zooms)
    same = SAME_FORM * forms.unit_mm
    kept = forms.sform_code == SCANNER or bool(np.abs(sform - qform).max() <= same)
    if not kept and _mirrored(sform, qform, tolerance=same):
        raise DataError(
            f"{name}: sform ({_called(forms.sform_code)}) and qform ({_called(forms.qform_code)}) differ in the "
            "direction or order of axes alone, and which of them counts differs between programs and even between "
            "versions of ITK. Write the true one into both (nibabel: image.set_qform(image.get_sform(), 1), "
            "image.set_sform(image.get_sform(), 1))."
        )
    if (apart := forms_differ(forms)) > SAME_PLACE and not lie:
        notes.append(
            f"sform ({_called(forms.sform_code)}) and qform ({_called(forms.qform_code)}) place the image up to "
            f"{apart:.3g} voxels apart; the {'sform' if kept else 'qform'} was used, as ITK does"
        )
    return rescale(sform if kept else qform, zooms)


def _mirrored(one: NDArray[np.float64], other: NDArray[np.float64], *, tolerance: float) -> bool:
    """Say whether two right-angled forms of one origin have the same axes, some of them turned round or swapped.

    ITK compares such forms by a decomposition whose signs rounding decides, so that its choice is none.
    """
    sizes, origins = (np.sort(column_norms(one)), np.sort(column_norms(other))), (one[:3, 3], other[:3, 3])
    if np.abs(sizes[0] - sizes[1]).max() > tolerance or np.abs(origins[0] - origins[1]).max() > tolerance:
        return False
    cosines = (one[:3, :3] / column_norms(one)).T @ (other[:3, :3] / column_norms(other))
    turned = bool((np.rint(cosines) != np.eye(3)).any())
    return turned and bool(np.abs(cosines - np.rint(cosines)).max() <= 10 * RIGHT_ANGLED)


def _called(code: int) -> str:
    return f"code {code}, {NAMES.get(code, 'other')}"


def _text(values: NDArray[np.float64]) -> str:
    return "×".join(f"{value:.4g}" for value in values)
