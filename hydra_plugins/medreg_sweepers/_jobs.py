"""What every sweeper of medreg shares: jobs are started by any launcher, and one that fails stops no other."""

from __future__ import annotations

import sys
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from medreg.config.remembering import remembering

MEMORY = "sweep.json"  # in the folder of the sweep


@dataclass(frozen=True)
class Ended:
    """A job that has ended.

    Attributes:
        overrides: options of the job.
        value: what the job returned: its objective, or one number for each of several objectives; None after a crash.
        error: sentence of a crash, empty otherwise.
    """

    overrides: tuple[str, ...]
    value: Any = None
    error: str = ""


class JobSweeper(Sweeper):
    """Start jobs of explicit overrides; subclasses say which."""

    def __init__(self) -> None:
        self.config: DictConfig | None = None
        self.launcher: Launcher | None = None
        self.started = 0
        self._folders: dict[tuple[str, ...], str] = {}

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Make the launcher that `hydra/launcher=` chose; Hydra calls this."""
        self.config = config
        self.loader: Any = remembering(hydra_context.config_loader)  # type: ignore[arg-type]
        context = HydraContext(config_loader=self.loader, callbacks=hydra_context.callbacks)
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> list[Any]:
        """Run the sweep; Hydra calls this with the overrides of the command line. What a person can mend is told."""
        from medreg.config.application import remember_failure
        from medreg.errors import MedregError

        try:
            return self.run_all(arguments)
        except MedregError as error:
            print(f"\n{error}", file=sys.stderr)
            remember_failure()
            return []

    @abstractmethod
    def run_all(self, arguments: list[str]) -> list[Any]:
        """Run the jobs that the overrides of the command line ask for."""

    @property
    def outputs(self) -> Path:
        """Folder of all run folders of this sweep."""
        assert self.config is not None
        return Path(str(self.config.hydra.sweep.dir)).resolve()

    def compose(self, job: Sequence[str]) -> DictConfig:
        """Return the configuration of a job, with its Hydra node."""
        found: DictConfig = self.loader.load_sweep_config(self.config, list(job))
        return found

    def folder_of(self, job: Sequence[str]) -> str:
        """Return the run folder that a job will have."""
        key = tuple(job)
        if key not in self._folders:
            name = OmegaConf.select(self.compose(job), "hydra.sweep.subdir")
            self._folders[key] = str(self.outputs / str(name))
        return self._folders[key]

    def run(self, jobs: Sequence[Sequence[str]]) -> list[Ended]:
        """Run jobs, as many side by side as the launcher does; return how each ended."""
        if not jobs:
            return []
        assert self.launcher is not None
        returned = self.launcher.launch([list(job) for job in jobs], initial_job_idx=self.started)
        self.started += len(jobs)
        return [_ended(one) for one in returned]

    def remember(self, folder: Path, jobs: Sequence[Sequence[str]], **facts: Any) -> None:
        """Write which jobs the sweep has and where, for `medreg sweep` and for the table at the end."""
        from medreg.io.atomic import write_json

        known = [{"overrides": list(job), "folder": self.folder_of(job)} for job in jobs]
        write_json(folder / MEMORY, {**facts, "jobs": known})


def _ended(job: JobReturn) -> Ended:
    overrides = tuple(job.overrides or ())
    if job.status == JobStatus.COMPLETED:
        return Ended(overrides, value=job._return_value)
    error = job._return_value
    return Ended(overrides, error=f"{type(error).__name__}: {error}")
