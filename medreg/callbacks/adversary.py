"""What the adversary of a training does to one labelled image, kept for the report."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from medreg.augmentation.adversary import AdvChain
from medreg.augmentation.showing import ShownAttack, attack_arrays
from medreg.io.atomic import replacing
from medreg.metrics.overlap import label_index

log = logging.getLogger("medreg")
FILE = "adversary/attack.npz"  # in the run folder


class ShowAdversary(pl.Callback):
    """Write `adversary/attack.npz` when a training with an adversary has ended.

    Of the first validation case it is the slice with most labels; of a volume, the slice with the largest divergence.
    """

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Attack, and never let a picture cost the training."""
        adversary = adversary_of(pl_module)
        if adversary is None or not trainer.is_global_zero:
            return
        modes = {module: module.training for module in pl_module.modules()}
        try:
            with torch.random.fork_rng(devices=[]):
                batch = _first_labelled(trainer)
                if batch is not None:
                    arrays = shown(pl_module.eval(), adversary, batch)
                    with replacing(Path(trainer.default_root_dir) / FILE) as part:
                        np.savez_compressed(part, allow_pickle=False, **arrays)
        except Exception as error:  # whatever it is: the training has ended well
            log.warning("What the adversary does could not be kept for the report: %s", error, exc_info=True)
        finally:
            for module, training in modes.items():
                module.training = training


def adversary_of(task: Any) -> AdvChain | None:
    """Return the adversary that a task trains against, None where it has none."""
    term = getattr(getattr(task, "augmentation", None), "consistency", None)
    found = getattr(term, "adversary", None)
    return found if isinstance(found, AdvChain) else None


def shown(task: Any, adversary: AdvChain, batch: dict[str, Any]) -> dict[str, Any]:
    """Return the arrays of one slice, (X, Y) each, with label codes instead of classes.

    Args:
        task: of segmentation; `task.scores` is asked.
        adversary: that attacks.
        batch: one labelled case of the contract.
    """
    device = next(task.model.parameters()).device
    image, label = batch["image"], batch["label"]
    if len(image) > 1:
        place = int((label != 0).flatten(1).sum(1).argmax())
        image, label = image[place : place + 1], label[place : place + 1]
    codes = list(task.evaluator.labels.values())
    classes = label_index(label, codes).to(device)
    found = attack_arrays(adversary, task.scores, image.to(device), module=task.model, labels=classes)
    cut = _slice_of(found)
    names = torch.tensor([0, *codes])
    plain: dict[str, Tensor] = {
        "image": image[0, 0],
        "label": label[0, 0],
        "stages": found.stages[:, 0, 0],
        "before": names[found.before[0]],
        "after": names[found.after[0]],
        "divergence": found.divergence[0],
    }
    return {
        **{name: (array if cut is None else array[..., cut]).cpu().numpy() for name, array in plain.items()},
        "names": np.array(found.names),
        "start": float(found.start[0]),
        "end": float(found.end[0]),
        "spacing_mm": batch["spacing_mm"][0].cpu().numpy()[:2],
        "case": np.array(str(batch["case"][0])),
    }


def _slice_of(found: ShownAttack) -> int | None:
    """Index along the last axis of the slice of a volume where the predictions differ most; None for a slice."""
    maps = found.divergence[0]
    return int(maps.flatten(0, 1).sum(0).argmax()) if maps.ndim == 3 else None


def _first_labelled(trainer: pl.Trainer) -> dict[str, Any] | None:
    """The first validation case with a labelled voxel."""
    loaders: Any = trainer.val_dataloaders
    if loaders is None and getattr(trainer, "datamodule", None) is not None:
        loaders = trainer.datamodule.val_dataloader()  # type: ignore[attr-defined]
    for batch in loaders or ():
        if "label" in batch and bool((batch["label"] != 0).any()):
            return dict(batch)
    return None
