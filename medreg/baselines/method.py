"""What the benchmark asks of a method of registration, whoever's it is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from medreg.errors import MissingExtra

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
)


@dataclass(frozen=True, kw_only=True)
class Method(ABC):
    """A registration method that runs in worker processes.

    Attributes:
        title: name in tables.
        source: where the settings come from.
        timeout_s: most seconds for one case.
        threads: CPU threads.
        warm_up: register a small piece before the first case, so that compilation and caches are outside the clock.
        masks: it can be told where images are to be compared; else what lies outside masks can only be set to 0.
        prepares: it gets the images of the task as they are stored, and prepares them itself.
    """

    title: str
    source: str
    timeout_s: float
    threads: int
    warm_up: bool = False
    masks: bool = False
    prepares: ClassVar[bool] = False

    @abstractmethod
    def command(self) -> list[str]:
        """Return the words that start the worker.

        Raises:
            MissingExtra: the environment is not there.
            ConfigError: the worker is not there.
        """

    @abstractmethod
    def version(self) -> str:
        """Return the version of the tool.

        Raises:
            MissingExtra: the environment or the package is not there.
        """

    @abstractmethod
    def request(self) -> dict[str, Any]:
        """Return what goes with every case; with the images it decides whether a field is still good."""

    @abstractmethod
    def recipe(self) -> str:
        """Return how to install the tool."""

    def variables(self) -> dict[str, str]:
        """Return environment variables of the worker: the number of threads of every library."""
        return dict.fromkeys(THREAD_VARIABLES, str(self.threads))

    def missing(self, reason: str) -> MissingExtra:
        """Return the error for a worker that could not import its tool."""
        return MissingExtra(f"{self.title} is not installed where it should run ({reason}). {self.recipe()}")
