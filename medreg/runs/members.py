"""Models that are made of trained runs: an ensemble of several, and one that is asked about perturbed images.

They live here because only a run knows how its model is rebuilt. The images must be prepared as those of the runs
were: give the same data options.
"""

from __future__ import annotations

from collections.abc import Sequence

from medreg.errors import ConfigError
from medreg.models.base import RegistrationModel
from medreg.models.ensemble import Ensemble
from medreg.models.equivariance import Equivariance, Perturbed
from medreg.runs.trained import TrainedRun


class RunEnsemble(Ensemble):
    """An `Ensemble` of trained runs.

    Args:
        runs: run folders or checkpoints, two at least.
        ckpt: "best" or "last" of the folders.

    Raises:
        ConfigError: fewer than two runs.
        CheckpointError: one of them cannot be read, or does not register.
    """

    def __init__(self, runs: Sequence[str], *, ckpt: str = "best") -> None:
        if len(runs) < 2:
            raise ConfigError(
                f"model=ensemble has {len(runs)} runs; name two trained ones at least, model.runs=[RUN,RUN]."
            )
        super().__init__([_model_of(run, ckpt) for run in runs])
        self.runs = [str(run) for run in runs]


class RunEquivariance(Equivariance):
    """`Equivariance` of the model of a trained run.

    Args:
        run: run folder or checkpoint.
        ckpt: "best" or "last" of a folder.
        size: as in `Equivariance`, like what follows.

    Raises:
        ConfigError: no run.
        CheckpointError: it cannot be read, or does not register.
    """

    def __init__(
        self, run: str | None, *, size: float, perturb: Perturbed, samples: int, seed: int, ckpt: str = "best"
    ) -> None:
        if run is None:
            raise ConfigError("model=equivariance needs a trained run: model.run=RUN, its folder.")
        super().__init__(_model_of(run, ckpt), size=size, perturb=perturb, samples=samples, seed=seed)
        self.run = str(run)


def _model_of(run: str, ckpt: str) -> RegistrationModel:
    return TrainedRun.open(run, ckpt).registration
