"""What is done to training images: a random change of each batch, and an adversary beside it."""

from __future__ import annotations

from dataclasses import dataclass

from medreg.augmentation.batch.base import BatchAugmentation
from medreg.augmentation.consistency_term import ConsistencyTerm


@dataclass(frozen=True)
class TrainingAugmentation:
    """A random change of training images, and a loss of consistency under adversarial ones.

    Attributes:
        batch: what is done to labelled images and their labels before the network sees them; images without labels
            are changed alike.
        consistency: loss under transformations that an adversary chooses, on the images so changed; None: no such
            loss.
    """

    batch: BatchAugmentation
    consistency: ConsistencyTerm | None
