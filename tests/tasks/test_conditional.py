"""Training over a family of regularisations: regulariser, regions and levels of CSAIN, objectives and resuming."""

from __future__ import annotations

import copy
import functools
import itertools

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import yaml
from omegaconf import OmegaConf
from scipy import stats

from medreg.config.compose import compose
from medreg.config.instantiate import build
from medreg.errors import CompositionError, ConfigError
from medreg.geometry.transformation import Deformation
from medreg.losses.regularisation.diffusion import Diffusion
from medreg.models.conditional import Regions, region_map
from medreg.tasks.conditional import LevelAnswer
from medreg.tasks.draws import Additive, Convex, SmoothField, UniformDraws, generator_of
from medreg.tasks.levels import LevelByLevel, Together

SMALL = ["model.start_channels=1", "model.blocks=1"]
LABELS = {"one": 1, "two": 2, "three": 3}


def batch(ndim=2, *, labels=True):
    generator = torch.Generator().manual_seed(3)
    shape = (20, 24, 17)[:ndim]
    smooth = torch.nn.functional.avg_pool2d if ndim == 2 else torch.nn.functional.avg_pool3d
    fixed, moving = (smooth(torch.rand(2, 1, *shape, generator=generator), 3, 1, 1) for _ in range(2))
    found = {
        "fixed_image": fixed,
        "moving_image": moving,
        "case": ["a", "b"],
        "spacing_mm": torch.ones(2, ndim),
    }
    if labels:
        found["fixed_label"] = torch.randint(0, 4, (2, 1, *shape), generator=generator)
        found["moving_label"] = found["fixed_label"]
    return found


@functools.cache
def composed(*choices):
    return compose([*choices, "logger=none"])


def task_of(*overrides, ndim=2):
    """A task; choices of options (without a dot) are composed once, keys are set in a copy."""
    torch.manual_seed(0)
    config = copy.deepcopy(composed(*(one for one in overrides if "." not in one.split("=")[0])))
    for key, value in (
        one.split("=", 1) for one in (*overrides, f"data.ndim={ndim}") if "." in one.split("=")[0]
    ):
        OmegaConf.update(config, key.lstrip("+"), yaml.safe_load(value), force_add=True)
    task = build(config.task)
    task.evaluator.labels = LABELS
    task.log_dict = lambda *args, **kwargs: None
    return task


def uniform(field, weight, power=2.0):
    return Diffusion(weight=1.0, units="voxel")(
        field, weight=torch.full((1, 1, *field.shape[2:]), weight) ** power
    )


# A5: the weighted regulariser


def test_ramp_has_the_known_energy():
    x = torch.arange(400.0, dtype=torch.float64).view(1, 1, -1, 1).expand(1, 1, 400, 6)
    field = torch.cat((0.3 * x, torch.zeros_like(x)), dim=1)
    assert float(uniform(field, 0.7)) == pytest.approx(
        0.3**2 * 0.7**2, rel=1 / 300
    )  # the last row has no difference


@pytest.mark.parametrize("power", [1, 2])
def test_uniform_map_is_a_number(power):
    field = torch.randn(1, 2, 9, 8, dtype=torch.float64)
    weight = torch.tensor([0.4], dtype=torch.float64)
    number = Diffusion(weight=1.0, units="voxel")(field, weight=weight**power)
    expected = 0.4**power * Diffusion(weight=1.0, units="voxel")(field)
    torch.testing.assert_close(number, expected)
    assert float(uniform(field, 0.4, power)) == pytest.approx(float(expected), abs=1e-6)


def test_regulariser_is_the_released_one():
    field = torch.randn(1, 2, 9, 8, dtype=torch.float64)
    weight = torch.rand(1, 1, 9, 8, dtype=torch.float64)
    doubled = 2 * field  # the released CSAIN code differentiates 2·u
    along = [weight[:, :, :-1] * doubled.diff(dim=2), weight[..., :-1] * doubled.diff(dim=3)]
    sums = sum(float(part.square().sum()) for part in along)
    released = sums / (2 * 2 * 72)  # means over two channels and, in ours, over all voxels
    ours = Diffusion(weight=1.0, units="voxel")(field, weight=Additive(1.0, 2).regulariser_weight(weight))
    assert float(ours) == pytest.approx(released, rel=1e-12)


