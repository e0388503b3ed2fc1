"""Hearts of new people with given conditions."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from medreg.errors import CheckpointError, require_whole
from medreg.generating.asked import Given, odd_conditions, read_conditions, shown
from medreg.generating.drawing import generator_of, one_heart
from medreg.generating.heart import Heart
from medreg.generating.opened import TRAIN, OpenedModel
from medreg.generating.places import ModelPlace
from medreg.generating.plan import Plan
from medreg.metrics.hearts.sources import GENERATED


def plan_generation(run: OpenedModel, given: Given, *, n: int, seed: int) -> Plan:
    """Return the plan of n hearts.

    Args:
        run: that makes them.
        given: what is said of the people, see `asked.read_conditions`.
        n: how many; the first ones of more are the same hearts.
        seed: of the draws.

    Raises:
        ConfigError: an impossible condition, or one that the model does not have.
        CheckpointError: a model that makes no hearts of new people.
    """
    require_whole("-n", n, 1)
    require_whole("--seed", seed, 0)
    covariates = read_conditions(run.conditions, given)
    if not run.model.generates:
        raise CheckpointError(
            f"{run.trained.path} holds {type(run.model).__name__}, which makes no hearts of new people; train a model "
            f"that does, such as by `{TRAIN}`."
        )
    told, place = shown(run.conditions, covariates), ModelPlace(run.grid)
    names = [f"heart_{number:03d}" for number in range(1, n + 1)]
    here = {name: value.to(run.model.device) for name, value in covariates.items()}

    def make() -> Iterator[Heart]:
        for number, name in enumerate(names):
            answer = partial(run.model.generate, here, generator=generator_of(seed, number))
            shape = one_heart(answer, str(run.trained.path))
            yield Heart(name, GENERATED, shape, place, run.labels, told, run.phases)

    return Plan(
        verb="generate",
        names=names,
        frames=run.model.frames,
        structures=run.structures,
        notes=odd_conditions(run.conditions, covariates),
        record={**run.record(), "conditions": told, "seed": seed, "n": n},
        make=make,
    )
