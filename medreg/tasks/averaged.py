"""Tasks that may be evaluated with other weights than those that they train: averages of them."""

from __future__ import annotations

from typing import Any

from torch import nn

from medreg.tasks.base import Task
from medreg.tasks.weight_average import WeightAverage


class AveragedTask(Task):
    """A task with an average of its weights, if it is asked for.

    Checkpoints hold, as `model.…`, the weights that are validated, evaluated and used afterwards; the weights that
    are trained then lie under the name of the average. Resuming puts each in its place.

    Args:
        model: what is trained.
        ema: decay of the average of its weights; None: no average, the trained weights are evaluated.
        **options: as in `Task`.

    Raises:
        ConfigError: a decay outside [0, 1).
    """

    def __init__(self, model: nn.Module, *, ema: float | None = None, **options: Any) -> None:
        super().__init__(model, **options)
        self.average = None if ema is None else WeightAverage(model, ema, option="task.ema")

    @property
    def evaluated(self) -> str:
        """Dotted name of the part whose weights are validated, and evaluated after the training."""
        return "model" if self.average is None else "average.network"

    def validated(self) -> nn.Module:
        """Return the network that validation uses; an average answers as in evaluation."""
        return self.model if self.evaluated == "model" else self.get_submodule(self.evaluated).eval()

    def begin_averages(self) -> None:
        """Let averages start from the weights that training starts from, such as those of `init`."""
        if self.average is not None:
            self.average.begin(self.model)

    def update_averages(self) -> None:
        """Let averages take in the weights after a step."""
        if self.average is not None:
            self.average.update(self.model)

    def on_fit_start(self) -> None:
        """Begin the averages; Lightning has loaded all weights by now."""
        self.begin_averages()

    def optimizer_step(self, *args: Any, **options: Any) -> None:
        """Step, and let the averages follow."""
        super().optimizer_step(*args, **options)
        self.update_averages()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store the evaluated weights as those of the model."""
        super().on_save_checkpoint(checkpoint)
        self._exchange(checkpoint["state_dict"])

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put the trained weights back."""
        self._exchange(checkpoint["state_dict"])

    def _exchange(self, state: dict[str, Any]) -> None:
        if self.evaluated == "model":
            return
        for key in [key for key in state if key.startswith("model.")]:
            other = f"{self.evaluated}.{key.removeprefix('model.')}"
            state[key], state[other] = state[other], state[key]
