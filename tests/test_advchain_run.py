"""Runs with an adversary as a user starts them: few labels, several processes, evaluation of the run, fine-tuning."""

from __future__ import annotations

import csv
from dataclasses import replace

import pytest
import torch
from heart_slices import SmallUNet, heart_slices
from labelled_images import loader
from monai.losses import DiceCELoss
from pytorch_lightning import LightningDataModule
from segmenting_task import advchain, trainer_of
from small_run import run, run_folder, run_process, tiny_acdc

from medreg.augmentation.batch.unchanged import Unchanged
from medreg.augmentation.training import TrainingAugmentation
from medreg.config.compose import compose
from medreg.config.instantiate import build
from medreg.metrics.segmentation import SegmentationEvaluator
from medreg.tasks.segmentation import SegmentationTask

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many workers"),
]
TINY = (
    "model=unet_16", "model.width=2", "data=acdc_segmentation", "data.preprocess.spacing_mm=null",
    "data.preprocess.size=[32,32]", "data.split.published=false", "data.split.val=0.25", "data.split.test=0.25",
    "data.loader.batch_size=2", "augmentation=advchain", "trainer.max_epochs=2",
    "trainer.check_val_every_n_epoch=1", "logger=none", "pictures=0", "report=false",
)  # fmt: skip


def told(folder):
    with (folder / "history.csv").open() as stream:
        return {(row["epoch"], row["name"]): float(row["value"]) for row in csv.DictReader(stream)}


def test_few_labels_and_images_without_and_the_run_is_evaluated_again(tmp_path):
    data = f"data.dataset.root={tiny_acdc(tmp_path / 'acdc', subjects=8)}"
    code, output = run(tmp_path, [*TINY, data, "semi=consistency", "data.labelled=2"])
    assert code == 0, output
    folder = run_folder(tmp_path)
    history = told(folder)
    for name in ("supervised", "consistency", "consistency_start", "unlabelled", "unlabelled_start"):
        assert history["1", f"train/{name}"] > 0
    again = tmp_path / "again"
    code, output = run(
        again, [data, "data=acdc_segmentation", "mode=test", f"ckpt={folder}", *TINY[3:7], *TINY[-3:]]
    )
    assert code == 0, output
    assert (run_folder(again) / "results.csv").is_file()
    code, output = run(tmp_path / "none", [*TINY, data, "semi=mean_teacher"])
    assert code != 0
    assert "data.labelled=3" in output


def test_two_processes_train_against_one_chain(tmp_path):
    data = tiny_acdc(tmp_path / "acdc", subjects=9)
    code, output = run_process(
        tmp_path,
        [
            *TINY, f"data.dataset.root={data}", "semi=consistency", "data.labelled=4", "task.ema=0.9",
            "trainer=ddp", "trainer.accelerator=cpu", "trainer.max_epochs=2",
        ],
    )  # fmt: skip
    assert code == 0, output
    assert told(run_folder(tmp_path))["1", "train/unlabelled"] > 0


class Hearts(LightningDataModule):
    """One labelled person, in batches of four slices; three others to be validated."""

    def __init__(self):
        super().__init__()
        images, labels = heart_slices(4)
        self.own, self.others = ((images[part], labels[part]) for part in (slice(0, 4), slice(4, None)))

    def train_dataloader(self):
        return loader([self._batch(*self.own)] * 10)

    def val_dataloader(self):
        return loader(
            [self._batch(image[None], label[None]) for image, label in zip(*self.others, strict=True)]
        )

    def _batch(self, image, label):
        return {"image": image, "label": label.unsqueeze(1), "case": ["c"] * len(image)}


def dice_after(folder, epochs, augmentation, *, start=None, lr=1e-3):
    torch.manual_seed(0)
    task = SegmentationTask(
        SmallUNet(), DiceCELoss(softmax=True), evaluator=SegmentationEvaluator({"RV": 1, "MYO": 2, "LV": 3}),
        multiple=16, augmentation=augmentation, seed=1, optimiser=lambda p: torch.optim.Adam(p, lr=lr),
    )  # fmt: skip
    if start is not None:
        task.model.load_state_dict(start)
    trainer = trainer_of(folder, epochs=epochs)
    trainer.fit(task, Hearts())
    return task.model.state_dict(), float(trainer.callback_metrics["val/dice_mean"])


def test_one_shot_fine_tuning_by_the_adversary_is_told_beside_more_of_the_same(tmp_path, record_property):
    """What is gained is told, not demanded; that it trains, and does not fall apart, is."""
    standard = build(compose(["model=unet_16", "augmentation=standard"]).augmentation)
    standard = replace(standard, batch=replace(standard.batch, copies="all"))
    adversarial = advchain(batch=standard.batch)
    weights, first = dice_after(tmp_path, 12, standard)
    _, more = dice_after(tmp_path, 5, standard, start=weights, lr=2e-4)
    _, tuned = dice_after(tmp_path, 5, adversarial, start=weights, lr=2e-4)
    _, bare = dice_after(tmp_path, 17, TrainingAugmentation(Unchanged(), None))
    for name, dice in (("baseline", first), ("continued", more), ("advchain", tuned), ("none", bare)):
        record_property(f"dice_{name}", round(dice, 3))
    print(
        f"Dice: baseline {first:.3f}, continued {more:.3f}, AdvChain {tuned:.3f}, no augmentation {bare:.3f}"
    )
    assert first > 0.3
    assert tuned > more - 0.1
