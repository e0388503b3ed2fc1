"""What the benchmark asks of a method, and medreg's own methods: compositions and trained runs."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from medreg import __version__
from medreg.baselines.tool import THREAD_VARIABLES
from medreg.errors import MissingExtra


class Method(Protocol):
    """A registration method that runs in worker processes; `medreg.baselines.tool.Tool` is the usual one."""

    @property
    def title(self) -> str:
        """Name in tables."""

    @property
    def source(self) -> str:
        """Where the settings come from."""

    @property
    def timeout_s(self) -> float:
        """Most seconds for one case."""

    @property
    def threads(self) -> int:
        """CPU threads."""

    @property
    def warm_up(self) -> bool:
        """Whether a small piece is registered before the first case, outside the clock."""

    @property
    def masks(self) -> bool:
        """Whether it can be told where images are to be compared."""

    @property
    def prepares(self) -> bool:
        """Whether it gets the images of the task as they are stored, and prepares them itself."""

    def command(self) -> list[str]:
        """Words that start the worker; raises MissingExtra where it cannot."""

    def version(self) -> str:
        """Version of the tool; raises MissingExtra where it is not installed."""

    def variables(self) -> dict[str, str]:
        """Environment variables of the worker."""

    def request(self) -> dict[str, Any]:
        """Settings that go with every case; with the images they decide whether a field is still good."""

    def missing(self, reason: str) -> MissingExtra:
        """The error for a worker that cannot import its tool."""

    def recipe(self) -> str:
        """How to install the tool."""


@dataclass(frozen=True)
class _Ours:
    """What medreg's own methods share: they run in medreg's environment, in processes of their own.

    Attributes:
        title: name in tables.
        source: where the settings come from.
        timeout_s: most seconds for one case.
        threads: CPU threads.
        device: where to compute.
        warm_up: register a small piece first, so that compilation and caches are outside the clock.
        masks: takes masks, in the energy; else what lies outside them can only be set to 0.
    """

    title: str
    source: str
    timeout_s: float
    threads: int
    device: str
    warm_up: bool
    masks: bool
    prepares: ClassVar[bool] = False

    def command(self) -> list[str]:
        """Return the words that start the worker."""
        return [sys.executable, "-m", "medreg.studies.benchmark.worker"]

    def version(self) -> str:
        """Return medreg's version."""
        return __version__

    def variables(self) -> dict[str, str]:
        """Return the number of threads for every library."""
        return dict.fromkeys(THREAD_VARIABLES, str(self.threads))

    def missing(self, reason: str) -> MissingExtra:
        """Return the error for a worker that cannot start."""
        return MissingExtra(f"{self.title} cannot run: {reason}. {self.recipe()}")

    def recipe(self) -> str:
        """Say that nothing is to be installed."""
        return "It is part of medreg."


@dataclass(frozen=True)
class Composition(_Ours):
    """A model that needs no training, as `python train.py <overrides>` would build it.

    Attributes:
        overrides: choices of the model and its options.
    """

    overrides: Sequence[str]

    def request(self) -> dict[str, Any]:
        """Return the resolved configuration of the model.

        Raises:
            ConfigError: a misspelt option.
        """
        from omegaconf import OmegaConf

        from medreg.config.compose import compose

        model = OmegaConf.to_container(compose(["mode=test", *self.overrides]).model, resolve=True)
        return {"model": model, "device": self.device, "threads": self.threads}


@dataclass(frozen=True)
class Run(_Ours):
    """A trained model: its run folder or checkpoint; images and masks are prepared as in its training.

    Attributes:
        ckpt: run folder, or checkpoint file.
    """

    ckpt: str
    prepares: ClassVar[bool] = True

    def request(self) -> dict[str, Any]:
        """Return the run and a digest of what decides its fields.

        Raises:
            CheckpointError: there is none.
        """
        from medreg.runs.trained import TrainedRun

        run = TrainedRun.open(self.ckpt)
        return {
            "ckpt": str(run.path.resolve()),
            "run": run.key,
            "device": self.device,
            "threads": self.threads,
        }


def identity_of(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a request that decides what comes out: all but where a checkpoint lies."""
    return {key: value for key, value in request.items() if key != "ckpt"}
