"""A heart at other ages: the anatomy of a person kept, the age that the model is told changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from medreg.errors import CheckpointError, ConfigError, require_whole
from medreg.generating.asked import (
    FLAGS,
    SHORT,
    Given,
    odd_conditions,
    read_conditions,
    require_condition,
    shown,
)
from medreg.generating.drawing import one_heart
from medreg.generating.heart import Heart
from medreg.generating.opened import OpenedModel
from medreg.generating.places import place_heart
from medreg.generating.plan import Plan
from medreg.generating.source import Sources, file_of, frames_in, listed, read_ed_es, read_first
from medreg.io.frames import split_frame
from medreg.io.image import Volume
from medreg.metrics.hearts.sources import AGED, RECONSTRUCTED
from medreg.models.hearts.base import AgeingModel
from medreg.models.hearts.conditions import Conditions, Covariates

AGE = "age_years"
BLUR = (
    "a model gives hearts back a little smoother than they were: judge ageing by the change from the heart at the "
    "first age, which the model made as well, as changes.csv has it"
)
SUGGESTION = "python train.py model=ageheart data=heart_population data.phases=edes"


@runtime_checkable
class Recoding(Protocol):
    """A model whose code of a heart can be decoded under other conditions, such as CHeart."""

    def encode(self, first: Tensor, covariates: Covariates) -> tuple[Tensor, Tensor]:
        """Mean and log variance of the codes of first frames, (B, z) each."""

    def shapes(self, latent: Tensor, covariates: Covariates) -> Tensor:
        """Hearts (B, T, *S) of codes."""


def plan_ageing(
    run: OpenedModel,
    source: Sources,
    given: Given,
    *,
    ages: tuple[float, float, int],
    labels: Mapping[str, int] | None,
    grid: str,
) -> Plan:
    """Return the plan of a heart at several ages, the first of which is that of the person now.

    Args:
        run: that makes them.
        source: label maps of ED and ES, see `source.read_ed_es`; of a model that looks at ED alone, ED is enough.
        given: what is said of the person beside the age, see `asked.read_conditions`.
        ages: now, last, and how many.
        labels: structure → code of the file.
        grid: of the results, "file" or "model".

    Raises:
        ConfigError: an impossible condition or age, or one that the model does not have.
        CheckpointError: a model that does not age hearts.
        DataError: a heart that cannot be read, or does not fit.
    """
    model, path = run.model, str(run.trained.path)
    if not isinstance(model, AgeingModel | Recoding):
        raise CheckpointError(
            f"{path} holds {type(model).__name__}, which does not say what a heart is like at another age; train a "
            f"model that does, such as by `{SUGGESTION}`."
        )
    require_condition(run.conditions, AGE, "say what a heart is like at another age")
    if any(SHORT.get(name, name) == AGE and value is not None for name, value in given.items()):
        raise ConfigError("The age is said by --from (from_age) and --to (to_age); leave age_years out.")
    steps = _steps(*ages)
    for age, flag in ((steps[0], "--from"), (steps[-1], "--to")):
        read_at(run.conditions, given, age, flag)
    covariates = [read_at(run.conditions, given, age, "--from") for age in steps]
    volume, notes = _read(run, source, labels)
    placed = place_heart(run, volume, labels, grid=grid)
    told = [shown(run.conditions, one) for one in covariates]
    names = [name_at(age) for age in steps]
    here = [{name: value.to(model.device) for name, value in one.items()} for one in covariates]
    shape = torch.from_numpy(placed.shape).unsqueeze(0).to(model.device)

    def make() -> Iterator[Heart]:
        for number, name in enumerate(names):
            found = one_heart(partial(aged, model, shape, here[0], here[number]), path)
            kind = AGED if number else RECONSTRUCTED
            yield Heart(name, kind, found, placed.place, placed.labels, told[number], run.phases)

    files = [file_of(one) for one in listed(source)]
    record = {"input": files, "from": ages[0], "to": ages[1], "steps": ages[2], "grid": grid}
    warned = [note for one in covariates for note in odd_conditions(run.conditions, one)]
    return Plan(
        verb="age",
        names=names,
        frames=model.frames,
        structures=run.structures,
        notes=list(
            dict.fromkeys([*notes, *placed.notes, *warned, *_alike(run.conditions, covariates), BLUR])
        ),
        record={**run.record(), **record, "conditions": told[0], "labels": placed.labels},
        make=make,
        given=[placed.heart("given", told[0], run.phases if len(placed.shape) > 1 else "first")],
        inputs=placed.files,
    )


def aged(model: AgeingModel | Recoding, shape: Tensor, covariates: Covariates, later: Covariates) -> Tensor:
    """Return a heart at another age, (1, T, *S) uint8.

    A model of ED and ES is asked as it is; of a model such as CHeart the code of the heart as it is (its mean) is
    decoded under the later conditions (released code of Qiao et al., TMI 2023, generation_through_age).

    Args:
        model: that says so.
        shape: (1, T, *S) uint8.
        covariates: of the person now.
        later: of the person at the other age.
    """
    if isinstance(model, AgeingModel):
        return model.age(shape, covariates, later)
    mean, _ = model.encode(shape[:, 0], covariates)
    return model.shapes(mean, later)


def read_at(conditions: Conditions, given: Given, age: float, flag: str) -> dict[str, Tensor]:
    """Return the covariates of a person at an age.

    Raises:
        ConfigError: an impossible one; an age is called by its flag.
    """
    try:
        return read_conditions(conditions, {**given, AGE: age})
    except ConfigError as error:
        raise ConfigError(str(error).replace(f"{AGE} ({FLAGS[AGE]})", flag)) from None


def name_at(age: float) -> str:
    """Name of the files of an age."""
    return f"age_{age:g}"


def _steps(start: float, end: float, count: int) -> list[float]:
    """The ages."""
    require_whole("--steps", count, 2)
    for flag, value in (("--from", start), ("--to", end)):
        if not np.isfinite(value):
            raise ConfigError(f"{flag} is {value!r}; give an age in years.")
    if start == end:
        raise ConfigError(f"--from and --to are both {start:g}; name two ages.")
    ages = [round(float(age), 2) for age in np.linspace(start, end, count)]
    if len(set(ages)) < count:
        raise ConfigError(
            f"--steps {count} from {start:g} to {end:g} years are closer than 0.01 years; take fewer."
        )
    return ages


def _read(run: OpenedModel, source: Sources, labels: Mapping[str, int] | None) -> tuple[Volume, list[str]]:
    """The frames that the model looks at, and sentences about which they are."""
    if isinstance(run.model, AgeingModel):
        return read_ed_es(source, cavity=(labels or run.labels).get("LV", 0))
    first = listed(source)[0]
    name = file_of(first) or "the label map"
    named = isinstance(first, str | Path) and split_frame(first)[1] is not None
    if frames_in(first) > 1 and not named:
        return read_first(first, frame=0), [f"the model looks at ED alone: frame 0 of {name}"]
    return read_first(first), [f"the model looks at ED alone: {name}"] if len(listed(source)) > 1 else []


def _alike(conditions: Conditions, covariates: Sequence[Covariates]) -> list[str]:
    """Say at which ages the model is told the same, since it knows groups of ages only."""
    coded = [conditions(one) for one in covariates]
    same = [
        f"{float(a[AGE][0]):g} and {float(b[AGE][0]):g}"
        for a, b, x, y in zip(covariates, covariates[1:], coded, coded[1:], strict=False)
        if torch.equal(x, y)
    ]
    if not same:
        return []
    return [
        f"the model knows groups of ages (of five years), so that it is told the same at {', '.join(same)} years"
    ]
