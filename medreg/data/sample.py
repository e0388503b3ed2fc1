"""The batch contract: what an item of each kind of data holds, and how items become a batch.

Every array has a leading axis N: 1 for a volume, the number of slices for a stack. `collate` concatenates
along it, so that a training batch of ten one-slice items and a test case of three slices look alike to a
model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from medreg.data.failures import UnequalShapes


@dataclass(frozen=True)
class Contract:
    """What items and batches of one kind hold. S = (X, Y) or (X, Y, Z), D its length.

    Attributes:
        always: key → content, of keys that every item has.
        perhaps: those that are absent (never None) where the data do not have them.
    """

    always: Mapping[str, str]
    perhaps: Mapping[str, str]

    @property
    def keys(self) -> Mapping[str, str]:
        """Every key → content."""
        return {**self.always, **self.perhaps}


_PLACE = {
    "spacing_mm": "(N, D) float32, voxel size",
    "affine": "(N, 4, 4) float64, voxel → RAS mm; for a slice, of its place in the stack",
    "slice_index": "(N,) int64, index of the slice in its stack, −1 for volumes",
    "case": "N names of the case",
}
_COVARIATES = {
    "covariates": "of the subject, by name: (N,) float32 for a number (NaN where it is unknown), (N,) int64 for a "
    "category, its place in `categories` of the data module (−1 where it is unknown)"
}
_CUT = {
    "cut_percent": "by code of a label, as text: (N,) float32, % of its voxels that data.preprocess.size has cut off, "
    "the largest share of the images; absent in training and where nothing is cropped"
}
IMAGES = Contract(
    always={
        "image": "(N, 1, *S) float32, after intensity normalisation",
        **_PLACE,
        "image_id": "N names of the image, which is the case",
        "phase": "N names of the phase, such as ED, or empty",
        "frame": "(N,) int64, place of the image in its cine from 0, −1 where there is none",
    },
    perhaps={
        "label": "(N, 1, *S) int64, codes of the data set",
        "mask": "(N, 1, *S) uint8, 1 inside",
        "keypoints": "(N, P, D) float32, voxels",
        "more_keypoints": "(N, P, D) float32, points of another kind, voxels",
        "unlabelled": "a batch of its own, of images of other subjects: the keys of this table but `label` and points, "
        "with an N of their own; in training only, where data.unlabelled_batch_size is above 0",
        **_CUT,
        **_COVARIATES,
    },
)
PAIRS = Contract(
    always={
        "fixed_image": "(N, 1, *S) float32, after intensity normalisation",
        "moving_image": "(N, 1, *S) float32, brought to the fixed grid by world coordinates",
        **_PLACE,
        "fixed_id": "N names of the fixed image",
        "moving_id": "N names of the moving image",
    },
    perhaps={
        "fixed_label": "(N, 1, *S) int64, codes of the data set",
        "moving_label": "(N, 1, *S) int64, on the fixed grid, nearest neighbour",
        "fixed_mask": "(N, 1, *S) uint8, 1 inside",
        "moving_mask": "(N, 1, *S) uint8, on the fixed grid",
        "fixed_keypoints": "(N, P, D) float32, voxels of the fixed grid",
        "moving_keypoints": "(N, P, D) float32, voxels of the moving image on the fixed grid",
        "fixed_more_keypoints": "(N, P, D) float32, points of another kind, voxels of the fixed grid",
        "moving_more_keypoints": "(N, P, D) float32, the same on the moving image, as moving_keypoints",
        "keypoint_affine": "(N, 4, 4) float64, voxel → mm for errors at points where it is not `affine`: images "
        "compared by index, whose errors are measured with the voxel size of the moving image",
        "displacement": "(N, D, *S) float32, true motion in voxels of the fixed grid, pull direction",
        **_CUT,
    },
)
SEQUENCES = Contract(
    always={
        "image": "(N, T, 1, *S) float32, T frames in their order in time on the grid of the first",
        **_PLACE,
        "frame": "(N, T) int64, place of each frame in its cine from 0",
    },
    perhaps={
        "label": "(N, T, 1, *S) int64, codes of the data set; 0 in frames without a label map",
        "labelled": "(N, T) bool, whether the frame has a label map",
        **_CUT,
        **_COVARIATES,
    },
)
SHAPES = Contract(
    always={
        "shape": "(N, T, X, Y, Z) uint8, place of the structure in `data.labels` counted from 1, 0 elsewhere; on the "
        "grid of the data module, long axis last, apex first; frame 0 is ED",
        **_PLACE,
        "subject": "N names of the person",
        "group": "N names of the group of the person, such as a diagnosis, or empty",
        "frame": "(N, T) int64, place of each frame in its cine from 0",
    },
    perhaps={
        "later": "a batch of its own, of the same people at a later visit: the keys of this table but `later`",
        **_COVARIATES,
    },
)
CONTRACTS: Mapping[str, Contract] = {
    "images": IMAGES, "pairs": PAIRS, "sequences": SEQUENCES, "shapes": SHAPES,
}  # fmt: skip


def collate(items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Concatenate items along their leading axis.

    A key that some item lacks is left out of the batch: a loss must not see labels for half of its samples.
    Key-points are left out too where their numbers differ.

    Raises:
        UnequalShapes: images of different size; the message names the option that makes them equal.
    """
    shared = [key for key in items[0] if all(key in item for item in items)]
    batch: dict[str, Any] = {}
    for key in shared:
        values = [item[key] for item in items]
        if isinstance(values[0], list):
            batch[key] = [name for value in values for name in value]
        elif isinstance(values[0], Mapping):
            batch[key] = collate(values)
        elif key.endswith("keypoints") and len({value.shape[1:] for value in values}) > 1:
            continue
        else:
            batch[key] = _concatenate(key, values, items)
    return batch


def _concatenate(key: str, values: list[Tensor], items: Sequence[Mapping[str, Any]]) -> Tensor:
    shapes = {tuple(value.shape[1:]) for value in values}
    if len(shapes) > 1:
        names = ", ".join(item["case"][0] for item in items)
        raise UnequalShapes(
            f"{key} has different shapes {sorted(shapes)} in one batch ({names}): "
            "set data.preprocess.size or data.loader.batch_size=1 (data.unlabelled_batch_size=1 of unlabelled images)."
        )
    return torch.cat(values)
