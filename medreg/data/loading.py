"""From the files of one record to tensors: the deterministic MONAI transforms whose result is cached."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data.meta_tensor import MetaTensor
from monai.transforms.compose import Compose
from monai.transforms.spatial.dictionary import Orientationd, Spacingd
from monai.transforms.transform import Transform
from torch import Tensor

from medreg.data.records import Record
from medreg.errors import DataError
from medreg.geometry.grid import Grid
from medreg.io.field import read_displacement
from medreg.io.image import Volume, read_image, read_labels, read_mask
from medreg.io.on_grid import check_on_grid
from medreg.io.points import read_points, voxel_to_world
from medreg.io.stack import across_slices

IMAGES = ("image",)
MAPS = ("label", "mask")
LARGEST_FLOAT = 2**24  # beyond it float32, in which MONAI resamples, merges neighbouring integers


def record_item(record: Record) -> dict[str, Any]:
    """Return the plain description of a record that is loaded and that keys the cache.

    Size and modification time of every file are part of it, so that an edited file is read again.
    """
    item: dict[str, Any] = {"id": record.id, "frame": record.frame, "label_frame": record.label_frame}
    item["must_have_label"] = record.must_have_label
    item["by_index"] = record.by_index
    for name in ("image", "label", "mask", "keypoints", "more_keypoints"):
        file = getattr(record, name)
        if file is not None:
            item[name] = str(file)
            item[f"{name}_name"] = record.describe(file)
            item[f"{name}_stamp"] = stamp(file, record.describe(file))
    if record.corruption is not None:
        item["corruption"] = record.corruption
    return item


def truth_item(path: Path) -> dict[str, Any]:
    """Return the description of a displacement file, as `record_item` does for images."""
    return {"truth": str(path), "truth_stamp": stamp(path, str(path))}


def stamp(path: Path, name: str) -> list[int]:
    """Size in bytes and modification time in ns.

    Raises:
        DataError: the file is missing.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise DataError(
            f"{name} cannot be read: {error.strerror}. Check the file or leave it out."
        ) from error
    return [status.st_size, status.st_mtime_ns]


def _as_stack(volume: Volume) -> Tensor:
    """(X, Y[, Z]) array as a (1, X, Y, Z) tensor."""
    array = volume.array if volume.array.ndim == 3 else volume.array[..., np.newaxis]
    return torch.from_numpy(np.ascontiguousarray(array)).unsqueeze(0)


class LoadRecord(Transform):
    """Read image, label, mask and points of a record; all on one grid, points in RAS mm.

    Args:
        codes: label codes that may occur; empty for any.
    """

    def __init__(self, codes: Sequence[int]) -> None:
        self.codes = frozenset(codes) | {0} if codes else frozenset()

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[str, Any]:
        """Return the loaded item, or the displacement of a truth item.

        Raises:
            DataError: an unreadable file, a label map or mask of another shape or place in the world, unknown
                codes, an empty mask, an empty label map where the data set promises one.
        """
        if "truth" in data:
            field = read_displacement(Path(data["truth"]))
            return {"truth": torch.from_numpy(field.displacement), "affine": torch.from_numpy(field.affine)}
        volume = read_image(data["image"], frame=data["frame"])
        affine = torch.from_numpy(volume.affine)
        values = _finite(_as_stack(volume), data)
        if "corruption" in data:
            values = data["corruption"](values.float(), (*volume.spacing_mm, 1.0)[:3])
        out: dict[str, Any] = {"image": MetaTensor(values, affine=affine)}
        for key in MAPS:
            if key in data:
                array = self._read_map(data, key, volume)
                values, codes = as_float(array)
                out[key] = MetaTensor(values, affine=affine.clone())
                if codes is not None:
                    out[f"{key}_codes"] = codes
        for key, name in (("keypoints", "points"), ("more_keypoints", "more_points")):
            if key in data:
                out[name] = torch.from_numpy(voxel_to_world(read_points(data[key]), volume.affine))
        return out

    def _read_map(self, data: Mapping[Hashable, Any], key: str, image: Volume) -> Tensor:
        frame = data["label_frame"] if key == "label" else None
        volume = read_mask(data[key]) if key == "mask" else read_labels(data[key], frame=frame)
        name = data[f"{key}_name"]
        remedy = "Resample it with nearest neighbour"
        check_on_grid(volume, name, image, data["image_name"], remedy=remedy, by_index=data["by_index"])
        array = _as_stack(volume)
        if key == "mask":
            if not bool(array.any()):
                raise DataError(
                    f"{name} holds no voxel: a mask says where an image may be compared. Leave it out, "
                    "or give the right file."
                )
            return array
        unknown = {int(code) for code in torch.unique(array)} - self.codes if self.codes else set()
        if unknown:
            raise DataError(
                f"{name} holds label {', '.join(map(str, sorted(unknown)))}, which data.labels does not name "
                f"(known: {', '.join(map(str, sorted(self.codes)))}). Correct data.labels or the file."
            )
        if data["must_have_label"] and not bool((array != 0).any()):
            where = "" if frame is None else f" in frame {frame} (0-based)"
            raise DataError(f"{name} holds no labelled voxel{where}; is the frame number in the table right?")
        return array


