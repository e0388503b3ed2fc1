"""Methods of medreg's own in a benchmark: compositions and trained runs."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from medreg import __version__
from medreg.baselines.method import Method


@dataclass(frozen=True, kw_only=True)
class _Ours(Method):
    """What medreg's own methods share: they run in medreg's environment, in processes of their own.

    Attributes:
        device: where to compute.
    """

    device: str

    def command(self) -> list[str]:
        """Return the words that start the worker."""
        return [sys.executable, "-m", "medreg.studies.benchmark.worker"]

    def version(self) -> str:
        """Return medreg's version."""
        return __version__

    def recipe(self) -> str:
        """Say that nothing is to be installed."""
        return "It is part of medreg."


@dataclass(frozen=True, kw_only=True)
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


@dataclass(frozen=True, kw_only=True)
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
            CheckpointError: there is none, or it does something else than register.
        """
        from medreg.runs.trained import TrainedRun

        run = TrainedRun.open(self.ckpt)
        run.registration  # noqa: B018 (refuses other kinds of runs before data are read)
        return {
            "ckpt": str(run.path.resolve()),
            "run": run.key,
            "device": self.device,
            "threads": self.threads,
        }


def identity_of(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a request that decides what comes out: all but where a checkpoint lies."""
    return {key: value for key, value in request.items() if key != "ckpt"}
