"""Fields of a run come back to the arrays of the files, whatever the run did to the images first."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_task import SHAPE, identity_run, tiny_task

from medreg.data.datasets.learn2reg_config import PairPaths
from medreg.errors import CheckpointError
from medreg.inference.registration import Registration
from medreg.models.base import RegistrationModel
from medreg.runs.trained import TrainedRun
from medreg.studies.learn2reg.run_fields import RunAsFields, data_root, export_run
from medreg.studies.learn2reg.truth import TaskFolder

PAIR = PairPaths("./imagesTr/Tiny_0001_0000.nii.gz", "./imagesTr/Tiny_0002_0000.nii.gz")
FLIPPED = np.array([[-2.0, 0, 0, 30], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])


class Shift(RegistrationModel):
    """One voxel of the grid that it sees, along an axis."""

    trainable = False

    def __init__(self, axis, amount=1.0):
        super().__init__()
        self.axis, self.amount = axis, amount

    def forward(self, fixed, moving, *, spacing_mm=None, fixed_mask=None, moving_mask=None, initial=None):
        field = torch.zeros(fixed.shape[0], fixed.ndim - 2, *fixed.shape[2:])
        field[:, self.axis] = self.amount
        if initial is not None:
            field = field + initial
        return Registration(displacement=field, regularised=field, parameters=field)


@pytest.fixture
def made(tmp_path):
    """Make the field of a pair by a model that shifts, after some preparation of the images."""

    def make(model=None, *, affines=None, refine=None, ndim=None, **preprocess):
        task = tiny_task(tmp_path / "data", affines=affines)
        fields = RunAsFields(TrainedRun.open(identity_run(tmp_path / "run", **preprocess)), TaskFolder(task))
        vars(fields.run)["model"] = model or fields.run.model
        vars(fields.run)["refinement"] = refine
        fields.run.config["data"]["ndim"] = ndim or 3
        return fields.make(PAIR)

    return make


def constant(*vector):
    return np.broadcast_to(np.array(vector, dtype=float).reshape(3, 1, 1, 1), (3, *SHAPE))


def test_images_as_stored_keep_the_field(made):
    np.testing.assert_allclose(made(Shift(1)), constant(0, 1, 0), atol=1e-6)


def test_half_the_resolution_doubles_displacements(made):
    """Spacing 2 mm of 1 mm images: one voxel of the network is two of the file."""
    found = made(Shift(0), spacing_mm=[2.0, 2.0, 2.0])
    np.testing.assert_allclose(found, constant(2, 0, 0), atol=1e-4)


def test_resizing_is_undone_with_the_ratio_of_the_grids(made):
    """From 16 to 8 voxels with the corners kept: a voxel is 15/7 of the file's."""
    found = made(Shift(0), resize=[8, 12, 10])
    np.testing.assert_allclose(found, constant(15 / 7, 0, 0), atol=1e-4)


def test_beyond_the_crop_the_field_fades(made):
    found = made(Shift(2), size=[8, 8, 8])
    crop = tuple(slice((n - 8) // 2, (n - 8) // 2 + 8) for n in found.shape[1:])
    np.testing.assert_allclose(found[:, *crop], constant(0, 0, 1)[:, *crop], atol=1e-5)
    assert np.abs(found[:2]).max() == 0
    assert 0 <= found[2].min() < 1
    assert found[2].max() == pytest.approx(1, abs=1e-5)


def test_reorientation_is_undone(made):
    """The file's first axis runs to the left in steps of 2 mm; the run saw it run to the right."""
    found = made(Shift(0), affines=[FLIPPED] * 3, orientation="ras")
    np.testing.assert_allclose(found, constant(-1, 0, 0), atol=1e-5)


def test_alignment_by_index_ignores_the_headers(made):
    found = made(affines=[np.eye(4), FLIPPED, FLIPPED])
    np.testing.assert_allclose(found, 0, atol=1e-6)


def test_alignment_by_world_follows_the_headers(made):
    """The moving grid begins three voxels further left: what lies at i lies at i + 3 there."""
    moved = np.eye(4)
    moved[0, 3] = -3.0
    found = made(
        affines=[np.eye(4), moved, moved], alignment="world", size=[8, 8, 8], spacing_mm=[2.0, 1.0, 1.0]
    )
    np.testing.assert_allclose(found, constant(3, 0, 0), atol=1e-5)


def test_the_refinement_of_the_run_goes_on_from_the_model(made):
    found = made(Shift(0), refine=Shift(1, 0.5))
    np.testing.assert_allclose(found, constant(1, 0.5, 0), atol=1e-6)


def test_a_run_of_slices_moves_in_plane(made):
    np.testing.assert_allclose(made(Shift(1), ndim=2), constant(0, 1, 0), atol=1e-6)


def test_digest_changes_with_options_and_images(tmp_path):
    task = tiny_task(tmp_path / "data")
    first = RunAsFields(TrainedRun.open(identity_run(tmp_path / "a")), TaskFolder(task))
    second = RunAsFields(TrainedRun.open(identity_run(tmp_path / "b", size=[8, 8, 8])), TaskFolder(task))
    assert first.digest(PAIR) == RunAsFields(TrainedRun.open(tmp_path / "a"), TaskFolder(task)).digest(PAIR)
    assert first.digest(PAIR) != second.digest(PAIR)


def test_a_run_without_checkpoint_is_named(tmp_path):
    run = identity_run(tmp_path / "run")
    text = (run / "config.yaml").read_text()
    trained = "_target_: medreg.models.voxelmorph.VoxelMorph"
    (run / "config.yaml").unlink()
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        TrainedRun.open(run)
    (run / "config.yaml").write_text(text.replace("_target_: medreg.models.identity.Identity", trained))
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        TrainedRun.open(run)
    (run / "config.yaml").write_text(text)
    with pytest.raises(CheckpointError, match="does not say where its data are"):
        data_root(TrainedRun.open(run))


def test_exported_runs_carry_no_path_of_this_machine(tmp_path):
    run = identity_run(tmp_path / "run", root=tmp_path / "data")
    assert data_root(TrainedRun.open(run)) == tmp_path / "data"
    export_run(TrainedRun.open(run), tmp_path / "out")
    text = (tmp_path / "out" / "config.yaml").read_text()
    assert str(tmp_path) not in text
    fields = RunAsFields(TrainedRun.open(tmp_path / "out"), TaskFolder(tiny_task(tmp_path / "data")))
    assert not fields.make(PAIR).any()
