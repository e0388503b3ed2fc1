"""The model of a trained run that knows hearts, opened safely, with the grid that it works on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from medreg.config.instantiate import check_target
from medreg.data.shape_grid import ShapeGrid
from medreg.errors import CheckpointError
from medreg.generating.grid import grid_of
from medreg.models.hearts.base import ShapeModel
from medreg.models.hearts.conditions import Conditions
from medreg.runs.device import usable_device
from medreg.runs.trained import TrainedRun

TRAIN = "python train.py model=cheart data=heart_population"


@dataclass(frozen=True, eq=False)
class OpenedModel:
    """A run of a model of hearts, made by `open`.

    Attributes:
        trained: what the run folder or checkpoint holds.
        model: with its weights, in evaluation mode, on the device.
        grid: of the model.
    """

    trained: TrainedRun
    model: ShapeModel
    grid: ShapeGrid

    @classmethod
    def open(cls, path: str | Path, *, ckpt: str = "best", device: str = "cpu") -> Self:
        """Read a run folder or a checkpoint; nothing of it is executed.

        Args:
            path: run folder, or a checkpoint file.
            ckpt: "best" or "last" of a run folder.
            device: "cpu", "cuda", …

        Raises:
            CheckpointError: nothing there, no weights, or the run of another kind of model.
            ConfigError: a device that cannot be used, or a configuration that is refused.
        """
        where = usable_device(device)
        run = TrainedRun.open(path, ckpt, device=where)
        target = str(run.config["model"].get("_target_"))
        if not issubclass(check_target(target), ShapeModel):
            raise CheckpointError(
                f"{path} is not the run of a model of hearts (its model is {target}); give one that was trained on "
                f"hearts, such as by `{TRAIN}`."
            )
        model = run.model
        assert isinstance(model, ShapeModel)
        return cls(run, model, grid_of(run))

    @property
    def labels(self) -> dict[str, int]:
        """Structure → label code."""
        return {str(name): int(code) for name, code in self.trained.labels.items()}

    @property
    def structures(self) -> dict[str, int]:
        """Structure → place in a shape, from 1."""
        return {name: place for place, name in enumerate(self.labels, start=1)}

    @property
    def conditions(self) -> Conditions:
        """What the model is told of a person, with the range that its training has seen."""
        return self.model.conditions

    @property
    def phases(self) -> str:
        """What the frames are: "cycle", or "edes" of a model of ED and ES alone."""
        return "edes" if self.trained.data.get("phases") == "edes" or self.model.frames == 2 else "cycle"

    def record(self) -> dict[str, Any]:
        """What made.json says of the run."""
        return {
            "run": str(self.trained.path),
            "checkpoint": None if self.trained.file is None else self.trained.file.name,
            "digest": self.trained.digest,
            "model": str(self.trained.config["model"].get("_target_")),
        }
