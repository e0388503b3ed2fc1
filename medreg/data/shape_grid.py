"""Any label map of a heart on the grid of a model, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medreg.data.shape_axes import STORED, Axes, found_axes
from medreg.data.shape_placement import Placement
from medreg.data.shape_resampling import Coordinates, by_shape, nearest
from medreg.errors import ConfigError, DataError
from medreg.io.image import Volume

STRUCTURES = ("LV", "MYO", "RV")  # in the order of their places in a shape, from 1
SAME_SPACING = 1e-3  # relative; what differs less is copied, not interpolated
SMALL = 1024  # codes below it are looked up in a table
LIES_RIGHT = 80.0  # degrees that the RV of a file on the model's grid may be off before it is turned (ours)
Notes = tuple[tuple[str, str], ...]  # kind and sentence of what was odd


@dataclass(frozen=True, eq=False)
class GridShape:
    """A heart on the grid of a model.

    Attributes:
        shape: (T, *S) uint8.
        placement: where that grid lies in the file.
        notes: kind and sentence of what was odd.
    """

    shape: NDArray[np.uint8]
    placement: Placement
    notes: Notes = ()


@dataclass(frozen=True)
class ShapeGrid:
    """The grid on which a model sees hearts: long axis last, apex first, RV toward low X and low Y.

    Attributes:
        size: (X, Y, Z) voxels.
        spacing_mm: of its voxels, mm.
        orient: "auto" finds the axes by the shape, never by a mirror image; "stored" takes those of the file.
        interpolate: "shape" (signed distances) or "nearest".
        most_cut_percent: of the voxels of a structure that may lie beyond the grid before a heart is refused.
        ignored_codes: of label maps that count as background.
    """

    size: Sequence[int]
    spacing_mm: Sequence[float]
    orient: str
    interpolate: str
    most_cut_percent: float
    ignored_codes: Sequence[int] = ()

    def __post_init__(self) -> None:
        """Refuse options that mean nothing.

        Raises:
            ConfigError: naming the option.
        """
        if len(self.size) != 3 or len(self.spacing_mm) != 3 or min(*self.size, *self.spacing_mm) <= 0:
            raise ConfigError(
                f"data.size={list(self.size)} and data.spacing_mm={list(self.spacing_mm)} must be three positive "
                "numbers each, for X, Y and Z (the long axis)."
            )
        for name, known in (("orient", ("auto", "stored")), ("interpolate", ("shape", "nearest"))):
            if getattr(self, name) not in known:
                raise ConfigError(
                    f"data.placing.{name} is {getattr(self, name)!r}; choose {' or '.join(known)}."
                )

    @property
    def affine(self) -> NDArray[np.float64]:
        """(4, 4) voxel → mm of the grid by itself, its middle at the origin."""
        affine = np.diag([*map(float, self.spacing_mm), 1.0])
        affine[:3, 3] = -np.array(self.spacing_mm) * (np.array(self.size) - 1) / 2
        return affine

    def to_grid(self, volume: Volume, labels: Mapping[str, int], *, name: str | None = None) -> GridShape:
        """Return a heart on this grid, centred on the mass of its first frame; the frames stay where they are.

        Args:
            volume: (X, Y, Z) or (X, Y, Z, T) integer codes.
            labels: structure → code; LV, MYO and RV.
            name: of the heart in messages; None: its file.

        Raises:
            DataError: a code that `labels` does not name, no heart, one whose orientation cannot be found, or one that
                is larger than the grid.
        """
        name = name or ("the heart" if volume.path is None else str(volume.path))
        codes = ordered_codes(labels)
        places = self._places(volume, codes, name)
        affine = np.asarray(volume.affine, np.float64)
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        here = places.shape[1:] == tuple(self.size) and _same(spacing, self.spacing_mm)
        axes = STORED
        if self.orient == "auto":
            axes = found_axes(places[0], affine, name=name, tolerance=LIES_RIGHT if here else 0.0)
        keep = here and axes.stored
        start, step = _where_it_is() if keep else self._centred(places, axes, spacing)
        placement = Placement(axes.order, start, step, places.shape[1:], affine, codes, len(places))
        notes = (*axes.notes, *_missing(places), *self._beyond(places, placement, name))
        if keep:
            return GridShape(places, placement, notes)
        turned = places.transpose(0, *(axis + 1 for axis in axes.order))
        at = placement.into(self.size)
        source = spacing[list(axes.order)].tolist()
        shape = np.stack([self._sampled(frame, at, source, whole=placement.whole) for frame in turned])
        return GridShape(shape, placement, notes)

    def back(self, shape: NDArray[np.uint8], placement: Placement) -> NDArray[Any]:
        """Return a heart of this grid on that of the file it came from, (X, Y, Z, T) with the codes of the file.

        Args:
            shape: (T, *S) uint8.
            placement: of the file.
        """
        at = placement.out_of()
        spacing = list(map(float, self.spacing_mm))
        frames = [self._sampled(frame, at, spacing, whole=placement.whole) for frame in shape]
        undone = np.argsort(placement.order)
        places = np.stack([frame.transpose(undone) for frame in frames], -1)
        kind = np.uint8 if max(placement.codes) < 256 else np.uint16
        return np.array([0, *placement.codes], kind)[places]

    def _sampled(
        self, places: NDArray[np.uint8], at: Coordinates, spacing_mm: Sequence[float], *, whole: bool
    ) -> NDArray[np.uint8]:
        if whole or self.interpolate == "nearest":
            return nearest(places, at)
        return by_shape(places, at, spacing_mm=spacing_mm, structures=len(STRUCTURES))

    def _places(self, volume: Volume, codes: Sequence[int], name: str) -> NDArray[np.uint8]:
        """(T, X, Y, Z) places of the structures."""
        array = volume.array if volume.array.ndim == 4 else volume.array[..., np.newaxis]
        known = [0, *codes, *self.ignored_codes]
        held = _held(array)
        unknown = sorted(set(held.tolist()) - set(known))
        if unknown:
            raise DataError(
                f"{name} holds label {', '.join(f'{code:g}' for code in unknown)}, which data.labels does not name "
                f"(known: {', '.join(map(str, sorted(set(known))))}). Correct data.labels, or name codes that count as "
                "background in data.placing.ignored_codes."
            )
        table = [codes.index(code) + 1 if code in codes else 0 for code in held.tolist()]
        if held[0] >= 0 and held[-1] < SMALL:
            every = np.zeros(SMALL, np.uint8)
            every[held] = table
            places = every[array]
        else:
            places = np.array(table, np.uint8)[np.searchsorted(held, array)]
        places = np.ascontiguousarray(np.moveaxis(places, 3, 0))
        empty = np.flatnonzero(~places.reshape(len(places), -1).any(1))
        if len(empty):
            raise DataError(
                f"{name} holds no labelled voxel"
                + (f" in frame {empty[0]} (0-based)" if len(places) > 1 else "")
                + "; is it the right file?"
            )
        return places

    def _centred(
        self, places: NDArray[np.uint8], axes: Axes, spacing: NDArray[np.float64]
    ) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """First file voxel and file voxels a voxel along each axis."""
        mass = np.argwhere(places[0]).mean(0)
        everything = np.argwhere(places.any(0))
        low, high = everything.min(0), everything.max(0)
        same = _same(spacing[list(axes.order)], self.spacing_mm)
        starts, steps = [], []
        for axis, (source, sign) in enumerate(zip(axes.order, axes.signs, strict=True)):
            step = sign * (1.0 if same else self.spacing_mm[axis] / spacing[source])
            last = self.size[axis] - 1
            start = mass[source] - step * last / 2
            # Then as little as is needed, for all frames to lie inside with a layer of background around them.
            ends = sorted(((low[source] - start) / step, (high[source] - start) / step))
            if ends[1] - ends[0] > last - 2:
                shift = (ends[0] + ends[1] - last) / 2
            else:
                shift = min(ends[0] - 1, 0.0) + max(ends[1] - (last - 1), 0.0)
            start += step * shift
            starts.append(float(np.floor(start + 0.5)) if same else float(start))
            steps.append(float(step))
        return tuple(starts), tuple(steps)

    def _beyond(self, places: NDArray[np.uint8], placement: Placement, name: str) -> Notes:
        """Refuse a heart that is larger than the grid; say which one touches its border, or that of its file."""
        found = np.argwhere(places.any(0))
        low, high = found.min(0), found.max(0)
        ends = []
        for source, start, step in zip(placement.order, placement.start, placement.step, strict=True):
            ends.append(sorted(((low[source] - start) / step, (high[source] - start) / step)))
        over = [
            max(-0.5 - first, last - size + 0.5) for (first, last), size in zip(ends, self.size, strict=True)
        ]
        notes: list[tuple[str, str]] = []
        if max(over) > 0:
            share, structure = self._cut(places, placement)
            needed = " × ".join(f"{b - a + 3:.0f}" for a, b in ends)
            grid = f"{list(self.size)} voxels of {list(self.spacing_mm)} mm"
            message = f"{share:.1f} % of its {structure} lies beyond the grid of {grid}"
            if share > self.most_cut_percent:
                raise DataError(
                    f"{name} is larger than the grid: {message}; {needed} voxels would hold it. Set data.size, "
                    "data.spacing_mm or data.grid, or raise data.placing.most_cut_percent."
                )
            notes.append(("cut", message))
        elif min(min(a, size - 1 - b) for (a, b), size in zip(ends, self.size, strict=True)) < 0.5:
            notes.append(("border", "the heart touches the border of the grid"))
        plane = [placement.order[0], placement.order[1]]
        if (
            any(low[axis] == 0 or high[axis] == placement.shape[axis] - 1 for axis in plane)
            and not placement.whole
        ):
            notes.append(("file border", "the heart touches the border of its file, as if it were cut there"))
        return tuple(notes)

    def _cut(self, places: NDArray[np.uint8], placement: Placement) -> tuple[float, str]:
        """Largest share of a structure, in %, whose voxels lie beyond the grid, and its name."""
        inside = np.ones(places.shape[1:], bool)
        for source, at, size in zip(placement.order, placement.out_of(), self.size, strict=True):
            within = (at >= -0.5) & (at <= size - 0.5)
            inside &= within.reshape([-1 if axis == source else 1 for axis in range(3)])
        shares = []
        for place, structure in enumerate(STRUCTURES, start=1):
            mask = places == place
            total = int(mask.sum())
            shares.append((100 * float((mask & ~inside).sum()) / total if total else 0.0, structure))
        return max(shares)


def ordered_codes(labels: Mapping[str, int]) -> tuple[int, ...]:
    """Return the codes of LV, MYO and RV.

    Raises:
        ConfigError: one of them is not named, others are, or two have one code.
    """
    codes = tuple(int(labels[name]) for name in STRUCTURES if name in labels)
    if set(labels) != set(STRUCTURES) or len(set(codes)) < len(codes) or min(codes) < 1:
        raise ConfigError(
            f"data.labels is {dict(labels)}; hearts need the three codes of LV, MYO and RV, each its own and above 0. "
            "Codes of other structures go into data.placing.ignored_codes."
        )
    return codes


def _held(array: NDArray[Any]) -> NDArray[Any]:
    """Return the codes of a map, sorted; without sorting its voxels where the codes are small."""
    if array.dtype.kind in "iu" and array.min() >= 0 and array.max() < SMALL:
        seen = np.zeros(SMALL, bool)
        seen[array.reshape(-1)] = True
        return np.flatnonzero(seen)
    return np.unique(array)


def _where_it_is() -> tuple[tuple[float, ...], tuple[float, ...]]:
    """First voxel and step of a file that is on the grid already."""
    return (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)


def _same(spacing: Sequence[float] | NDArray[np.float64], wanted: Sequence[float]) -> bool:
    return bool(np.allclose(spacing, np.asarray(wanted, float), rtol=SAME_SPACING, atol=0))


def _missing(places: NDArray[np.uint8]) -> Notes:
    """Say which structure is in no voxel of some frame."""
    lacking = [
        f"{structure} in {count} of {len(places)} frames"
        for place, structure in enumerate(STRUCTURES, start=1)
        if (count := int((~(places == place).reshape(len(places), -1).any(1)).sum()))
    ]
    return (("missing", f"there is no {' and no '.join(lacking)}"),) if lacking else ()