def test_region_without_weight_has_no_gradient():
    field = torch.randn(1, 2, 12, 10, dtype=torch.float64, requires_grad=True)
    weight = torch.ones(1, 1, 12, 10, dtype=torch.float64)
    weight[:, :, :6] = 0
    Diffusion(weight=1.0, units="voxel")(field, weight=weight).sum().backward()
    assert field.grad is not None
    assert field.grad[:, :, :6].abs().max() == 0
    assert field.grad[:, :, 7:].abs().min() > 0


def test_gradients_of_the_regulariser():
    field = torch.randn(1, 2, 4, 3, dtype=torch.float64, requires_grad=True)
    weight = torch.rand(1, 1, 4, 3, dtype=torch.float64, requires_grad=True)
    objective, regulariser = Additive(10.0, 2), Diffusion(weight=1.0, units="voxel")
    assert torch.autograd.gradcheck(
        lambda u, w: regulariser(u, weight=objective.regulariser_weight(w)), (field, weight)
    )


# A6: regions and the draws of λ


def test_gradient_in_region_weights():
    labels = torch.randint(0, 4, (1, 1, 6, 7), generator=torch.Generator().manual_seed(1))
    field = torch.randn(1, 2, 6, 7, dtype=torch.float64)
    regulariser = Diffusion(weight=1.0, units="voxel")
    weights = torch.rand(4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda w: regulariser(field, weight=region_map(labels, w) ** 2), (weights,)
    )


def test_regions_of_groups():
    labels = torch.tensor([0, 1, 2, 3, 9])
    assert Regions.of([[2, 9], [1]], labels=[]).number(labels).tolist() == [0, 2, 1, 0, 1]
    every = Regions.of(None, labels=[3, 1])
    assert every.count == 3
    assert every.number(labels).tolist() == [0, 2, 0, 1, 0]


def test_draws_are_uniform_and_independent():
    draws = UniformDraws(0.0, 1.0, endpoint_rate=0.0, shared_rate=0.0)
    found = draws.draw(generator_of(1), pairs=100_000, regions=5).double().numpy()
    assert all(stats.kstest(column, "uniform").pvalue > 1e-3 for column in found.T)
    correlation = np.corrcoef(found.T) - np.eye(5)
    assert np.abs(correlation).max() < 0.02


def test_end_points_and_shared_draws():
    draws = UniformDraws(0.2, 0.8, endpoint_rate=0.2, shared_rate=0.5)
    found = draws.draw(generator_of(1), pairs=20_000, regions=3)
    alike = (found == found[:, :1]).all(1).double().mean()
    assert float(alike) == pytest.approx(0.5 + 0.5 * 2 * (0.1**3), abs=0.02)
    ends = ((found == 0.2) | (found == 0.8)).double().mean()
    assert float(ends) == pytest.approx(0.2, abs=0.01)
    assert float(found.min()) == pytest.approx(0.2)
    assert float(found.max()) == pytest.approx(0.8)
    fixed = UniformDraws(0.3, 0.3, endpoint_rate=0.0, shared_rate=0.0)
    assert fixed.draw(generator_of(1), pairs=2, regions=2).tolist() == [[pytest.approx(0.3)] * 2] * 2


def test_draws_depend_on_the_step_only():
    draws = UniformDraws(0.0, 1.0, endpoint_rate=0.2, shared_rate=0.5)
    first, again, other = (draws.draw(generator_of(1, 0, 4, n), pairs=2, regions=3) for n in (7, 7, 8))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("wrong", [{"low": 0.5, "high": 0.1}, {"endpoint_rate": 1.5}])
def test_wrong_draws_are_refused(wrong):
    with pytest.raises(ConfigError, match=r"task\.draws"):
        UniformDraws(**({"low": 0.0, "high": 1.0, "endpoint_rate": 0.0, "shared_rate": 0.0} | wrong))


# the losses of the levels


def test_level_loss_samples_the_full_image_at_the_level():
    task = task_of("model=csain", "similarity=ssd")
    data = batch()
    shift = torch.zeros(2, 2, 5, 6)
    shift[:, 0] = 0.5  # level voxels: two voxels of the full grid
    value = task.level_loss(data, LevelAnswer(4, Deformation(shift, shift), torch.full((2,), 0.3)))
    assert torch.equal(value.warped[:, :, :4], data["moving_image"][:, :, 2:18:4, ::4])
    assert torch.equal(value.regularisation, torch.zeros(2))


def test_windows_of_the_levels():
    task = task_of("model=csain")
    windows = [[term.window for term in task._energy(stride).similarity.terms] for stride in (4, 2, 1)]
    assert windows == [[3], [5, 3], [7, 5, 3]]


