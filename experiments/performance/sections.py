"""The sections of the benchmark, in the order in which they run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from experiments.performance.augmentation_section import run_augmentation
from experiments.performance.evaluation_section import run_evaluation
from experiments.performance.hearts_section import run_hearts
from experiments.performance.loop_section import run_loop
from experiments.performance.operators_section import run_operators
from experiments.performance.posterior_section import run_posterior
from experiments.performance.scaling_section import run_scaling
from experiments.performance.session import Session
from experiments.performance.steps_section import run_steps

SECTIONS: Mapping[str, Callable[[Session], None]] = MappingProxyType(
    {
        "operators": run_operators,
        "steps": run_steps,
        "evaluation": run_evaluation,
        "loop": run_loop,
        "scaling": run_scaling,
        "posterior": run_posterior,
        "augmentation": run_augmentation,
        "hearts": run_hearts,
    }
)


def run_sections(session: Session, names: list[str]) -> None:
    """Run the named sections, each continued where an earlier call was interrupted."""
    for name in names:
        session.measured.begin(name, session.settings.describe())
        SECTIONS[name](session)
        session.measured.finish(name)
