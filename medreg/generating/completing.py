"""The whole cycle of a heart of which end-diastole is known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import torch

from medreg.errors import CheckpointError, require_whole
from medreg.generating.asked import Given, odd_conditions, read_conditions, shown
from medreg.generating.drawing import generator_of, one_heart
from medreg.generating.heart import Heart
from medreg.generating.opened import TRAIN, OpenedModel
from medreg.generating.places import place_heart
from medreg.generating.plan import Plan
from medreg.generating.source import file_of, read_first
from medreg.metrics.hearts.sources import COMPLETED, COMPLETED_SAMPLE
from medreg.registering.pair import Source


def plan_completion(
    run: OpenedModel, source: Source, given: Given, *, samples: int, seed: int, **where: Any
) -> Plan:
    """Return the plan of a completed heart: that of the mean code, and some that are drawn.

    Args:
        run: that makes them.
        source: label map of ED.
        given: what is said of the person, see `asked.read_conditions`.
        samples: how many are drawn beside the mean.
        seed: of the draws.
        **where: `frame` of the file; `labels`, its codes; `grid` of the results, "file" or "model".

    Raises:
        ConfigError: an impossible condition, or one that the model does not have.
        CheckpointError: a model that completes no hearts.
        DataError: a heart that cannot be read, or does not fit.
    """
    require_whole("--samples", samples, 0)
    require_whole("--seed", seed, 0)
    covariates = read_conditions(run.conditions, given)
    if not run.model.completes or run.model.frames < 2:
        raise CheckpointError(
            f"{run.trained.path} holds {type(run.model).__name__}, which completes no hearts; train a model that does, "
            f"such as by `{TRAIN}`."
        )
    frame, labels, grid = where.get("frame"), where.get("labels"), where.get("grid", "file")
    told = shown(run.conditions, covariates)
    placed = place_heart(run, read_first(source, frame=frame), labels, grid=grid)
    first = torch.from_numpy(placed.shape[:1]).to(run.model.device)
    here = {name: value.to(run.model.device) for name, value in covariates.items()}
    names = ["completion", *(f"sample_{number:03d}" for number in range(1, samples + 1))]

    def make() -> Iterator[Heart]:
        for number, name in enumerate(names):
            generator = None if number == 0 else generator_of(seed, number - 1)
            answer = partial(run.model.complete, first, here, generator=generator)
            shape = one_heart(answer, str(run.trained.path))
            kind = COMPLETED_SAMPLE if number else COMPLETED
            yield Heart(name, kind, shape, placed.place, placed.labels, told, run.phases)

    record: Mapping[str, Any] = {"input": file_of(source), "frame": frame, "samples": samples, "seed": seed}
    return Plan(
        verb="complete",
        names=names,
        frames=run.model.frames,
        structures=run.structures,
        notes=[*placed.notes, *odd_conditions(run.conditions, covariates)],
        record={**run.record(), **record, "conditions": told, "grid": grid, "labels": placed.labels},
        make=make,
        given=[placed.heart("given", told, "first")],
        inputs=placed.files,
    )
