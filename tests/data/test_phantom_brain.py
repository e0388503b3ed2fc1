"""The brain phantom: layout, plausible anatomy, exact truth, and writing that survives being killed."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

from medreg.data.datasets.learn2reg import Learn2Reg
from medreg.data.phantoms import brain as brain_module
from medreg.data.phantoms.brain import CONTRASTS, BrainPhantom
from medreg.data.phantoms.brain_anatomy import FoldingOptions
from medreg.data.phantoms.brain_appearance import AppearanceOptions, scan
from medreg.data.phantoms.brain_motion import ShapeOptions
from medreg.data.phantoms.brain_shapes import ellipsoid, smooth_noise, tube, wave_noise
from medreg.data.phantoms.brain_tissues import LABELS
from medreg.data.phantoms.writing import MARKER
from medreg.errors import ConfigError
from medreg.geometry.derivatives import jacobian_determinant
from medreg.geometry.warp import warp
from medreg.io.field import read_displacement
from medreg.io.image import read_image, read_labels

FOLDING = FoldingOptions(wavelength_mm=28, depth_mm=18, thickness_mm=2.8, width_mm=0.5)
SHAPE = ShapeOptions(
    size_percent=2,
    turn_deg=1,
    shift_mm=0.7,
    coarse_mm=1.9,
    coarse_spacing_mm=45,
    fine_mm=1.2,
    fine_spacing_mm=18,
    ventricle_mm=1.5,
    steps=6,
)
APPEARANCE = AppearanceOptions(noise_percent=2.5, bias_percent=10, texture_percent=4, tissue_percent=2)


def phantom(root: Path, **changes) -> BrainPhantom:
    options = {
        "subjects": 3,
        "validation_subjects": 2,
        "size": [32, 40, 32],
        "spacing_mm": [5.0, 4.8, 5.0],
        "template_spacing_mm": 2.0,
        "seed": 7,
        "folding": FOLDING,
        "shape": SHAPE,
        "appearance": APPEARANCE,
    }
    return BrainPhantom(root, **{**options, **changes})


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> BrainPhantom:
    brain = phantom(tmp_path_factory.mktemp("brain"))
    brain.ensure()
    return brain


@pytest.fixture(scope="module")
def folder(made) -> Path:
    return made.ensure()


def contents(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


def image(folder: Path, case: int, modality: int) -> np.ndarray:
    return read_image(folder / f"imagesTr/PhantomBrain_{case:04d}_{modality:04d}.nii.gz").array


def labels(folder: Path, case: int) -> np.ndarray:
    return read_labels(folder / f"labelsTr/PhantomBrain_{case:04d}_0000.nii.gz").array


def truth(folder: Path, fixed: int, moving: int) -> np.ndarray:
    name = f"PhantomBrain_{fixed:04d}_0000__PhantomBrain_{moving:04d}_0000_displacement.nii.gz"
    return read_displacement(folder / "truth" / name).displacement.astype(np.float64)


def warped(array: np.ndarray, displacement: np.ndarray) -> np.ndarray:
    field = torch.from_numpy(np.asarray(displacement, dtype=np.float64))[None]
    return warp(torch.from_numpy(array.astype(np.int64))[None, None], field, mode="nearest")[0, 0].numpy()


def dice(first: np.ndarray, second: np.ndarray) -> float:
    return 2 * float((first & second).sum()) / float(first.sum() + second.sum())


def test_layout_is_that_of_learn2reg(folder):
    descriptor = json.loads((folder / "PhantomBrain_dataset.json").read_text())
    assert descriptor["modality"] == {"0": "MR T1w", "1": "MR T2w"}
    assert descriptor["tensorImageShape"]["0"] == [32, 40, 32]
    assert len(descriptor["training"]) == descriptor["numTraining"] == 6
    for entry in descriptor["training"]:
        assert all((folder / path).is_file() for path in entry.values())
    assert len(descriptor["registration_val"]) == descriptor["numRegistration_val"] == 2
    volume = read_image(folder / descriptor["registration_val"][0]["fixed"])
    assert volume.shape == (32, 40, 32)
    assert volume.spacing_mm == pytest.approx((5.0, 4.8, 5.0))
    assert volume.notes == ()


@pytest.mark.parametrize(("task", "moving"), [("PhantomBrain", "MR T1w"), ("PhantomBrainT1T2", "MR T2w")])
def test_the_real_reader_finds_pairs_labels_and_truth(folder, task, moving):
    source = Learn2Reg(folder, task=task, points="landmarks", validation_as="test")
    records = source.records()
    assert len(records) == 6
    assert all(record.label is not None and record.mask is not None for record in records)
    assert source.labels() == LABELS
    pairs = source.listed_pairs(records)
    assert [(p.fixed.subject, p.moving.subject) for p in pairs] == [("0002", "0003"), ("0003", "0002")]
    assert {(p.fixed.modality, p.moving.modality) for p in pairs} == {("MR T1w", moving)}
    assert all(source.truth(pair.fixed, pair.moving) is not None for pair in pairs)


def test_every_structure_has_a_plausible_volume_on_its_side(folder, made):
    array = labels(folder, 1)
    assert set(np.unique(array)) == {0, *LABELS.values()}
    voxel_ml = np.prod(made.spacing_mm) / 1000
    volume = {name: (array == code).sum() * voxel_ml for name, code in LABELS.items()}
    # mL a side: adult means of common atlases, generously widened for the variation of people
    for name, low, high in (
        ("cerebral_white_matter", 150, 400),
        ("cerebral_cortex", 200, 550),
        ("lateral_ventricle", 2, 40),
        ("thalamus", 3, 12),
        ("caudate", 1.5, 8),
        ("putamen", 2, 9),
        ("hippocampus", 1.5, 7),
        ("cerebellum_cortex", 20, 90),
    ):
        for side in ("left", "right"):
            assert low < volume[f"{side}_{name}"] < high, (side, name)
    x = np.broadcast_to(np.arange(32).reshape(-1, 1, 1), array.shape)
    for name, code in LABELS.items():
        if name.startswith(("left", "right")):
            centre = x[array == code].mean() - 15.5  # voxels right of the middle (RAS)
            assert (centre < 0) == name.startswith("left"), name


def test_subjects_differ_but_not_beyond_people(folder):
    first, second = labels(folder, 1), labels(folder, 2)
    assert 0.85 < dice(first > 0, second > 0) < 0.99
    assert dice(first == LABELS["left_thalamus"], second == LABELS["left_thalamus"]) < 0.95


def test_true_motion_maps_labels_of_the_moving_subject_onto_the_fixed_one(folder):
    fixed, moving = labels(folder, 2), labels(folder, 3)
    found = warped(moving, truth(folder, 2, 3))
    assert dice(found > 0, fixed > 0) > 0.95
    for name in ("left_cerebral_white_matter", "right_cerebral_cortex", "brain_stem"):
        code = LABELS[name]
        # Nearest neighbour errs by up to half a voxel on either side of a border, and at 5 mm most voxels are
        # border; so the bound is low, but far from what an inverted or misscaled field reaches.
        assert dice(found == code, fixed == code) > 0.72, name
        assert dice(found == code, fixed == code) > dice(moving == code, fixed == code) + 0.05, name


def test_true_motion_meets_the_same_point_of_the_template(folder, made):
    """φ_m(x + d(x)) = φ_f(x): linear interpolation of one map at points moved by the stored file."""
    fixed, moving = made.map_to_template(2), made.map_to_template(3)
    motion = truth(folder, 2, 3)
    points = np.indices(motion.shape[1:]) + motion
    at = np.stack([ndimage.map_coordinates(u, points, order=1, mode="nearest") for u in moving])
    assert np.abs(motion + at - fixed).max() < 0.01  # voxels
    assert np.abs(fixed - moving).max() > 0.3  # the check is not about nothing


def test_map_to_template_is_stored(folder, made):
    name = "PhantomBrain_0001_0000__template_displacement.nii.gz"
    stored = read_displacement(folder / "truth" / name).displacement
    np.testing.assert_allclose(stored, made.map_to_template(1), atol=0.003)


def test_maps_and_motion_do_not_fold(folder, made):
    fields = [made.map_to_template(case) for case in (1, 2, 3)] + [truth(folder, 2, 3)]
    for field in fields:
        determinant = jacobian_determinant(torch.from_numpy(field)[None], mode="forward")
        assert float(determinant.min()) > 0.05
        assert float(determinant.std()) > 0.01


def test_motion_has_millimetres_of_people(made):
    mean_mm = [np.sqrt(np.square(made.map_to_template(k) * 5).sum(0)).mean() for k in (1, 2, 3)]
    assert all(1 < value < 8 for value in mean_mm)


def test_the_same_anatomy_on_another_grid(made, tmp_path):
    other = phantom(tmp_path, size=[16, 20, 16], spacing_mm=[10.0, 9.6, 10.0])
    # both grids cover the same box less half a voxel; compare the maps in mm at common world points
    coarse = other.map_to_template(1) * np.array([10, 9.6, 10]).reshape(3, 1, 1, 1)
    fine = made.map_to_template(1) * np.array([5, 4.8, 5]).reshape(3, 1, 1, 1)
    index = np.indices(coarse.shape[1:]) * 2 + 0.5
    at = np.stack([ndimage.map_coordinates(u, index, order=1) for u in fine])
    assert np.abs(at - coarse).mean() < 0.3  # mm


def test_contrasts_are_inverted(folder):
    array = labels(folder, 1)
    t1, t2 = image(folder, 1, 0), image(folder, 1, 1)
    inner = {
        name: ndimage.binary_erosion(np.isin(array, codes))
        for name, codes in {"white": (1, 20), "cortex": (2, 21)}.items()
    }
    fluid = np.isin(array, (3, 22))
    t1_white, t1_grey, t1_fluid = (t1[m].mean() for m in (inner["white"], inner["cortex"], fluid))
    t2_white, t2_grey, t2_fluid = (t2[m].mean() for m in (inner["white"], inner["cortex"], fluid))
    assert t1_white > 1.2 * t1_grey > 1.2 * t1_fluid
    assert 1.2 * t2_white < t2_grey < t2_fluid


def test_background_is_zero_and_brain_is_not(folder):
    mask = read_labels(folder / "masksTr/PhantomBrain_0001_0000.nii.gz").array > 0
    t1 = image(folder, 1, 0)
    assert (t1[~mask] == 0).all()
    assert (t1[mask] > 0).mean() > 0.98
    assert mask[labels(folder, 1) > 0].all()
    # the head keeps a margin to the edge of the image, so that no motion leaves it
    assert not mask[[0, -1]].any()
    assert not mask[:, [0, -1]].any()
    assert not mask[:, :, [0, -1]].any()


def image_with(made: BrainPhantom, **changes) -> np.ndarray:
    options = replace(AppearanceOptions(0, 0, 0, 0), **changes)
    still = np.zeros((3, *made.size))
    generator = np.random.default_rng(3)
    result = scan(
        made.template,
        made.grain,
        still,
        options,
        affine=made.affine,
        generator=generator,
        contrasts=CONTRASTS,
    )
    return result.images["MR T1w"].astype(np.float64)


def test_coil_shading_is_smooth_and_of_the_stated_size(made):
    clean, shaded = image_with(made), image_with(made, bias_percent=10.0)
    bright = clean > 300
    ratio = np.log(shaded[bright] / clean[bright])
    assert 0.02 < ratio.std() < 0.2
    # smooth: neighbours along x differ little compared with the whole
    both = bright[1:] & bright[:-1]
    log = np.log(np.where(bright, shaded / np.maximum(clean, 1), 1))
    assert np.abs(np.diff(log, axis=0)[both]).mean() < 0.2 * ratio.std()


def test_noise_is_rician(made):
    clean, noisy = image_with(made), image_with(made, noise_percent=5.0)
    sigma = 0.05 * 860  # grey values: percent of T1 white matter
    bright, dark = clean > 700, (clean > 0) & (clean < 160)
    assert (noisy - clean)[bright].std() == pytest.approx(sigma, rel=0.1)
    # in the dark Rician noise lifts the mean by about σ²/2ν
    lift = (noisy - clean)[dark].mean()
    assert lift == pytest.approx(sigma**2 / 2 / clean[dark].mean(), rel=0.6)


def test_texture_belongs_to_the_anatomy(made):
    first, second = (image_with(made, texture_percent=8.0) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert np.abs(first - image_with(made)).max() > 20


def test_files_depend_on_the_parameters_only(made, folder, tmp_path):
    again = contents(phantom(tmp_path).ensure())
    assert again == contents(folder)
    assert again["imagesTr/PhantomBrain_0001_0000.nii.gz"][4:8] == bytes(4)  # no time in the gzip header


def test_parameters_name_the_folder(made, tmp_path):
    folders = {phantom(tmp_path).folder}
    folders.add(phantom(tmp_path, seed=8).folder)
    folders.add(phantom(tmp_path, subjects=4).folder)
    folders.add(phantom(tmp_path, shape=replace(SHAPE, fine_mm=1.3)).folder)
    folders.add(phantom(tmp_path, appearance=replace(APPEARANCE, noise_percent=3)).folder)
    assert len(folders) == 5
    assert phantom(tmp_path).folder.name == made.folder.name


def test_a_killed_writer_is_continued(made, folder, tmp_path, monkeypatch):
    brain, written = phantom(tmp_path), []
    real = brain_module.write_itk_field

    def dies(path, *arguments):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(path)
        return real(path, *arguments)

    monkeypatch.setattr(brain_module, "write_itk_field", dies)
    with pytest.raises(KeyboardInterrupt):
        brain.ensure()
    assert not (brain.folder / MARKER).exists()
    stamps = {path: path.stat().st_mtime_ns for path in written}
    monkeypatch.undo()
    assert contents(brain.ensure()) == contents(folder)
    assert {path: path.stat().st_mtime_ns for path in written} == stamps  # finished subjects are left alone


def test_ready_data_are_not_touched(made, folder, monkeypatch):
    monkeypatch.setattr(brain_module, "build_template", None)
    assert phantom(folder.parent).ensure() == folder


@pytest.mark.parametrize(
    "changes", [{"subjects": 1}, {"validation_subjects": 1}, {"size": [32, 32]}, {"size": [4] * 3}]
)
def test_impossible_numbers_are_refused(tmp_path, changes):
    with pytest.raises(ConfigError, match=r"data\.dataset\.prepare"):
        phantom(tmp_path, **changes)


def test_ellipsoid_and_tube_are_distances():
    points = [np.array([v], dtype=np.float32) for v in (7.0, 0.0, 0.0)]
    assert ellipsoid(points, (0, 0, 0), (5, 5, 5))[0] == pytest.approx(2.0, rel=0.01)
    points = [np.array([v], dtype=np.float32) for v in (3.0, 5.0, 4.0)]
    assert tube(points, [(0, 0, 0, 2.0), (0, 10, 0, 2.0)])[0] == pytest.approx(3.0)
    points = [np.array([v], dtype=np.float32) for v in (0.0, 12.0, 0.0)]
    assert tube(points, [(0, 0, 0, 2.0), (0, 10, 0, 1.0)])[0] == pytest.approx(1.0)


def test_noise_has_unit_variance_and_its_wavelength():
    axes = [np.arange(-120, 121, 4.0)] * 3
    noise = smooth_noise(axes, 8.0, np.random.default_rng(0))
    assert noise.std() == pytest.approx(1.0, rel=0.1)
    assert noise.mean() == pytest.approx(0.0, abs=0.1)
    line = np.stack([np.arange(0, 2000, 0.5), np.zeros(4000), np.zeros(4000)], axis=1).astype(np.float32)
    wave = wave_noise(line, 20.0, np.random.default_rng(0))
    assert wave.std() == pytest.approx(1.0, rel=0.25)
    # Rice: an isotropic field of wavelength λ crosses zero 2/(λ√3) times a mm along a line
    crossings = (np.diff(np.sign(wave)) != 0).sum() / 2000
    assert crossings == pytest.approx(2 / (20 * np.sqrt(3)), rel=0.15)


@pytest.mark.slow
def test_two_processes_write_the_same_data_set(folder, tmp_path):
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path; "
        "from test_phantom_brain import phantom; phantom(Path(sys.argv[2])).ensure()"
    )
    command = [sys.executable, "-c", code, str(Path(__file__).parent), str(tmp_path)]
    running = [subprocess.Popen(command) for _ in range(2)]
    assert [process.wait() for process in running] == [0, 0]
    assert contents(tmp_path / folder.name) == contents(folder)


@pytest.mark.slow
def test_true_motion_at_full_resolution(tmp_path):
    """At 2 mm nearest neighbour allows more: borders are a smaller part of each structure."""
    brain = phantom(tmp_path, size=[80, 96, 80], spacing_mm=[2.0] * 3, subjects=2, template_spacing_mm=1.0)
    folder = brain.ensure()
    fixed, moving, motion = labels(folder, 1), labels(folder, 2), truth(folder, 1, 2)
    found = warped(moving, motion)
    assert dice(found > 0, fixed > 0) > 0.98
    scores = [dice(found == code, fixed == code) for code in LABELS.values()]
    assert np.mean(scores) > 0.86
    assert min(scores) > 0.75


def test_a_third_contrast_is_a_choice(tmp_path, made):
    three = phantom(tmp_path, contrasts=["MR T1w", "MR T2w", "MR PDw"], subjects=2)
    folder = three.ensure()
    assert (folder / "PhantomBrainT1PD_dataset.json").is_file()
    assert "contrasts" not in made.parameters()  # older folders keep their names
    codes = [
        LABELS[f"left_{name}"] for name in ("cerebral_cortex", "lateral_ventricle", "cerebral_white_matter")
    ]
    density, parts = image(folder, 1, 2), labels(folder, 1)
    grey, fluid, white = (density[parts == code].mean() for code in codes)
    assert grey > fluid > white  # dark in T1, brightest in T2: no monotone map leads from one to another


def test_unknown_contrasts_are_named(tmp_path):
    with pytest.raises(ConfigError, match="MR PDw"):
        phantom(tmp_path, contrasts=["MR T1w", "FLAIR"])
