"""Segmentation with a predictive distribution: each kind of network learns, draws, resumes and says how true it is."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from labelled_images import LABELS, LabelledImages, labelled_batch
from monai.losses import DiceCELoss
from pytorch_lightning import Trainer
from torch import nn

from medreg.config.compose import compose
from medreg.config.instantiate import build
from medreg.errors import CompositionError, ConfigError
from medreg.metrics.segmentation import SegmentationEvaluator
from medreg.models.segmentation_samples import (
    DropoutSegmentation,
    EnsembleSegmentation,
    SingleSegmentation,
    VariationalSegmentation,
)
from medreg.tasks.segmentation_posterior import PosteriorSegmentationTask

pytestmark = [
    pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many workers"),
    pytest.mark.filterwarnings(
        "ignore:Found .* in eval mode at the start of training"
    ),  # of the engine, as it should
]


def network(p=0.0):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.LeakyReLU(), nn.Dropout(p), nn.Conv2d(8, 3, 3, padding=1)
    )


MODELS = {
    "single": (lambda: SingleSegmentation(network()), 1),
    "dropout": (lambda: DropoutSegmentation(network(0.2)), 6),
    "ensemble": (lambda: EnsembleSegmentation(network(), 3), 3),
    "variational": (lambda: VariationalSegmentation(network(), random="last", rank=2, vectorise="loop"), 6),
}


def task_of(model, *, draws=6):
    return PosteriorSegmentationTask(
        model, draws=draws, band_mm=6.0, seed=1, loss=DiceCELoss(softmax=True, lambda_dice=0.0),
        evaluator=SegmentationEvaluator(LABELS, surface=False), multiple=16, name="net",
        optimiser=lambda parameters: torch.optim.Adam(parameters, lr=1e-2),
    )  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_it_learns_and_its_probabilities_are_those_of_its_draws(name, tmp_path):
    make, count = MODELS[name]
    torch.manual_seed(0)
    task = task_of(make())
    trainer = Trainer(
        default_root_dir=tmp_path, max_epochs=6, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, log_every_n_steps=1,
    )  # fmt: skip
    trainer.fit(task, LabelledImages())
    assert float(trainer.callback_metrics["val/dice_mean"]) > 0.7
    batch = labelled_batch(5, slices=3)
    task.eval()
    found = task.probabilities(batch["image"])
    assert found.shape == (3, 3, 24, 20)
    torch.testing.assert_close(found.sum(1), torch.ones(3, 24, 20))
    assert torch.equal(found, task.probabilities(batch["image"])), "the same seed, the same draws"
    padded = nn.functional.pad(batch["image"], (0, 12, 0, 8))
    scores = task.model.draws(padded, 6, torch.Generator().manual_seed(1))
    assert scores.shape == (count, 3, 3, 32, 32)
    torch.testing.assert_close(scores.softmax(2).mean(0)[..., :24, :20], found)
    rows = {row.metric: row.value for row in task.test_step(batch, 0).rows["net"] if row.structure == "all"}
    assert 0 <= rows["label_ece_top"] < 0.5
    assert 0 < rows["label_nll"] < 1.1
    assert 0 < rows["label_brier"] < 0.7


def test_members_of_an_ensemble_do_not_know_of_each_other():
    """The gradient of a member is that of the member alone."""
    torch.manual_seed(1)
    model = EnsembleSegmentation(network(), 2)
    image, alone = torch.rand(2, 1, 16, 16), copy.deepcopy(model.members[1])
    assert not torch.equal(model.members[0][0].weight, model.members[1][0].weight)

    def likelihood(scores):
        return -scores.square().flatten(1).sum(1)

    model.objective(image, likelihood, size=10).backward()
    (-likelihood(alone(image)).mean()).backward()
    torch.testing.assert_close(model.members[1][0].weight.grad, alone[0].weight.grad)


def test_the_prior_counts_once_over_the_whole_data_set():
    """N times the objective is minus the bound, so that twice the images halve what the prior says of each."""
    model = VariationalSegmentation(network(), random="last", rank=1, family="structured")
    image = torch.rand(2, 1, 16, 16)
    flat = [10 * model.objective(image, lambda s: 0 * s.flatten(1).sum(1), size=10) for _ in range(2)]
    more = 1000 * model.objective(image, lambda s: 0 * s.flatten(1).sum(1), size=1000)
    assert flat[0].item() == pytest.approx(more.item(), rel=1e-5)
    assert flat[0].item() > 0


def test_posterior_draws_survive_a_checkpoint():
    model = VariationalSegmentation(network(), random="last", rank=2)
    image, generator = torch.rand(1, 1, 16, 16), torch.Generator()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
    other = VariationalSegmentation(network(), random="last", rank=2)
    other.load_state_dict(model.state_dict())
    one, two = (m.draws(image, 4, generator.manual_seed(3)) for m in (model, other))
    assert torch.equal(one, two)
    assert one.std(0).max() > 0


@pytest.mark.parametrize("name", ["unet_single", "unet_dropout", "unet_ensemble", "unet_variational"])
def test_the_options_make_a_network_that_draws_and_pickles(name):
    config = compose(
        [f"model={name}", "data=cardiac_phantom_segmentation", "model.network.channels=[4,4,4,4]"]
    )
    assert config.task._target_.endswith("PosteriorSegmentationTask")
    model = pickle.loads(pickle.dumps(build(config.model))).eval()
    image = torch.rand(2, 1, 16, 24)
    found = model.draws(image, 3, torch.Generator().manual_seed(0))
    assert found.shape[1:] == (2, 4, 16, 24)
    assert model(image).shape == (2, 4, 16, 24)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: task_of(network()), CompositionError, "Sequential has no draws; take model=unet_single"),
        (lambda: task_of(SingleSegmentation(network()), draws=0), ConfigError, r"task\.draws is 0"),
        (lambda: DropoutSegmentation(network()), CompositionError, "no dropout layer"),
        (lambda: EnsembleSegmentation(network(), 1), ConfigError, r"model\.members is 1"),
    ],
)
def test_what_does_not_fit_is_refused(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_likelihoods_of_shares_and_of_classes_are_the_same_to_the_bit():
    """So that training without augmentation is what it was before targets were shares."""
    scores = torch.randn(2, 3, 9, 8, requires_grad=True)
    classes = torch.randint(0, 3, (2, 9, 8))
    shares = nn.functional.one_hot(classes, 3).movedim(-1, 1).float()
    losses = [nn.functional.cross_entropy(scores, target, reduction="none") for target in (classes, shares)]
    assert torch.equal(*losses)
    first, second = (torch.autograd.grad(loss.sum(), scores)[0] for loss in losses)
    assert torch.equal(first, second)