def test_regulariser_of_a_level_is_weighted_with_its_map():
    task = task_of("model=csain", "task.objective.scale=7.0")
    data, weights = batch(), torch.rand(2, 4)
    field = torch.randn(2, 2, 10, 12)
    weight = task.level_smoothness(data, weights)[1]
    assert torch.equal(weight, region_map(data["fixed_label"][:, :, ::2, ::2], weights))
    value = task.level_loss(data, LevelAnswer(2, Deformation(field, field), weight))
    expected = Diffusion(weight=1.0)(field, weight=7.0 * weight**2)
    torch.testing.assert_close(value.regularisation, expected)


def test_rounded_pooling_invents_regions_as_released():
    task = task_of("model=csain", "task.label_downsampling=avgpool_round", "task.regions=[[1],[2],[3],[4]]")
    data = batch()
    data["fixed_label"] = torch.zeros(1, 1, 8, 8, dtype=torch.long)
    data["fixed_label"][..., 3:, :] = 4
    data["fixed_image"] = torch.zeros(1, 1, 8, 8)
    weights = torch.arange(5.0)[None] / 4
    coarse = {}
    for mode in ("avgpool_round", "nearest"):
        task.label_downsampling = mode
        coarse[mode] = task.level_smoothness(data, weights)[1][0, 0, :, 0].tolist()
    assert coarse["nearest"] == [0, 0, 1, 1]
    assert coarse["avgpool_round"] == [0, 0.25, 1, 1]  # a region between background and CSF that nobody drew


U_NET = ["model.encoder=[4,4]", "model.decoder=[4]", "model.out=[4]"]


@pytest.mark.parametrize("shape", [(40, 30), (20, 16, 12)])
def test_smooth_field_is_drawn_between_coarse_numbers(shape):
    draws = SmoothField(0.2, 0.8, endpoint_rate=0.0, shared_rate=0.0, cells=4)
    field = draws.draw_field(generator_of(1, 2), pairs=3, shape=shape)
    assert field.shape == (3, 1, *shape)
    assert field.min() >= 0.2
    assert field.max() <= 0.8
    numbers = draws.draw(generator_of(1, 2), pairs=3, regions=4 ** len(shape)).view(3, *[4] * len(shape))
    corners = tuple([0, -1] for _ in shape)
    assert torch.allclose(field[:, 0][np.ix_(range(3), *corners)], numbers[np.ix_(range(3), *corners)])
    steps = torch.stack([field.diff(dim=axis).abs().max() for axis in range(2, 2 + len(shape))])
    assert steps.max() < 0.25  # cells are many voxels wide
    assert field.std() > 0.05
    shared = SmoothField(0.0, 1.0, endpoint_rate=0.0, shared_rate=1.0, cells=4)
    assert torch.allclose(*shared.draw_field(generator_of(3), pairs=1, shape=shape).aminmax(), atol=1e-6)


def test_field_of_a_level_is_the_field_at_its_voxels():
    task = task_of("model=csain", "task=conditional_fields", *SMALL)
    field = torch.rand(2, 1, 20, 24, generator=torch.Generator().manual_seed(1))
    coarse, middle, fine = task.level_smoothness(batch(), field)
    assert torch.equal(fine, field)
    assert torch.equal(middle, field[..., ::2, ::2])
    assert torch.equal(coarse, field[..., ::4, ::4])


def test_field_needs_a_model_of_maps_and_two_cells():
    with pytest.raises(CompositionError, match="one number a pair"):
        task_of("model=cin", "task=conditional_fields", *SMALL)
    with pytest.raises(ConfigError, match="cells is 1"):
        SmoothField(0.0, 1.0, endpoint_rate=0.0, shared_rate=0.0, cells=1)


@pytest.mark.parametrize(
    ("model", "labels", "ndim"),
    [
        (["model=csain", *SMALL], True, 2),
        (["model=csain", *SMALL], False, 2),
        (["model=csain", *SMALL], True, 3),
        (["model=csain", "task=conditional_fields", *SMALL], True, 2),
        (["model=csain", "task=conditional_fields", *SMALL], False, 3),
        (["model=cin", *SMALL], True, 2),
        (["model=lapirn", "task=conditional", *SMALL], True, 2),
        (["model=voxelmorph", "task=conditional", *U_NET], True, 2),
        (["model=hypermorph", *U_NET], True, 2),
    ],
)
def test_every_model_takes_a_step(model, labels, ndim, monkeypatch):
    task = task_of(*model, ndim=ndim)
    monkeypatch.setattr(type(task), "global_step", 0)
    loss = task.training_step(batch(ndim, labels=labels), 0)
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in task.model.parameters() if p.grad is not None)


