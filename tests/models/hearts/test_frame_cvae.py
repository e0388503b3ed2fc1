"""The CVAE of single frames: frames are for themselves in training and share a code in answers."""

from __future__ import annotations

import torch
from small_hearts import conditions, people

from medreg.models.hearts.frame_cvae import FrameCVAE

SIZE, FRAMES = (8, 8, 8), 4


def model() -> FrameCVAE:
    torch.manual_seed(0)
    return FrameCVAE(
        conditions(), frames=FRAMES, classes=4, size=SIZE, n_down=2, filters=4, latent=3, mapped=5,
        mapping_layers=2, mapping_hidden=6, norm="batch", checkpoint=False,
    )  # fmt: skip


def shapes(count: int) -> torch.Tensor:
    chance = torch.Generator().manual_seed(3)
    return torch.randint(0, 4, (count, FRAMES, *SIZE), generator=chance).to(torch.uint8)


def test_every_frame_has_a_code_of_its_own_frame():
    network, shape, told = model().eval(), shapes(2), people(2)
    both = network(shape, told, frames=torch.tensor([1, 3]))
    assert both.scores.shape == (2, 2, 4, *SIZE)
    assert both.mean is not None
    assert both.mean.shape == (4, 3)
    other = shape.clone()
    other[:, 3] = 0
    changed = network(other, told, frames=torch.tensor([1, 3]))
    assert torch.equal(changed.mean[[0, 2]], both.mean[[0, 2]])
    assert not torch.equal(changed.mean[[1, 3]], both.mean[[1, 3]])


def test_the_phase_is_told():
    network, told = model().eval(), people(2)
    found = network.told(told, torch.tensor([0, 2]), 2)
    assert not torch.allclose(found[:, 0], found[:, 1])


def test_an_answer_is_the_code_of_the_first_frame_at_every_phase():
    network, shape, told = model().eval(), shapes(2), people(2)
    found = network.complete(shape[:, 0], told)
    frames = torch.arange(FRAMES)
    mean = network(shape, told, frames=frames[:1]).mean
    scores = network.decode(mean.unsqueeze(1).expand(-1, FRAMES, -1), network.told(told, frames, 2))
    assert torch.equal(found.long(), scores.argmax(2))
    draw = lambda seed: network.generate(told, generator=torch.Generator().manual_seed(seed))  # noqa: E731
    assert draw(1).dtype == torch.uint8
    assert draw(1).shape == shape.shape
    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))
