"""Samples on the disk, in half precision, read back one by one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from medreg.errors import DataError
from medreg.inference.sampling.draw import Draw
from medreg.io.atomic import replacing
from medreg.io.npz import DAMAGE

PATTERN = "sample-*.npz"


class Chunk(NamedTuple):
    """A sample that was read back.

    Attributes:
        transition: number of the transition that led to it.
        slot: its chain's place in the batch.
        displacement: (D, *S) float32, rounded to 11 bits: 0.004 voxels at a displacement of 8.
    """

    transition: int
    slot: int
    displacement: Tensor


class Chunks:
    """Writes every kept sample, one file for all chains of a transition: 2 bytes a number.

    A sampling that begins anew removes the samples of the one before; one that goes on overwrites those that came
    after its state.

    Args:
        folder: where to write; made if need be.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.count = 0

    def __call__(self, draw: Draw) -> None:
        """Write the fields of the chains that run.

        Raises:
            OSError: the disk is full or the folder cannot be written; the error names the file.
        """
        if not self.count:
            self._forget()
        slots, fields = zip(*draw.slots(), strict=True)
        halves = torch.stack(fields).to(torch.float16).cpu().numpy()
        target = self.folder / f"sample-{self.count:06d}.npz"
        with replacing(target) as part, part.open("wb") as stream:
            np.savez(stream, displacement=halves, slots=np.array(slots), transition=np.array(draw.transition))
        self.count += 1

    def _forget(self) -> None:
        for file in _files(self.folder)[self.count :]:
            file.unlink()

    def state(self) -> dict[str, Any]:
        """How many transitions were written."""
        return {"count": self.count}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on after so many transitions.

        Raises:
            DataError: files that were written are missing.
        """
        self.count = state["count"]
        there = len(_files(self.folder))
        if there < self.count:
            raise DataError(
                f"{self.folder} holds {there} of the {self.count} samples that were written before the sampling was "
                "stopped. Put them back, or remove the state file to begin anew."
            )
        self._forget()

    def __iter__(self) -> Iterator[Chunk]:
        """The samples that were written, see `read_chunks`."""
        return read_chunks(self.folder)


def read_chunks(folder: Path | str) -> Iterator[Chunk]:
    """Samples of a folder, transition by transition and chain by chain; one file is in memory at a time.

    Raises:
        DataError: a file is damaged; the message names it.
    """
    for file in _files(Path(folder)):
        try:
            with np.load(file, allow_pickle=False) as content:
                fields, slots = content["displacement"], content["slots"].tolist()
                transition = int(content["transition"])
        except (KeyError, *DAMAGE) as error:
            raise DataError(f"{file} cannot be read, it may be damaged or truncated: {error}") from error
        for slot, field in zip(slots, fields, strict=True):
            yield Chunk(transition, slot, torch.from_numpy(field).float())


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob(PATTERN))
