"""From the label maps of one heart to frames on the grid of a model: the deterministic part, which is cached."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.transforms.transform import Transform
from numpy.typing import NDArray

from medreg.data.shape_grid import ShapeGrid, ordered_codes
from medreg.errors import ConfigError, DataError
from medreg.io.image import Volume
from medreg.io.on_grid import gap
from medreg.io.sequence import StatedGrid, read_label_sequence

log = logging.getLogger(__name__)
SAME_GRID = 0.1  # voxels that the frames of one heart may lie apart
PHASES = ("cycle", "edes")
NOT_ED = 0.9  # of the largest cavity, below which the first frame is hardly end-diastole (ours)


class FrameChoice:
    """Which frames of a heart are taken.

    Args:
        phases: "cycle": all; "edes": frame 0 and, of the others, that with the smallest LV.
        frames: of a cycle: number of them, frame t at phase t / frames, the nearest that there is; None takes all.

    Raises:
        ConfigError: options that mean nothing.
    """

    def __init__(self, phases: str, frames: int | None) -> None:
        if phases not in PHASES:
            raise ConfigError(f"data.phases is {phases!r}; choose cycle or edes.")
        if frames is not None and frames < 2:
            raise ConfigError(f"data.frames is {frames}; a cycle has 2 frames or more.")
        if phases == "edes" and frames not in (None, 2):
            raise ConfigError(f"data.phases=edes has 2 frames, ED and ES; data.frames is {frames}.")
        self.phases, self.frames = phases, frames

    def of_cycle(self, count: int, name: str) -> list[int]:
        """Return the places of the frames of a cycle of `count` frames.

        Raises:
            DataError: there are fewer than wanted: repeated frames would make steps in every curve.
        """
        if self.frames is None:
            return list(range(count))
        if count < self.frames:
            remedy = f"Set data.frames={count}, or data.phases=edes." if count > 1 else "This is no sequence."
            raise DataError(
                f"{name} has {count} frame{'s' * (count != 1)}, fewer than data.frames={self.frames}. {remedy}"
            )
        return [int(np.floor(number * count / self.frames + 0.5)) % count for number in range(self.frames)]


class LoadHeart(Transform):
    """Read the label maps of a heart, choose frames, and bring them to the grid.

    Args:
        grid: of the model.
        labels: structure → code in the files.
        choice: which frames.
        odd: receives kind → (name of the heart, sentence) of what was odd.
    """

    def __init__(
        self,
        grid: ShapeGrid,
        labels: Mapping[str, int],
        choice: FrameChoice,
        odd: dict[str, list[tuple[str, str]]],
    ) -> None:
        self.grid, self.labels, self.choice, self.odd = grid, dict(labels), choice, odd
        self.cavity = ordered_codes(labels)[0]

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[str, Any]:
        """Return `shape` (T, X, Y, Z) uint8, `affine` (4, 4) of the grid in the world, and `frame` (T,).

        Raises:
            DataError: files that cannot be read, lie on different grids, are too few, or do not fit the grid.
        """
        volume, positions = read_heart(data)
        chosen = self._chosen(volume.array, data)
        part = Volume(volume.array[..., chosen], volume.affine, volume.spacing_mm, volume.notes, volume.path)
        name = None if data["frames"] == 1 else f"the {data['frames']} label maps of {data['id']}"
        placed = self.grid.to_grid(part, self.labels, name=name)
        for kind, sentence in (*placed.notes, *self._not_ed(volume.array)):
            self._note(kind, str(data["id"]), sentence)
        return {
            "shape": torch.from_numpy(placed.shape),
            "affine": torch.from_numpy(placed.placement.affine),
            "frame": torch.tensor([positions[number] for number in chosen], dtype=torch.int64),
        }

    def _chosen(self, array: NDArray[np.int32], data: Mapping[Hashable, Any]) -> list[int]:
        name, count = str(data["id"]), array.shape[3]
        if self.choice.phases == "cycle":
            if data["phases_only"] and self.choice.frames != count:
                raise DataError(f"{name} has ED and ES only, no cycle. Set data.phases=edes.")
            return self.choice.of_cycle(count, name)
        if count < 2:
            raise DataError(f"{name} has 1 frame; ED and ES are wanted (data.phases=edes).")
        if data["phases_only"]:
            return [0, 1]
        sizes = (array == self.cavity).sum((0, 1, 2)).astype(float)
        sizes[sizes == 0] = np.inf  # frames that nobody segmented
        return [0, 1 + int(sizes[1:].argmin())]

    def _not_ed(self, array: NDArray[np.int32]) -> tuple[tuple[str, str], ...]:
        sizes = (array == self.cavity).sum((0, 1, 2))
        if sizes[0] >= NOT_ED * sizes.max():
            return ()
        return (
            (
                "not ED",
                f"the cavity of frame 0 is {100 * sizes[0] / sizes.max():.0f} % of that of frame "
                f"{int(sizes.argmax())}: frame 0 should be end-diastole",
            ),
        )

    def _note(self, kind: str, name: str, sentence: str) -> None:
        known = self.odd.setdefault(kind, [])
        if not known:
            log.warning("%s: %s. (Said once of this kind; `medreg doctor` lists all.)", name, sentence)
        if all(name != other for other, _ in known):
            known.append((name, sentence))


def read_heart(data: Mapping[Hashable, Any]) -> tuple[Volume, Sequence[int]]:
    """Return all frames of a heart as its files hold them, and their places in the cine.

    Args:
        data: see `heart_item`.

    Raises:
        DataError: a file that cannot be read, or frames on different grids.
    """
    volumes: list[Volume] = []
    positions: list[int] = []
    for number in range(data["frames"]):
        stated = data.get(f"stated{number}")
        grid = None if stated is None else StatedGrid(tuple(stated[:3]), str(stated[3]))
        volume = read_label_sequence(data[f"file{number}"], frame=data[f"frame{number}"], stated=grid)
        if volumes and not _same_grid(volumes[0], volume):
            raise DataError(
                f"{data[f'file{number}']} lies on another grid than {data['file0']}; the frames of one heart share "
                "one. Resample it with nearest neighbour."
            )
        if data["frames"] > 1 and volume.array.shape[3] > 1:
            raise DataError(
                f"{data[f'file{number}']} has {volume.array.shape[3]} frames, where a file a frame is wanted."
            )
        place = data[f"position{number}"]
        positions += (
            range(volume.array.shape[3]) if data["frames"] == 1 else [number if place is None else place]
        )
        volumes.append(volume)
    first = volumes[0]
    array = first.array if len(volumes) == 1 else np.concatenate([v.array for v in volumes], 3)
    return Volume(array, first.affine, first.spacing_mm, first.notes, first.path), positions


def _same_grid(first: Volume, second: Volume) -> bool:
    flat = [Volume(v.array[..., 0], v.affine, v.spacing_mm) for v in (first, second)]
    return flat[0].shape == flat[1].shape and gap(flat[1], flat[0]) <= SAME_GRID
