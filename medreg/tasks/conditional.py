"""Training of models that take the smoothness as an input: a new λ in every step."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from medreg.augmentation.training import TrainingAugmentation
from medreg.errors import CompositionError, ConfigError, require_choice
from medreg.geometry.grid import identity_grid
from medreg.geometry.transformation import Deformation
from medreg.inference.registration import Registration
from medreg.losses.energy import Energy, EnergyValue
from medreg.losses.similarity.lncc_multiscale import MultiscaleLNCC, pool, subsample
from medreg.metrics.evaluator import CaseEvaluator
from medreg.models.asking import ask
from medreg.models.base import RegistrationModel
from medreg.models.chosen_smoothness import (
    ChosenSmoothness,
    range_note,
    read_choice,
    require_conditional,
    require_maps,
)
from medreg.models.conditional import ConditionalModel, Regions, region_map
from medreg.models.lapirn import PyramidModel
from medreg.tasks.base import Batch
from medreg.tasks.draws import Objective, SmoothField, UniformDraws, generator_of
from medreg.tasks.levels import Schedule
from medreg.tasks.registration import RegistrationTask

log = logging.getLogger("medreg")
LabelDownsampling = Literal["nearest", "avgpool_round"]


@dataclass(frozen=True)
class LevelAnswer:
    """The field of one level and the λ that its regulariser is weighted with.

    Attributes:
        stride: voxels of the fixed grid from one voxel of the level to the next.
        deformation: (B, D, *⌈S/stride⌉), voxels of the level.
        smoothness: λ, (B,) or (B, 1, *⌈S/stride⌉).
    """

    stride: int
    deformation: Deformation
    smoothness: Tensor


class ConditionalTask(RegistrationTask):
    """Train φ(F, M; λ) on D + s·λ^p·R with λ drawn anew for every pair, and region of the fixed image.

    A model that takes maps is shown Λ(x) = Σ_k λ_k [S_F(x) = k] of the fixed image's labels, and R is weighted
    voxel by voxel with it; others, and data without labels, get one λ a pair. A pyramid has a loss at every
    level: the full moving image sampled at the level's voxels against the pooled fixed image, and R of the
    level's field in the level's voxels. Models that take no λ are trained with `draws.low = draws.high`.

    Source: Wang et al., ISBI 2023, released train.py.

    Args:
        model: a conditional model, or any other for one fixed λ.
        energy: similarity and regulariser; the latter's own weight is replaced by s·λ^p.
        draws: distribution of λ.
        objective: what λ multiplies.
        schedule: which levels of a pyramid are trained when.
        regions: label codes of region 1, 2, …; None makes every structure a region. The rest is region 0.
        label_downsampling: regions of the coarse levels: "nearest", or "avgpool_round" as released, which
            averages region numbers and so invents regions along borders.
        validation_smoothness: λ at which validation registers every case.
        seed: of the draws of λ.
        smoothness: λ at which test cases are registered; None is the model's own.
        label_smoothness: λ by label of the fixed image there, 0 for the background; other labels take `smoothness`.
        smoothness_file: λ as `medreg search-smoothness` has found it, instead of the two.
        evaluator: as in `RegistrationTask`, like all that follow.

    Raises:
        ConfigError: no λ for validation, an unknown label_downsampling, λ of the test given twice, or λ drawn
            from another range than the model says of itself.
        CompositionError: λ of the test for a model that takes none, or by label for one that takes no maps.
    """

    def __init__(
        self,
        model: RegistrationModel,
        energy: Energy,
        *,
        draws: UniformDraws,
        objective: Objective,
        schedule: Schedule,
        regions: Sequence[Sequence[int]] | None,
        label_downsampling: LabelDownsampling,
        validation_smoothness: Sequence[float],
        seed: int,
        evaluator: CaseEvaluator,
        smoothness: float | None = None,
        label_smoothness: Mapping[int, float] | None = None,
        smoothness_file: str | None = None,
        optimiser: Callable[[Any], torch.optim.Optimizer] | None = None,
        scheduler: Callable[[torch.optim.Optimizer], Any] | None = None,
        refine: RegistrationModel | None = None,
        name: str = "model",
        use_masks: bool = True,
        augmentation: TrainingAugmentation | None = None,
    ) -> None:
        super().__init__(
            model,
            energy,
            evaluator=evaluator,
            optimiser=optimiser,
            scheduler=scheduler,
            refine=refine,
            name=name,
            use_masks=use_masks,
            augmentation=augmentation,
        )
        if not validation_smoothness:
            raise ConfigError("task.validation_smoothness is empty; name one λ at least, such as [0.2].")
        require_choice("task.label_downsampling", label_downsampling, ("nearest", "avgpool_round"))
        _check_range(model, draws)
        self.draws, self.objective, self.schedule, self.seed = draws, objective, schedule, seed
        self.region_groups, self.label_downsampling = regions, label_downsampling
        self.validation_smoothness = tuple(float(number) for number in validation_smoothness)
        self.chosen = _chosen(model, smoothness, label_smoothness, smoothness_file)

    @property
    def regions(self) -> Regions:
        """The regions of the data at hand."""
        return Regions.of(self.region_groups, labels=list(self.evaluator.labels.values()))

    @property
    def levels(self) -> int:
        """Number of fields that a training step can compare."""
        return len(self.model.strides) if isinstance(self.model, PyramidModel) else 1

    def on_train_batch_start(self, batch: Batch, batch_index: int) -> None:
        """Freeze and thaw levels, and restart the optimiser where a level enters."""
        if not isinstance(self.model, PyramidModel):
            return
        stage = self.schedule.stage(self.global_step, levels=self.levels)
        for number, level in enumerate(self.model.network.levels):
            level.requires_grad_(number in stage.trained)
        if stage.begins:
            self.trainer.optimizers[0].state.clear()

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Loss of one batch at λ that depend on (seed, process, epoch, batch) only."""
        stage = self.schedule.stage(self.global_step, levels=self.levels)
        generator = generator_of(self.seed, self.global_rank, self.current_epoch, batch_index)
        smoothness = self._draw(batch, generator)
        again = self.transformed(
            batch,
            batch_index,
            lambda seen, compared: torch.stack(
                [
                    factor * value.energies
                    for factor, value in self._compared(seen, compared, smoothness, stage.factors)
                ]
            ).sum(0),
        )
        found = self._compared(batch, batch, smoothness, stage.factors)
        loss, finest = torch.stack([factor * value.total for factor, value in found]).sum(), found[-1][1]
        parts = {
            "loss": loss if again is None else loss + again,
            "similarity": finest.similarity.mean(),
            "regularisation": finest.regularisation.mean(),
        }
        if again is not None:
            parts["transformed"] = again
        self.train_means.add(parts, size=len(batch["case"]))
        return parts["loss"]

    def _compared(
        self, seen: Batch, compared: Batch, smoothness: Tensor, factors: Sequence[float]
    ) -> list[tuple[float, EnergyValue]]:
        """Factor and loss of every level, coarse to fine; the model sees one batch and is judged on another."""
        answers = self.answer(seen, smoothness, levels=len(factors))
        return [
            (factor, self.level_loss(compared, answer))
            for factor, answer in zip(factors, answers, strict=True)
            if factor
        ]

    def answer(self, batch: Batch, smoothness: Tensor, *, levels: int) -> list[LevelAnswer]:
        """Fields of the first levels, coarse to fine, of a pyramid; of other models the one field.

        Args:
            batch: see the batch contract.
            smoothness: (B, K) λ of the regions, (B, 1), or (B, 1, *S) of the voxels.
            levels: number of levels wanted.
        """
        model, fixed, moving = self.model, batch["fixed_image"], batch["moving_image"]
        if isinstance(model, PyramidModel):
            maps = self.level_smoothness(batch, smoothness)[:levels]
            registration = model.at_levels(fixed, moving, weights=maps)
            coarse = [Deformation(field, field) for field in registration.steps[:-1]]
            fields = [*coarse, registration.deformation]
            return [LevelAnswer(*parts) for parts in zip(model.strides, fields, maps, strict=False)]
        numbers = smoothness[:, 0]
        taken = numbers if isinstance(model, ConditionalModel) else None
        registration = ask(model, batch, use_masks=self.use_masks, smoothness=taken)
        return [LevelAnswer(1, registration.deformation, numbers)]

    def level_smoothness(self, batch: Batch, smoothness: Tensor) -> list[Tensor]:
        """λ on the grid of every level of a pyramid, coarse to fine, (B,) or (B, 1, *⌈S/stride⌉) each."""
        assert isinstance(self.model, PyramidModel)
        if not self._takes_maps:
            return [smoothness[:, 0]] * self.levels
        fixed, strides = batch["fixed_image"], self.model.strides
        if smoothness.shape[1] == 1:
            field = smoothness.view(*smoothness.shape, *[1] * (fixed.ndim - smoothness.ndim)).expand_as(
                fixed[:, :1]
            )
            return [subsample(field, times=_halvings(stride)) for stride in strides]
        numbers = self.regions.number(batch["fixed_label"])
        return [
            region_map(_coarser(numbers, stride, self.label_downsampling), smoothness) for stride in strides
        ]

    def level_loss(self, batch: Batch, answer: LevelAnswer) -> EnergyValue:
        """a(λ)·D + s·λ^p·R of one level's field.

        Raises:
            NumericalError: the loss is not finite; names the cases.
        """
        times = _halvings(answer.stride)
        masks = self._masks(batch)
        mask = masks["fixed_mask"]
        value = self._energy(answer.stride)(
            pool(batch["fixed_image"], times=times),
            batch["moving_image"],
            _on_full_grid(answer.deformation, answer.stride),
            spacing_mm=batch.get("spacing_mm"),
            fixed_mask=None if mask is None else subsample(mask, times=times),
            moving_mask=masks["moving_mask"],
            weight=self.objective.regulariser_weight(answer.smoothness),
            data_weight=self.energy.similarity.weight * self.objective.similarity_factor(answer.smoothness),
        )
        self.check_finite(value.total, batch)
        return value

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Accumulate loss of the finest field and mean Dice of one case over the λ of validation."""
        for smoothness in self.validation_smoothness:
            number = torch.full((len(batch["case"]), 1), smoothness, device=self.device)
            finest = self.answer(batch, number, levels=self.levels)[-1]
            value = self.level_loss(batch, finest)
            self.validate_answer(batch, value, finest.deformation.displacement)

    def on_test_start(self) -> None:
        """Say where the λ of the test leaves the range of training."""
        if self.chosen is None:
            return
        model = require_conditional(self.model)
        named = [self.chosen.smoothness, *self.chosen.labels.values()]
        note = range_note(model, torch.tensor([number for number in named if number is not None]))
        if note is not None:
            log.warning("%s.", note)

    def register(self, batch: Batch, **context: Any) -> Registration:
        """Return the model's answer to a batch at the λ of the test."""
        return ask(self.model, batch, use_masks=self.use_masks, smoothness=self.chosen, **context)

    def loss(self, batch: Batch, registration: Registration) -> EnergyValue:
        """Loss of an answer at the λ of a call that names none."""
        smoothness = getattr(self.model, "smoothness", self.validation_smoothness[0])
        numbers = torch.full((len(batch["case"]),), float(smoothness), device=self.device)
        return self.level_loss(batch, LevelAnswer(1, registration.deformation, numbers))

    def _draw(self, batch: Batch, generator: torch.Generator) -> Tensor:
        """λ of a training step: of the voxels, of the regions, or of the pairs, in this order of preference."""
        fixed = batch["fixed_image"]
        pairs = len(batch["case"])
        field = self.draws.draw_field(generator, pairs=pairs, shape=fixed.shape[2:])
        if field is None:
            number = self.regions.count if self._sees_regions(batch) else 1
            field = self.draws.draw(generator, pairs=pairs, regions=number)
        return field.to(fixed)

    @property
    def _takes_maps(self) -> bool:
        return isinstance(self.model, ConditionalModel) and self.model.takes_maps

    def _sees_regions(self, batch: Batch) -> bool:
        return self._takes_maps and "fixed_label" in batch

    def _energy(self, stride: int) -> Energy:
        """The energy of a level; positions on coarse levels are exact whatever the convention."""
        similarity = self.energy.similarity
        if stride == 1:
            return self.energy
        if isinstance(similarity, MultiscaleLNCC):
            similarity = similarity.coarser(_halvings(stride))
        return Energy(similarity, self.energy.regularisation, padding=self.energy.padding)


