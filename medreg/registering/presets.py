"""Settings for a kind of images: read from `configs/preset/*.yaml`, or chosen by looking at the pair."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from medreg.config.instantiate import build
from medreg.config.settings import names_of, read_settings
from medreg.data.intensity import Intensity
from medreg.errors import ConfigError, require_choice
from medreg.io.stack import across_slices, grid_of, stack_shape
from medreg.models.base import RegistrationModel
from medreg.registering.pair import Pair
from medreg.registering.placement import INITIALISATIONS
from medreg.registering.start import CHOSEN

CLOSE_LEVELS = 1.3  # ratio of shrink factors below which two levels are one
THICK = 3.0  # spacing between slices over spacing in plane from which a volume is a stack of slices
FEW_SLICES = 8  # a volume with so many times fewer slices than rows is a stack too, whatever its header says
AIR_HU, LUNG_HU = -1000.0, -500.0  # Hounsfield range of lung tissue and the air around the body
LUNG_FRACTION = 0.1  # of voxels in that range, from which a CT is taken for a chest CT
HEAD_MM = (120.0, 290.0)  # smallest and largest side of a field of view that holds one head


@dataclass(frozen=True)
class Preset:
    """How one kind of pair is registered.

    Attributes:
        name: file name without suffix.
        description: one line on what it is for.
        mode: "slices" (each slice by itself) or "volume".
        initialise: "auto" (see `start.choose_start`), or as `placement.initial_matrix` takes it.
        intensity: normalisation of both images.
        affine: optimisation of an affine transformation before the deformation.
        use_affine: whether that stage runs, and the rigid one before it.
        rigid: optimisation of a rotation and translation before the affine stage; None for none.
        least_gain: stage (rigid, affine, model) → share of the mutual information beyond none that it has to gain, or
            it is undone; stages that are not named are kept.
        mask_margin_mm: width by which masks are widened, so that the border of what they hold is compared, too.
        least_information: stage → normalised mutual information that the images must share, or it is left out.
        model: optimisation of the deformation.
        settings: everything as plain values, for the record.
    """

    name: str
    description: str
    mode: str
    initialise: str
    intensity: Intensity
    affine: RegistrationModel
    use_affine: bool
    model: RegistrationModel
    settings: Mapping[str, Any]
    rigid: RegistrationModel | None = None
    least_gain: Mapping[str, float] = field(default_factory=dict)
    least_information: Mapping[str, float] = field(default_factory=dict)
    mask_margin_mm: float = 0.0


@dataclass(frozen=True)
class Choice:
    """A preset picked for a pair, and why."""

    name: str
    reason: str


def preset_names() -> list[str]:
    """Return the names of the presets that come with medreg."""
    return names_of("preset")


def load_preset(
    name: str, *, shape: tuple[int, ...], mode: str | None = None, overrides: Sequence[str] = ()
) -> Preset:
    """Read and build a preset.

    Args:
        name: a name of `preset_names()` or the path of a YAML file of the same form.
        shape: (X, Y, Z) of the fixed image; levels finer than `finest_voxels` allows are coarsened.
        mode: "slices" or "volume" in place of the preset's own.
        overrides: changes such as `model.energy.similarity.window=7`.

    Raises:
        ConfigError: an unknown preset or key; the nearest names are given.
    """
    file, settings = read_settings("preset", name, overrides, kind="preset")
    if mode is not None:
        settings["mode"] = mode
    return _build(file.stem, settings, file, shape=shape)


def coarsened(levels: Sequence[Mapping[str, Any]], shrink: float) -> list[dict[str, Any]]:
    """Return levels none finer than a shrink factor; the finer ones become one level of that factor."""
    # A level hardly coarser than the new finest one would repeat its work.
    kept = [dict(level) for level in levels if level["shrink"] > CLOSE_LEVELS * shrink]
    finer = [dict(level) for level in levels if level["shrink"] <= CLOSE_LEVELS * shrink]
    return [*kept, _at(finer[0], max(shrink, finer[-1]["shrink"]))] if finer else kept


def _at(level: Mapping[str, Any], shrink: float) -> dict[str, Any]:
    """The level at another shrink factor; the grid of its field stays as much coarser as it was."""
    field = level.get("field")
    same = {} if field is None else {"field": field * shrink / level["shrink"]}
    return {**level, "shrink": shrink, **same}


def _build(name: str, settings: dict[str, Any], file: Path, *, shape: tuple[int, ...]) -> Preset:
    wanted = (
        "description",
        "mode",
        "initialise",
        "finest_voxels",
        "intensity",
        "use_affine",
        "affine",
        "model",
    )
    missing = [key for key in wanted if key not in settings]
    if missing:
        raise ConfigError(f"The preset {file} lacks {', '.join(missing)}.")
    if settings["mode"] not in ("slices", "volume"):
        raise ConfigError(f"Preset {file.stem} has mode {settings['mode']!r}; choose slices or volume.")
    require_choice(f"Preset {file.stem}: initialise", settings["initialise"], (CHOSEN, *INITIALISATIONS))
    ndim = 2 if 1 in shape or settings["mode"] == "slices" else len(shape)
    for stage in ("rigid", "affine", "model"):
        if stage not in settings:
            continue
        limit = _finest(settings["finest_voxels"], "affine" if stage == "rigid" else stage)
        shrink = (math.prod(shape) / limit) ** (1 / ndim)
        if shrink > 1:
            levels = coarsened(settings[stage]["levels"], round(shrink, 2))
            settings = {**settings, stage: {**settings[stage], "levels": levels}}
    return Preset(
        name=name,
        description=str(settings["description"]),
        mode=settings["mode"],
        initialise=settings["initialise"],
        intensity=build(settings["intensity"]),
        affine=build(settings["affine"]),
        use_affine=bool(settings["use_affine"]),
        model=build(settings["model"]),
        settings=settings,
        rigid=build(settings["rigid"]) if settings.get("rigid") else None,
        least_gain=_by_stage(settings, "least_gain"),
        least_information=_by_stage(settings, "least_information"),
        mask_margin_mm=float(settings.get("mask_margin_mm") or 0.0),
    )


def _finest(limits: Mapping[str, Any], stage: str) -> float:
    """Return to how many voxels the levels of a stage are coarsened."""
    limit = limits.get(stage)
    if not isinstance(limit, int | float) or isinstance(limit, bool) or not limit >= 1:
        raise ConfigError(f"finest_voxels.{stage} is {limit}; it must be a number of voxels, 1 or more.")
    return float(limit)


def _by_stage(settings: Mapping[str, Any], key: str) -> dict[str, float]:
    return {str(stage): float(value) for stage, value in (settings.get(key) or {}).items()}


def choose_preset(pair: Pair, contrasts: str | None = None) -> Choice:
    """Pick a preset by the grids and intensities of a pair, with the reason in words.

    Two contrasts (`contrasts` says why, see `modality.different_contrasts`) → multimodal; thick slices → cardiac;
    Hounsfield units with much air-filled tissue → lung; one head in an isotropic field of view with an empty
    background → brain; everything else → general.
    """
    if contrasts is not None:
        return Choice("multimodal", contrasts)
    rules: tuple[tuple[str, Callable[[Pair], str | None]], ...] = (
        ("cardiac", thick_slices),
        ("lung", _chest_ct),
        ("brain", _head),
    )
    for name, rule in rules:
        reason = rule(pair)
        if reason is not None:
            return Choice(name, reason)
    kind = "a single slice" if pair.planar else "a volume of no special kind"
    return Choice("general", f"the pair is {kind}")


def slice_axis_of(pair: Pair) -> int:
    """Return the axis across slices: the single layer, else the coarsest axis, else the shortest."""
    shape = stack_shape(pair.fixed)
    axis = across_slices(shape, grid_of(pair.fixed).spacing_mm.tolist())
    return int(np.argmin(shape)) if axis is None else axis


def thick_slices(pair: Pair) -> str | None:
    """Return why the fixed image is a stack of slices, None where it is a volume."""
    if pair.planar:
        return None
    axis = slice_axis_of(pair)
    spacing, shape = pair.fixed.spacing_mm, stack_shape(pair.fixed)
    in_plane = [value for k, value in enumerate(spacing) if k != axis]
    if spacing[axis] >= THICK * max(in_plane):
        return f"slices are {spacing[axis]:.3g} mm apart but {max(in_plane):.3g} mm in plane"
    rows = min(size for k, size in enumerate(shape) if k != axis)
    if shape[axis] * FEW_SLICES <= rows:
        return f"there are only {shape[axis]} slices of {rows} or more rows"
    return None


def _chest_ct(pair: Pair) -> str | None:
    if pair.planar:
        return None
    fractions = []
    for volume in (pair.fixed, pair.moving):
        values = volume.array[::2, ::2, ::2]
        if values.min() > LUNG_HU or values.max() < 0 or values.max() > 10000:
            return None
        fractions.append(float(((values >= AIR_HU - 50) & (values <= LUNG_HU)).mean()))
    if min(fractions) < LUNG_FRACTION:
        return None
    return f"intensities are Hounsfield units and {100 * min(fractions):.0f} % of the voxels are air or lung"


def _head(pair: Pair) -> str | None:
    spacing, shape = pair.fixed.spacing_mm, stack_shape(pair.fixed)
    if pair.planar or max(spacing) > 2 * min(spacing):
        return None
    sides = [size * mm for size, mm in zip(shape, spacing, strict=True)]
    if min(sides) < HEAD_MM[0] or max(sides) > HEAD_MM[1]:
        return None
    empty = [float((v.array == v.array.flat[0]).mean()) for v in (pair.fixed, pair.moving)]
    if min(empty) < 0.2:
        return None
    extent = "×".join(f"{side:.0f}" for side in sides)
    return f"the field of view of {extent} mm has nearly cubic voxels and an empty background, as a head has"
