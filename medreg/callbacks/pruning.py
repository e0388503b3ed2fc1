"""End a training that a search holds to be hopeless, by its validation so far."""

from __future__ import annotations

import math
from typing import Any

import pytorch_lightning as pl

from medreg.callbacks.checkpoint import BestCheckpoint
from medreg.errors import MedregError


class Pruned(MedregError):
    """A training that a search ended early; the same command without the search would continue it."""


class Pruning(pl.Callback):
    """Tell an Optuna study of one objective the validation metric of every epoch, and stop when its pruner says so.

    Args:
        study: folder of the search.
        trial: number of the trial that this run is.
        pruner: of the search, an Optuna pruner.
    """

    def __init__(self, *, study: str, trial: int, pruner: Any) -> None:
        self.study, self.number, self.pruner = study, trial, pruner
        self._trial: Any = None

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open the study."""
        from pathlib import Path

        import optuna

        from hydra_plugins.medreg_sweepers.search import STUDY, storage_of

        storage = storage_of(Path(self.study))
        study = optuna.load_study(study_name=STUDY, storage=storage, pruner=self.pruner)
        self._trial = optuna.trial.Trial(study, study.get_trials()[self.number]._trial_id)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Report, and stop where the pruner says so.

        Raises:
            Pruned: the pruner gives the trial up.
        """
        best = next((one for one in trainer.callbacks if isinstance(one, BestCheckpoint)), None)  # type: ignore[attr-defined]
        if trainer.sanity_checking or best is None or self._trial is None:
            return
        value = float(trainer.callback_metrics.get(best.monitor, math.nan))
        if not math.isfinite(value):
            return
        if not self._trial.study.direction.name.lower().startswith(best.mode):
            value = -value  # validation is better upwards and the objective downwards, or the other way round
        self._trial.report(value, step=trainer.current_epoch)
        if self._trial.should_prune():
            self._trial.set_user_attr("pruned", True)
            raise Pruned(
                f"Ended early in epoch {trainer.current_epoch + 1}: the search holds it to be hopeless."
            )
