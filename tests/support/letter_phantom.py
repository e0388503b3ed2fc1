"""Labelled images with a letter L, which no rotation or flip leaves alone, and the augmentations of the group."""

from __future__ import annotations

import torch
from hydra import compose, initialize_config_dir
from omegaconf import open_dict

from medreg.config.instantiate import build
from medreg.config.paths import config_dir

NAMES = ("mixup", "cutmix", "randaugment", "randconv", "gin", "standard", "standard_prostate")


def chance(seed=0):
    """A generator of that seed."""
    return torch.Generator().manual_seed(seed)


def letters(count, shape, *, seed=0):
    """Images (count, 1, *shape) and one-hot targets (count, 3, *shape): a stem, a foot, and texture around them."""
    image = 0.2 * torch.rand(count, 1, *shape, generator=chance(seed))
    codes = torch.zeros(count, *shape, dtype=torch.long)
    first, second = (torch.arange(size) / size for size in shape[:2])
    inside = ((first > 0.3) & (first < 0.75)).unsqueeze(1) & ((second > 0.35) & (second < 0.5))
    foot = ((first > 0.6) & (first < 0.75)).unsqueeze(1) & ((second > 0.45) & (second < 0.75))
    for number, part in enumerate((inside, foot & ~inside), start=1):
        codes[:, part] = number
        image[:, 0][:, part] += 0.3 * number
    target = torch.nn.functional.one_hot(codes, 3).movedim(-1, 1).float()
    return image, target


def augmentation(name, *overrides):
    """The batch part of an option of the group `augmentation`."""
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        config = compose(f"augmentation/{name}", overrides=[f"augmentation.{text}" for text in overrides])
    with open_dict(config):
        return build(config.augmentation.batch)
