"""The file from which an inference that was killed goes on."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch

from medreg.errors import CheckpointError, ConfigError
from medreg.io import checkpoint
from medreg.io.atomic import replacing

log = logging.getLogger("medreg")


@runtime_checkable
class Resumable(Protocol):
    """What can be stopped and goes on as if it had not been."""

    def state(self) -> dict[str, Any]:
        """All that what follows depends on, as tensors and plain values, to be written before anything goes on.

        Tensors may be those at work: who keeps them copies them.
        """

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave."""


class StateFile:
    """Whole states of an inference in one file, written every so many seconds, whole or not at all.

    Args:
        path: the file; its folder is made if need be.
        every_s: seconds from one state to the next; 0 writes whenever it is asked.

    Raises:
        ConfigError: negative seconds.
    """

    def __init__(self, path: Path | str, *, every_s: float) -> None:
        if not every_s >= 0:
            raise ConfigError(f"The state file {path} should be written every {every_s} s; give 0 or more.")
        self.path, self.every_s = Path(path), float(every_s)
        self._written = time.monotonic()

    def due(self) -> bool:
        """Whether it is time for the next state."""
        return time.monotonic() - self._written >= self.every_s

    def write(self, state: Mapping[str, Any], *, made_by: Mapping[str, Any]) -> None:
        """Replace the file.

        Args:
            state: tensors and plain values.
            made_by: settings without which the state has no meaning, plain values; `read` compares them.

        Raises:
            OSError: it cannot be written; what was there stays.
        """
        with replacing(self.path) as part:
            torch.save({"state_dict": dict(state), "made_by": dict(made_by)}, part)
        self._written = time.monotonic()

    def update(self, state: Mapping[str, Any], *, made_by: Mapping[str, Any]) -> None:
        """As `write`, but a disk that is full costs the possibility to resume, not the inference: it is told."""
        try:
            self.write(state, made_by=made_by)
        except (OSError, RuntimeError) as error:
            self._written = time.monotonic()
            log.warning(
                "The state file %s cannot be written (%s); going on without it. If this ends early, it begins again "
                "from the state before.",
                self.path,
                error,
            )

    def read(self, *, made_by: Mapping[str, Any]) -> dict[str, Any] | None:
        """The state in the file, tensors on the CPU; None where there is no file yet.

        Args:
            made_by: what `write` was given.

        Raises:
            CheckpointError: it is damaged, or belongs to other settings.
        """
        if not self.path.is_file():
            return None
        content = checkpoint.read(self.path)
        found = content.get("made_by", {})
        wrong = [name for name in made_by if found.get(name) != made_by[name]]
        if wrong:
            name = wrong[0]
            raise CheckpointError(
                f"The state file {self.path} belongs to another inference ({name} is {found.get(name)} there and "
                f"{made_by[name]} here). Remove it to begin anew, or give the settings that made it."
            )
        return content["state_dict"]

    @contextmanager
    def loading(self) -> Iterator[None]:
        """While what `read` gave is loaded: a state of another make is told, as a damaged file is.

        Raises:
            CheckpointError: something is missing from it, or of another kind or size.
        """
        try:
            yield
        except (
            KeyError,
            IndexError,
            TypeError,
            ValueError,
            AttributeError,
            RuntimeError,
            ConfigError,
        ) as error:
            raise CheckpointError(
                f"The state file {self.path} does not fit this inference ({type(error).__name__}: {error}); it is of "
                "another version or damaged. Remove it to begin anew."
            ) from error

    def remove(self) -> None:
        """Forget the state; a missing file is no error."""
        self.path.unlink(missing_ok=True)
