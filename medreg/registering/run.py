"""Register one pair from beginning to end: choose, solve, warp once, measure."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from medreg.errors import ConfigError
from medreg.geometry.pair_transform import PairTransform
from medreg.io.image import Volume
from medreg.io.stack import stack_shape, tensor_of
from medreg.metrics.evaluator import MetricRow
from medreg.models.base import RegistrationModel
from medreg.registering.doubt import remarks_on_gain
from medreg.registering.measure import label_names, measure, unregistered
from medreg.registering.pair import Pair
from medreg.registering.placement import initial_matrix, overlap
from medreg.registering.posterior import PairGatherer, PosteriorRequest, moving_label_names
from medreg.registering.posterior_model import divided, kind_of, posterior_model
from medreg.registering.presets import (
    Choice,
    Preset,
    choose_preset,
    load_preset,
    slice_axis_of,
    thick_slices,
)
from medreg.registering.result import RegistrationResult, like
from medreg.registering.smoothness import SmoothnessRequest, choose
from medreg.registering.solve import Report, optimise
from medreg.registering.start import CHOSEN, Looked, choose_start, look
from medreg.registering.unused import check_used
from medreg.runs.device import usable_device
from medreg.runs.scans import Scan
from medreg.runs.trained import TrainedRun

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
    refine: bool | None = None
    overrides: tuple[str, ...] = ()
    device: str = "cpu"
    smoothness: SmoothnessRequest = field(default_factory=SmoothnessRequest)
    posterior: PosteriorRequest = field(default_factory=PosteriorRequest)


@dataclass(frozen=True)
class Method:
    """How a pair will be registered.

    Attributes:
        choice: the preset and why.
        preset: its settings, with what the user changed.
        slice_axis: axis across slices, None for a volume.
        looked: what a look at the two images under every start told.
        notes: what a person should know about the choice.
    """

    choice: Choice
    preset: Preset
    slice_axis: int | None
    looked: Looked
    notes: tuple[str, ...] = ()


def decide(pair: Pair, plan: Plan) -> Method:
    """Choose preset and mode for a pair.

    Raises:
        ConfigError: an unknown preset, option or mode, or a volume registration of single slices.
    """
    asked = None if plan.preset in (None, "auto") else plan.preset
    sampled = plan.posterior.kind is not None and plan.ckpt is None and plan.model is None
    overrides, inferred = divided(plan.overrides) if sampled else (plan.overrides, ())
    looked, notes = look(pair), []
    choice = choose_preset(pair, looked.contrasts) if asked is None else Choice(asked, "it was asked for")
    shape = stack_shape(pair.fixed)
    preset = load_preset(choice.name, shape=shape, mode=plan.mode, overrides=overrides)
    thick = thick_slices(pair)
    if plan.mode is None and preset.mode == "volume" and thick is not None:
        preset = load_preset(choice.name, shape=shape, mode="slices", overrides=overrides)
        notes.append(
            f"{thick}: each slice is registered by itself, nothing moves across them; --volume for 3-D"
        )
    if plan.ckpt is not None and (plan.initialise is not None or plan.affine is not None):
        raise ConfigError(
            "--initialise and --affine do not apply to --ckpt: the images are placed as in its training."
        )
    if plan.ckpt is None and plan.smoothness.made:
        raise ConfigError(
            "λ is given without a model that takes one: name the run of a conditional model with --ckpt. The weight of "
            "a preset is changed by --set model.regularisation.weight=…"
        )
    plan.posterior.check(own=not sampled, refined=bool(plan.refine))
    check_used(
        overrides,
        preset_asked=asked is not None,
        mode_asked=plan.mode is not None,
        by_run=plan.ckpt is not None,
        refined=bool(plan.refine),
        affine=preset.use_affine if plan.affine is None else plan.affine,
        own_model=plan.model is not None,
    )
    asked_for = {"initialise": plan.initialise, "use_affine": plan.affine}
    changed: dict[str, Any] = {key: value for key, value in asked_for.items() if value is not None}
    preset = replace(preset, settings={**preset.settings, **changed}, **changed)
    if plan.model is not None:
        preset = replace(preset, model=plan.model)
    if plan.mode == "volume" and pair.planar:
        raise ConfigError("--volume does not fit a pair of single slices; leave it out.")
    by_slice = pair.planar or preset.mode == "slices"
    if sampled:
        model, settings = posterior_model(plan.posterior, inferred, ndim=2 if by_slice else 3)
        preset = replace(preset, model=model, settings={**preset.settings, "model": settings})
    return Method(choice, preset, slice_axis_of(pair) if by_slice else None, looked, tuple(notes))


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
    labels = label_names(pair, label_codes, moving_alone=plan.posterior.kind is not None)
    method = decide(pair, plan)
    gatherer = None
    if plan.posterior.kind is not None:
        wanted = moving_label_names(pair, labels, label_codes)
        gatherer = PairGatherer(pair, wanted, keep=plan.posterior.keep, place=plan.posterior.state)
    device = usable_device(plan.device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        start_time = time.perf_counter()
        found = _solve(pair, plan, method, device, progress, gatherer)
        seconds = time.perf_counter() - start_time
    start = unregistered(pair, found.world, slice_axis=found.transform.slice_axis)
    outside = min(0.0, float(pair.moving.array.min()))

    def state(of: PairTransform) -> tuple[Tensor, Volume | None, list[MetricRow]]:
        """Warp image and labels once through a map and measure the outcome."""
        image = of.warp_image(tensor_of(pair.moving), outside=outside)
        moved = _warp_labels(pair, of)
        return (
            image,
            moved,
            measure(pair, of, labels=labels, surface=surface, warped=image, warped_labels=moved),
        )

    posterior = None if gatherer is None else gatherer.posterior()
    _, _, before = state(start)
    warped, warped_labels, after = state(found.transform)
    return RegistrationResult(
        pair=pair,
        transform=found.transform,
        start=start,
        warped=like(pair.fixed, warped.numpy()),
        warped_labels=warped_labels,
        before=before,
        after=after if posterior is None else [*after, *posterior.rows()],
        method=found.name,
        reason=found.reason,
        settings=found.settings,
        seconds=seconds,
        outside=outside,
        labels=labels,
        notes=(*pair.notes, *found.notes, *(gatherer.notes if gatherer else ()), *_remarks(start)),
        posterior=posterior,
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


def _solve(
    pair: Pair,
    plan: Plan,
    method: Method,
    device: torch.device,
    progress: Report | None,
    gatherer: PairGatherer | None,
) -> Solution:
    """Register by the preset, or by a checkpoint and, on demand, the preset after it."""
    preset, choice = method.preset, method.choice
    if plan.ckpt is None:
        world, moved = _start(pair, preset, method.looked)
        found = optimise(
            pair,
            preset,
            world=world,
            slice_axis=method.slice_axis,
            device=device,
            progress=progress,
            gatherer=gatherer,
            count=plan.posterior.samples if plan.model is not None else None,
        )
        name = f"preset {preset.name}" if plan.model is None else f"{type(plan.model).__name__} given"
        if gatherer is not None and plan.model is None:
            name = f"{name}, then the posterior by {kind_of(plan.posterior)}"
        start = unregistered(pair, world, slice_axis=method.slice_axis)
        doubts = remarks_on_gain(pair, start, found.transform)
        notes = (*method.notes, *moved, *found.notes, *doubts)
        return Solution(found.transform, world, name, choice.reason, preset.settings, notes)
    by_run = _by_run(pair, plan, Path(plan.ckpt), device, gatherer)
    if not plan.refine:
        return by_run
    refined = optimise(
        pair,
        preset,
        world=by_run.world,
        slice_axis=by_run.transform.slice_axis,
        device=device,
        start=by_run.transform,
        progress=progress,
    )
    return replace(
        by_run,
        transform=refined.transform,
        name=f"{by_run.name}, refined with preset {preset.name}",
        reason=f"{by_run.reason}; refined because {choice.reason}",
        settings={**by_run.settings, "refined_with": preset.settings},
        notes=(*by_run.notes, *refined.notes),
    )


def _start(pair: Pair, preset: Preset, looked: Looked) -> tuple[Tensor, list[str]]:
    """The map to start from: as the preset or the user says, else by looking."""
    if preset.initialise != CHOSEN:
        return initial_matrix(pair, preset.initialise), []
    world, note = choose_start(pair, looked)
    return world, [] if note is None else [note]


def _by_run(
    pair: Pair, plan: Plan, path: Path, device: torch.device, gatherer: PairGatherer | None
) -> Solution:
    """Register by a trained run, at its own λ unless another was asked for."""
    run = TrainedRun.open(path, device=device)
    asked = choose(plan.smoothness, pair, run)
    fixed = Scan(pair.fixed, pair.fixed_labels, pair.fixed_mask)
    moving = Scan(pair.moving, pair.moving_labels, pair.moving_mask)
    own = plan.refine is not False and gatherer is None
    said: tuple[str, ...] = ()
    if gatherer is None:
        transform = run.register(fixed, moving, smoothness=asked.value, refine=own)
    else:
        transform, said = run.sample(
            fixed, moving, gatherer, smoothness=asked.value, count=plan.posterior.samples
        )
    refined = own and run.refinement is not None
    settings: dict[str, Any] = {"model": run.config["model"], "preprocess": run.data["preprocess"]}
    chosen = asked.settings or ({} if run.smoothness is None else asdict(run.smoothness))
    if chosen:
        settings["smoothness"] = dict(chosen)
    if refined:
        settings["refine"] = run.config["refine"]
    return Solution(
        transform=transform,
        world=transform.world,
        name=f"checkpoint {path}" + (", refined as in the run" if refined else ""),
        reason="images prepared as in its training",
        settings=settings,
        notes=(*asked.notes, *said, *_limits(run, transform)),
    )


def _limits(run: TrainedRun, transform: PairTransform) -> list[str]:
    """Say what a model of slices, or of a crop, does not see."""
    notes = []
    count = 1 if transform.slice_axis is None else transform.fixed.shape[transform.slice_axis]
    if count > 1:
        notes.append(f"the model is one for slices: each of the {count} by itself, no motion across them")
    size = run.preprocess.size or ()
    if any(n is not None and n < have for n, have in zip(size, transform.fixed.shape, strict=False)):
        seen = "×".join("all" if value is None else str(value) for value in size)
        whole = "×".join(map(str, transform.fixed.shape))
        notes.append(
            f"the model was trained on crops and sees only {seen} voxels of the {whole}; what lies beyond is not "
            "registered: there the field fades to zero"
        )
    return notes


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
