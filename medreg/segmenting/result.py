"""The outcome of segmenting an image, and the files that hold it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medreg.errors import CompositionError, ConfigError
from medreg.io.image import Volume
from medreg.io.like_image import write_labels_like, write_map_like
from medreg.io.outputs import check_file
from medreg.metrics.rows import MetricRow

SUFFIXES = (".nii", ".nii.gz")
BACKGROUND = "background"


@dataclass(frozen=True, eq=False)
class Segmentation:
    """A segmented image.

    Attributes:
        image: as read.
        array: codes of the data set, on the voxels of the image and in its shape.
        structures: name → code.
        rows: volume of each structure; with true labels overlap, surface distances and errors of volumes, too.
        outside: number of voxels that lay beyond the crop of the run, and are background.
        seconds: time from the image to its labels.
        notes: what about header, orientation and crop a person should know.
        probabilities: (L + 1, *shape), background first; None unless asked for.
        frame: of the file, None where it has one image.
    """

    image: Volume
    array: NDArray[np.int64]
    structures: Mapping[str, int]
    rows: Sequence[MetricRow]
    outside: int
    seconds: float
    notes: Sequence[str] = field(default=())
    probabilities: NDArray[np.float32] | None = None
    frame: int | None = None

    @property
    def labels(self) -> Volume:
        """The label map with its place in the world."""
        return Volume(self.array, self.image.affine, self.image.spacing_mm)

    def mask(self, structure: str) -> NDArray[np.bool_]:
        """Where a structure is.

        Raises:
            ConfigError: the run does not know it.
        """
        return self.array == self.structures[self._known(structure)]

    def volume_ml(self, structure: str) -> float:
        """Volume of a structure, ml.

        Raises:
            ConfigError: the run does not know it.
        """
        wanted = (self._known(structure), "volume_ml")
        return next(row.value for row in self.rows if (row.structure, row.metric) == wanted)

    def save(self, file: str | Path, *, overwrite: bool = False) -> list[Path]:
        """Write the label map and, where they were kept, the probabilities beside it; return the files.

        Raises:
            ConfigError: the name ends otherwise, it cannot be written, or is there already.
        """
        return save([self], file, overwrite=overwrite)

    def _known(self, structure: str) -> str:
        if structure not in self.structures:
            raise ConfigError(f"The run does not know {structure!r}; it knows {', '.join(self.structures)}.")
        return structure


def save(found: Sequence[Segmentation], file: str | Path, *, overwrite: bool = False) -> list[Path]:
    """Write the label map of an image, or of the frames of one file with frames last; return the files.

    Raises:
        ConfigError: see `check_output`.
        CompositionError: no frame, or frames of different shape.
    """
    if len({one.array.shape for one in found}) != 1:
        raise CompositionError(f"Frames of one file have one shape, not {[o.array.shape for o in found]}.")
    first = found[0]
    kept = first.probabilities is not None
    check_output(
        file, inputs=[first.image.path], overwrite=overwrite, structures=first.structures if kept else ()
    )
    written = [write_labels_like(file, _joined([one.array for one in found]), first.image)]
    if kept:
        maps = [one.probabilities for one in found if one.probabilities is not None]
        for place, target in enumerate(probability_files(file, first.structures)):
            written.append(write_map_like(target, _joined([one[place] for one in maps]), first.image))
    return written


def check_output(
    file: str | Path,
    *,
    inputs: Sequence[str | Path | None] = (),
    overwrite: bool = False,
    structures: Sequence[str] | Mapping[str, int] = (),
) -> Path:
    """Look at the place of a label map, and of the probabilities of some structures beside it, before any work.

    Raises:
        ConfigError: not NIfTI, an input, not to be written, or there already without `overwrite`.
    """
    target = check_file(file, "--output", inputs=inputs, suffixes=SUFFIXES)
    for one in (target, *(probability_files(file, structures) if structures else ())):
        if one.exists() and not overwrite:
            raise ConfigError(f"--output: {one} is there already; choose another name, or add --overwrite.")
    return target


def probability_files(file: str | Path, structures: Sequence[str] | Mapping[str, int]) -> list[Path]:
    """Names of the files of probabilities beside a label map, background first: `seg_probability_LV.nii.gz`."""
    target = Path(file)
    names = (re.sub(r"[^A-Za-z0-9_.-]+", "_", str(name)) for name in (BACKGROUND, *structures))
    return [target.with_name(f"{stem(target)}_probability_{name}.nii.gz") for name in names]


def stem(file: str | Path) -> str:
    """Name of a file without the endings of images."""
    return re.sub(r"(\.nii)?(\.gz)?$|\.(mha|mhd|nrrd)$", "", Path(file).name)


def _joined(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """One array as it is; several with a last axis of frames."""
    if len(arrays) == 1:
        return arrays[0]
    solid = [array if array.ndim == 3 else array[..., np.newaxis] for array in arrays]
    return np.stack(solid, axis=-1)
