"""Random and Bayesian search by Optuna, whose trials are runs: kept on disk, continued by the same command."""

from __future__ import annotations

import json
import math
import re
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from hydra_plugins.medreg_sweepers._jobs import Ended, JobSweeper
from hydra_plugins.medreg_sweepers._space import Space, space_of

if TYPE_CHECKING:
    import optuna

JOURNAL = "optuna.log"
STUDY = "medreg"
GIVEN_UP = "given_up"  # a trial that a killed process left behind; its values are tried again
DIRECTIONS = {"higher": "maximize", "lower": "minimize"}


class SearchSweeper(JobSweeper):
    """Ask Optuna for values, run them, tell it what came out.

    What is asked depends on the seed, the number of the trial and what came out before only, so a search that was
    killed and continued ends as one that was not. A trial that fails or has no number is noted, and the search goes on.

    Args:
        sampler: makes an Optuna sampler from `seed`.
        pruner: Optuna pruner that ends hopeless trainings by their validation; None lets all end.
        n_trials: trials altogether, those of earlier commands included.
        n_jobs: trials asked for at a time; as many as the launcher runs side by side.
        seed: source of everything random in the search.
        directions: "maximize" or "minimize" for each objective; None takes what is better for these metrics.
    """

    def __init__(
        self,
        *,
        sampler: Callable[..., Any],
        pruner: Any,
        n_trials: int,
        n_jobs: int,
        seed: int,
        directions: Sequence[str] | None,
    ) -> None:
        super().__init__()
        self.sampler, self.pruner = sampler, pruner
        self.n_trials, self.n_jobs, self.seed = n_trials, n_jobs, seed
        self.directions = None if directions is None else list(directions)

    def run_all(self, arguments: list[str]) -> list[Any]:
        """Run the search; Hydra calls this with the overrides of the command line."""
        from medreg.config.sweeps import announce, folder_of
        from medreg.errors import ConfigError

        overrides = OverridesParser.create(config_loader=self.loader).parse_overrides(arguments)
        space = space_of(overrides)
        if self.pruner is not None and len(space.seeds or ()) > 1:
            raise ConfigError(
                "A trial of several seeds cannot be pruned: its seeds train one after the other. Give one seed, or "
                "choose hydra/sweeper=bayes."
            )
        folder = folder_of(self.outputs, arguments)
        folder.mkdir(parents=True, exist_ok=True)
        objectives = self._objectives(space)
        study = self._study(folder, objectives)
        announce(folder)
        _try_again(study)
        found: list[Any] = []
        while (left := self.n_trials - len(counted(study))) > 0:
            trials = [self._ask(study, space, ahead) for ahead in range(min(self.n_jobs, left))]
            self._remember(folder, arguments, study, space, objectives)
            found += self._evaluate(study, space, trials, folder)
        return found

    def _objectives(self, space: Space) -> list[str]:
        """Names of the metrics that the jobs return."""
        first = space.jobs({key: _any_of(one) for key, one in space.varied.items()})[0]
        objective = OmegaConf.to_object(OmegaConf.create({"o": self.compose(first).objective}))["o"]  # type: ignore[index]
        return [str(name) for name in objective] if isinstance(objective, list) else [str(objective)]

    def _study(self, folder: Path, objectives: Sequence[str]) -> optuna.Study:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        return optuna.create_study(
            study_name=STUDY,
            storage=storage_of(folder),
            directions=self.directions or [direction_of(name) for name in objectives],
            pruner=self.pruner or optuna.pruners.NopPruner(),
            load_if_exists=True,
        )

    def _ask(self, study: optuna.Study, space: Space, ahead: int) -> optuna.trial.Trial:
        from optuna.exceptions import ExperimentalWarning

        with warnings.catch_warnings():  # options of the sampler that Optuna may change some day
            warnings.simplefilter("ignore", ExperimentalWarning)
            # A sampler of its own for every trial: its state needs not survive a kill.
            study.sampler = self.sampler(seed=self.seed + len(counted(study)) + ahead)
        return study.ask(space.varied)

    def _evaluate(
        self, study: optuna.Study, space: Space, trials: Sequence[optuna.trial.Trial], folder: Path
    ) -> list[Ended]:
        """Run the jobs of some trials and tell the study."""
        jobs = [self._watched(job, trial, folder) for trial in trials for job in space.jobs(trial.params)]
        ended = self.run(jobs)
        size = len(space.seeds or (1,))
        for number, trial in enumerate(trials):
            _tell(study, trial, ended[number * size : (number + 1) * size])
        return ended

    def _watched(self, job: list[str], trial: optuna.trial.Trial, folder: Path) -> list[str]:
        """Add the callback that asks the pruner after every validation."""
        if self.pruner is None:
            return job
        assert self.config is not None
        pruner = OmegaConf.to_container(self.config.hydra.sweeper.pruner, resolve=True)
        written = re.sub(r'"(\w+)":', r"\1:", json.dumps(pruner))  # Hydra's grammar has no quoted keys
        target = "+callbacks.pruning._target_=medreg.callbacks.pruning.Pruning"
        return [
            *job,
            target,
            f"+callbacks.pruning.study='{folder}'",
            f"+callbacks.pruning.trial={trial.number}",
            f"+callbacks.pruning.pruner={written}",
        ]

    def _remember(
        self,
        folder: Path,
        arguments: Sequence[str],
        study: optuna.Study,
        space: Space,
        objectives: Sequence[str],
    ) -> None:
        tried = [trial.params for trial in study.trials if not trial.user_attrs.get(GIVEN_UP)]
        jobs = [job for values in tried for job in space.jobs(values)]
        self.remember(folder, jobs, kind="search", arguments=list(arguments), objectives=list(objectives))


