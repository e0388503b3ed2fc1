"""Deformation files of other programs: told by what their header says, converted, or refused by program and remedy.

A vector file of NIfTI may hold displacements or positions, in LPS or RAS mm, in the frames of FSL, or coefficients;
its shape tells none of these apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medreg.errors import FieldFormatError
from medreg.io.foreign import LPS
from medreg.io.forms import read_forms
from medreg.io.header import SAME_PLACE, Geometry

VECTOR = 1007  # components stored as they are: LPS for ITK
DISPLACEMENT_VECTOR = 1006  # components in RAS: ITK negates the first two when reading
ALIKE = 0.25  # relative difference of a field's mean gradient and that of positions below which it holds positions
AFNI = 4  # code of the header extension of AFNI

NIFTYREG = {
    2: "control points of a cubic spline",
    3: "a velocity field",
    4: "a velocity field",
    5: "control points of a spline of velocities",
    6: "control points of a linear spline",
}
FSL = {
    2006: "a displacement field in FSL's own millimetres",
    2007: "coefficients of a cubic spline",
    2008: "coefficients of cosines",
    2009: "coefficients of a quadratic spline",
    2016: "topup's coefficients of a cubic spline",
    2017: "topup's coefficients of a quadratic spline",
    2018: "topup's field",
}


@dataclass(frozen=True)
class Meaning:
    """What the components of a vector file of shape (X, Y, Z, 1, 2 or 3) are.

    Attributes:
        ras: RAS mm instead of ITK's LPS mm.
        positions: places in the moving image instead of displacements.
        program: who else than ITK writes such files, None for ITK.
        notes: for the log.
    """

    ras: bool = False
    positions: bool = False
    program: str | None = None
    notes: tuple[str, ...] = ()


def meaning_of(header: Any, path: Any) -> Meaning:
    """Tell what the components of a five-dimensional NIfTI file are.

    Raises:
        FieldFormatError: no displacements or positions, or nothing that says so.
    """
    code, name = intent_of(header)
    if name == "NREG_TRANS":
        kind = round(float(header["intent_p1"]))
        if kind not in (0, 1):
            raise FieldFormatError(
                f"{path} is a NiftyReg file (NREG_TRANS) of {NIFTYREG.get(kind, 'an unknown kind')} (intent_p1 "
                f"{kind}), no displacements. Make a field of it: reg_transform -ref FIXED -def FILE field.nii.gz."
            )
        what = "positions" if kind == 0 else "displacements"
        return Meaning(
            ras=True,
            positions=kind == 0,
            program="NiftyReg",
            notes=(f"NiftyReg file (NREG_TRANS, intent_p1 {kind}): {what} in RAS mm were converted",),
        )
    if name == "Mapping":
        note = "SPM file (intent Mapping): positions in RAS mm were converted to displacements"
        return Meaning(ras=True, positions=True, program="SPM", notes=(note,))
    if name and code in (VECTOR, DISPLACEMENT_VECTOR):
        raise FieldFormatError(
            f"{path}: a vector file (intent {code}) named {name!r}, which ITK does not write; what its components are "
            "is not known. Convert it to an ITK displacement field with the program that wrote it."
        )
    if code == DISPLACEMENT_VECTOR:
        return Meaning(ras=True, notes=("intent 1006: components were taken as RAS, as ITK does",))
    if code != VECTOR:
        raise FieldFormatError(
            f"{path}: its NIfTI intent is {code}; ITK fields have 1007 (LPS mm) or 1006 (RAS mm), and any "
            "other file is a scalar image to ITK. Set the intent if you know the unit and the frame."
        )
    return Meaning()


def refuse_foreign(image: Any, path: Any) -> None:
    """Refuse files whose header names a program with conventions of its own.

    Raises:
        FieldFormatError: naming the program, what the file is and how to convert it.
    """
    code, name = intent_of(image.header)
    if code in FSL:
        raise FieldFormatError(
            f"{path} is a file of FSL (intent {code}): {FSL[code]}, which means nothing without FSL's frames of both "
            "images. Convert it: fnirtfileutils for coefficients, then wb_command -convert-warpfield -from-fnirt FILE "
            "MOVING -to-itk field.nii.gz."
        )
    text = bytes(image.header["descrip"].item()) if "descrip" in image.header else b""
    if text.startswith(b"MRtrix"):
        raise FieldFormatError(
            f"{path} is a warp of MRtrix, whose header does not say whether it holds positions or displacements. "
            "Convert it to an ITK field: displacements by warpconvert FILE deformation2displacement where it holds "
            "positions, then intent 1007 and the first two components negated."
        )
    extensions = getattr(image.header, "extensions", ())
    if any(extension.get_code() == AFNI for extension in extensions):
        raise FieldFormatError(
            f"{path} is a file of AFNI, whose warps have conventions of their own. Convert it to an ITK field (LPS mm, "
            "intent 1007) first."
        )
    if len(image.shape) == 4 and (code != 0 or name):
        named = f" named {name!r}" if name else ""
        raise FieldFormatError(
            f"{path}: shape {tuple(image.shape)} is that of a Learn2Reg field, but these have no NIfTI intent, and "
            f"this one has {code}{named}. Convert it with the program that wrote it, or clear the intent if it "
            "holds voxels."
        )


def intent_of(header: Any) -> tuple[int, str]:
    """Return code and name of the NIfTI intent; 0 and nothing where a header has none."""
    if "intent_code" not in header:
        return 0, ""
    name = bytes(header["intent_name"].item()).rstrip(b"\0").decode("latin-1").strip()
    return int(header["intent_code"]), name


def lps_displacements(
    components: NDArray[np.float64], meaning: Meaning, geometry: Geometry, header: Any, path: Any
) -> NDArray[np.float64]:
    """Return displacements (2 or 3, X, Y, Z), LPS mm, of the components of a file.

    Raises:
        FieldFormatError: positions where displacements are said to be, or a header of two places.
    """
    if meaning.program is not None:
        _check_frame(meaning.program, geometry, header, path)
    count = len(components)
    if meaning.positions:
        grid = np.indices(components.shape[1:], dtype=np.float64)
        world = np.tensordot(geometry.affine[:3, :3], grid, axes=1) + geometry.affine[:3, 3].reshape(
            3, 1, 1, 1
        )
        components = components - world[:count]
    elif holds_positions(components, geometry.affine):
        raise FieldFormatError(
            f"{path}: its vectors grow as positions do, from one voxel to the next by the voxel size; they are places "
            "in space, not displacements. Subtract the place of each voxel first."
        )
    return components * np.diag(LPS)[:count, None, None, None] if meaning.ras else components


def holds_positions(components: NDArray[np.floating], affine: NDArray[np.float64]) -> bool:
    """Say whether vectors (2 or 3, X, Y, Z) have the gradient of positions, in RAS or LPS, rather than a small one."""
    axes = [axis for axis in range(3) if components.shape[axis + 1] > 3]
    if len(axes) < 2:
        return False
    ends = [
        (np.take(components, -1, axis + 1) - np.take(components, 0, axis + 1)).mean(
            axis=(1, 2), dtype=np.float64
        )
        / (components.shape[axis + 1] - 1)
        for axis in axes
    ]
    gradient, count = np.stack(ends, axis=1), len(components)
    for frame in (affine[:3, :3], LPS @ affine[:3, :3]):
        positions = frame[:count][:, axes]
        if np.linalg.norm(gradient - positions) < ALIKE * np.linalg.norm(positions):
            return True
    return False


def _check_frame(program: str, geometry: Geometry, header: Any, path: Any) -> None:
    """Check that the grid lies where the program, which goes by the sform, put it."""
    sform = read_forms(header, str(path)).sform
    if sform is None:
        return
    far = np.array([int(size) - 1 for size in header["dim"][1:4]] + [1])
    gaps = [np.linalg.solve(geometry.affine, sform @ corner) - corner for corner in (far * [0, 0, 0, 1], far)]
    if np.abs(gaps).max() > SAME_PLACE:
        raise FieldFormatError(
            f"{path}: sform and qform differ; {program}, which made this file, goes by the sform, but images are read "
            "here as ITK does, by the qform. Write the sform into both, here and in the images."
        )
