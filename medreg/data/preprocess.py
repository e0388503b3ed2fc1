"""The preparation of images: what is cached per image, and what is done when a case is put together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeAlias

import torch
from monai.transforms.compose import Compose
from torch import Tensor

from medreg.data.grids import (
    Alignment,
    aligned,
    centre_crop,
    field_to_grid,
    mask_centre,
    points_to_grid,
    residual_affine,
    resized,
    share_outside,
    to_grid,
)
from medreg.data.intensity import Intensity
from medreg.data.loading import record_transform
from medreg.errors import ConfigError
from medreg.geometry.grid import Grid

Loaded: TypeAlias = Mapping[str, Tensor]  # a record: `image`, `affine`, perhaps `label`, `mask`, `points`
Choice: TypeAlias = Callable[[list[Tensor], int], list[int]]  # label maps, number of slices → slices


@dataclass(frozen=True)
class Preprocess:
    """How images are prepared.

    Attributes:
        orientation: "stored" keeps the axes of the file; "ras" turns volumes to right, anterior, superior; "slices"
            makes the axis across slices the last, along which 2-D work cuts, where a wider spacing or a single layer
            says which it is.
        spacing_mm: voxel size after resampling per axis; None (an axis or all) keeps what is stored, so that
            thick slices stay slices.
        size: centre crop or zero padding in voxels per axis; None keeps an axis; two numbers mean in plane.
        resize: size after interpolation of the crop (align_corners), None for none.
        alignment: how the grid of the moving image (of any but the first) is placed on that of the fixed one:
            "world", "index", "centre" or "mask", see `aligned`.
        intensity: normalisation, None keeps the values of the file.
        background: value outside an image, in its own units (0 for MR, −1000 for CT).
        crop_label: code of the structure of the first image that the crop is centred on; None: the image.
        mask_input: replace what lies outside an image's own mask by the background.
    """

    orientation: Literal["stored", "ras", "slices"]
    spacing_mm: Sequence[float | None] | None
    size: Sequence[int | None] | None
    resize: Sequence[int | None] | None
    alignment: Alignment
    intensity: Intensity | None
    background: float = 0.0
    crop_label: int | None = None
    mask_input: bool = False

    def __post_init__(self) -> None:
        if self.orientation not in ("stored", "ras", "slices"):
            raise ConfigError(
                f"data.preprocess.orientation is {self.orientation!r}; choose stored, ras or slices."
            )
        for name in ("spacing_mm", "size", "resize"):
            values = getattr(self, name)
            if values is not None and len(values) not in (2, 3):
                raise ConfigError(
                    f"data.preprocess.{name} needs 2 or 3 values, one per axis, not {list(values)}."
                )
            if values is not None and any(value is not None and value <= 0 for value in values):
                raise ConfigError(
                    f"data.preprocess.{name} is {list(values)}; values must be positive or null."
                )

    def transform(self, codes: Sequence[int]) -> Compose:
        """Return the cached part: load, orientation, spacing."""
        return record_transform(orientation=self.orientation, spacing_mm=self.spacing_mm, codes=codes)

    def cache_key(self) -> dict[str, Any]:
        """Return the settings on which the cached part depends."""
        spacing = (
            None if self.spacing_mm is None else [None if s is None else float(s) for s in self.spacing_mm]
        )
        return {"version": 2, "orientation": self.orientation, "spacing_mm": spacing}

    def as_dict(self) -> dict[str, Any]:
        """Return all settings as plain values."""
        return asdict(self)

    def prepare(
        self, fixed: Loaded, moving: Loaded, truth: Loaded | None, *, choose: Choice | None = None
    ) -> Prepared:
        """Put a pair on the fixed grid; batch keys begin with `fixed_` and `moving_`.

        Args:
            fixed: loaded record.
            moving: loaded record.
            truth: loaded displacement file, or None.
            choose: picks slices by label maps and number of slices; None keeps volumes.
        """
        made = self.together({"fixed_": fixed, "moving_": moving}, choose=choose)
        arrays = made.arrays
        if self.alignment == "index" and {"moving_keypoints", "moving_more_keypoints"} & set(arrays):
            arrays["keypoint_affine"] = residual_affine(_grid(moving), made.placed, made.grid)
        if truth is not None:
            source = Grid(tuple(truth["truth"].shape[1:]), truth["affine"])
            field = field_to_grid(truth["truth"], source, made.grid)
            arrays["displacement"] = field if made.slices is None else field[..., list(made.slices)]
        return made

    def together(self, items: Mapping[str, Loaded], *, choose: Choice | None = None) -> Prepared:
        """Put images on the grid of the first: align → crop or pad → choose slices → normalise → resize.

        Args:
            items: loaded records by the first part of their batch keys, which is empty for a single image.
            choose: picks slices by label maps and number of slices; None keeps volumes.
        """
        first = next(iter(items.values()))
        grids = {part: _grid(item) for part, item in items.items()}
        placed = self._placed(items, grids)
        crop = centre_crop(_grid(first), self.size, centre=self._centre(first))
        final = resized(crop, self.resize)
        # Labels are interpolated once, unless slices must be chosen by them before the size changes.
        target = final if choose is None else crop
        maps = {
            f"{part}{name}": to_grid(item[name], placed[part], target, mode="nearest")
            for part, item in items.items()
            for name in ("label", "mask")
            if name in item
        }
        labels = [array[0] for key, array in maps.items() if key.endswith("label")]
        chosen = None if choose is None else choose(labels, crop.shape[2])
        images = {
            part: to_grid(self._image(item), placed[part], crop, mode="linear", background=self.background)
            for part, item in items.items()
        }
        arrays = _resized_arrays(self._normalised(images, items, chosen), crop, self.resize, mode="linear")
        if chosen is None:
            arrays.update(maps)
        else:
            picked = {key: array[..., chosen] for key, array in maps.items()}
            arrays.update(_resized_arrays(picked, crop, self.resize, mode="nearest"))
        for part, item in items.items():
            for name, key in (("points", "keypoints"), ("more_points", "more_keypoints")):
                if name in item:
                    arrays[f"{part}{key}"] = points_to_grid(item[name], grids[part], placed[part], final)
        picked_slices = None if chosen is None else tuple(chosen)
        return Prepared(arrays, final, placed[part], picked_slices, self._cut(items, placed, crop))

    def cut_off(self, item: Loaded) -> dict[int, float]:
        """Return the share of every label of one image that its own crop leaves out, code → share in [0, 1]."""
        grid = _grid(item)
        return self._cut({"": item}, {"": grid}, centre_crop(grid, self.size, centre=self._centre(item)))

    def _cut(self, items: Mapping[str, Loaded], placed: Mapping[str, Grid], crop: Grid) -> dict[int, float]:
        """The largest share over the images of a case, by code; nothing where nothing is cropped."""
        cut: dict[int, float] = {}
        reference = next(iter(placed.values()))
        if self.size is None or all(new >= old for new, old in zip(crop.shape, reference.shape, strict=True)):
            return cut
        for part, item in items.items():
            if "label" in item:
                for code, share in share_outside(item["label"], placed[part], crop).items():
                    cut[code] = max(share, cut.get(code, 0.0))
        return cut

    def _normalised(
        self, images: Mapping[str, Tensor], items: Mapping[str, Loaded], chosen: list[int] | None
    ) -> dict[str, Tensor]:
        """Images by batch key, of the chosen slices, between limits of the slice, the cropped volume or the image."""
        rule = self.intensity
        picked = {part: image if chosen is None else image[..., chosen] for part, image in images.items()}
        if rule is not None:
            looked_at: Mapping[str, Tensor] = picked if rule.scope == "slice" else images
            if rule.scope == "image":
                looked_at = {part: self._image(item) for part, item in items.items()}
            limits = rule.common_limits(list(looked_at.values()))
            if rule.scope != "slice":  # the same in all slices
                limits = [found[:, :1] for found in limits]
            pairs = zip(picked.items(), limits, strict=True)
            picked = {part: rule.applied(image, found) for (part, image), found in pairs}
        return {f"{part}image": image for part, image in picked.items()}

    def _placed(self, items: Mapping[str, Loaded], grids: Mapping[str, Grid]) -> dict[str, Grid]:
        """Grids where the alignment puts the images; the first stays where it is."""
        (first, reference), *others = grids.items()
        placed = {first: reference}
        for part, grid in others:
            both = [(items[name].get("mask"), grids[name]) for name in (first, part)]
            found = [mask_centre(m, g) for m, g in both if m is not None and self.alignment == "mask"]
            known = [centre for centre in found if centre is not None]
            centres = (known[0], known[1]) if len(known) == 2 else None
            placed[part] = aligned(grid, reference, self.alignment, centres_mm=centres)
        return placed

    def _image(self, item: Loaded) -> Tensor:
        if not self.mask_input or "mask" not in item:
            return item["image"]
        return item["image"].masked_fill(item["mask"] == 0, self.background)

    def _centre(self, fixed: Loaded) -> Tensor | None:
        if self.crop_label is None or "label" not in fixed:
            return None
        voxels = torch.nonzero(fixed["label"][0] == self.crop_label)
        return voxels.to(torch.float64).mean(0) if len(voxels) else None


@dataclass(frozen=True)
class Prepared:
    """Images on one grid.

    Attributes:
        arrays: by batch key: images, labels and masks (1, X, Y, Z), points (P, 3), displacement (3, X, Y, Z),
            where Z counts the chosen slices; the affine of residuals of points (4, 4).
        grid: the grid of the whole volume.
        placed: the grid of the last image (the moving one of a pair) where the alignment has put it.
        slices: indices of the chosen slices in it, None for a volume.
        cut: code → share in [0, 1] of that label which the crop has left out, the largest of the images.
    """

    arrays: dict[str, Tensor]
    grid: Grid
    placed: Grid
    slices: tuple[int, ...] | None
    cut: Mapping[int, float] = field(default_factory=dict)


def _grid(item: Loaded) -> Grid:
    return Grid(tuple(item["image"].shape[1:]), item["affine"])


def _resized_arrays(
    arrays: Mapping[str, Tensor],
    crop: Grid,
    shape: Sequence[int | None] | None,
    *,
    mode: Literal["linear", "nearest"],
) -> dict[str, Tensor]:
    """Arrays of the crop, or of some of its slices, at another size."""
    if shape is None:
        return dict(arrays)
    out = {}
    for key, array in arrays.items():
        stack = Grid(tuple(array.shape[1:]), crop.affine)
        out[key] = to_grid(array, stack, resized(stack, shape), mode=mode)
    return out
