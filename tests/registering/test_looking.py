"""What a look at a pair decides: one contrast or two, where to start, slices or a volume; and what is not believed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medreg.api import register
from medreg.errors import NumericalError
from medreg.geometry.affine_pose import AffinePose, PoseRange
from medreg.geometry.in_plane import InPlane
from medreg.io.image import Volume
from medreg.registering.doubt import check_map
from medreg.registering.linear import affine_of
from medreg.registering.measure import measure
from medreg.registering.modality import Relation, different_contrasts, relation
from medreg.registering.pair import load_pair
from medreg.registering.run import Plan, decide
from medreg.registering.solve import widened
from medreg.registering.start import choose_start, look

FEW = ("model.levels=[{shrink: 2, sigma: 1.0, iterations: 3, learning_rate: 0.3}]",)
NO_LINEAR = {"affine": False, "surface": False, "overrides": FEW}


def blobs(shape, *, shift=0.0, seed=0):
    """A smooth random texture in [0, 1], moved by `shift` voxels along the first axis."""
    rng = np.random.default_rng(seed)
    axes = [np.arange(size, dtype=float) for size in shape]
    axes[0] = axes[0] - shift
    grid = np.meshgrid(*axes, indexing="ij")
    waves = [
        np.sin(sum(f * g for f, g in zip(rng.uniform(-0.6, 0.6, len(shape)), grid, strict=True)) + phase)
        for phase in rng.uniform(0, 6, 12)
    ]
    image = np.mean(waves, axis=0)
    return ((image - image.min()) / np.ptp(image)).astype(np.float32)


def volume(array, spacing=(1.0, 1.0, 1.0), *, origin=(0.0, 0.0, 0.0)):
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = origin
    return Volume(array, affine, spacing)


def test_relations_have_the_values_of_their_definitions():
    rng = np.random.default_rng(0)
    first, noise = rng.uniform(size=20000), rng.uniform(size=20000)
    same, bent, none = relation(first, 3 * first), relation(first, (first - 0.5) ** 2), relation(first, noise)
    assert (same.correlation, same.ratio) == (pytest.approx(1, abs=1e-6), pytest.approx(1, abs=1e-6))
    assert abs(bent.correlation) < 0.02  # a parabola has no slope
    assert bent.ratio > 0.98
    assert none.ratio < 0.01
    assert none.information == pytest.approx(1.0, abs=0.01)
    assert relation(first[:10], first[:10]) is None


def test_two_contrasts_are_told_from_one():
    shape = (32, 30, 28)
    image = blobs(shape)
    for other in (1 - image, (image - 0.5) ** 2):
        pair = load_pair(volume(image), volume(other.astype(np.float32)))
        method = decide(pair, Plan())
        assert method.choice.name == "multimodal"
        assert "grey values" in method.choice.reason
    assert decide(load_pair(volume(image), volume(0.5 * image + 1)), Plan()).choice.name == "general"
    assert (
        decide(load_pair(volume(image), volume(1 - image)), Plan(preset="general")).choice.name == "general"
    )


def test_one_contrast_far_apart_is_not_taken_for_two():
    found = {"world": Relation(-0.05, 0.02, 1.0), "mass": Relation(0.6, 0.38, 1.2)}
    assert different_contrasts(found) is None
    assert different_contrasts({"world": found["world"]}) is not None
    assert different_contrasts({}) is None


def test_headers_are_trusted_unless_another_start_is_clearly_better():
    shape = (40, 30, 28)
    x = np.indices(shape)[0]
    scene = np.where(np.abs(x - 20) < 8, blobs(shape) + 1, 0).astype(np.float32)
    pair = load_pair(volume(scene), volume(scene))
    world, note = choose_start(pair, look(pair))
    assert note is None
    assert torch.equal(world, torch.eye(4, dtype=torch.float64))
    wrong = load_pair(volume(scene), volume(scene, origin=(15.0, 0.0, 0.0)))
    world, note = choose_start(wrong, look(wrong))
    assert "put together" in note
    assert world[0, 3] == pytest.approx(15.0, abs=0.2)


def test_thick_slices_are_not_deformed_across_whatever_the_preset():
    fixed, moving = (volume(blobs((24, 26, 5), shift=s), (1.0, 1.0, 17.0)) for s in (0.0, 1.0))
    for preset in ("general", "multimodal"):
        result = register(fixed, moving, preset=preset, **NO_LINEAR)
        assert result.transform.slice_axis == 2
        assert np.abs(result.displacement[2]).max() == 0
        assert any("17 mm apart" in note and "--volume" in note for note in result.notes)
    assert register(fixed, moving, preset="general", mode="volume", **NO_LINEAR).transform.slice_axis is None


def test_one_map_in_the_plane_for_all_slices():
    steps = PoseRange(1.0, 1.0, 0.5, 0.5)
    plane = AffinePose(steps=steps, spacing_mm=(1.0, 2.0))
    stacked = InPlane(plane, axis=1)
    shape, theta = (9, 4, 11), torch.tensor([[0.2, 0.1, -0.1, 0.1, 0.0, 0.05]])
    found = stacked(theta, shape).displacement
    assert found.shape == (1, 3, 9, 4, 11)
    assert found[:, 1].abs().max() == 0
    expected = plane(theta, (9, 11)).displacement
    for k in range(4):
        torch.testing.assert_close(found[:, [0, 2], :, k], expected)
    torch.testing.assert_close(stacked.restrict(found, shape), theta, atol=1e-4, rtol=0)
    assert affine_of(found)[1].tolist() == [0, 1, 0, 0]


def linear(*factors):
    return torch.diag(torch.tensor([*factors, 1.0], dtype=torch.float64))


def test_collapsed_and_mirrored_maps_are_refused_and_doubtful_ones_named():
    for world in (linear(0.785, 0.568, 0.003), linear(-1.0, 1.0, 1.0), linear(2.5, 1.0, 1.0)):
        with pytest.raises(NumericalError, match=r"cannot be right.*--no-affine"):
            check_map(world)
    assert check_map(linear(1.1, 0.95, 1.0)) == []
    assert "doubtful" in check_map(linear(1.5, 1.0, 1.0))[0]


def test_images_without_a_relation_get_a_rigid_map_at_most_and_a_note():
    rng = np.random.default_rng(1)
    fixed, moving = (volume(rng.uniform(size=(20, 20, 20)).astype(np.float32)) for _ in range(2))
    result = register(fixed, moving, surface=False)
    assert result.method == "preset multimodal"
    assert any("share too little" in note for note in result.notes)
    factors = torch.linalg.svdvals(result.transform.world[:3, :3])
    torch.testing.assert_close(factors, torch.ones(3, dtype=torch.float64), atol=1e-4, rtol=0)
    assert result.transform.displacement.abs().max() == 0


def test_folds_are_those_of_the_whole_map_in_table_picture_and_file():
    from medreg.registering.measure import unregistered

    pair = load_pair(volume(blobs((12, 11, 10))), volume(blobs((12, 11, 10))))
    for world, expected in ((linear(-1.0, 1.0, 1.0), 100.0), (linear(0.5, 1.0, 1.0), 0.0)):
        transform = unregistered(pair, world, slice_axis=None)
        rows = measure(
            pair,
            transform,
            labels={},
            surface=False,
            warped=torch.zeros(1, 1, 12, 11, 10),
            warped_labels=None,
        )
        folds = next(row.value for row in rows if row.metric == "folding_percent")
        assert folds == expected
        assert 100 * float((transform.jacobian_determinant() <= 0).double().mean()) == expected


def test_masks_are_widened_in_millimetres():
    mask = torch.zeros(1, 1, 11, 11, 1)
    mask[0, 0, 5, 5] = 1
    wide = widened(mask, (1.0, 2.0, 1.0), 3.0)
    assert wide.sum() == 7 * 3
    assert widened(mask, (1.0, 2.0, 1.0), 0.0).sum() == 1
