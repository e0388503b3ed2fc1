"""Surfaces enclose the volume of their voxels and lie where the labels lie in the world."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hearts_run import known_heart

from medreg.errors import MissingExtra
from medreg.generating.surfaces import require_meshes, surface, surface_files, write_surfaces

pyvista = pytest.importorskip("pyvista")
PLAIN = np.diag([5.0, 5.0, 8.0, 1.0])
OBLIQUE = np.array([
    [0.0, -4.0, 3.0, 120.0], [-5.0, 0.0, 0.0, -33.0], [0.0, 3.0, 7.4, 10.0], [0.0, 0.0, 0.0, 1.0],
])  # fmt: skip


@pytest.mark.parametrize(
    "affine", [PLAIN, np.diag([-5.0, 5.0, 8.0, 1.0]), OBLIQUE], ids=["plain", "mirrored", "oblique"]
)
@pytest.mark.parametrize("place", [1, 2, 3])
def test_volume_place_and_sides(affine, place):
    mask = known_heart()[0] == place
    mesh = surface(mask, affine)
    voxel = abs(np.linalg.det(affine[:3, :3]))
    assert mesh.volume == pytest.approx(mask.sum() * voxel, rel=0.02)
    assert mesh.is_manifold
    centre = affine[:3, :3] @ np.argwhere(mask).mean(0) + affine[:3, 3]
    filled = mesh.points.mean(0) if place == 2 else np.array(mesh.center_of_mass())
    assert (
        np.abs(filled - centre).max() < 4.0
    )  # mm; the wall's surface has its points elsewhere than its mass
    outside = mesh.points + mesh.point_data["Normals"] * 0.5
    grown = mesh.copy()
    grown.points = outside
    assert grown.volume > mesh.volume  # normals point outwards
    assert list(mesh.field_data["SPACE"]) == ["RAS"]


def test_borders_lie_within_half_a_voxel():
    cube = np.zeros((20, 20, 20), bool)
    cube[5:15, 4:16, 6:12] = True
    mesh = surface(cube, np.eye(4))
    assert np.allclose(np.reshape(mesh.bounds, (3, 2)), [[4.5, 14.5], [3.5, 15.5], [5.5, 11.5]], atol=0.5)


def test_a_structure_that_is_not_there_is_an_empty_surface():
    assert surface(np.zeros((4, 4, 4), bool), np.eye(4)).n_points == 0


def test_files_are_those_that_were_planned_and_the_same_twice(tmp_path):
    shape, structures = known_heart()[[0, 5]], {"LV": 1, "RV": 3}
    first = write_surfaces(tmp_path / "a", shape, PLAIN, structures)
    second = write_surfaces(tmp_path / "b", shape, PLAIN, structures)
    assert [file.name for file in first] == surface_files(2, structures)
    assert [file.read_bytes() for file in first] == [file.read_bytes() for file in second]
    played = pyvista.get_reader(tmp_path / "a" / "LV.pvd")
    assert list(played.time_values) == [0.0, 0.5]
    volumes = [pyvista.read(tmp_path / "a" / f"LV_0{frame}.vtp").volume for frame in (0, 1)]
    assert volumes[0] > volumes[1]


def test_without_pyvista_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyvista", None)
    with pytest.raises(MissingExtra, match=r"pip install 'medreg\[mesh\]'"):
        require_meshes()
