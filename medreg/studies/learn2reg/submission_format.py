"""The forms in which Learn2Reg takes displacement fields: names, arrays and folders of each edition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medreg.data.datasets.learn2reg_config import PairPaths
from medreg.errors import require_choice
from medreg.io.atomic import replacing
from medreg.io.field_learn2reg import write_learn2reg_field, write_learn2reg_half_field
from medreg.studies.learn2reg.names import Naming, accepted_names, field_names
from medreg.studies.learn2reg.submission_tasks import EDITIONS, task_folder

DTYPES = ("float16", "float32")
FULL_IN_2021 = ("HippocampusMR",)  # small enough to be stored at full resolution


@dataclass(frozen=True)
class Form:
    """How the fields of a task are stored.

    Attributes:
        task: name of the task.
        edition: 2020 and 2021: half-resolution float16 `.npz`, component first, in a folder task_0k; from 2022 on full
            resolution, component last, in a folder of the task's name.
        dtype: "float32" is NIfTI; "float16" halves the size and is `.npz`, because NIfTI has no such type.
        naming: "short", "long" or "both"; None takes what the challenge site wants.
    """

    task: str
    edition: int
    dtype: str
    naming: Naming | None

    def __post_init__(self) -> None:
        require_choice("--edition", self.edition, EDITIONS)
        require_choice("--dtype", self.dtype, DTYPES)
        task_folder(self.task, edition=self.edition)  # refuses an edition without this task

    @property
    def old(self) -> bool:
        """Whether this is the form of 2020 and 2021."""
        return self.edition < 2022

    @property
    def half(self) -> bool:
        """Whether fields are subsampled by two."""
        return self.old and self.task not in FULL_IN_2021

    @property
    def suffix(self) -> str:
        """Ending of the files."""
        return ".npz" if self.old or self.dtype == "float16" else ".nii.gz"

    @property
    def folder(self) -> str:
        """Folder of the task inside the zip."""
        return task_folder(self.task, edition=self.edition)

    def files(self, pair: PairPaths) -> tuple[str, ...]:
        """Names of the files of a pair, with their ending."""
        if self.naming is not None:
            names: Sequence[str] = field_names(pair, naming=self.naming)
        else:
            names = accepted_names(pair, rule="2022")[:1]
        return tuple(name + self.suffix for name in names)

    def stored_shape(self, shape: tuple[int, int, int]) -> tuple[int, ...]:
        """Shape of the stored array for a grid (X, Y, Z)."""
        if not self.old:
            return (*shape, 3)
        return (3, *(size // 2 if self.half else size for size in shape))

    def write(self, path: Path, displacement: NDArray[np.floating]) -> None:
        """Write a field (3, X, Y, Z), voxels, complete or not at all.

        Raises:
            FieldFormatError: no 3-D field, or NaN.
        """
        with replacing(path) as part:
            if self.half:
                write_learn2reg_half_field(part, displacement)
            elif self.suffix == ".npz":
                array = displacement if self.old else np.moveaxis(displacement, 0, -1)
                np.savez_compressed(part, array.astype(np.float16))
            else:
                write_learn2reg_field(part, displacement)
