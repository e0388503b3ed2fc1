"""The grid of a run's hearts, as its configuration states it."""

from __future__ import annotations

from dataclasses import replace

from medreg.config.instantiate import build
from medreg.data.shape_grid import ShapeGrid
from medreg.errors import CheckpointError
from medreg.runs.trained import TrainedRun


def grid_of(run: TrainedRun) -> ShapeGrid:
    """Return the grid of the model; hearts of files are turned as their shape says, whatever the training did.

    Raises:
        CheckpointError: the configuration does not state it.
    """
    node = run.data.get("placing")
    found = None if node is None else build(node)
    if not isinstance(found, ShapeGrid):
        raise CheckpointError(
            f"{run.path} does not say on which grid its hearts lie (data.placing is not in its configuration), so that "
            "none can be brought there. Train it with data=heart_population or data=heart_folder."
        )
    return replace(found, orient="auto")
