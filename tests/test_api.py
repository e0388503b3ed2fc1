"""Two images in, files out: what SimpleITK makes of them, what bad input is told, what is chosen unasked."""

from __future__ import annotations

import json

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from memory_run import run_of
from scipy.ndimage import gaussian_filter, map_coordinates

from medreg.api import register, warp_image, warp_labels, warp_points
from medreg.errors import CompositionError, ConfigError, DataError, FieldFormatError
from medreg.inference.registration import Registration
from medreg.io.field import read_displacement, write_learn2reg_field
from medreg.io.image import Volume, read_image, read_labels, write_image, write_labels
from medreg.io.points import voxel_to_world, world_to_voxel
from medreg.models.base import RegistrationModel
from medreg.registering.pair import load_pair
from medreg.registering.presets import choose_preset, coarsened, load_preset, preset_names
from medreg.runs.scans import Scan

QUICK = (
    "affine.levels=[{shrink: 2, sigma: 1.0, iterations: 15, learning_rate: 0.3}]",
    "model.levels=[{shrink: 2, sigma: 1.0, iterations: 25, learning_rate: 0.3}]",
    "model.transformation.steps=4",
)


def rotation(degrees):
    angle = np.deg2rad(degrees)
    return np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1.0]])


def affine_about(shape, *, spacing, degrees=0.0, flip=False, centre=(10.0, -20.0, 30.0)):
    """Affine whose grid has its middle at `centre`; flip mirrors the first axis."""
    out = np.eye(4)
    out[:3, :3] = rotation(degrees) * np.array((*spacing, 1.0)[:3]) * [-1 if flip else 1, 1, 1]
    middle = (np.array((*shape, 1)[:3]) - 1) / 2
    out[:3, 3] = np.array(centre) - out[:3, :3] @ middle
    return out


def blob_image(shape, affine, *, stretch=1.0, shift=(0.0, 0.0, 0.0), centre=(10.0, -20.0, 30.0)):
    """Image of the world: a textured ellipsoid about `centre`, and its label map."""
    index = np.indices((*shape, 1)[:3]).reshape(3, -1).T
    world = voxel_to_world(index.astype(float), affine) - centre - np.array(shift)
    world[:, 0] /= stretch
    radius = np.linalg.norm(world / [9.0, 11.0, 12.0], axis=1)
    texture = 0.3 * np.sin(world[:, 0] / 2.2) * np.cos(world[:, 1] / 2.6) + 0.2 * np.cos(world[:, 2] / 3.0)
    image = np.where(radius < 1, 1 + texture, 0.05).reshape((*shape, 1)[:3])
    image = gaussian_filter(image, 0.6)
    label = np.where(radius < 0.55, 2, np.where(radius < 1, 1, 0)).reshape(image.shape)
    return image.reshape(shape).astype(np.float32), label.reshape(shape).astype(np.int32)


def write_pair(folder, fixed_shape, moving_shape, fixed_affine, moving_affine, **moving):
    """Write images and labels of the same world, the moving one stretched and shifted."""
    paths = {}
    for side, shape, affine, how in (
        ("fixed", fixed_shape, fixed_affine, {}),
        ("moving", moving_shape, moving_affine, {"stretch": 1.2, "shift": (1.0, -1.0, 0.0), **moving}),
    ):
        image, label = blob_image(shape, affine, **how)
        paths[side] = write_image(folder / f"{side}.nii.gz", image, affine)
        paths[f"{side}_labels"] = write_labels(folder / f"{side}_seg.nii.gz", label, affine)
    return paths


def value(rows, metric, structure="mean"):
    return next(row.value for row in rows if row.metric == metric and row.structure == structure)


def simpleitk_applies(paths, folder, outside=0.0):
    """Resample the original moving file with our field, by SimpleITK alone."""
    field = sitk.ReadImage(str(folder / "displacement.nii.gz"), sitk.sitkVectorFloat64)
    fixed = sitk.ReadImage(str(paths["fixed"]))
    moving = sitk.ReadImage(str(paths["moving"]), sitk.sitkFloat64)
    transform = sitk.DisplacementFieldTransform(field)
    out = sitk.Resample(moving, fixed, transform, sitk.sitkLinear, outside, sitk.sitkFloat64)
    return sitk.GetArrayFromImage(out).transpose()


