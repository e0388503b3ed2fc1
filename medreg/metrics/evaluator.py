"""All metrics of one registered case as rows of the results table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from medreg.errors import DataError, NumericalError
from medreg.geometry.warp import warp
from medreg.metrics import deformation
from medreg.metrics.intensity import rmse
from medreg.metrics.landmarks import Interpolation, tre_mm
from medreg.metrics.overlap import Aggregation, Vanished, label_index
from medreg.metrics.rows import MetricRow, row
from medreg.metrics.structures import Convention, StructureEvaluator, case_name, spacing_of


@dataclass(frozen=True)
class JacobianDefinition:
    """Which determinant is taken, and which of its values count as a fold."""

    determinant: Callable[[Tensor], Tensor]
    folding_percent: Callable[..., Tensor]


JACOBIANS: Mapping[str, JacobianDefinition] = {
    "exact": JacobianDefinition(deformation.determinant, deformation.folding_percent),
    "authors": JacobianDefinition(deformation.authors_determinant, deformation.negative_percent),
}


class CaseEvaluator(StructureEvaluator):
    """Every metric that a case's data allow, for its displacement field.

    Overlap needs `fixed_label` and `moving_label`, TRE both keypoints (a second set of them gives
    `tre_more_mm`), end-point error `displacement` (the known truth), image error both images; what a batch
    lacks gives no rows. A structure that cannot be scored (not drawn) gives a row with NaN, and the "mean" row leaves
    it out; one lost in warping has Dice 0 and the diagonal of the image as its distance, see `StructureEvaluator`.

    A batch of several slices is one stack: Dice counts its voxels together unless `dice="per_slice"`, surface
    distances are taken in each slice and averaged over those where both structures are present, Jacobian
    figures are averaged over slices, and the image error pools all pixels.

    The arguments choose between the proper definition (default), that of the authors' releases, which
    `protocol=gradirn_paper` selects together, and that of Learn2Reg (`surface_definition="area",
    tre_interpolation="cubic", crop=2, masked=True`): `medreg evaluate learn2reg` gives the same numbers under the
    same names, but for labels at positions outside the grid, which it takes for background without rounding them.

    Args:
        labels: structure name → label code; only these are scored. None: not known before the data are read.
        surface: whether to compute surface distances, the slowest part.
        jacobian: "exact", folds are det J ≤ 0; "authors", axes swapped and folds det < 0 (GraDIRN release).
        surface_definition: "assd" gives hd95_mm and assd_mm; "area" the same, hd95_mm weighted by surface area
            (Learn2Reg); "itk_avg_hd" gives hd_mm and itk_avg_hd_mm, over
            voxels instead of surfaces (GraDIRN release, where the latter is called ASD).
        vanished: Dice of a structure lost in warping: "zero" or "skip", see `overlap.dice`.
        dice: "per_volume" or "per_slice", see `overlap.dice`.
        spacing: "exact"; "authors", its reciprocal in surface distances (brain task of the GraDIRN release).
        convention: sampling convention of `geometry.warp.warp`, for labels and image.
        image_padding: "border" or "zeros", beyond the moving image when it is warped for the image error.
        tre_interpolation: "linear" or "cubic" (Learn2Reg), see `landmarks.tre_mm`.
        masked: restrict Jacobian figures and image error to `fixed_mask` where the batch has one. The
            end-point error always is: outside the body the true motion means nothing.
        crop: voxels that the Jacobian figures leave out at each side of each axis.

    Raises:
        ConfigError: an argument is not one of its choices, or two structures share a code.
    """

    CHOICES: ClassVar[Mapping[str, tuple[str, ...]]] = {
        **StructureEvaluator.CHOICES,
        "jacobian": tuple(JACOBIANS),
        "convention": ("exact", "authors"),
        "image_padding": ("border", "zeros"),
        "tre_interpolation": ("linear", "cubic"),
    }

    def __init__(
        self,
        labels: Mapping[str, int] | None,
        *,
        surface: bool = True,
        jacobian: Convention = "exact",
        surface_definition: Literal["assd", "area", "itk_avg_hd"] = "assd",
        vanished: Vanished = "zero",
        dice: Aggregation = "per_volume",
        spacing: Convention = "exact",
        convention: Convention = "exact",
        image_padding: Literal["border", "zeros"] = "border",
        tre_interpolation: Interpolation = "linear",
        masked: bool = False,
        crop: int = 0,
    ) -> None:
        super().__init__(
            labels,
            surface=surface,
            surface_definition=surface_definition,
            vanished=vanished,
            dice=dice,
            spacing=spacing,
        )
        self.jacobian = jacobian
        self.convention = convention
        self.image_padding = image_padding
        self.tre_interpolation = tre_interpolation
        self.masked = masked
        self.crop = crop
        self.check_choices()

    def __call__(
        self, batch: Mapping[str, Any], displacement: Tensor, *, warped_image: Tensor | None = None
    ) -> list[MetricRow]:
        """Rows of one case.

        Args:
            batch: one case as `data.sample` defines it; the leading axis N is 1 or the slices of a stack.
            displacement: (N, D, *S) voxels, pull direction.
            warped_image: (N, 1, *S) moving image after warping, if the caller has it already.

        Returns:
            Rows in the order overlap, surfaces, landmarks, deformation, intensities.

        Raises:
            NumericalError: the displacement holds NaN or infinity.
            DataError: the batch holds more than one case, or shapes or spacing do not fit.
        """
        case = case_name(batch)
        # half precision cannot resolve positions of a volume
        field = displacement.detach().to(torch.promote_types(displacement.dtype, torch.float32))
        _check(batch, field, case)
        return [
            *self._structures(batch, field, case),
            *self._landmarks(batch, field, case),
            *self._deformation(batch, field, case),
            *self._intensities(batch, field, warped_image),
        ]

    def _structures(self, batch: Mapping[str, Any], field: Tensor, case: str) -> Iterator[MetricRow]:
        if not self.labels or batch.get("fixed_label") is None or batch.get("moving_label") is None:
            return
        codes = list(self.labels.values())
        moving = batch["moving_label"].to(torch.int64)
        warped = warp(moving, field, mode="nearest", padding="zeros", convention=self.convention)
        fixed, other = (label_index(labels[:, 0], codes) for labels in (batch["fixed_label"], warped))
        spacing_mm = spacing_of(batch, case)[0].tolist() if self.surface else []
        yield from self.compare(fixed, other, spacing_mm, before=label_index(moving, codes))
        yield from self.cut_off(batch)

    def _landmarks(self, batch: Mapping[str, Any], field: Tensor, case: str) -> Iterator[MetricRow]:
        for kind, metric in (("keypoints", "tre_mm"), ("more_keypoints", "tre_more_mm")):
            fixed, moving = batch.get(f"fixed_{kind}"), batch.get(f"moving_{kind}")
            if fixed is not None and moving is not None:
                yield row("all", metric, self._point_error(batch, field, case, fixed, moving))

    def _point_error(
        self, batch: Mapping[str, Any], field: Tensor, case: str, fixed: Tensor, moving: Tensor
    ) -> float:
        """Mean distance of corresponding points after registration, mm."""
        affine = batch.get("keypoint_affine", batch.get("affine"))
        errors = tre_mm(
            fixed,
            moving,
            field,
            spacing_mm=spacing_of(batch, case) if affine is None else None,
            affine=affine,
            interpolation=self.tre_interpolation,
        )
        return errors.mean().item()

    def _deformation(self, batch: Mapping[str, Any], field: Tensor, case: str) -> Iterator[MetricRow]:
        mask = batch.get("fixed_mask")
        truth = batch.get("displacement")
        if truth is not None:
            error = deformation.end_point_error_mm(
                field, truth.to(field), spacing_mm=spacing_of(batch, case), mask=mask
            )
            yield row("all", "epe_mm", error.nanmean().item())
        inner = [slice(self.crop, size - self.crop) for size in field.shape[2:]]
        kept = mask[(slice(None), slice(None), *inner)] if self.masked and mask is not None else None
        definition = JACOBIANS[self.jacobian]
        det = definition.determinant(field)[(slice(None), *inner)].contiguous()
        for metric, values in (
            ("folding_percent", definition.folding_percent(det, mask=kept)),
            ("sd_log_jacobian", deformation.sd_log_jacobian(det, mask=kept)),
            ("mag_grad_det_j", deformation.mag_grad_det_j(det, mask=kept)),
        ):
            yield row("all", metric, values.nanmean().item())

    def _intensities(
        self, batch: Mapping[str, Any], field: Tensor, warped_image: Tensor | None
    ) -> Iterator[MetricRow]:
        fixed, moving = batch.get("fixed_image"), batch.get("moving_image")
        if warped_image is None and moving is not None:
            warped_image = warp(moving.float(), field, padding=self.image_padding, convention=self.convention)
        if fixed is None or warped_image is None:
            return
        kept = batch.get("fixed_mask") if self.masked else None
        mask = None if kept is None else _as_one_image(kept)
        error = rmse(_as_one_image(fixed), _as_one_image(warped_image), mask=mask)
        yield row("all", "rmse_image", error.item())


def _as_one_image(stack: Tensor) -> Tensor:
    """(N, C, *S) slices of a stack to one image (1, C, N, *S), so that a mean runs over all its pixels."""
    return stack.movedim(0, 1).unsqueeze(0)


def _check(batch: Mapping[str, Any], field: Tensor, case: str) -> None:
    """Refuse a field that is not finite or does not fit the case."""
    extremes = torch.stack(torch.aminmax(field))  # NaN if there is one; a fifth of the time of a look at each
    if not torch.isfinite(extremes).all():
        broken = int((~torch.isfinite(field)).sum())
        raise NumericalError(
            f"The displacement of case {case} holds NaN or infinity in {broken} of {field.numel()} values, "
            "so it cannot be evaluated; train with a lower optimiser.lr or a larger regularisation.weight, "
            "or use an earlier checkpoint."
        )
    if field.ndim == 5 and field.shape[0] > 1:
        raise DataError(
            f"Case {case} holds {field.shape[0]} volumes; the evaluator takes one volume, or one stack of "
            "2-D slices."
        )
    for key in ("fixed_image", "fixed_label", "fixed_mask", "displacement"):
        given = batch.get(key)
        if given is not None and (given.shape[0], *given.shape[2:]) != (field.shape[0], *field.shape[2:]):
            raise DataError(
                f"Case {case}: {key} has shape {tuple(given.shape)} and the displacement "
                f"{tuple(field.shape)}; both must lie on the fixed grid."
            )
