"""Slices of the cardiac phantom in memory, and a small network that has learnt to segment them for some seconds."""

from __future__ import annotations

from functools import cache

import torch
from torch import nn

from medreg.data.phantoms.cardiac_scan import Appearance, acquire, draw_person

SIZE = 48


@cache
def heart_slices(people=4, *, seed=3):
    """Images (N, 1, 48, 48) in [0, 1] and labels (N, 64, 64) of 0 to 3, mid slices at end-diastole."""
    images, labels = [], []
    for number in range(people):
        person = draw_person(
            "NOR", frames=2, slices=(8, 8), size=(SIZE, SIZE), spacing_mm=(4.0, 4.0),
            thickness_mm=(9.0, 9.0), seed=(seed, number),
        )  # fmt: skip
        cine = acquire(person, ["bssfp"], Appearance(0.03, 0.15, 0.6, 0.04, 0.06))
        for k in (2, 3, 4, 5):
            images.append(torch.from_numpy(cine.frames[0, :, :, k, person.end_diastole].copy()).float())
            labels.append(torch.from_numpy(person.labels(person.end_diastole)[:, :, k].copy()).long())
    stack = torch.stack(images).unsqueeze(1)
    low, high = stack.amin((1, 2, 3), keepdim=True), stack.amax((1, 2, 3), keepdim=True)
    return (stack - low) / (high - low), torch.stack(labels)


class SmallUNet(nn.Module):
    """Two levels, batch normalisation, optional dropout; images to scores of `classes`."""

    def __init__(self, classes=4, *, width=8, channels=1, dropout=0.0):
        super().__init__()
        self.down = _block(channels, width)
        self.deep = nn.Sequential(nn.MaxPool2d(4), _block(width, 2 * width), nn.Dropout2d(dropout))
        self.up = _block(3 * width, width)
        self.out = nn.Conv2d(width, classes, 1)

    def forward(self, image):
        fine = self.down(image)
        coarse = nn.functional.interpolate(self.deep(fine), scale_factor=4.0, mode="bilinear")
        return self.out(self.up(torch.cat([fine, coarse], 1)))


def _block(inputs, outputs):
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(),
        nn.Conv2d(outputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(),
    )  # fmt: skip


def trained(images, labels, *, steps=120, seed=0):
    """A SmallUNet after so many steps on these images, in eval mode."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = SmallUNet()
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    weight = torch.tensor([0.3, 1.0, 1.0, 1.0])
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        batch = torch.randint(len(images), (8,), generator=generator)
        optimiser.zero_grad()
        nn.functional.cross_entropy(network(images[batch]), labels[batch], weight=weight).backward()
        optimiser.step()
    return network.eval()