def _chosen(
    model: RegistrationModel, smoothness: float | None, labels: Mapping[int, float] | None, file: str | None
) -> ChosenSmoothness | None:
    if file is not None and (smoothness is not None or labels):
        raise ConfigError(
            "task.smoothness_file excludes task.smoothness and task.label_smoothness; give the file or the numbers."
        )
    if smoothness is None and not labels and file is None:
        return None
    chosen = ChosenSmoothness(smoothness, labels or {}) if file is None else read_choice(file)
    conditional = require_conditional(model)
    if chosen.labels:
        require_maps(conditional)
    return chosen


def _on_full_grid(deformation: Deformation, stride: int) -> Deformation:
    """Level voxel i looks at full voxel s·(i + u(i)) = i + [s·u + (s − 1)·i]; the regulariser sees u itself."""
    if stride == 1:
        return deformation
    field = deformation.displacement
    grid = identity_grid(field.shape[2:], dtype=field.dtype, device=field.device)
    return Deformation(stride * field + (stride - 1) * grid, deformation.regularised)


def _check_range(model: RegistrationModel, draws: UniformDraws) -> None:
    """What the model will say of its training must be what it is trained on."""
    if isinstance(draws, SmoothField) and not (isinstance(model, ConditionalModel) and model.takes_maps):
        raise CompositionError(
            f"task.draws draws a field of λ, but {type(model).__name__} takes one number a pair; use model=csain, "
            "or task.draws._target_=medreg.tasks.draws.UniformDraws."
        )
    if not isinstance(model, ConditionalModel):
        return
    said = model.smoothness_range
    if (said.low, said.high) != (draws.low, draws.high):
        raise ConfigError(
            f"task.draws draws λ from [{draws.low}, {draws.high}] but model.smoothness_range is "
            f"[{said.low}, {said.high}]; set both alike. One fixed λ is trained with model=lapirn."
        )


def _halvings(stride: int) -> int:
    return stride.bit_length() - 1


def _coarser(regions: Tensor, stride: int, how: LabelDownsampling) -> Tensor:
    if how == "nearest":
        return subsample(regions, times=_halvings(stride))
    return pool(regions.float(), times=_halvings(stride)).round().long()
