"""Refuse impossible compositions before anything is computed, in a sentence that says what fits."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from omegaconf import DictConfig, OmegaConf

from medreg.config.context import RunContext
from medreg.config.numbers import check_numbers, check_objective
from medreg.config.typed import check_types
from medreg.errors import CompositionError, ConfigError

MODES = ("fit", "test", "both")


def check_options(cfg: DictConfig, context: RunContext, metrics: Collection[str] = ()) -> None:
    """Check the options that Hydra cannot: each against the type that is expected, and those that exclude others.

    Raises:
        ConfigError: an unknown mode, a value of another type or beyond what makes sense.
        CompositionError: several devices inside a sweep.
    """
    check_types(cfg)
    if cfg.mode not in MODES:
        raise ConfigError(f"mode={cfg.mode}: choose one of {', '.join(MODES)}.")
    several = (
        OmegaConf.select(cfg, "trainer.devices") not in (1, "1", "auto", [0])
        or cfg.trainer.get("num_nodes", 1) != 1
    )
    if context.sweep and several:
        raise CompositionError(
            "A sweep gives each job one device: several devices inside a multirun start each other's jobs. "
            "Use trainer.devices=1 in the sweep (hydra/launcher=joblib or submitit runs jobs side by side), "
            "or a single run with trainer=ddp."
        )
    plain = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(plain, dict)
    check_numbers(plain)
    check_objective(plain.get("objective"), metrics)


def check_keys(task: Any, datamodule: Any, context: RunContext) -> None:
    """Check that the data provide what task and model need.

    Raises:
        CompositionError: naming the missing keys and what the data have.
    """
    needed = set(task.requires) | set(getattr(task.model, "requires", ()))
    lacking = needed - set(datamodule.provides)
    if lacking:
        raise CompositionError(
            f"model={context.model} needs {', '.join(sorted(lacking))}, which data={context.data} does not provide "
            f"(it provides {', '.join(sorted(datamodule.provides))}). Choose data with these keys, or another model "
            "(`medreg list model`)."
        )


def check_dimensions(task: Any, datamodule: Any, context: RunContext) -> None:
    """Check that a model built for 2-D or 3-D meets data of the same dimension.

    Raises:
        CompositionError: naming both.
    """
    wanted = getattr(task.model, "ndim", None)
    if wanted is not None and wanted != datamodule.ndim:
        raise CompositionError(
            f"model={context.model} is built for {wanted}-D images (model.ndim={wanted}) but data={context.data} gives "
            f"{datamodule.ndim}-D ones. Leave model.ndim at ${{data.ndim}}, or choose {wanted}-D data."
        )
