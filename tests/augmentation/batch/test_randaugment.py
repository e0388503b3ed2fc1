"""RandAugment: which operations, how strong, for which sample."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

import pytest
import torch
from letter_phantom import chance, letters

from medreg.augmentation.batch.operations import Operation, Posterise
from medreg.augmentation.batch.randaugment import RandAugment
from medreg.errors import ConfigError


@dataclass(frozen=True)
class Add(Operation):
    """Adds `amount` times the strength, so that the sum tells what happened."""

    amount: float

    def __call__(self, image, target, strength):
        return image + self.amount * strength.reshape(-1, 1, 1, 1), target


COUNTED = RandAugment(operations={"ones": Add(1.0), "hundreds": Add(100.0)}, count=2, magnitude=9, bins=31)


def test_two_of_the_operations_at_nine_thirtieths_either_way():
    image, target = torch.zeros(4000, 1, 1, 1, dtype=torch.float64), torch.ones(4000, 1, 1, 1)
    sums = (COUNTED(image, target, generator=chance())[0].flatten() / 0.3).round(decimals=4)
    found = Counter(sums.tolist())
    law = {}  # two draws with replacement of ±1 and ±100
    for first in (1, -1, 100, -100):
        for second in (1, -1, 100, -100):
            law[first + second] = law.get(first + second, 0) + 1 / 16
    assert set(found) == set(law)
    assert all(abs(found[key] / 4000 - share) < 0.025 for key, share in law.items())


def test_the_arguments_stay_as_they_are():
    image, target = letters(4, (12, 12))
    copies = image.clone(), target.clone()
    new, _ = replace(COUNTED, operations={"steps": Posterise(8)})(image, target, generator=chance())
    assert not torch.equal(new, image)
    assert torch.equal(image, copies[0])
    assert torch.equal(target, copies[1])


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("count", 0),
        ("magnitude", 31),
        ("magnitude", -1),
        ("bins", 1),
        ("operations", {}),
        ("operations", {"x": None}),
    ],
)
def test_options_that_make_no_sense_are_named(option, value):
    with pytest.raises(ConfigError, match=rf"randaugment\.{option} is .*give"):
        replace(COUNTED, **{option: value})
