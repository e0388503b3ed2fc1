"""The grid of a run's hearts, as its configuration states it."""

from __future__ import annotations

from typing import Any

from medreg.data.shape_grid import ShapeGrid
from medreg.errors import CheckpointError
from medreg.runs.trained import TrainedRun

NEEDED = ("size", "spacing_mm", "placing")


def grid_of(run: TrainedRun) -> ShapeGrid:
    """Return the grid of the model; hearts of files are turned as their shape says, whatever the training did.

    Raises:
        CheckpointError: the configuration does not state it.
    """
    missing = [name for name in NEEDED if run.data.get(name) is None]
    if missing:
        raise CheckpointError(
            f"{run.path} does not say on which grid its hearts lie (data.{', data.'.join(missing)} is not in its "
            "configuration), so none can be brought there. Train it with data=heart_population or data=heart_folder."
        )
    placing: dict[str, Any] = {str(key): value for key, value in run.data["placing"].items()}
    placing.pop("_target_", None)
    placing["orient"] = "auto"
    return ShapeGrid(size=list(run.data["size"]), spacing_mm=list(run.data["spacing_mm"]), **placing)