def storage_of(folder: Path) -> Any:
    """Return Optuna's storage of a search: a journal, to which several processes may append."""
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    file = str(folder / JOURNAL)
    return JournalStorage(JournalFileBackend(file, lock_obj=JournalFileOpenLock(file)))


def counted(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """Return the trials that have come to an end of their own."""
    return [
        trial for trial in study.trials if trial.state.is_finished() and not trial.user_attrs.get(GIVEN_UP)
    ]


def direction_of(metric: str) -> str:
    """Return what is better for a metric.

    Raises:
        ConfigError: neither is.
    """
    from medreg.errors import ConfigError
    from medreg.reporting.vocabulary import describe

    better = describe(metric).better
    if better not in DIRECTIONS:
        raise ConfigError(
            f"objective={metric}: more of it is neither better nor worse; say hydra.sweeper.directions=[minimize] or "
            "[maximize]."
        )
    return DIRECTIONS[better]


def _any_of(distribution: Any) -> Any:
    return distribution.choices[0] if hasattr(distribution, "choices") else distribution.low


def _try_again(study: optuna.Study) -> None:
    """Give up the trials that a killed process left running, and queue their values; their runs are continued."""
    import optuna

    for trial in study.get_trials(states=[optuna.trial.TrialState.RUNNING]):
        study._storage.set_trial_user_attr(trial._trial_id, GIVEN_UP, True)
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        study.enqueue_trial(trial.params)


def _tell(study: optuna.Study, trial: optuna.trial.Trial, ended: Sequence[Ended]) -> None:
    """Tell the study the mean over the seeds, or that there is none."""
    import optuna

    now = study.get_trials()[trial.number]
    if now.user_attrs.get("pruned"):
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        return
    values = [_numbers(one.value) for one in ended]
    width = len(study.directions)
    if any(value is None or len(value) != width for value in values):
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
        return
    study.tell(trial, [sum(column) / len(column) for column in zip(*values, strict=True)])  # type: ignore[arg-type]


def _numbers(value: Any) -> list[float] | None:
    """Objectives of a job as finite numbers; None where one is missing."""
    try:
        found = [float(one) for one in (value if isinstance(value, list | tuple) else [value])]
    except (TypeError, ValueError):
        return None
    return found if all(math.isfinite(one) for one in found) else None