def assert_same_image(ours, theirs):
    """Equal but for the few voxels that lie exactly on the outer edge of the moving image."""
    apart = np.abs(ours - theirs) > 1e-4
    assert apart.mean() < 1e-3
    assert np.abs(ours - theirs)[~apart].max() < 1e-4


GRIDS = {
    "same": (((24, 26, 22), (1.2, 1.2, 1.2), 0, False), ((24, 26, 22), (1.2, 1.2, 1.2), 0, False)),
    "oblique, anisotropic, flipped": (
        ((26, 22, 20), (1.1, 1.4, 1.6), 20, True),
        ((22, 24, 26), (1.5, 1.2, 1.1), -15, False),
    ),
}


@pytest.mark.parametrize("name", GRIDS)
def test_volumes_are_registered_and_simpleitk_reproduces_the_warped_image(tmp_path, name):
    grids = [affine_about(shape, spacing=s, degrees=d, flip=f) for shape, s, d, f in GRIDS[name]]
    paths = write_pair(tmp_path, GRIDS[name][0][0], GRIDS[name][1][0], *grids)
    result = register(**paths, preset="general", overrides=QUICK, output=tmp_path / "out")
    assert value(result.after, "dice") > value(result.before, "dice") + 0.05
    assert value(result.after, "folding_percent", "all") == 0
    assert value(result.after, "image_correlation", "all") > value(result.before, "image_correlation", "all")
    assert_same_image(
        read_image(tmp_path / "out" / "warped.nii.gz").array, simpleitk_applies(paths, tmp_path / "out")
    )
    written = read_labels(tmp_path / "out" / "warped_labels.nii.gz")
    np.testing.assert_array_equal(written.array, result.warped_labels.array)


@pytest.mark.parametrize("shape", [(40, 36), (40, 36, 1)])
def test_slices_are_registered_in_two_dimensions(tmp_path, shape):
    grids = [affine_about(shape, spacing=(0.8, 0.9, 5.0), degrees=d) for d in (0, 10)]
    grids[1][2, 3] += 4.0  # another slice position: only the plane matters
    paths = write_pair(tmp_path, shape, shape, *grids, centre=(10.0, -20.0, 34.0))
    result = register(**paths, overrides=QUICK, output=tmp_path / "out")
    assert result.method == "preset general"
    assert "single slice" in result.reason
    assert value(result.after, "dice") > value(result.before, "dice") + 0.03
    assert result.displacement.shape == ((2, *shape) if len(shape) == 2 else (3, *shape))
    if len(shape) == 3:
        assert_same_image(result.warped.array, simpleitk_applies(paths, tmp_path / "out"))


def test_planar_file_of_two_axes_is_reproduced_by_simpleitk(tmp_path):
    shape = (40, 36)
    affine = affine_about(shape, spacing=(0.8, 0.9, 1.0), degrees=10)
    paths = write_pair(tmp_path, shape, shape, affine, affine)
    result = register(paths["fixed"], paths["moving"], overrides=QUICK, output=tmp_path / "out")
    assert_same_image(result.warped.array, simpleitk_applies(paths, tmp_path / "out"))


def test_thick_slices_are_registered_one_by_one(tmp_path):
    shape, affine = (40, 36, 4), affine_about((40, 36, 4), spacing=(0.8, 0.9, 6.0), degrees=15, flip=True)
    paths = write_pair(tmp_path, shape, shape, affine, affine)
    result = register(**paths, overrides=QUICK[1:], output=tmp_path / "out")
    assert result.method == "preset cardiac"
    assert "6 mm apart" in result.reason
    assert result.transform.slice_axis == 2
    assert np.abs(result.displacement[2]).max() < 1e-5
    assert value(result.after, "dice") > value(result.before, "dice")
    assert_same_image(result.warped.array, simpleitk_applies(paths, tmp_path / "out"))
    content = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert content["slice_by_slice"] is True
    assert content["settings"]["model"]["transformation"]["steps"] == 4  # the change is on record


