"""Every combination of values, or a random part of them: what `-m` does unless another sweeper is chosen."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser

from hydra_plugins.medreg_sweepers._jobs import JobSweeper


class GridSweeper(JobSweeper):
    """Run the product of all values.

    Args:
        at_most: so many combinations, drawn without replacement; None runs all.
        seed: source of the draw, so that the same command draws the same.
    """

    def __init__(self, *, at_most: int | None, seed: int) -> None:
        super().__init__()
        self.at_most, self.seed = at_most, seed

    def run_all(self, arguments: list[str]) -> list[Any]:
        """Run the sweep that the overrides of the command line ask for."""
        from medreg.config.sweeps import announce, folder_of

        jobs = self.jobs(arguments)
        folder = folder_of(self.outputs, arguments)
        self.remember(folder, jobs, kind="grid", arguments=arguments)
        announce(folder)
        return self.run(jobs)

    def jobs(self, arguments: Sequence[str]) -> list[list[str]]:
        """Return the overrides of every job, in the order of the command line."""
        overrides = OverridesParser.create(config_loader=self.loader).parse_overrides(list(arguments))
        every = BasicSweeper.split_arguments(overrides, None)[0]
        if self.at_most is None or self.at_most >= len(every):
            return every
        chosen = random.Random(self.seed).sample(range(len(every)), self.at_most)
        return [every[number] for number in sorted(chosen)]