def test_objectives():
    weight = torch.tensor([0.0, 0.25, 1.0])
    assert Additive(10.0, 2).similarity_factor(weight).tolist() == [1, 1, 1]
    assert Additive(10.0, 2).regulariser_weight(weight).tolist() == [0, 0.625, 10]
    assert Convex(1.0, 1).similarity_factor(weight).tolist() == [1, 0.75, 0]
    assert Convex(1.0, 1).regulariser_weight(weight).tolist() == [0, 0.25, 1]


# A9: the order of the levels


def test_stages_of_the_release():
    schedule = LevelByLevel([120_000, 160_000, 240_000], freeze=3000)
    stages = {step: schedule.stage(step, levels=3) for step in (0, 119_999, 120_000, 123_000, 123_001, 10**6)}
    assert [stage.trained for stage in stages.values()] == [(0,), (0,), (1,), (1,), (0, 1), (0, 1, 2)]
    assert [len(stage.factors) for stage in stages.values()] == [1, 1, 2, 2, 2, 3]
    assert [step for step, stage in stages.items() if stage.begins] == [120_000]
    assert Together().stage(5, levels=3).trained == (0, 1, 2)


@pytest.mark.parametrize("schedule", [LevelByLevel([1, 2], freeze=0), Together([1.0, 1.0])])
def test_schedule_of_another_depth_is_refused(schedule):
    with pytest.raises(ConfigError, match=r"task\.schedule.*for 3 levels"):
        schedule.stage(0, levels=3)


class Watch(pl.Callback):
    """Parameters of every level before the first and after every step."""

    def __init__(self):
        self.seen = []

    def note(self, task):
        self.seen.append(
            [
                torch.cat([p.detach().flatten() for p in level.parameters()])
                for level in task.model.network.levels
            ]
        )

    def on_train_start(self, trainer, task):
        self.note(task)

    def on_train_batch_end(self, trainer, task, *rest):
        self.note(task)


def fit(task, steps, watch, *, folder=None, ckpt=None):
    trainer = pl.Trainer(
        max_epochs=steps, callbacks=[watch], logger=False, accelerator="cpu", enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    loader = torch.utils.data.DataLoader([batch()], batch_size=None)
    trainer.fit(task, loader, ckpt_path=ckpt, weights_only=True)
    if folder is not None:
        trainer.save_checkpoint(folder / "last.ckpt")
        return folder / "last.ckpt"
    return None


BY_LEVEL = [
    "model=csain", *SMALL, "optimiser.lr=0.01",
    "task.schedule._target_=medreg.tasks.levels.LevelByLevel",
    "+task.schedule.steps=[2,4,9]",
    "+task.schedule.freeze=1",
]  # fmt: skip


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_levels_freeze_and_thaw(tmp_path):
    whole, first, second = Watch(), Watch(), Watch()
    fit(task_of(*BY_LEVEL), 9, whole)
    changed = [
        [not torch.equal(a, b) for a, b in zip(before, after, strict=True)]
        for before, after in itertools.pairwise(whole.seen)
    ]
    only, both = [False, True, False], [True, True, False]
    assert changed == [[True, False, False]] * 2 + [only] * 2 + [both] * 2 + [[False, False, True]] * 2 + [
        [True] * 3
    ]
    # Stopped within the second level and continued, the run is the same to the last bit.
    checkpoint = fit(task_of(*BY_LEVEL), 4, first, folder=tmp_path)
    fit(task_of(*BY_LEVEL), 9, second, ckpt=checkpoint)
    for expected, got in zip(whole.seen[-1], second.seen[-1], strict=True):
        assert torch.equal(expected, got)


def test_empty_validation_is_refused():
    with pytest.raises(ConfigError, match="validation_smoothness"):
        task_of("model=csain", "task.validation_smoothness=[]")


def test_range_of_training_is_the_one_that_the_model_tells():
    with pytest.raises(ConfigError, match=r"\[0\.1, 1\.0\] but model\.smoothness_range is \[0\.0, 1\.0\]"):
        task_of("model=csain", "task.draws.low=0.1")
