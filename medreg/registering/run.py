"""Register one pair from beginning to end: choose, solve, warp once, measure."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from medreg.config.instantiate import build
from medreg.data.preprocess import Preprocess
from medreg.errors import CheckpointError, ConfigError
from medreg.io.image import Volume
from medreg.metrics.evaluator import MetricRow
from medreg.models.base import RegistrationModel
from medreg.registering.measure import label_names, measure, unregistered
from medreg.registering.pair import Pair, stack_shape, tensor_of
from medreg.registering.placement import initial_matrix, overlap
from medreg.registering.presets import Choice, Preset, choose_preset, load_preset, slice_axis_of
from medreg.registering.result import RegistrationResult, like
from medreg.registering.solve import Report, optimise, predict
from medreg.registering.transform import PairTransform
from medreg.registering.weights import WeightRequest, prepare_weight
from medreg.runs.checkpoint import load_model

LITTLE_OVERLAP = 0.25  # of the fixed grid; below it the initial position is probably wrong
SEED = 0  # of whatever a model may draw; the same input gives the same output


@dataclass(frozen=True)
class Plan:
    """What the user asked for; None leaves it to the preset. The fields are those of `api.register`."""

    preset: str | None = None
    ckpt: str | Path | None = None
    model: RegistrationModel | None = None
    mode: str | None = None
    initialise: str | None = None
    affine: bool | None = None
    refine: bool = False
    overrides: tuple[str, ...] = ()
    device: str = "cpu"
    weight: WeightRequest = field(default_factory=WeightRequest)


@dataclass(frozen=True)
class Method:
    """How a pair will be registered.

    Attributes:
        choice: the preset and why.
        preset: its settings, with what the user changed.
        slice_axis: axis across slices, None for a volume.
    """

    choice: Choice
    preset: Preset
    slice_axis: int | None


def decide(pair: Pair, plan: Plan) -> Method:
    """Choose preset and mode for a pair.

    Raises:
        ConfigError: an unknown preset, option or mode, or a volume registration of single slices.
    """
    asked = None if plan.preset in (None, "auto") else plan.preset
    choice = choose_preset(pair) if asked is None else Choice(asked, "it was asked for")
    preset = load_preset(choice.name, shape=stack_shape(pair.fixed), mode=plan.mode, overrides=plan.overrides)
    if plan.ckpt is not None and (plan.initialise is not None or plan.affine is not None):
        raise ConfigError(
            "--initialise and --affine do not apply to --ckpt: the images are placed as in its training."
        )
    if plan.ckpt is None and plan.weight.made:
        raise ConfigError(
            "λ is given without a model that takes one: name the run of a conditional model with --ckpt. The weight of "
            "a preset is changed by --set model.regularisation.weight=…"
        )
    asked_for = {"initialise": plan.initialise, "use_affine": plan.affine}
    changed: dict[str, Any] = {key: value for key, value in asked_for.items() if value is not None}
    preset = replace(preset, settings={**preset.settings, **changed}, **changed)
    if plan.model is not None:
        preset = replace(preset, model=plan.model)
    if plan.mode == "volume" and pair.planar:
        raise ConfigError("--volume does not fit a pair of single slices; leave it out.")
    by_slice = pair.planar or preset.mode == "slices"
    return Method(choice, preset, slice_axis_of(pair) if by_slice else None)


def run(
    pair: Pair,
    plan: Plan,
    *,
    label_codes: Mapping[str, int] | None = None,
    surface: bool = True,
    progress: Report | None = None,
) -> RegistrationResult:
    """Register a pair and measure it before and after.

    Args:
        pair: checked images.
        plan: what was asked for.
        label_codes: structure name → label code; None takes every code.
        surface: whether surface distances are wanted.
        progress: told the stage and the fraction of it that is done.
    """
    method = decide(pair, plan)
    device = _device(plan.device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        start_time = time.perf_counter()
        found = _solve(pair, plan, method, device, progress)
        seconds = time.perf_counter() - start_time
    start = unregistered(pair, found.world, slice_axis=found.transform.slice_axis)
    outside = min(0.0, float(pair.moving.array.min()))
    labels = label_names(pair, label_codes)

    def state(of: PairTransform) -> tuple[Tensor, Volume | None, list[MetricRow]]:
        """Warp image and labels once through a map and measure the outcome."""
        image = of.warp_image(tensor_of(pair.moving), outside=outside)
        moved = _warp_labels(pair, of)
        return (
            image,
            moved,
            measure(pair, of, labels=labels, surface=surface, warped=image, warped_labels=moved),
        )

    _, _, before = state(start)
    warped, warped_labels, after = state(found.transform)
    return RegistrationResult(
        pair=pair,
        transform=found.transform,
        start=start,
        warped=like(pair.fixed, warped.numpy()),
        warped_labels=warped_labels,
        before=before,
        after=after,
        method=found.name,
        reason=found.reason,
        settings=found.settings,
        seconds=seconds,
        outside=outside,
        labels=labels,
        notes=(*pair.notes, *found.notes, *_remarks(start)),
    )


@dataclass(frozen=True)
class Solution:
    """A transformation and how it came about; `world` is the map that it started from."""

    transform: PairTransform
    world: Tensor
    name: str
    reason: str
    settings: Mapping[str, Any]
    notes: tuple[str, ...] = ()


def _solve(pair: Pair, plan: Plan, method: Method, device: torch.device, progress: Report | None) -> Solution:
    """Register by the preset, or by a checkpoint and, on demand, the preset after it."""
    preset, choice = method.preset, method.choice
    if plan.ckpt is None:
        world = initial_matrix(pair, preset.initialise)
        transform = optimise(
            pair, preset, world=world, slice_axis=method.slice_axis, device=device, progress=progress
        )
        name = f"preset {preset.name}" if plan.model is None else f"{type(plan.model).__name__} given"
        return Solution(transform, world, name, choice.reason, preset.settings)
    found = _from_checkpoint(pair, Path(plan.ckpt), plan.weight, device)
    if not plan.refine:
        return found
    refined = optimise(
        pair,
        preset,
        world=found.world,
        slice_axis=found.transform.slice_axis,
        device=device,
        start=found.transform,
        progress=progress,
    )
    return replace(
        found,
        transform=refined,
        name=f"{found.name}, refined with preset {preset.name}",
        reason=f"{found.reason}; refined because {choice.reason}",
        settings={**found.settings, "refine": preset.settings},
    )


def _from_checkpoint(pair: Pair, path: Path, request: WeightRequest, device: torch.device) -> Solution:
    model, config = load_model(path)
    data = config.get("data", {})
    if not isinstance(model, RegistrationModel) or "preprocess" not in data:
        raise CheckpointError(f"{path} is not the checkpoint of a registration run; its images are unknown.")
    preprocess = build(data["preprocess"])
    if not isinstance(preprocess, Preprocess):
        raise CheckpointError(f"{path} was trained on data prepared in a way that single pairs do not have.")
    weight = prepare_weight(request, pair, model, preprocess)
    transform = predict(
        pair,
        model,
        ndim=int(data["ndim"]),
        preprocess=preprocess,
        device=device,
        weight=None if weight is None else weight.value,
    )
    notes = () if weight is None else weight.notes
    count = 1 if transform.slice_axis is None else transform.fixed.shape[transform.slice_axis]
    if count > 1:
        notes += (f"the model is one for slices: each of the {count} by itself, no motion across them",)
    if preprocess.size is not None and _smaller(preprocess.size, transform.fixed.shape):
        size = "×".join("all" if value is None else str(value) for value in preprocess.size)
        notes += (
            f"the model sees the central {size} voxels; beyond, the field continues as at their border",
        )
    return Solution(
        transform=transform,
        world=transform.world,
        name=f"checkpoint {path}",
        reason="images prepared as in its training",
        settings={
            "model": config["model"],
            "preprocess": data["preprocess"],
            **({} if weight is None else {"lambda": dict(weight.settings)}),
        },
        notes=notes,
    )


def _smaller(size: Sequence[int | None], shape: Sequence[int]) -> bool:
    return any(wanted is not None and wanted < have for wanted, have in zip(size, shape, strict=False))


def _warp_labels(pair: Pair, transform: PairTransform) -> Volume | None:
    if pair.moving_labels is None or pair.fixed_labels is None:
        return None
    warped = transform.warp_labels(tensor_of(pair.moving_labels, dtype=torch.int32))
    return like(pair.fixed, warped.numpy())


def _remarks(start: PairTransform) -> list[str]:
    """Say what about the position of the images a person should know."""
    share = overlap(start.fixed, start.moving, start.world)
    remarks = []
    if share < LITTLE_OVERLAP:
        remarks.append(
            f"the moving image covers only {100 * share:.0f} % of the fixed one; --initialise centre or "
            "mass may place it better"
        )
    return remarks


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"--device {name} cannot be used here: {reason}. Use --device cpu.") from error
    return device
