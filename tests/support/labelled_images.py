"""Single images with labels, made in memory: a bright disc with a ring, which a threshold could segment."""

from __future__ import annotations

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

LABELS = {"cavity": 2, "wall": 5}


def labelled_batch(number, *, slices=1, shape=(24, 20)):
    """One batch of the contract of single images; the disc lies elsewhere in each."""
    generator = torch.Generator().manual_seed(number)
    centre = torch.tensor(shape) / 2 + torch.randint(-3, 4, (2,), generator=generator)
    axes = torch.meshgrid(*(torch.arange(size) for size in shape), indexing="ij")
    distance = sum((axis - middle) ** 2 for axis, middle in zip(axes, centre, strict=True)).sqrt()
    label = torch.where(distance < 4, 2, torch.where(distance < 7, 5, 0)).expand(slices, 1, *shape)
    image = torch.where(label == 2, 1.0, torch.where(label == 5, 0.5, 0.1))
    affine = torch.diag(torch.tensor([1.5, 1.5, 8.0, 1.0], dtype=torch.float64))
    return {
        "image": image + 0.02 * torch.randn(image.shape, generator=generator),
        "label": label.clone(),
        "spacing_mm": torch.full((slices, 2), 1.5),
        "affine": affine.expand(slices, 4, 4),
        "case": [f"c{number}"] * slices,
    }


class LabelledImages(pl.LightningDataModule):
    """Eight training batches, two validation and three test cases of three slices."""

    def train_dataloader(self):
        return loader([labelled_batch(number, slices=4) for number in range(8)])

    def val_dataloader(self):
        return loader([labelled_batch(number) for number in (100, 101)])

    def test_dataloader(self):
        return loader([labelled_batch(number, slices=3) for number in (200, 201, 202)])


def loader(batches):
    return DataLoader(batches, batch_size=None, num_workers=0)
