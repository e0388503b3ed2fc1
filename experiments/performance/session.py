"""One call of `python -m experiments.performance`: its settings, its measurements and what it prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from rich.console import Console

from experiments.performance.machine import Rates, measure_rates
from experiments.performance.measurements import Measurements, Row
from experiments.performance.sizes import Size, parse_size
from experiments.performance.timing import Budget, Samples, ratio

OURS = "medreg"
# What other people's code may raise; one contender that fails must not end the measurements of the others.
CONTENDER_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)
FULL_SIZES = ("16*192x192", "96", "128", "160x192x224")
QUICK_SIZES = ("4*96x96", "48")


@dataclass(frozen=True)
class Settings:
    """What was asked for on the command line.

    Attributes:
        sizes: of operators and steps; empty: those of the mode.
        threads: of every contender.
        device: cpu or cuda.
        quick: two minutes instead of twenty.
        release: checkouts of authors' releases, to run them beside ours.
        l2r: checkout of the evaluation of Learn2Reg, to run it beside ours.
        networks: whose steps are measured; empty: all.
    """

    sizes: tuple[str, ...]
    threads: int
    device: str
    quick: bool
    release: tuple[Path, ...]
    l2r: Path | None
    networks: tuple[str, ...] = ()

    def describe(self) -> dict[str, object]:
        """As it is compared when an interrupted section is continued."""
        return {name: str(value) for name, value in vars(self).items()}


@dataclass(frozen=True)
class Session:
    """Settings, measurements and console of one call."""

    settings: Settings
    measured: Measurements
    console: Console

    @property
    def sizes(self) -> list[Size]:
        """Of the operators."""
        chosen = self.settings.sizes or (QUICK_SIZES if self.settings.quick else FULL_SIZES)
        return [parse_size(text) for text in chosen]

    @property
    def budget(self) -> Budget:
        """For one contender of one operator."""
        return Budget(0.15, slow=0.2) if self.settings.quick else Budget(0.6, slow=1.0)

    @cached_property
    def rates(self) -> Rates:
        """What this machine reaches, measured when first asked for and written down."""
        found = measure_rates(self.settings.device, seconds=1.0 if self.settings.quick else 3.0)
        for name, value in (("copy", found.bytes_per_s), ("matmul", found.flops_per_s)):
            self.measured.add([Row("floors", name, "", "torch", "forward", "rate_per_s", value)])
        return found

    def say(self, text: str) -> None:
        """Print a line."""
        self.console.print(text, highlight=False, markup=False)

    def timing_rows(
        self,
        found: Mapping[str, Samples],
        *,
        section: str,
        item: str,
        size: str,
        mode: str,
        versions: Mapping[str, str],
    ) -> Sequence[Row]:
        """Medians, minima and, where ours is among them, ratios of ours over each."""
        rows: list[Row] = []
        for name, samples in found.items():

            def row(
                quantity: str,
                value: float,
                low: float | None = None,
                high: float | None = None,
                *,
                name: str = name,
                rounds: int = len(samples.wall),
            ) -> Row:
                note = f"{rounds} rounds"
                return Row(
                    section, item, size, name, mode, quantity, value, low, high, versions.get(name, ""), note
                )

            rows += [
                row("wall_s", float(np.median(samples.wall))),
                row("wall_min_s", float(samples.wall.min())),
                row("cpu_s", float(np.median(samples.cpu))),
                row("cpu_min_s", float(samples.cpu.min())),
            ]
            if name != OURS and OURS in found:
                ours = found[OURS]
                for quantity, mine, other in (
                    ("wall_ratio", ours.wall, samples.wall),
                    ("cpu_ratio", ours.cpu, samples.cpu),
                ):
                    compared = ratio(mine, other)
                    rows.append(
                        row(quantity, compared.median, compared.low, compared.high, rounds=compared.rounds)
                    )
                    rows.append(row(f"{quantity}_of_minima", compared.minimum, rounds=compared.rounds))
        return rows
