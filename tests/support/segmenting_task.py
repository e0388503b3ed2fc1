"""Segmentation tasks on the discs of `labelled_images`, with everything that may be added to them."""

from __future__ import annotations

import pytorch_lightning as pl
import torch
from labelled_images import LABELS, labelled_batch, loader
from monai.losses import DiceCELoss
from torch import nn

from medreg.augmentation.adversary import AdvChain
from medreg.augmentation.batch.unchanged import Unchanged
from medreg.augmentation.consistency_term import ConsistencyTerm
from medreg.augmentation.training import TrainingAugmentation
from medreg.callbacks.random_state import RandomState
from medreg.losses.segmentation.consistency import Consistency
from medreg.metrics.segmentation import SegmentationEvaluator
from medreg.tasks.segmentation import SegmentationTask
from medreg.tasks.semi.consistency import AdversarialConsistency
from medreg.tasks.semi.mean_teacher import MeanTeacher


class Discs(pl.LightningDataModule):
    """Four training batches of two discs, with images without labels beside them, and two cases of validation."""

    provides = frozenset({"image", "label", "case", "unlabelled"})

    def train_dataloader(self):
        return loader([self.batch(number) for number in range(4)])

    def val_dataloader(self):
        return loader([labelled_batch(number) for number in (100, 101)])

    @staticmethod
    def batch(number):
        found = labelled_batch(number, slices=2)
        other = labelled_batch(50 + number, slices=3)
        return {**found, "unlabelled": {"image": other["image"], "case": other["case"]}}


class Labelled(Discs):
    """The same without the images without labels."""

    provides = frozenset({"image", "label", "case"})

    @staticmethod
    def batch(number):
        return labelled_batch(number, slices=2)


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.LeakyReLU(), nn.Conv2d(8, 3, 3, padding=1)
    )


def advchain(*, batch=None, adversary=None, **changes):
    options = {"weight": 1.0, "ramp_epochs": 0, "first_epoch": 0, "share": True} | changes
    return TrainingAugmentation(
        batch or Unchanged(), ConsistencyTerm(adversary=adversary or AdvChain.paper(2, seed=5), **options)
    )


def consistency(**changes):
    options = {
        "weight": 1.0, "ramp_epochs": 200, "entropy": 0.0, "ramp_labelled": True,
        "consistency": Consistency(divergence="mse"),
    }  # fmt: skip
    return AdversarialConsistency(**(options | changes))


def mean_teacher(**changes):
    options = {
        "weight": 1.0, "ramp_epochs": 0, "entropy": 0.0, "decay": 0.9, "noise": 0.1, "evaluate": "student",
    }  # fmt: skip
    return MeanTeacher(**(options | changes))


def task_of(model=None, **options):
    return SegmentationTask(
        model or network(), DiceCELoss(softmax=True), evaluator=SegmentationEvaluator(LABELS), multiple=4, seed=5,
        optimiser=lambda parameters: torch.optim.Adam(parameters, lr=1e-2), name="net", **options,
    )  # fmt: skip


def trainer_of(folder, *, epochs=2, **options):
    return pl.Trainer(
        default_root_dir=folder, max_epochs=epochs, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, callbacks=[RandomState()], log_every_n_steps=1,
        **options,
    )  # fmt: skip
