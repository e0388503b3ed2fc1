"""Images without labels: a student follows the average of its own weights (Tarvainen and Valpola, NeurIPS 2017)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from medreg.augmentation.ramp import sigmoid
from medreg.augmentation.training import TrainingAugmentation
from medreg.errors import ConfigError
from medreg.tasks.moment import Moment
from medreg.tasks.semi.base import SemiSupervision, Unlabelled
from medreg.tasks.weight_average import WeightAverage


class MeanTeacher(SemiSupervision):
    """w(t) · mean (p_student − p_teacher)², summed over classes, under different noise for the two.

    Both see the same randomly augmented image, so that their voxels correspond; each has noise of its own. The
    teacher answers as in evaluation and gets no gradient. w grows as exp(−5 (1 − t)²).

    Args:
        decay: of the teacher's weights.
        noise: standard deviation of the Gaussian noise, in units of the image, cut off at twice that.
        evaluate: whose weights are validated, evaluated and used: "student" or "teacher".
        **options: as in `SemiSupervision`.

    Raises:
        ConfigError: another word for whose weights are evaluated, a negative noise, or a decay outside [0, 1).
    """

    def __init__(
        self, *, decay: float, noise: float, evaluate: Literal["student", "teacher"], **options: float
    ) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        if evaluate not in ("student", "teacher"):
            raise ConfigError(f"semi.evaluate is {evaluate!r}; choose student or teacher.")
        if noise < 0:
            raise ConfigError(f"semi.noise is {noise}; it must not be negative.")
        self.decay, self.noise, self.evaluate = decay, noise, evaluate

    def prepare(self, model: nn.Module, augmentation: TrainingAugmentation | None) -> None:
        """Make the teacher, of the same kind as the model."""
        self.teacher = WeightAverage(model, self.decay, option="semi.decay")

    def begin(self, model: nn.Module) -> None:
        """Let the teacher start as the student."""
        self.teacher.begin(model)

    def after_step(self, model: nn.Module) -> None:
        """Let the teacher follow."""
        self.teacher.update(model)

    @property
    def evaluated(self) -> str | None:
        """The teacher, where it is asked for."""
        return "teacher" if self.evaluate == "teacher" else None

    def compared(self, image: Tensor, moment: Moment) -> Unlabelled:
        """Return the weighted mean square, and the student's scores."""
        generator = moment.generator("teacher")
        scores = moment.scores(self._noisy(image, generator))
        with torch.no_grad():
            wanted = moment.forward(self._noisy(image, generator), self.teacher).softmax(1)
        distance = (scores.softmax(1) - wanted).square().sum(1).mean()
        share = self.weight * sigmoid(moment.epoch, self.ramp_epochs)
        return Unlabelled(share * distance, {"unlabelled": distance}, scores)

    def _noisy(self, image: Tensor, generator: torch.Generator) -> Tensor:
        drawn = torch.randn(image.shape, generator=generator, device=generator.device, dtype=image.dtype)
        return image + self.noise * drawn.clamp(-2, 2)
