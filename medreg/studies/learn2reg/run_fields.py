"""Fields of a run for the pairs of a Learn2Reg task, carried back to the images as they are stored."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
import yaml
from numpy.typing import NDArray

from medreg import __version__
from medreg.data.datasets.learn2reg_config import PairPaths
from medreg.data.loading import stamp
from medreg.errors import CheckpointError, CompositionError
from medreg.io import checkpoint
from medreg.io.image import read_image, read_labels
from medreg.runs.record import hardware
from medreg.runs.scans import Scan
from medreg.runs.trained import TrainedRun
from medreg.studies.learn2reg.submission import FieldMaker
from medreg.studies.learn2reg.truth import TaskFolder

MASKS = "masks"


class RunAsFields(FieldMaker):
    """A trained run, applied to pairs of a task; the fields are for the arrays of the files, index to index.

    Args:
        run: the run.
        data: folder of the task.

    Raises:
        CheckpointError: not a registration run.
        CompositionError: the images of the run are prepared in a way that whole volumes do not have, or it registers
            at a λ by label, which a challenge does not give.
    """

    def __init__(self, run: TrainedRun, data: TaskFolder) -> None:
        self.run, self.data = run, data
        check_run(run)

    @property
    def cost(self) -> Mapping[str, str | int]:
        """What run times depend on."""
        device, processor = self.run.device, hardware()
        if device.type == "cuda":
            processor = f"{torch.cuda.get_device_name(device)}; {processor}"
        return {"version": f"medreg {__version__}", "hardware": processor, "threads": torch.get_num_threads()}

    def digest(self, pair: PairPaths) -> str:
        """Return a digest of the run and the files."""
        files = [self.data.image(name) for name in (pair.fixed, pair.moving)]
        text = json.dumps([self.run.key, [stamp(file, str(file)) for file in files]])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def warm_up(self, pair: PairPaths) -> None:
        """Register the pair once, so that compiled code and caches are there."""
        self.make(pair)

    def make(self, pair: PairPaths) -> NDArray[np.floating]:
        """Return the field of a pair, (3, X, Y, Z) float32, voxels, array index to array index."""
        transform = self.run.register(self._scan(pair.fixed), self._scan(pair.moving))
        found: NDArray[np.floating] = transform.sampling_displacement()[0].float().numpy()
        return found

    def _scan(self, name: str) -> Scan:
        """Image and mask of a case; its labels are for scores only."""
        mask = self.data.companion(name, MASKS)
        return Scan(read_image(self.data.image(name)), mask=read_labels(mask) if mask.is_file() else None)


def data_root(run: TrainedRun) -> Path:
    """Return the folder of the data that a run was trained on.

    Raises:
        CheckpointError: the run does not say it.
    """
    root = (run.data.get("dataset") or {}).get("root")
    if root is None:
        raise CheckpointError(
            f"{run.path} does not say where its data are; give the folder of the task (--data)."
        )
    return Path(root).expanduser()


def export_run(run: TrainedRun, target: Path) -> None:
    """Write what a run needs to predict, and nothing else: weights, and options without paths of this machine.

    Args:
        run: the run.
        target: folder to make.

    Raises:
        CheckpointError: there is nothing to predict with.
        CompositionError: it registers at a λ by label.
    """
    check_run(run)
    chosen, model = run.smoothness, run.registration
    kept = {
        "model": run.config["model"],
        "refine": run.config.get("refine") or {},
        "task": {"use_masks": run.use_masks} | ({} if chosen is None else {"smoothness": chosen.smoothness}),
        "data": {"ndim": run.data["ndim"], "preprocess": run.data["preprocess"]},
        "seed": run.seed,
    }
    target.mkdir(parents=True, exist_ok=True)
    (target / "config.yaml").write_text(yaml.safe_dump(kept, sort_keys=False), encoding="utf-8")
    if model.trainable:
        weights = {f"model.{key}": value.cpu() for key, value in model.state_dict().items()}
        file = target / checkpoint.FOLDER / checkpoint.FILES["best"]
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.save({"state_dict": weights, "medreg": {"config": kept, "overrides": []}}, file)


def check_run(run: TrainedRun) -> None:
    """Check that a run can make the fields of a challenge; looked at before its data are.

    Raises:
        CheckpointError: not a registration run.
        CompositionError: its images are prepared in a way that whole volumes do not have, or it registers at a λ by
            label.
    """
    _, _, chosen = run.registration, run.preprocess, run.smoothness
    if chosen is not None and chosen.labels:
        raise CompositionError(
            f"{run.path} registers at a λ for every label, but a challenge gives no labels. Evaluate the run at one λ: "
            "python train.py mode=test ckpt=RUN task.smoothness=0.3."
        )
