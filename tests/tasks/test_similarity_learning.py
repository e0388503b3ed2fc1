"""The alternating training of a similarity: its parts, its objective, and going on after a stop."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from small_run import run, run_folder, run_process, tiny_acdc

from medreg.config.compose import compose
from medreg.config.instantiate import build
from medreg.errors import ConfigError, DataError
from medreg.inference.level import full_images
from medreg.io.checkpoint import read
from medreg.tasks.contrast import Contrast, FixedImages
from medreg.tasks.kept import KeptTensors

CONTRAST = Contrast(std=0.1, factor=0.1, learning_rate=1e-2)
SMALL = (
    "model=learned_similarity",
    "data=acdc",
    "data.preprocess.size=[16,16]",
    "data.preprocess.spacing_mm=null",
)


def task_of(*overrides, ndim=2, keep="null"):
    torch.manual_seed(0)
    config = compose(
        [*SMALL, f"++data.ndim={ndim}", "model.fit.iterations=5", f"task.keep={keep}", *overrides]
    )
    return build(config.task)


def batch_of(shape=(16, 13), pairs=2):
    axes = [torch.linspace(-2, 2, n) for n in shape]
    grids = torch.meshgrid(*axes, indexing="ij")
    fixed = torch.exp(-sum(g.square() for g in grids))
    moving = torch.exp(-sum((g - 0.3 * (k == 0)).square() for k, g in enumerate(grids)))
    generator = torch.Generator().manual_seed(0)
    noise = 0.05 * torch.rand(2, pairs, 1, *shape, generator=generator)
    return {
        "fixed_image": (fixed * 0.9 + noise[0]).clamp(0, 1),
        "moving_image": (moving * 0.9 + noise[1]).clamp(0, 1),
        "spacing_mm": torch.ones(pairs, len(shape)),
        "case": [f"case{k}" for k in range(pairs)],
        "fixed_id": [f"fixed{k}" for k in range(pairs)],
        "moving_id": [f"moving{k}" for k in range(pairs)],
        "slice_index": torch.arange(pairs),
    }


@pytest.mark.parametrize(("shape", "rank"), [((9, 12), 1), ((7, 8, 6), 0)])
def test_a_fit_lowers_the_bound_and_goes_on_where_it_was(shape, rank):
    task = task_of(f"model.fit.rank={rank}", ndim=len(shape))
    batch = batch_of(shape)
    images = full_images(batch["fixed_image"], batch["moving_image"], batch["spacing_mm"])
    energy = task.model.posterior(images, seed=0)
    settings = task.model.variational
    fit = replace(settings, iterations=30, lr=0.05, rank=rank).fit(energy, seed=0)
    bounds = torch.stack(fit.history)
    assert bounds.shape == (30, 2)
    assert (bounds[-5:].mean(0) > bounds[:5].mean(0)).all()
    assert fit.factor.shape[1] == rank
    warm = (
        replace(settings, iterations=1, lr=0.05, rank=rank)
        .fit(energy, seed=0, earlier=[fit.parts()[0], None])
        .history
    )
    assert float(warm[0][0]) > float(bounds[0, 0])
    assert float(warm[0][1]) == pytest.approx(float(bounds[0, 1]), rel=1e-3)


def test_fits_of_other_sizes_are_passed_over():
    task = task_of()
    batch = batch_of()
    energy = task.model.posterior(full_images(batch["fixed_image"], batch["moving_image"]), seed=0)
    other = {"mean": torch.zeros(3), "log_std": torch.zeros(3), "factor": torch.zeros(1, 3)}
    fresh = task.model.fitted(energy, seed=0)
    energy.generator.manual_seed(0)
    again = task.model.fitted(energy, seed=0, earlier=[other, None])
    assert torch.equal(fresh.mean, again.mean)


def test_the_encoder_is_a_constant_of_the_fit():
    task = task_of()
    batch = batch_of()
    energy = task.model.posterior(full_images(batch["fixed_image"], batch["moving_image"]), seed=0)
    task.model.fitted(energy, seed=0)
    assert all(parameter.grad is None for parameter in task.model.similarity.parameters())
    assert all(parameter.requires_grad for parameter in task.model.similarity.parameters())


def test_fixed_images_are_drawn_in_mirrored_pairs_within_their_clamps():
    fixed = torch.full((1, 1, 6, 5), 0.5)
    drawn = FixedImages(fixed, contrast=Contrast(std=0.01, factor=0.02, learning_rate=1e-3))
    one, two = drawn.pair(torch.Generator().manual_seed(0))
    torch.testing.assert_close((one + two) / 2, fixed)
    many = torch.stack([drawn.pair(torch.Generator().manual_seed(k))[0] for k in range(4000)])
    covariance = torch.cov(many.detach().reshape(4000, -1).T)
    torch.testing.assert_close(
        covariance.diagonal().mean(), torch.tensor(0.01**2 + 0.02**2), rtol=0.06, atol=0
    )
    assert float(covariance[0, 1:].mean()) == pytest.approx(0.02**2, rel=0.1)
    with torch.no_grad():
        drawn.log_variance.fill_(3.0)
        drawn.factor.fill_(-4.0)
    wide = drawn.pair(torch.Generator().manual_seed(0))[0].detach()
    assert 0 <= float(wide.min()) <= float(wide.max()) <= 1
    assert float(drawn.log_variance.detach().max()) == 0.0
    assert float(drawn.factor.detach().min()) == -1.0
    with pytest.raises(DataError, match=r"\[0, 1\]"):
        FixedImages(fixed * 3, contrast=CONTRAST)
    with pytest.raises(ConfigError, match=r"task\.contrast"):
        Contrast(std=2.0, factor=0.1, learning_rate=1e-3)


def test_a_fixed_image_goes_on_where_it_was():
    fixed = torch.rand(1, 1, 4, 4)

    def visit(drawn):
        one, two = drawn.pair(torch.Generator().manual_seed(1))
        (one.square().sum() + two.sum()).backward()
        drawn.step()
        return drawn.tensors()

    whole = FixedImages(fixed, contrast=CONTRAST)
    visit(whole)
    split = FixedImages(fixed, contrast=CONTRAST, kept={k: v.clone() for k, v in whole.tensors().items()})
    expected, found = visit(whole), visit(split)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)


@pytest.mark.parametrize("folder", [False, True])
def test_what_is_kept_comes_back(folder, tmp_path):
    kept = KeptTensors(str(tmp_path) if folder else None)
    assert kept.get("a") is None
    kept.put("a", {"x": torch.ones(2)})
    state = kept.state()
    kept.put("a", {"x": torch.zeros(2)})
    assert float(kept.get("a")["x"].sum()) == 0.0
    other = KeptTensors(str(tmp_path) if folder else None)
    other.load_state(state)
    assert float(other.get("a")["x"].sum()) == 2.0
    assert len(other) == 1


@pytest.mark.parametrize("similarity", ["learned_ssd", "learned_lcc"])
def test_training_lowers_its_objective(similarity):
    task = task_of(f"similarity={similarity}", "model.fit.iterations=2")
    optimiser = torch.optim.Adam(task.model.parameters(), lr=1e-3)
    batch, losses = batch_of(), []
    task.train_means.take()
    for epoch in range(15):
        energy = task.model.posterior(task._images(batch), seed=0)
        warped = batch["moving_image"]
        chance = torch.Generator().manual_seed(0)
        loss = task._contrasted(batch, energy, warped, chance)
        losses.append(float(loss.detach()))
        optimiser.zero_grad()
        loss.backward()
        task.on_after_backward()
        optimiser.step()
        del epoch
    assert losses[-1] < losses[0]
    assert losses == sorted(losses, reverse=True)
    assert len(task.kept) == 2  # one q_f for each fixed image


def tiny(data, *more):
    return [
        *SMALL, f"data.dataset.root={data}", "data.split.published=false", "data.split.val=0.2",
        "data.split.test=0.4", "data.loader.batch_size=2", "model.fit.iterations=3", "trainer.max_epochs=4",
        "trainer.check_val_every_n_epoch=2", "logger=none", "report=false", "pictures=1", *more,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tiny_acdc(tmp_path_factory.mktemp("acdc"))


@pytest.mark.slow
def test_a_run_beside_its_baseline_and_its_use(data, tmp_path):
    code, output = run(tmp_path, tiny(data))
    assert code == 0, output
    folder = run_folder(tmp_path)
    assert "baseline" in (folder / "results.csv").read_text()
    kept = [option for option in tiny(data) if option.startswith(("data", "logger", "report"))]
    use = ["model=optimise", "similarity=learned_ssd", f"similarity.ckpt={folder}", "transformation=svf"]
    code, output = run(tmp_path / "use", [*use, *kept])
    assert code == 0, output


@pytest.mark.slow
@pytest.mark.parametrize("keep", [False, True])
def test_a_stopped_training_goes_on_bit_by_bit(data, tmp_path, keep):
    def options(name, epochs):
        more = [f"task.keep={tmp_path / name / 'kept'}"] if keep else []
        return tiny(data, "mode=fit", f"trainer.max_epochs={epochs}", *more)

    code, output = run_process(tmp_path / "whole", options("whole", 4))
    assert code == 0, output
    code, output = run_process(tmp_path / "first", options("first", 2))
    assert code == 0, output
    last = run_folder(tmp_path / "first") / "checkpoints" / "last.ckpt"
    more = [f"task.keep={tmp_path / 'first' / 'kept'}"] if keep else []
    code, output = run_process(tmp_path / "second", tiny(data, "mode=fit", f"resume={last}", *more))
    assert code == 0, output
    ends = [read(run_folder(tmp_path / name) / "checkpoints" / "last.ckpt") for name in ("whole", "second")]
    assert all(torch.equal(value, ends[1]["state_dict"][key]) for key, value in ends[0]["state_dict"].items())
    assert ends[0]["kept"]["visits"] == ends[1]["kept"]["visits"]
