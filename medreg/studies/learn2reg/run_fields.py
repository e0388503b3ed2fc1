"""Fields of a run for the pairs of a Learn2Reg task, carried back to the images as they are stored."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from torch import Tensor

from medreg import __version__
from medreg.config.instantiate import build
from medreg.data.loading import record_item, stamp
from medreg.data.preprocess import Preprocess
from medreg.data.records import Record
from medreg.errors import CheckpointError, CompositionError
from medreg.geometry.grid import Grid
from medreg.models.base import RegistrationModel
from medreg.models.chosen_weight import ChosenWeight, read_choice, require_conditional
from medreg.registering.pair import as_image, grid_of
from medreg.registering.run import SEED
from medreg.registering.solve import Inputs, carried, run_model
from medreg.registering.transform import PairTransform
from medreg.runs import checkpoint
from medreg.studies.benchmark.records import hardware
from medreg.studies.learn2reg.config import PairPaths
from medreg.studies.learn2reg.truth import TaskFolder

MASKS = "masks"


class RunAsFields:
    """The method of a run folder, applied to pairs of a task exactly as the run's own evaluation does.

    Images are prepared as the run's options say; the field is then undone of that preparation (orientation, spacing,
    crop, resizing) and written for the arrays of the files, index to index.

    Args:
        run: run folder, or a checkpoint.
        data: folder of the task.
        ckpt: "best" or "last" of the run folder.
        device: where to compute.

    Raises:
        CheckpointError: no checkpoint, or not of a registration run.
        CompositionError: the images of the run are prepared in a way that whole volumes do not have.
    """

    def __init__(self, run: Path, data: TaskFolder, *, ckpt: str = "best", device: str = "cpu") -> None:
        self.data = data
        self.device = torch.device(device)
        self.model, self.config, self.source = _load(run, ckpt)
        node = self.config.get("data", {})
        preprocess = build(node["preprocess"]) if "preprocess" in node else None
        if not isinstance(preprocess, Preprocess):
            raise CompositionError(
                f"{run} holds no preparation of images (data.preprocess), so none can be undone."
            )
        # What a case is cropped about is found in its labels, which a challenge does not give.
        self.preprocess = replace(preprocess, crop_label=None)
        self.ndim = int(node["ndim"])
        self.use_masks = bool((self.config.get("task") or {}).get("use_masks", True))
        self.weight = _evaluation_weight(self.model, self.config.get("task") or {})
        refine = self.config.get("refine") or None
        self.refine: RegistrationModel | None = build(refine) if refine else None

    @property
    def cost(self) -> Mapping[str, str | int]:
        """What run times depend on."""
        processor = hardware()
        if self.device.type == "cuda":
            processor = f"{torch.cuda.get_device_name(self.device)}; {processor}"
        return {"version": f"medreg {__version__}", "hardware": processor, "threads": torch.get_num_threads()}

    def digest(self, pair: PairPaths) -> str:
        """Return a digest of weights, options and files."""
        files = [self.data.image(name) for name in (pair.fixed, pair.moving)]
        parts = ("model", "refine", "data", "task")
        content = [self.source, {key: self.config.get(key) for key in parts}, __version__]
        stamps = [stamp(file, str(file)) for file in files]
        text = json.dumps([content, stamps], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def warm_up(self, pair: PairPaths) -> None:
        """Register the pair once, so that compiled code and caches are there."""
        self.make(pair)

    def make(self, pair: PairPaths) -> NDArray[np.floating]:
        """Return the field of a pair, (3, X, Y, Z) float32, voxels, array index to array index."""
        loaded = {side: self._load(name) for side, name in (("fixed", pair.fixed), ("moving", pair.moving))}
        prepared = self.preprocess.prepare(loaded["fixed"], loaded["moving"], None)
        arrays = prepared.arrays
        inputs = Inputs(
            fixed=arrays["fixed_image"].unsqueeze(0),
            moving=arrays["moving_image"].unsqueeze(0),
            spacing_mm=prepared.grid.spacing_mm.float(),
            fixed_mask=self._mask(arrays.get("fixed_mask")),
            moving_mask=self._mask(arrays.get("moving_mask")),
        )
        slice_axis = 2 if self.ndim == 2 else None
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED)
            displacement = run_model(
                self.model, inputs, slice_axis=slice_axis, device=self.device, weight=self.weight
            )
            if self.refine is not None:
                displacement = run_model(
                    self.refine, inputs, slice_axis=slice_axis, device=self.device, initial=displacement
                )
        native = {
            side: grid_of(as_image(self.data.image(name), side))
            for side, name in (("fixed", pair.fixed), ("moving", pair.moving))
        }
        grids = {side: Grid(tuple(item["image"].shape[1:]), item["affine"]) for side, item in loaded.items()}
        world = grids["moving"].affine @ torch.linalg.inv(prepared.placed.affine)
        back = carried(displacement, prepared.grid, native["fixed"])
        total = PairTransform(
            native["fixed"], native["moving"], world, back, slice_axis
        ).sampling_displacement()
        found: NDArray[np.floating] = total[0].float().numpy()
        return found

    def _mask(self, mask: Tensor | None) -> Tensor | None:
        return mask.float().unsqueeze(0) if mask is not None and self.use_masks else None

    def _load(self, name: str) -> dict[str, Tensor]:
        """Image and mask of a case as the run's data module loads them; labels are not touched."""
        image, mask = self.data.image(name), self.data.companion(name, MASKS)
        record = Record(image.name, image, None, mask if mask.is_file() else None, None, id=image.name)
        return dict(self.preprocess.transform(())(record_item(record)))


