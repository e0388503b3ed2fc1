"""What a task folder holds about a pair: label maps, masks, points and voxel sizes, found as official code finds them.

Every path follows from the path of the image by replacing the word `images`, as often as it occurs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medreg.data.datasets.learn2reg_config import EvaluationConfig, PairPaths
from medreg.errors import ConfigError, DataError, DatasetNotFound
from medreg.io.image import existing_file
from medreg.io.nifti import load_nibabel
from medreg.io.nifti import read_voxels as stored_voxels
from medreg.io.points import PointPairs, read_points

if TYPE_CHECKING:
    from medreg.data.datasets.learn2reg_descriptor import Descriptor

IMAGES = "images"
SUFFIX = ".nii.gz"
POINT_KINDS = ("landmarks", "keypoints")


@dataclass(frozen=True)
class PointFiles:
    """Files of corresponding points of a pair: `.csv`, or label images of landmarks (LUMIR)."""

    fixed: Path
    moving: Path

    @property
    def are_images(self) -> bool:
        """Whether the landmarks are drawn into label images."""
        return self.fixed.name.endswith(SUFFIX)


class TaskFolder:
    """A task as the challenge distributes it: `imagesTr, labelsTr, masksTr, keypointsTr, …` and a descriptor.

    Args:
        path: the folder of the task, or its parent where it holds one task.
        task: name of the task, to choose among several in the parent, or among several descriptors.

    Raises:
        DatasetNotFound: no such folder, or no image folders in it.
    """

    def __init__(self, path: str | Path, *, task: str | None = None) -> None:
        self.path, self.task = _task_folder(Path(path), task), task

    def image(self, relative: str) -> Path:
        """File of an image that a config or descriptor names."""
        return self.path / _plain(relative)

    def companion(self, relative: str, kind: str) -> Path:
        """File of the label map ("labels") or the mask ("masks") of an image."""
        return self.path / _plain(relative).replace(IMAGES, kind)

    def point_files(self, pair: PairPaths, kind: str) -> PointFiles | None:
        """Files of the points of a pair, or None where none of the folders has both."""
        for folder in point_folders(pair, kind):
            paths = [self.path / _plain(name).replace(IMAGES, folder) for name in (pair.fixed, pair.moving)]
            tables = [path.with_name(path.name.removesuffix(SUFFIX) + ".csv") for path in paths]
            for fixed, moving in (tables, paths):
                if fixed.is_file() and moving.is_file():
                    return PointFiles(fixed, moving)
        return None

    def tried_for_points(self, pair: PairPaths, kind: str) -> str:
        """Folders in which points of a pair are looked for, for messages."""
        names = [(_plain(pair.fixed).replace(IMAGES, folder)) for folder in point_folders(pair, kind)]
        return ", ".join(str(self.path / Path(name).parent) for name in names)

    def descriptor(self) -> Descriptor:
        """Read the descriptor `<Task>_dataset.json`.

        Raises:
            DatasetNotFound: there is none, or more than one.
        """
        from medreg.data.datasets.learn2reg_descriptor import read_descriptor

        found = sorted(self.path.glob(f"{self.task or '*'}_dataset.json"))
        if len(found) != 1:
            there = found or sorted(self.path.glob("*_dataset.json"))
            names = ", ".join(file.name for file in there) or "none"
            raise DatasetNotFound(
                f"{self.path}: one descriptor {self.task or '<Task>'}_dataset.json is expected, found {names}; "
                "choose one by --task, or give the evaluation config with --config."
            )
        return read_descriptor(found[0])

    def config(self, *, split: str = "val") -> EvaluationConfig:
        """Make the evaluation config from the descriptor and from what lies on disk.

        Label ids that the descriptor does not name (OASIS) are those of the fixed label maps; points are
        those of the training list and of folders that hold them for every pair.
        """
        from medreg.studies.learn2reg.config import config_from_descriptor, listed_pairs

        descriptor = self.descriptor()
        pairs = listed_pairs(descriptor, split=split)
        on_disk = [k for k in POINT_KINDS if all(self.point_files(pair, k) for pair in pairs)]
        listed = [k for k in descriptor.points if k not in on_disk]
        return config_from_descriptor(
            descriptor,
            split=split,
            labels=self._labels(descriptor, pairs),
            points=[kind for kind in POINT_KINDS if kind in (*on_disk, *listed)],
            shape=None if descriptor.shapes else self._shape(pairs),
        )

    def _shape(self, pairs: Sequence[PairPaths]) -> tuple[int, ...]:
        """Common grid of the fixed images, for descriptors that name none."""
        shapes = {tuple(load_nibabel(existing_file(self.image(pair.fixed))).shape[:3]) for pair in pairs}
        if len(shapes) != 1:
            names = " and ".join("×".join(map(str, shape)) for shape in sorted(shapes)[:2])
            raise ConfigError(
                f"{self.path}: fixed images have different sizes ({names}), but Learn2Reg tasks have one; "
                "pad them, or evaluate each size with a config of its own."
            )
        return shapes.pop()

    def check(self, config: EvaluationConfig) -> None:
        """Say before any work that a metric cannot be computed for a single pair.

        Raises:
            DatasetNotFound: naming every folder that was looked into.
        """
        for spec in config.metrics:
            if spec.metric == "tre" and not any(self.point_files(pair, spec.dest) for pair in config.pairs):
                raise DatasetNotFound(
                    f"{spec.name} needs points, but no pair has any; looked into "
                    f"{self.tried_for_points(config.pairs[0], spec.dest)}. Add them, or take the metric "
                    "out of the config."
                )
            if spec.metric in ("dice", "hd95") and not any(
                self.companion(pair.fixed, "labels").is_file() for pair in config.pairs
            ):
                folder = self.companion(config.pairs[0].fixed, "labels").parent
                raise DatasetNotFound(
                    f"{spec.name} needs label maps, but no fixed image has one in {folder}. Add them, or take "
                    "the metric out of the config."
                )

    def used_files(self, pair: PairPaths, config: EvaluationConfig) -> list[Path]:
        """Existing files of the truth that the values of a pair depend on."""
        names = (pair.fixed, pair.moving)
        files = [self.image(name) for name in names] + [self.companion(name, "labels") for name in names]
        files.append(self.companion(pair.fixed, "masks"))
        for spec in config.metrics:
            found = self.point_files(pair, spec.dest) if spec.metric == "tre" else None
            files += [found.fixed, found.moving] if found else []
        return [file for file in files if file.is_file()]

    def _labels(self, descriptor: Descriptor, pairs: Sequence[PairPaths]) -> list[int]:
        if descriptor.codes:
            return list(descriptor.codes)
        files = {self.companion(pair.fixed, "labels") for pair in pairs}
        found: set[int] = set()
        for file in sorted(files):
            if file.is_file():
                values = np.unique(read_voxels(file))
                found |= {int(value) for value in values if value == int(value) and value != 0}
        return sorted(found)


def point_folders(pair: PairPaths, kind: str) -> list[str]:
    """Stems of the folders in which points are looked for, best first.

    ThoraxCBCT has key-points per pair of modalities: `keypoints01`, `keypoints02`, with the integer ids in
    ascending order. The official code since 2025-02-10 (commit 8847509) appends four digits each to every
    kind, which fits no published folder; these names come last.
    """
    ids = sorted((pair.fixed_modality, pair.moving_modality))
    short, long = kind + "".join(str(int(number)) for number in ids), kind + "".join(ids)
    first_two = (pair.fixed_modality, pair.moving_modality) == ("0000", "0001")
    if ids[0] == ids[1] or first_two or kind != "keypoints":
        return [kind, short, long]
    return [short, kind, long]


def read_voxels(path: Path) -> NDArray[Any]:
    """Voxels as stored, first axis fastest: integers unless the file holds or scales to other numbers.

    Raises:
        DataError: missing, damaged, or not three-dimensional.
    """
    array = stored_voxels(load_nibabel(existing_file(path)), str(path))
    array = array if array.dtype.kind in "iu" else array.astype(np.float64)
    array = (
        array.reshape(array.shape[:3], order="F") if array.ndim > 3 and array[0, 0, 0].size == 1 else array
    )
    if array.ndim != 3:
        raise DataError(f"{path}: shape {array.shape} is not that of a 3-D image.")
    return np.asfortranarray(array, dtype=array.dtype.newbyteorder("="))


def voxel_size(path: Path) -> NDArray[np.float64]:
    """First three zooms of the header, mm, as stored (official code repairs nothing)."""
    zooms = load_nibabel(existing_file(path)).header.get_zooms()
    return np.asarray(zooms[:3], dtype=np.float64)


def read_point_files(files: PointFiles) -> PointPairs:
    """Read both tables of points.

    Raises:
        DataError: unequal numbers of points, or not three columns.
    """
    fixed, moving = read_points(files.fixed), read_points(files.moving)
    if fixed.shape != moving.shape or fixed.shape[1] != 3:
        raise DataError(
            f"{files.fixed} has {fixed.shape} and {files.moving} {moving.shape} numbers; corresponding points "
            "stand in the same rows, x,y,z."
        )
    return PointPairs(fixed, moving)


def _plain(relative: str) -> str:
    """Path without "./" or "/" in front, which never means an absolute path."""
    return relative.removeprefix(".").lstrip("/")


def _task_folder(path: Path, task: str | None) -> Path:
    if not path.is_dir():
        raise DatasetNotFound(f"{path} is not a folder; give the folder of the task with its imagesTr.")
    if any(path.glob(f"{IMAGES}*")) or any(path.glob("labels*")):
        return path
    inside = [folder for folder in sorted(path.iterdir()) if any(folder.glob(f"{IMAGES}*"))]
    chosen = [folder for folder in inside if task in (None, folder.name)]
    if len(chosen) == 1:
        return chosen[0]
    if len(chosen) > 1:
        names = ", ".join(folder.name for folder in chosen)
        raise ConfigError(f"{path} holds the tasks {names}; give the folder of one of them.")
    raise DatasetNotFound(f"{path} holds no folder of images (imagesTr, imagesTs, imagesVal).")
