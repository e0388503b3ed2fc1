"""Losses on images without labels: their formulas, and who gets their gradient."""

from __future__ import annotations

import math

import pytest
import torch
from segmenting_task import Discs, advchain, consistency, mean_teacher, task_of

from medreg.errors import ConfigError
from medreg.tasks.semi.base import mean_entropy


def moment_of(task, number=0):
    return task._moment(Discs.batch(number), number)


def test_the_teacher_gets_no_gradient_and_the_student_follows_the_formula():
    task = task_of(semi=mean_teacher(weight=2.0, noise=0.0))
    with torch.no_grad():
        task.semi.teacher.network[0].weight.add_(0.3)
    image = Discs.batch(0)["unlabelled"]["image"]
    found = task.semi(image, moment_of(task))
    wanted = task.semi.teacher(image).softmax(1)
    expected = (task.scores(image).softmax(1) - wanted).square().sum(1).mean()
    torch.testing.assert_close(found.loss, 2 * expected)
    torch.testing.assert_close(found.told["unlabelled"], expected)
    found.loss.backward()
    assert task.model[0].weight.grad.abs().max() > 0
    assert all(p.grad is None for p in task.semi.teacher.parameters())


def test_student_and_teacher_see_different_noise_that_is_bounded():
    task, seen = task_of(semi=mean_teacher(noise=0.1)), []
    hook = lambda module, arguments: seen.append(arguments[0])  # noqa: E731
    task.model.register_forward_pre_hook(hook)
    task.semi.teacher.network.register_forward_pre_hook(hook)
    image = Discs.batch(0)["unlabelled"]["image"]
    task.semi(image, moment_of(task))
    student, teacher = (shown[..., :24, :20] - image for shown in seen)
    assert not torch.equal(student, teacher)
    for noise in (student, teacher):
        assert noise.abs().max() <= 0.2 + 1e-6
        assert noise.std().item() == pytest.approx(0.1, rel=0.15)


def test_the_weight_of_the_teacher_grows_as_a_sigmoid():
    task = task_of(semi=mean_teacher(ramp_epochs=10))
    with torch.no_grad():
        task.semi.teacher.network[0].weight.add_(0.3)
    found = task.semi(Discs.batch(0)["unlabelled"]["image"], moment_of(task))
    assert found.loss.item() == pytest.approx(math.exp(-5) * found.told["unlabelled"].item(), rel=1e-5)


@pytest.mark.parametrize("semi", [mean_teacher, consistency])
def test_entropy_is_added_with_its_weight(semi):
    augmentation = advchain()
    plain, more = (task_of(semi=semi(entropy=weight), augmentation=augmentation) for weight in (0.0, 0.5))
    image = Discs.batch(0)["unlabelled"]["image"]
    without, found = (task.semi(image, moment_of(task)) for task in (plain, more))
    entropy = found.told["entropy"]
    torch.testing.assert_close(found.loss, without.loss + 0.5 * entropy)
    assert 0 < entropy < math.log(3)


def test_entropy_of_known_probabilities():
    scores = torch.tensor([[0.25, 0.75], [0.5, 0.5]]).log().reshape(2, 2, 1, 1)
    expected = (0.25 * math.log(4) + 0.75 * math.log(4 / 3) + math.log(2)) / 2
    assert mean_entropy(scores).item() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: mean_teacher(evaluate="both"), "semi.evaluate is 'both'"),
        (lambda: mean_teacher(noise=-1.0), "semi.noise is -1"),
        (lambda: mean_teacher(weight=-1.0), "semi.weight is -1"),
        (lambda: consistency(entropy=-1.0), "semi.entropy is -1"),
        (lambda: task_of(semi=mean_teacher(decay=1.5)), "semi.decay is 1.5"),
    ],
)
def test_numbers_that_mean_nothing_are_refused(make, words):
    with pytest.raises(ConfigError, match=words):
        make()


def test_a_weight_that_never_gets_to_its_full_size_is_told(caplog):
    semi = mean_teacher(ramp_epochs=20)
    for epochs in (None, -1, 20, 300):
        semi.tell_if_slow(epochs)
    assert not caplog.records
    semi.tell_if_slow(6)
    assert "semi.ramp_epochs=20 is longer than the training of 6 epochs" in caplog.text
    assert "semi.ramp_epochs=2," in caplog.text
