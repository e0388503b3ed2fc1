"""Surface meshes of hearts in millimetres of the world, one file a structure and a frame, for VTK viewers.

Points are in RAS millimetres, as the affine of the label map beside them says; a field SPACE in the file tells 3D
Slicer so, which takes LPS otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medreg.errors import MissingExtra
from medreg.io.atomic import replacing, write_text

SMOOTH = 0.7  # voxels, SD of the Gaussian before the surface is sought
SWEEPS, BAND = 20, 0.1  # of Taubin's smoothing, which keeps the volume
SAME_VOLUME = 0.002  # of the voxels, to which the level of the surface is sought
TRIES = 14  # halvings of the range of levels
MARGIN = 3  # voxels around a structure, so that its surface is closed


def require_meshes() -> Any:
    """Return pyvista.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        import pyvista
    except ImportError as error:
        raise MissingExtra(
            f"Surface meshes (--mesh) need pyvista: pip install 'medreg[mesh]'. ({error})"
        ) from error
    return pyvista


def surface(mask: NDArray[np.bool_], affine: NDArray[np.float64]) -> Any:
    """Return the smooth closed surface of a structure, a mesh of pyvista with the volume of its voxels.

    The mask is smoothed a little, and the level of its surface is chosen so that it encloses the volume of the voxels:
    a fixed level would shrink thin walls.

    Args:
        mask: (X, Y, Z).
        affine: (4, 4) voxel → RAS mm.

    Raises:
        MissingExtra: pyvista is not installed.
    """
    pyvista = require_meshes()
    from scipy.ndimage import gaussian_filter

    if not mask.any():
        return pyvista.PolyData()
    place = np.argwhere(mask)
    low, high = place.min(0), place.max(0) + 1
    inside = mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    smooth = gaussian_filter(np.pad(inside, MARGIN).astype(np.float32), SMOOTH)
    image = pyvista.ImageData(dimensions=smooth.shape)
    image.point_data["share"] = smooth.ravel(order="F")
    mesh = _enclosing(image, float(mask.sum()), float(smooth.max()))
    mesh = mesh.smooth_taubin(n_iter=SWEEPS, pass_band=BAND)
    points = np.asarray(mesh.points, dtype=np.float64) + (low - MARGIN)
    mesh.points = points @ affine[:3, :3].T + affine[:3, 3]
    mesh.clear_data()
    if np.linalg.det(affine[:3, :3]) < 0:  # a mirrored grid turns the triangles inside out
        mesh = mesh.flip_faces()
    mesh = mesh.compute_normals(
        cell_normals=False, auto_orient_normals=False, consistent_normals=False, split_vertices=False
    )
    mesh.field_data["SPACE"] = ["RAS"]
    return mesh


def _enclosing(image: Any, volume: float, highest: float) -> Any:
    """The surface of the level that encloses a volume, voxels."""
    low, high = 0.01, highest
    mesh = None
    for _ in range(TRIES):
        level = (low + high) / 2
        mesh = image.contour([level], scalars="share", method="flying_edges", compute_normals=False)
        found = float(mesh.volume) if mesh.n_cells else 0.0
        if abs(found - volume) <= SAME_VOLUME * volume:
            break
        low, high = (level, high) if found > volume else (low, level)
    return mesh


def write_surfaces(
    folder: Path, shape: NDArray[np.uint8], affine: NDArray[np.float64], structures: Mapping[str, int]
) -> list[Path]:
    """Write the surfaces of a heart, `LV_00.vtp` …, and `LV.pvd` that plays them in ParaView; return the files.

    Args:
        folder: of the heart; it is made.
        shape: (T, X, Y, Z) places of structures.
        affine: (4, 4) voxel → RAS mm.
        structures: name → place.
    """
    written = []
    for name, place in structures.items():
        files = []
        for frame, volume in enumerate(shape):
            files.append(folder / f"{name}_{frame:02d}.vtp")
            with replacing(files[-1]) as part:
                surface(volume == place, affine).save(part)
        lines = [
            f'    <DataSet timestep="{frame / len(files):g}" file="{file.name}"/>'
            for frame, file in enumerate(files)
        ]
        text = '<VTKFile type="Collection" version="0.1">\n  <Collection>\n{}\n  </Collection>\n</VTKFile>\n'
        written += [*files, write_text(folder / f"{name}.pvd", text.format("\n".join(lines)))]
    return written


def surface_files(frames: int, structures: Mapping[str, int]) -> list[str]:
    """Names of the files that `write_surfaces` writes for a heart."""
    return [
        name
        for structure in structures
        for name in (*(f"{structure}_{frame:02d}.vtp" for frame in range(frames)), f"{structure}.pvd")
    ]
