"""What a training step of segmentation adds up, that its chance resumes, and what is refused."""

from __future__ import annotations

import pytest
import torch
from labelled_images import labelled_batch
from segmenting_task import Discs, Labelled, advchain, consistency, mean_teacher, network, task_of, trainer_of
from torch import nn

from medreg.augmentation.batch.unchanged import Unchanged
from medreg.augmentation.training import TrainingAugmentation
from medreg.errors import CompositionError
from medreg.io import checkpoint as checkpoints

pytestmark = pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many workers")
NOTHING = TrainingAugmentation(Unchanged(), None)
KINDS = {
    "average": lambda: {"ema": 0.9},
    "adversary": lambda: {"augmentation": advchain(ramp_epochs=3), "ema": 0.9},
    "consistency": lambda: {"augmentation": advchain(), "semi": consistency(ramp_epochs=4, entropy=0.1)},
    "teacher": lambda: {"semi": mean_teacher(evaluate="teacher")},
    "student": lambda: {"augmentation": advchain(), "semi": mean_teacher()},
}


def weights(task):
    return {key: torch.as_tensor(value).clone() for key, value in task.state_dict().items()}


def trained(folder, *, epochs=2, data=None, resume=None, **options):
    task, trainer = task_of(**options), trainer_of(folder, epochs=epochs)
    trainer.fit(task, data or Discs(), ckpt_path=resume, weights_only=True)
    return task, trainer


def told(task, batch):
    task.training_step(batch, 0)
    return {name: value.item() for name, value in task.train_means.take().items()}


def test_no_augmentation_trains_as_if_there_were_no_option(tmp_path):
    with_none, _ = trained(tmp_path, augmentation=NOTHING)
    without, _ = trained(tmp_path, data=Labelled())
    for key, value in weights(without).items():
        assert torch.equal(value, weights(with_none)[key])


def test_the_loss_of_shares_is_that_of_classes():
    from monai.losses import DiceCELoss

    task, batch = task_of(), labelled_batch(3, slices=2)
    classes = task._target(batch["label"]).argmax(1, keepdim=True)
    before = DiceCELoss(softmax=True, to_onehot_y=True)(task.scores(batch["image"]), classes)
    torch.testing.assert_close(task.training_step(batch, 0), before)
    assert set(task.train_means.take()) == {"loss"}


def test_a_step_is_the_sum_of_its_parts_and_says_them():
    task = task_of(augmentation=advchain(weight=0.5), semi=consistency(weight=3.0, ramp_epochs=10))
    parts = told(task, Discs.batch(0))
    assert set(parts) == {
        "loss", "supervised", "consistency", "consistency_start", "unlabelled", "unlabelled_start",
    }  # fmt: skip
    expected = parts["supervised"] + 0.1 * 0.5 * parts["consistency"] + 0.1 * 3 * parts["unlabelled"]
    assert parts["loss"] == pytest.approx(expected, rel=1e-5)
    whole = task_of(augmentation=advchain(weight=0.5), semi=consistency(ramp_labelled=False, weight=0.0))
    parts = told(whole, Discs.batch(0))
    assert parts["loss"] == pytest.approx(parts["supervised"] + 0.5 * parts["consistency"], rel=1e-5)


def test_labelled_and_unlabelled_images_have_chains_of_their_own(monkeypatch):
    from medreg.augmentation.adversary import AdvChain

    seen, original = [], AdvChain.disagreement
    monkeypatch.setattr(
        AdvChain, "disagreement", lambda self, *a, **k: seen.append(k["step"]) or original(self, *a, **k)
    )
    task = task_of(augmentation=advchain(), semi=consistency())
    for number in range(3):
        task.training_step(Discs.batch(number), number)
    assert sorted(seen) == list(range(6))


def test_the_adversary_waits_and_costs_nothing_before(monkeypatch):
    from medreg.augmentation.adversary import AdvChain

    monkeypatch.setattr(AdvChain, "disagreement", lambda *a, **k: pytest.fail("it was asked"))
    task = task_of(augmentation=advchain(first_epoch=1), semi=consistency())
    assert set(told(task, Discs.batch(0))) == {"loss"}


def test_running_statistics_take_in_the_supervised_images_only():
    plain, attacked = task_of(), task_of(augmentation=advchain())
    for task in (plain, attacked):
        task.train().training_step(labelled_batch(1, slices=2), 0)
    assert torch.equal(plain.model[1].running_mean, attacked.model[1].running_mean)
    assert attacked.model[1].num_batches_tracked == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_resumed_training_is_the_same_to_the_bit(kind, tmp_path):
    whole, _ = trained(tmp_path, epochs=3, **KINDS[kind]())
    _, trainer = trained(tmp_path, epochs=1, **KINDS[kind]())
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    again, _ = trained(tmp_path, epochs=3, resume=tmp_path / "last.ckpt", **KINDS[kind]())
    for key, value in weights(whole).items():
        assert torch.equal(value, weights(again)[key]), key


