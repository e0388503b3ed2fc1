"""What a search may vary, read from the overrides of the command line in Hydra's own notation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

SEED = "seed"


@dataclass(frozen=True)
class Space:
    """What is fixed and what is varied.

    Attributes:
        fixed: overrides of every trial.
        varied: option → distribution.
        seeds: seeds of which every trial is the mean; None takes the configuration's one seed.
    """

    fixed: tuple[str, ...]
    varied: dict[str, BaseDistribution]
    seeds: tuple[str, ...] | None

    def jobs(self, values: dict[str, object]) -> list[list[str]]:
        """Return the overrides of the jobs of one trial, one a seed."""
        own = [*self.fixed, *(f"{key}={_written(value)}" for key, value in values.items())]
        return [own] if self.seeds is None else [[*own, f"{SEED}={seed}"] for seed in self.seeds]


def space_of(overrides: Sequence[Override]) -> Space:
    """Read the space: `a,b`, `choice()` are categories, `range()`, `interval()` numbers, `tag(log,…)` logarithmic ones.

    Values of `seed` are not varied: a trial is the mean over them.

    Raises:
        ConfigError: nothing varies.
    """
    from medreg.errors import ConfigError

    fixed: dict[str, str] = {}
    varied: dict[str, BaseDistribution] = {}
    seeds = None
    for one in {one.get_key_element(): one for one in overrides}.values():  # the last of two values counts
        if not one.is_sweep_override():
            fixed[one.get_key_element()] = str(one.input_line)
        elif one.key_or_group == SEED:
            seeds = tuple(one.sweep_string_iterator())
        else:
            varied[one.get_key_element()] = _distribution(one)
    if not varied:
        raise ConfigError(
            "A search needs an option that varies, such as model=gradirn,voxelmorph or "
            "'regularisation.weight=tag(log,interval(0.001,1))'."
        )
    return Space(tuple(fixed.values()), varied, seeds)


def _written(value: object) -> str:
    """A value as it is typed: six digits are enough for an option that is searched."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _distribution(override: Override) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    value = override.value()
    if isinstance(value, IntervalSweep):
        assert value.start is not None
        assert value.end is not None
        if isinstance(value.start, int) and isinstance(
            value.end, int
        ):  # Hydra makes both real for float(interval())
            return IntDistribution(value.start, value.end, log="log" in value.tags)
        return FloatDistribution(float(value.start), float(value.end), log="log" in value.tags)
    if isinstance(value, RangeSweep) and all(
        isinstance(number, int) for number in (value.start, value.stop, value.step)
    ):
        last = value.stop - 1 - (value.stop - 1 - value.start) % value.step  # type: ignore[operator]
        return IntDistribution(int(value.start), int(last), step=int(value.step))  # type: ignore[arg-type]
    return CategoricalDistribution(list(override.sweep_string_iterator()))
