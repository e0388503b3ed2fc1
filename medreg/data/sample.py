"""The batch contract: what an item of a data set holds, and how items become a batch.

Every array has a leading axis N: 1 for a volume, the number of slices for a stack. `collate` concatenates
along it, so that a training batch of ten one-slice items and a test case of three slices look alike to a
model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import torch
from torch import Tensor

from medreg.data.failures import UnequalShapes


class Sample(TypedDict, total=False):
    """An item or a batch. S = (X, Y) or (X, Y, Z), D its length; optional keys are absent, never None."""

    fixed_image: Tensor
    moving_image: Tensor
    fixed_label: Tensor
    moving_label: Tensor
    fixed_mask: Tensor
    moving_mask: Tensor
    fixed_keypoints: Tensor
    moving_keypoints: Tensor
    fixed_more_keypoints: Tensor
    moving_more_keypoints: Tensor
    keypoint_affine: Tensor
    spacing_mm: Tensor
    affine: Tensor
    displacement: Tensor
    slice_index: Tensor
    case: list[str]
    fixed_id: list[str]
    moving_id: list[str]


KEYS: Mapping[str, str] = {
    "fixed_image": "(N, 1, *S) float32, after intensity normalisation",
    "moving_image": "(N, 1, *S) float32, brought to the fixed grid by world coordinates",
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
    "spacing_mm": "(N, D) float32, voxel size of the fixed grid",
    "affine": "(N, 4, 4) float64, voxel of the fixed grid → RAS mm; for a slice, of its place in the stack",
    "displacement": "(N, D, *S) float32, true motion in voxels of the fixed grid, pull direction",
    "slice_index": "(N,) int64, index of the slice in its stack, −1 for volumes",
    "case": "N names of the pair",
    "fixed_id": "N names of the fixed image",
    "moving_id": "N names of the moving image",
}
ALWAYS = frozenset(
    ("fixed_image", "moving_image", "spacing_mm", "affine", "slice_index", "case", "fixed_id", "moving_id")
)


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
        elif key.endswith("_keypoints") and len({value.shape[1:] for value in values}) > 1:
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
            "set data.preprocess.size or data.loader.batch_size=1."
        )
    return torch.cat(values)
