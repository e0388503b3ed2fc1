"""The cases of a benchmark: the pairs of a Learn2Reg task, and the files that every method gets of them."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from medreg.config.compose import compose
from medreg.config.instantiate import build
from medreg.data.datasets.learn2reg_config import EvaluationConfig, PairPaths, read_config
from medreg.data.datasets.learn2reg_descriptor import Descriptor, find_descriptors, read_descriptor
from medreg.data.intensity import Intensity, scale
from medreg.errors import ConfigError, DataError, DatasetNotFound
from medreg.io.digest import digest_of, digest_of_file
from medreg.io.header import right_angled
from medreg.io.image import read_image, read_labels, write_image, write_labels
from medreg.studies.benchmark.methods import Method
from medreg.studies.learn2reg.config import config_from_descriptor, listed_pairs

PAIRS = ("listed", "ring", "all")
MASKS = ("none", "input", "given")


@dataclass(frozen=True)
class Preparation:
    """How the images of a case are prepared, the same for every method.

    Attributes:
        intensity: clipping and scaling to [0, 1].
        foreground: percentiles are of voxels above the minimum, so that padding around a crop does not count.
        mask: "input" sets what lies outside the mask of each image to 0; "given" hands the masks over beside whole
            images, and does as "input" for methods that take none; "none" uses no masks.
    """

    intensity: Intensity
    foreground: bool
    mask: str

    def __post_init__(self) -> None:
        if self.mask not in MASKS:
            raise ConfigError(f"prepare.mask is {self.mask!r}; choose {', '.join(MASKS)}.")

    def hands_over(self, *, takes_masks: bool) -> bool:
        """Say whether a method gets mask files."""
        return self.mask == "given" and takes_masks

    def apply(self, image: NDArray[np.float32], mask: NDArray[Any] | None) -> NDArray[np.float32]:
        """Return an image (X, Y, Z) in [0, 1]."""
        values = image[image > image.min()] if self.foreground else image
        limits = self.intensity.limits(torch.from_numpy(np.ascontiguousarray(values)).reshape(1, -1, 1, 1))
        scaled = scale(torch.from_numpy(image)[None], limits[:, :1])[0].numpy()
        return scaled if mask is None else np.where(mask > 0, scaled, np.float32(0))


@dataclass(frozen=True)
class CaseFiles:
    """The files of one case that a method reads.

    Attributes:
        fixed: NIfTI file.
        moving: NIfTI file; its array is the moving image, its header has the geometry of the fixed image, because
            Learn2Reg fields match voxels by index and every method is to start from that alignment.
        affine: (4, 4) of both.
        moving_shape: (X, Y, Z).
        fixed_mask: NIfTI file of 0 and 1 beside the fixed image, None for methods that get none.
        moving_mask: the same beside the moving image.
    """

    fixed: Path
    moving: Path
    affine: NDArray[np.float64]
    moving_shape: tuple[int, ...]
    fixed_mask: Path | None = None
    moving_mask: Path | None = None


class TaskCases:
    """Pairs of a task folder in Learn2Reg's layout.

    Args:
        root: folder with `<Task>_dataset.json`, or its parent.
        task: name of the task; null where the folder holds one descriptor.
        split: which pairs of the descriptor: val, test or train.
        pairs: "listed" in the descriptor; or of the images that these name: "ring", each to the next, or "all"
            ordered pairs.
        labels: label ids to score; null takes the descriptor's.
        points: points to score; null takes the descriptor's.
        masked: evaluate regularity inside the fixed mask; null as in the challenge.
        config: official evaluation config to take pairs, shape and metrics from instead.
        limit: only so many pairs; null for all.
        generate: options of a run whose data set is written first if it is not there, such as a phantom's.
        prepare: how images are prepared.
        hint: what to do where the folder is missing.
    """

    def __init__(
        self,
        root: str | Path | None,
        *,
        task: str | None,
        split: str,
        pairs: str,
        labels: Sequence[int] | None,
        points: Sequence[str] | None,
        masked: bool | None,
        config: str | None,
        limit: int | None,
        generate: Sequence[str] | None,
        prepare: Preparation,
        hint: str,
    ) -> None:
        if pairs not in PAIRS:
            raise ConfigError(f"data.pairs is {pairs!r}; choose {', '.join(PAIRS)}.")
        if root is None and generate is None:
            raise ConfigError("data.root is not set: give the folder of the task, data.root=FOLDER.")
        self.root = None if root is None else Path(root).expanduser()
        self.task, self.split, self.pairs, self.limit = task, split, pairs, limit
        self.labels, self.points, self.masked = labels, points, masked
        self.official, self.generate, self.prepare, self.hint = config, generate, prepare, hint

    def evaluation(self) -> tuple[Path, EvaluationConfig]:
        """Return the task folder and what is to be evaluated there, writing a generated data set if need be.

        Raises:
            DatasetNotFound: no descriptor, with what to do.
            ConfigError: no pairs.
        """
        folder, descriptor = self._descriptor()
        config = self._config(folder, descriptor)
        pairs = _rearranged(config.pairs, self.pairs)[: self.limit]
        return folder, replace(config, pairs=tuple(pairs))

    def _descriptor(self) -> tuple[Path, Descriptor]:
        root = self.root
        if self.generate is not None:
            root = build(compose(list(self.generate)).data.dataset.prepare).ensure()
        assert root is not None
        found = find_descriptors(root, self.task)
        if len(found) != 1:
            names = ", ".join(file.name for file in found) or "none"
            raise DatasetNotFound(
                f"One descriptor {self.task or '*'}_dataset.json is expected in {root.absolute()}, found {names}. "
                f"Set data.root=FOLDER. {self.hint}".rstrip()
            )
        return found[0].parent, read_descriptor(found[0])

    def _config(self, folder: Path, descriptor: Descriptor) -> EvaluationConfig:
        if self.official is not None:
            return read_config(self.official)
        shape = None
        if not descriptor.shapes:  # that of the first fixed image
            shape = read_image(folder / listed_pairs(descriptor, split=self.split)[0].fixed).shape
        return config_from_descriptor(
            descriptor,
            split=self.split,
            labels=self.labels,
            points=self.points,
            masked=self.masked,
            shape=shape,
        )

    def digest(self, folder: Path, pair: PairPaths, method: Method) -> str:
        """Return a digest of what decides the files that a method gets: those of the task, and their preparation."""
        images = [folder / name for name in (pair.fixed, pair.moving)]
        masks = [] if self.prepare.mask == "none" and not method.prepares else self._mask_files(folder, pair)
        content = [_digest(file) for file in (*images, *masks)]
        handed = self.prepare.hands_over(takes_masks=method.masks)
        return digest_of(content, None if method.prepares else [repr(self.prepare), handed])

    def files(self, folder: Path, pair: PairPaths, target: Path, method: Method) -> CaseFiles:
        """Return the files of a case for a method: prepared here, or for a method that prepares them as they are.

        Args:
            folder: the task folder.
            pair: the case.
            target: folder to write to.
            method: who reads them.

        Raises:
            DataError: an image that cannot be read.
        """
        if not method.prepares:
            return self.prepared(folder, pair, target, takes_masks=method.masks)
        files = [folder / name for name in (pair.fixed, pair.moving)]
        fixed, moving = (read_image(file) for file in files)
        masks = [mask if mask.is_file() else None for mask in self._mask_files(folder, pair)]
        return CaseFiles(files[0], files[1], fixed.affine, moving.shape, *masks)

    def prepared(self, folder: Path, pair: PairPaths, target: Path, *, takes_masks: bool) -> CaseFiles:
        """Write the prepared images of a case, and its masks where they are handed over.

        Args:
            folder: the task folder.
            pair: the case.
            target: folder to write to.
            takes_masks: whether the method can be given masks.

        Raises:
            DataError: an image that cannot be read.
        """
        fixed, moving = read_image(folder / pair.fixed), read_image(folder / pair.moving)
        affine = fixed.affine
        if not right_angled(affine):  # ITK tools refuse such headers; voxel sizes are what matters here
            affine = np.diag([*fixed.spacing_mm, 1.0])
        masks = [
            None if self.prepare.mask == "none" else read_labels(file).array
            for file in self._mask_files(folder, pair)
        ]
        handed = self.prepare.hands_over(takes_masks=takes_masks)
        arrays = [
            self.prepare.apply(image.array, None if handed else mask)
            for image, mask in zip((fixed, moving), masks, strict=True)
        ]
        sides = ("fixed", "moving")
        files = [
            write_image(target / f"{side}.nii", array, affine)
            for side, array in zip(sides, arrays, strict=True)
        ]
        written: list[Path] = []
        if handed:
            for side, mask, array, name in zip(sides, masks, arrays, (pair.fixed, pair.moving), strict=True):
                assert mask is not None
                _same_grid(mask, array, name)
                ones = np.ascontiguousarray(mask > 0).astype(np.uint8)
                written.append(write_labels(target / f"{side}_mask.nii", ones, affine))
        return CaseFiles(files[0], files[1], affine, arrays[1].shape, *written)

    def _mask_files(self, folder: Path, pair: PairPaths) -> list[Path]:
        return [folder / name.replace("images", "masks") for name in (pair.fixed, pair.moving)]


def _digest(file: Path) -> str:
    """Return the digest of a file; of one that cannot be read, which fails later by name, an empty one."""
    try:
        status = file.stat()
        return _digest_of_version(file, status.st_mtime_ns, status.st_size)
    except OSError:
        return ""


@functools.lru_cache(maxsize=4096)  # an image is in many pairs
def _digest_of_version(file: Path, _changed: int, _size: int) -> str:
    return digest_of_file(file)


def _same_grid(mask: NDArray[Any], image: NDArray[np.float32], name: str) -> None:
    """Raise a DataError where a mask has another size than its image."""
    if mask.shape != image.shape:
        raise DataError(f"{name}: its mask is {mask.shape}, the image {image.shape}; they must agree.")


def _rearranged(pairs: Sequence[PairPaths], how: str) -> list[PairPaths]:
    """Return the pairs as listed, or the ring or all ordered pairs of the images in them."""
    if how == "listed":
        return list(pairs)
    images = sorted({name for pair in pairs for name in (pair.fixed, pair.moving)})
    chosen = zip(images, [*images[1:], images[0]], strict=True) if how == "ring" else permutations(images, 2)
    return [PairPaths(fixed, moving) for fixed, moving in chosen]