@pytest.mark.parametrize(("kind", "name"), [("average", "average"), ("teacher", "semi.teacher")])
def test_a_checkpoint_gives_the_averaged_weights_to_whoever_evaluates(kind, name, tmp_path):
    task, trainer = trained(tmp_path, epochs=2, **KINDS[kind]())
    trainer.save_checkpoint(tmp_path / "best.ckpt", weights_only=True)
    plain = task_of()
    checkpoints.apply_weights(plain.model, tmp_path / "best.ckpt")
    own, averaged = task.model.state_dict(), task.get_submodule(name).network.state_dict()
    for key, value in plain.model.state_dict().items():
        assert torch.equal(value, averaged[key])
    assert not torch.equal(own["0.weight"], averaged["0.weight"])
    batch = labelled_batch(100)
    plain.eval().validation_step(batch, 0)
    found = plain._validation["loss"].compute()
    task.train()
    task.validation_step(batch, 0)
    torch.testing.assert_close(task._validation["loss"].compute(), found)


def test_students_are_evaluated_unless_the_teacher_is_asked_for():
    assert task_of(semi=mean_teacher()).evaluated == "model"
    assert task_of(semi=mean_teacher(evaluate="teacher")).evaluated == "semi.teacher.network"
    assert task_of(ema=0.99).evaluated == "average.network"


def test_validation_says_dice_and_intersection_over_union(tmp_path):
    _, trainer = trained(tmp_path, epochs=3)
    dice, iou = (float(trainer.callback_metrics[f"val/{name}_mean"]) for name in ("dice", "iou"))
    assert 0 < iou < dice <= 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"semi": consistency()}, "semi=consistency needs an augmentation"),
        ({"semi": consistency(), "augmentation": NOTHING}, "augmentation=advchain"),
        ({"semi": mean_teacher(evaluate="teacher"), "ema": 0.9}, "task.ema=0.9 and semi.evaluate=teacher"),
    ],
)
def test_what_does_not_fit_is_refused(options, words):
    with pytest.raises(CompositionError, match=words):
        task_of(**options)


def test_data_without_unlabelled_images_are_refused_before_training(tmp_path):
    with pytest.raises(CompositionError, match=r"data\.labelled=3"):
        trainer_of(tmp_path).fit(task_of(semi=mean_teacher()), Labelled())
    with pytest.raises(CompositionError, match=r"data\.labelled=3"):
        task_of(semi=mean_teacher()).training_step(labelled_batch(0), 0)


def test_batch_normalisation_of_one_value_names_what_helps():
    class Deep(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(1))

        def forward(self, image):
            return self.layers(image)

    with pytest.raises(CompositionError, match=r"data\.loader\.batch_size=2.*model\.norm=instance"):
        task_of(Deep()).train().training_step(labelled_batch(0), 0)


def test_chance_depends_on_seed_step_process_and_purpose():
    task, batch = task_of(network()), labelled_batch(0)
    moments = [task._moment(batch, number) for number in (0, 0, 1)]
    drawn = [torch.rand(3, generator=moment.generator("labelled")) for moment in moments]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert not torch.equal(drawn[0], torch.rand(3, generator=moments[0].generator("teacher")))


@pytest.mark.parametrize("dropout", [False, True])
def test_sharing_the_supervised_pass_changes_no_bit(dropout):
    def step(share):
        model = nn.Sequential(network(), nn.Dropout(0.3)) if dropout else network()
        task = task_of(model, augmentation=advchain(share=share)).train()
        torch.manual_seed(1)  # of the dropout of the supervised pass
        loss = task.training_step(labelled_batch(2, slices=2), 0)
        loss.backward()
        return loss, [p.grad for p in model.parameters()], counted[0]

    counted = [0]
    original = nn.Conv2d.forward
    try:
        nn.Conv2d.forward = lambda self, x: counted.__setitem__(0, counted[0] + 1) or original(self, x)
        one, two = step(True), step(False)
    finally:
        nn.Conv2d.forward = original
    assert torch.equal(one[0], two[0])
    assert all(torch.equal(a, b) for a, b in zip(one[1], two[1], strict=True))
    passes = one[2] // 2, (two[2] - one[2]) // 2
    assert passes == ((4, 4) if dropout else (3, 4)), "supervised, reference, ascent, outer"
