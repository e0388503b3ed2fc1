"""What a job knows of how it was started, in plain values, so that no layer above needs Hydra."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode


@dataclass(frozen=True)
class RunContext:
    """How a job was started.

    Attributes:
        folder: the run folder, absolute.
        overrides: the override strings of this job.
        choices: the option chosen in each configuration group.
        sweep: whether the job is one of a multirun.
    """

    folder: Path
    overrides: tuple[str, ...]
    choices: dict[str, str]
    sweep: bool

    @property
    def model(self) -> str:
        """Name of the chosen model option."""
        return self.choices.get("model", "model")

    @property
    def data(self) -> str:
        """Name of the chosen data option."""
        return self.choices.get("data", "data")


def current_context() -> RunContext:
    """Return the context of the job that Hydra is running now."""
    node = HydraConfig.get()
    own = {key: str(value) for key, value in node.runtime.choices.items() if not key.startswith("hydra")}
    return RunContext(
        folder=Path(node.runtime.output_dir).resolve(),
        overrides=tuple(node.overrides.task),
        choices=own,
        sweep=node.mode == RunMode.MULTIRUN,
    )