def test_two_calls_give_the_same_bytes(tmp_path):
    affine = affine_about((24, 26, 22), spacing=(1.2, 1.2, 1.2))
    paths = write_pair(tmp_path, (24, 26, 22), (24, 26, 22), affine, affine)
    for run in ("a", "b"):
        register(paths["fixed"], paths["moving"], overrides=QUICK, output=tmp_path / run)
        torch.rand(3)  # the state of the caller's generator must not matter
    for name in ("warped.nii.gz", "displacement.nii.gz"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


class Shift(RegistrationModel):
    """A model whose answer is known: every voxel moves by a smooth bump."""

    trainable = False

    def forward(self, fixed, moving, *, spacing_mm=None, fixed_mask=None, moving_mask=None):
        grids = torch.meshgrid(*[torch.linspace(0, 3.14159, size) for size in fixed.shape[2:]], indexing="ij")
        bump = torch.stack([torch.sin(g) for g in grids]).prod(0)
        field = torch.stack([1.5 * bump, -1.0 * bump, 0.5 * bump][: fixed.ndim - 2]).unsqueeze(0)
        field = field.expand(fixed.shape[0], *field.shape[1:])
        return Registration(field, field, field)


def test_inverse_field_and_points_undo_the_forward_ones(tmp_path):
    fixed_affine = affine_about((26, 22, 20), spacing=(1.1, 1.4, 1.6), degrees=20, flip=True)
    moving_affine = affine_about((24, 26, 28), spacing=(1.5, 1.4, 1.3), degrees=-15)
    paths = write_pair(tmp_path, (26, 22, 20), (24, 26, 28), fixed_affine, moving_affine)
    result = register(paths["fixed"], paths["moving"], model=Shift(), preset="general", affine=False)
    result.save(tmp_path / "out", inverse=True, jacobian=True)
    points = np.random.default_rng(0).uniform(7, 13, size=(20, 3))
    there = warp_points(tmp_path / "out" / "displacement.nii.gz", points, moving=paths["moving"])
    back = warp_points(tmp_path / "out" / "inverse_displacement.nii.gz", there, moving=paths["fixed"])
    assert np.abs(there - points).max() > 1
    np.testing.assert_allclose(back, points, atol=0.05)
    content = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert content["inverse"]["residual_voxels_max"] < 0.01
    jacobian = read_image(tmp_path / "out" / "jacobian.nii.gz").array
    assert jacobian.mean() == pytest.approx(1.0, abs=0.05)
    assert jacobian.std() > 0.01


def test_landmark_error_is_measured_in_the_world(tmp_path):
    fixed_affine = affine_about((26, 22, 20), spacing=(1.1, 1.4, 1.6), degrees=20, flip=True)
    moving_affine = affine_about((24, 26, 28), spacing=(1.5, 1.4, 1.3), degrees=-15)
    paths = write_pair(tmp_path, (26, 22, 20), (24, 26, 28), fixed_affine, moving_affine)
    result = register(paths["fixed"], paths["moving"], model=Shift(), preset="general", affine=False)
    points = np.random.default_rng(0).uniform(5, 15, size=(9, 3))
    moved = result.transform.points_to_moving(torch.from_numpy(voxel_to_world(points, fixed_affine))).numpy()
    moved[:, 0] += 3.0  # mm
    again = register(
        paths["fixed"],
        paths["moving"],
        model=Shift(),
        preset="general",
        affine=False,
        fixed_points=points,
        moving_points=world_to_voxel(moved, moving_affine),
    )
    assert value(again.after, "tre_mm", "all") == pytest.approx(3.0, abs=1e-3)


def test_warping_with_the_field_reproduces_the_registration(tmp_path):
    fixed_affine = affine_about((26, 22, 20), spacing=(1.1, 1.4, 1.6), degrees=20, flip=True)
    moving_affine = affine_about((24, 26, 28), spacing=(1.5, 1.4, 1.3), degrees=-15)
    paths = write_pair(tmp_path, (26, 22, 20), (24, 26, 28), fixed_affine, moving_affine)
    result = register(**paths, model=Shift(), preset="general", affine=False, output=tmp_path / "out")
    field = tmp_path / "out" / "displacement.nii.gz"
    image = warp_image(field, paths["moving"], reference=paths["fixed"], output=tmp_path / "again.nii.gz")
    assert_same_image(image.array, result.warped.array)
    np.testing.assert_allclose(read_image(tmp_path / "again.nii.gz").array, image.array)
    labels = warp_labels(field, paths["moving_labels"])
    assert (labels.array != result.warped_labels.array).mean() < 1e-3
    world = voxel_to_world(np.full((1, 3), 10.0), fixed_affine)
    ras = warp_points(field, world, space="ras")
    lps = warp_points(field, world * [-1, -1, 1], space="lps")
    np.testing.assert_allclose(lps * [-1, -1, 1], ras, atol=1e-9)
    expected = sitk.DisplacementFieldTransform(sitk.ReadImage(str(field), sitk.sitkVectorFloat64))
    np.testing.assert_allclose(lps[0], expected.TransformPoint(tuple(world[0] * [-1, -1, 1])), atol=1e-4)


def test_learn2reg_field_needs_its_fixed_image(tmp_path):
    affine = affine_about((16, 14, 12), spacing=(1.1, 1.4, 1.6), degrees=20)
    paths = write_pair(tmp_path, (16, 14, 12), (16, 14, 12), affine, affine)
    displacement = np.zeros((3, 16, 14, 12))
    displacement[0] = 2.0
    field = write_learn2reg_field(tmp_path / "disp_0001_0002.nii.gz", displacement)
    with pytest.raises(FieldFormatError, match="--reference"):
        warp_image(field, paths["moving"])
    warped = warp_image(field, paths["moving"], reference=paths["fixed"])
    moving = read_image(paths["moving"]).array
    np.testing.assert_allclose(warped.array[:-2], moving[2:], atol=1e-5)


def test_refining_starts_from_the_given_answer(tmp_path):
    from medreg.geometry.pair_transform import PairTransform
    from medreg.registering.run import Plan, decide
    from medreg.registering.solve import optimise

    affine = affine_about((24, 26, 22), spacing=(1.2, 1.2, 1.2))
    paths = write_pair(tmp_path, (24, 26, 22), (24, 26, 22), affine, affine, shift=(6.0, 0, 0), stretch=1.0)
    pair = load_pair(paths["fixed"], paths["moving"])
    still = [text.replace("iterations: 25", "iterations: 0") for text in QUICK]
    preset = decide(pair, Plan(preset="general", overrides=tuple(still))).preset
    grid = register(paths["fixed"], paths["moving"], model=Shift(), affine=False).transform.fixed
    known = torch.zeros(1, 3, *grid.shape)
    known[:, 0] = 5.0
    world = torch.eye(4, dtype=torch.float64)
    start = PairTransform(grid, grid, world, known)
    found = optimise(pair, preset, world=world, slice_axis=None, device=torch.device("cpu"), start=start)
    torch.testing.assert_close(found.transform.displacement, known)


def test_preset_follows_grid_and_intensities(tmp_path):
    rng = np.random.default_rng(0)

    def choice(shape, *, spacing, array=None):
        affine = affine_about(shape, spacing=spacing)
        image = rng.normal(size=shape).astype(np.float32) if array is None else array.astype(np.float32)
        volume = Volume(image, affine, spacing)
        return choose_preset(load_pair(volume, volume)).name

    assert choice((64, 64, 10), spacing=(1.4, 1.4, 8.0)) == "cardiac"
    assert choice((96, 96, 10), spacing=(1.0, 1.0, 1.0)) == "cardiac"  # header lost its spacing
    assert choice((64, 64), spacing=(1.0, 1.0)) == "general"
    assert choice((35, 51, 35), spacing=(1.0, 1.0, 1.0)) == "general"
    chest = np.where(rng.uniform(size=(40, 40, 40)) < 0.4, -850.0, 40.0)
    assert choice((40, 40, 40), spacing=(2.0, 2.0, 2.5), array=chest) == "lung"
    head = np.zeros((80, 80, 80))
    head[20:60, 20:60, 20:60] = rng.uniform(0.5, 1, size=(40, 40, 40))
    assert choice((80, 80, 80), spacing=(2.0, 2.0, 2.0), array=head) == "brain"


def test_every_preset_builds_and_large_images_lose_their_finest_level():
    with pytest.raises(ConfigError, match=r"similarity\.ckpt=RUN"):
        load_preset("mad", shape=(20, 20, 20))  # a learned distance has to be named
    for name in sorted(set(preset_names()) - {"mad"}):
        preset = load_preset(name, shape=(400, 400, 400))
        assert preset.model.settings.levels[-1].shrink > 2
        assert load_preset(name, shape=(20, 20, 20)).model.settings.levels[-1].shrink == 1
        assert preset.description
    levels = [{"shrink": s, "sigma": 0.0, "iterations": s, "learning_rate": 1.0} for s in (4, 2, 1)]
    assert [level["shrink"] for level in coarsened(levels, 1.9)] == [4, 1.9]
    assert [level["shrink"] for level in coarsened(levels, 1.4)] == [4, 2, 1.4]
    assert [level["shrink"] for level in coarsened(levels, 9.0)] == [9.0]


def test_misspelt_preset_or_option_names_the_nearest():
    with pytest.raises(ConfigError, match=r"Did you mean cardiac"):
        load_preset("cardiak", shape=(20, 20, 20))
    with pytest.raises(ConfigError, match=r"model\.similarity\.window"):
        load_preset("cardiac", shape=(20, 20, 20), overrides=("model.similarity.windw=5",))


def sphere(shape=(16, 14, 12)):
    return blob_image(shape, affine_about(shape, spacing=(1.5, 1.5, 1.5)))[0]


def test_bad_images_are_refused_with_a_remedy(tmp_path):
    good = sphere()
    with pytest.raises(DataError, match=r"nowhere\.nii\.gz does not exist"):
        register(tmp_path / "nowhere.nii.gz", good)
    broken = good.copy()
    broken[3, 3, 3] = np.nan
    with pytest.raises(DataError, match="1 NaN"):
        register(good, broken)
    with pytest.raises(DataError, match="constant"):
        register(np.ones((8, 8, 8)), good)
    with pytest.raises(DataError, match=r"2-D \(16, 14\) and the moving image is 3-D"):
        register(good[..., 5], good)
    with pytest.raises(ConfigError, match="single slices"):
        register(good[..., 5], good[..., 6], mode="volume")
    with pytest.raises(ConfigError, match="--initialise here"):
        register(good, good, initialise="here")


def test_labels_on_another_grid_are_refused(tmp_path):
    shape = (16, 14, 12)
    affine = affine_about(shape, spacing=(1.5, 1.5, 1.5))
    paths = write_pair(tmp_path, shape, shape, affine, affine)
    small = write_labels(tmp_path / "small.nii.gz", np.ones((8, 7, 6), int), affine)
    moved = write_labels(
        tmp_path / "moved.nii.gz", np.ones(shape, int), affine_about(shape, spacing=(1.5, 1.5, 2.0))
    )
    for labels, reason in ((small, "has shape"), (moved, "another place")):
        with pytest.raises(DataError, match=reason):
            register(
                paths["fixed"], paths["moving"], fixed_labels=labels, moving_labels=paths["moving_labels"]
            )
    with pytest.raises(DataError, match="--moving-labels is not"):
        register(paths["fixed"], paths["moving"], fixed_labels=paths["fixed_labels"])


def test_images_far_apart_are_named_with_their_centres(tmp_path):
    shape = (24, 26, 22)
    here = affine_about(shape, spacing=(1.2, 1.2, 1.2))
    there = affine_about(shape, spacing=(1.2, 1.2, 1.2), centre=(10.0, -20.0, 530.0))
    image, _ = blob_image(shape, here)
    write_image(tmp_path / "fixed.nii.gz", image, here)
    write_image(tmp_path / "moving.nii.gz", image, there)
    with pytest.raises(DataError, match=r"\(10, -20, 530\) mm are 500 mm apart.*--initialise centre"):
        register(tmp_path / "fixed.nii.gz", tmp_path / "moving.nii.gz", initialise="world")
    for how in (None, "centre", "mass"):
        result = register(
            tmp_path / "fixed.nii.gz", tmp_path / "moving.nii.gz", initialise=how, model=Shift(), affine=False
        )
        assert value(result.before, "image_correlation", "all") == pytest.approx(1.0, abs=1e-3)
        assert any("do not overlap where their headers" in note for note in result.notes) == (how is None)


def test_volume_model_refuses_slices_and_carries_its_field_back(tmp_path):
    from medreg.data.intensity import Intensity
    from medreg.data.preprocess import Preprocess

    fixed_affine = affine_about((26, 22, 20), spacing=(1.1, 1.4, 1.6), flip=True)
    paths = write_pair(tmp_path, (26, 22, 20), (26, 22, 20), fixed_affine, fixed_affine)
    preprocess = Preprocess(
        orientation="ras",
        spacing_mm=None,
        size=None,
        resize=None,
        alignment="world",
        intensity=Intensity(percentiles=[0.0, 100.0], window=None, scope="volume"),
    )
    run = run_of(Shift(), {"data": {"ndim": 3}}, preprocess=preprocess)
    found = run.register(*(Scan(read_image(paths[side])) for side in ("fixed", "moving")))
    expected = Shift()(torch.zeros(1, 1, 26, 22, 20), None).displacement.flip(2)
    expected[:, 0] *= -1  # the file's first axis runs the other way than that of the model's grid
    torch.testing.assert_close(found.displacement, expected, atol=1e-4, rtol=0)
    flat = Scan(Volume(sphere((20, 20)), np.eye(4), (1.0, 1.0)))
    with pytest.raises(CompositionError, match="single slices"):
        run.register(flat, flat)


def test_field_of_a_slice_pair_reads_back(tmp_path):
    result = register(sphere((20, 20)), sphere((20, 20)) + 0.1, model=Shift(), affine=False, output=tmp_path)
    back = read_displacement(tmp_path / "displacement.nii.gz")
    np.testing.assert_allclose(back.displacement, result.displacement, atol=1e-5)
    moved = map_coordinates(
        sphere((20, 20)) + 0.1, np.indices((20, 20)) + result.displacement, order=1, mode="nearest"
    )
    np.testing.assert_allclose(result.warped.array[3:-3, 3:-3], moved[3:-3, 3:-3], atol=1e-5)


def save_identity_checkpoint(path):
    """A checkpoint of a model without weights, trained (as it says) on crops of 12 x 12 pixels."""
    intensity = {
        "_target_": "medreg.data.intensity.Intensity",
        "percentiles": [0.0, 100.0],
        "window": None,
        "scope": "volume",
    }
    preprocess = {
        "_target_": "medreg.data.preprocess.Preprocess",
        "orientation": "stored",
        "spacing_mm": None,
        "size": [12, 12],
        "resize": None,
        "alignment": "world",
        "intensity": intensity,
    }
    model = {"_target_": "medreg.models.identity.Identity"}
    config = {"model": model, "data": {"ndim": 2, "preprocess": preprocess}}
    torch.save({"state_dict": {}, "medreg": {"config": config}}, path)
    return path


def test_checkpoint_registers_and_is_refined(tmp_path):
    ckpt = save_identity_checkpoint(tmp_path / "run.ckpt")
    shape, affine = (40, 36, 4), affine_about((40, 36, 4), spacing=(0.8, 0.9, 6.0))
    paths = write_pair(tmp_path, shape, shape, affine, affine)
    plain = register(paths["fixed"], paths["moving"], ckpt=ckpt)
    assert np.abs(plain.displacement).max() < 1e-9
    assert "run.ckpt" in plain.method
    assert "12×12" in plain.notes[-1]
    refined = register(**paths, ckpt=ckpt, refine=True, overrides=QUICK[1:])
    assert refined.method.endswith("refined with preset cardiac")
    assert value(refined.after, "dice") > value(refined.before, "dice")
    with pytest.raises(ConfigError, match="do not apply to --ckpt"):
        register(paths["fixed"], paths["moving"], ckpt=ckpt, initialise="centre")