def _evaluation_weight(model: RegistrationModel, task: Mapping[str, Any]) -> Tensor | None:
    """λ of the run's evaluation, (1,); None is the model's own.

    Raises:
        CompositionError: λ by label, which a challenge does not give.
    """
    file = task.get("weight_file")
    chosen = read_choice(file) if file else ChosenWeight(task.get("weight"), task.get("label_weights") or {})
    if chosen == ChosenWeight():
        return None
    return chosen.tensor(require_conditional(model), None, batch=1)


def data_root(run: Path) -> Path:
    """Return the folder of the data that a run was trained on.

    Raises:
        CheckpointError: the run does not say it.
    """
    file = run / "config.yaml"
    config = (yaml.safe_load(file.read_text(encoding="utf-8")) if file.is_file() else None) or {}
    root = ((config.get("data") or {}).get("dataset") or {}).get("root")
    if root is None:
        raise CheckpointError(f"{run} does not say where its data are; give the folder of the task (--data).")
    return Path(root)


def _load(run: Path, ckpt: str) -> tuple[RegistrationModel, Mapping[str, Any], str]:
    """Model, configuration, and what identifies the weights."""
    text = run / "config.yaml"
    if run.is_dir() and text.is_file():
        config = yaml.safe_load(text.read_text(encoding="utf-8"))
        model = build(config["model"])
        if isinstance(model, RegistrationModel) and not model.trainable:
            return model.eval(), config, "untrained"
    file = checkpoint.find(ckpt, run) if run.is_dir() else checkpoint.find(str(run), run)
    if file is None:
        raise CheckpointError(f"The run folder {run} holds no checkpoint; train first, or name another run.")
    model, config = checkpoint.load_model(file)
    if not isinstance(model, RegistrationModel):
        raise CheckpointError(f"{file} is not the checkpoint of a registration run.")
    if run.is_dir() and text.is_file():
        config = yaml.safe_load(text.read_text(encoding="utf-8")) | {"model": config["model"]}
    return model, config, hashlib.sha256(file.read_bytes()).hexdigest()


def export_run(run: Path, target: Path, *, ckpt: str = "best") -> None:
    """Write what a run needs to predict, and nothing else: weights, and options without paths of this machine.

    Args:
        run: run folder.
        target: folder to make.
        ckpt: "best" or "last".

    Raises:
        CheckpointError: there is nothing to predict with.
    """
    model, config, _ = _load(run, ckpt)
    data = config.get("data", {})
    weight = _evaluation_weight(model, config.get("task") or {})
    kept = {
        "model": config["model"],
        "refine": config.get("refine") or {},
        "task": {
            "use_masks": bool((config.get("task") or {}).get("use_masks", True)),
            **({} if weight is None else {"weight": float(weight)}),
        },
        "data": {"ndim": data["ndim"], "preprocess": data["preprocess"]},
    }
    target.mkdir(parents=True, exist_ok=True)
    (target / "config.yaml").write_text(yaml.safe_dump(kept, sort_keys=False), encoding="utf-8")
    if model.trainable:
        weights = {f"model.{key}": value for key, value in model.state_dict().items()}
        file = target / checkpoint.FOLDER / checkpoint.FILES["best"]
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.save({"state_dict": weights, "medreg": {"config": kept, "overrides": []}}, file)