def _finite(image: Tensor, data: Mapping[Hashable, Any]) -> Tensor:
    if not bool(torch.isfinite(image).all()):
        raise DataError(
            f"{data['image_name']} holds NaN or infinite values; mend or mask them and save it again."
        )
    return image


class ToPlain(Transform):
    """Turn MONAI's tensors with meta data into plain tensors and one affine, which any cache can hold."""

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[str, Tensor]:
        """Return `image` (1, X, Y, Z) float32, `affine` (4, 4), and what else is present."""
        if "truth" in data:
            return dict(data)  # type: ignore[arg-type]
        image = data["image"]
        out = {
            "image": _contiguous(image, torch.float32),
            "affine": image.affine.to("cpu", torch.float64).clone(),
        }
        if "label" in data:
            out["label"] = _contiguous(data["label"].round(), torch.int32)
            if "label_codes" in data:
                out["label"] = data["label_codes"][out["label"].long()]
        if "mask" in data:
            out["mask"] = _contiguous(data["mask"].round(), torch.uint8)
        out |= {name: data[name] for name in ("points", "more_points") if name in data}
        return out


def as_float(array: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return a label map as float32 that holds it exactly, for transforms of images.

    Returns:
        the map and None; or, where its codes are too large for float32, the positions of its codes in a list and that
        list, int32, with 0 first.
    """
    if not array.numel() or int(array.abs().max()) < LARGEST_FLOAT:
        return array.to(torch.float32), None
    codes = torch.unique(array)
    codes = torch.cat([codes.new_zeros(1), codes[codes != 0]])
    ordered, order = codes.sort()
    return order[torch.searchsorted(ordered, array.contiguous())].to(torch.float32), codes.to(torch.int32)


def _contiguous(tensor: MetaTensor, dtype: torch.dtype) -> Tensor:
    return tensor.as_tensor().to(dtype).contiguous()


def record_transform(
    *, orientation: str, spacing_mm: Sequence[float | None] | None, codes: Sequence[int]
) -> Compose:
    """Compose load → orientation → spacing → plain tensors for one record.

    Args:
        orientation: "stored", "ras" or "slices", see `Preprocess`.
        spacing_mm: voxel size after resampling, None keeps an axis; None keeps all.
        codes: label codes that may occur.
    """
    steps: list[Any] = [LoadRecord(codes)]
    keys = (*IMAGES, *MAPS)
    if orientation == "ras":
        steps.append(_Volumes(Orientationd(keys, axcodes="RAS", labels=None, allow_missing_keys=True)))
    if orientation == "slices":
        steps.append(_Volumes(SlicesLast()))
    if spacing_mm is not None:
        wanted = [*spacing_mm, *[None] * (3 - len(spacing_mm))]
        pixdim = [float("nan") if size is None else float(size) for size in wanted]
        mode = ("bilinear", "nearest", "nearest")
        padding = ("border", "zeros", "zeros")
        resample = Spacingd(keys, pixdim=pixdim, mode=mode, padding_mode=padding, allow_missing_keys=True)
        steps.append(_Volumes(resample))
    return Compose([*steps, ToPlain()])


class SlicesLast(Transform):
    """Make the axis across slices the last one, where the header says which it is; nothing moves in the world."""

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the item with the axes of its arrays in that order."""
        grid = Grid(tuple(data["image"].shape[1:]), data["image"].affine.double())
        axis = across_slices(grid.shape, grid.spacing_mm.tolist())
        if axis is None or axis == 2:
            return dict(data)
        order = [*(other for other in range(3) if other != axis), axis]
        affine = grid.affine[:, [*order, 3]]
        turned: dict[Hashable, Any] = {
            key: MetaTensor(
                data[key].as_tensor().permute(0, *(1 + other for other in order)), affine=affine.clone()
            )
            for key in (*IMAGES, *MAPS)
            if key in data
        }
        return {**data, **turned}


class _Volumes(Transform):
    """Apply a transform of images to records and let truth items pass."""

    def __init__(self, transform: Any) -> None:
        self.transform = transform

    def __call__(self, data: Mapping[Hashable, Any]) -> Mapping[Hashable, Any]:
        return data if "truth" in data else self.transform(data)
