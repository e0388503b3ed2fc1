"""The numbers of the official evaluation of Learn2Reg (eval_version 2.0) for one case.

Restated from the formulas, and checked against the values that MDL-UzL/L2R, commit 8847509, gives. The
definitions are the official ones where they differ from this package's: HD95 in voxels, folds that are never
counted, the standard deviation of ln(det J + 3), cubic splines for points, the moving voxel size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medreg.data.datasets.learn2reg_config import EvaluationConfig, MetricSpec, PairPaths
from medreg.errors import DataError
from medreg.io.points import PointPairs
from medreg.metrics.rows import mean_of_numbers
from medreg.metrics.surface import structure_masks
from medreg.metrics.surfel import hd95_mm
from medreg.studies.learn2reg.fields import FieldArray
from medreg.studies.learn2reg.jacobian import Regularity, regularity
from medreg.studies.learn2reg.labels import Index, LabelSet, counts, joint_counts, warp_index
from medreg.studies.learn2reg.ndv import non_diffeomorphic_percent
from medreg.studies.learn2reg.truth import PointFiles, TaskFolder, read_point_files, read_voxels, voxel_size

UNIT = (1.0, 1.0, 1.0)  # official HD95 is in voxels for every task
FOLDINGS = "num_foldings"
NO_FOLDINGS = 0.0  # what official code reports: det J + 3 is clipped above 0 before it is compared with 0

Values = dict[str, Any]  # metric → {"mean": number, "detailed": number or list}


@dataclass
class Case:
    """A pair under evaluation: what is needed is read when a metric asks for it, and kept for the others.

    Attributes:
        pair: the pair.
        config: what is asked for.
        folder: where the truth is.
        displacement: the field.
        messages: what was found missing or odd on the way.
    """

    pair: PairPaths
    config: EvaluationConfig
    folder: TaskFolder
    displacement: FieldArray
    messages: list[str] = field(default_factory=list)

    @cached_property
    def labels(self) -> LabelSet:
        """Every label that any metric scores."""
        return LabelSet.of(*(spec.labels for spec in self.config.metrics))

    @cached_property
    def fixed_index(self) -> Index:
        """Places of the labels of the fixed image."""
        index = self.labels.index(read_voxels(self.folder.companion(self.pair.fixed, "labels")))
        if index.shape != self.config.shape:
            raise DataError(
                f"{self.folder.companion(self.pair.fixed, 'labels')}: shape {index.shape} is not the "
                f"{self.config.shape} of the task."
            )
        return index

    @cached_property
    def moving_index(self) -> Index:
        """Places of the labels of the moving image."""
        return self.labels.index(read_voxels(self.folder.companion(self.pair.moving, "labels")))

    @cached_property
    def warped_index(self) -> Index:
        """Places of the labels of the moving image, warped."""
        return warp_index(self.moving_index, self.displacement, outside=self.labels.place(0))

    @cached_property
    def structures(self) -> list[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
        """Fixed and warped mask of every scored label, by place, cropped to their box."""
        # surface distances walk along the last axis
        fixed, warped = np.ascontiguousarray(self.fixed_index), np.ascontiguousarray(self.warped_index)
        return list(structure_masks(fixed, warped, len(self.labels.ids)))

    @cached_property
    def overlap(self) -> NDArray[np.int64]:
        """Joint counts of fixed and warped places."""
        return joint_counts(self.fixed_index, self.warped_index, len(self.labels.ids))

    @cached_property
    def in_both(self) -> NDArray[np.bool_]:
        """Whether each place is in the fixed and in the moving map, which makes its label count."""
        return (self.overlap.sum(axis=1) > 0) & (counts(self.moving_index, len(self.labels.ids)) > 0)

    def scored(self, *metrics: str) -> list[int]:
        """Ids that metrics of some kinds score, in the order of the config."""
        lists = [spec.labels for spec in self.config.metrics if spec.metric in metrics]
        return list(dict.fromkeys(label for part in lists for label in part))

    def dice(self, joint: NDArray[np.int64], labels: Sequence[int]) -> list[float]:
        """Dice of labels from joint counts of places: NaN where an original lacks the label."""
        places = [self.labels.place(label) for label in labels]
        sizes = joint.sum(axis=1) + joint.sum(axis=0)
        return [float(2 * joint[p, p] / sizes[p]) if self.in_both[p] else math.nan for p in places]

    @cached_property
    def hd95_voxels(self) -> Mapping[int, float]:
        """Official HD95 of every label that any metric of that kind scores."""
        labels = self.scored("hd95")
        values = surface_values(self, labels, lost=math.inf, measure=_unit_hd95)
        return dict(zip(labels, values, strict=True))

    @cached_property
    def mask(self) -> NDArray[np.generic] | None:
        """Fixed mask if the task is evaluated inside it; None also where its file is missing."""
        if not self.config.masked:
            return None
        path = self.folder.companion(self.pair.fixed, "masks")
        if not path.is_file():
            self.messages.append(f"No mask {path}: evaluated without it.")
            return None
        mask = read_voxels(path)
        if mask.shape != self.config.shape:
            raise DataError(f"{path}: shape {mask.shape} is not the {self.config.shape} of the task.")
        return mask

    @cached_property
    def regularity(self) -> Regularity:
        """Log Jacobian and folds."""
        return regularity(self.displacement, mask=self.mask)

    @cached_property
    def moving_spacing(self) -> NDArray[np.float64]:
        """Voxel size of the moving image, mm."""
        return voxel_size(self.folder.image(self.pair.moving))

    @cached_property
    def fixed_spacing(self) -> NDArray[np.float64]:
        """Voxel size of the fixed image, mm."""
        return voxel_size(self.folder.image(self.pair.fixed))

    @cached_property
    def point_files(self) -> Mapping[str, PointFiles]:
        """Files of points by the name of the metric that uses them."""
        found = {}
        for spec in self.config.metrics:
            if spec.metric == "tre":
                files = self.folder.point_files(self.pair, spec.dest)
                if files is None:
                    tried = self.folder.tried_for_points(self.pair, spec.dest)
                    raise DataError(f"{spec.name}: no points of this pair in {tried}.")
                found[spec.name] = files
        return found

    @cached_property
    def points(self) -> Mapping[str, PointPairs]:
        """Corresponding points by the name of the metric that uses them, landmark images aside."""
        return {
            name: read_point_files(files) for name, files in self.point_files.items() if not files.are_images
        }

    @cached_property
    def cubic_displacements(self) -> Mapping[str, NDArray[np.float64]]:
        """Cubic spline of the field at the fixed points, (N, 3), 0 outside the grid.

        Every component is prefiltered once for all sets of points.
        """
        from scipy import ndimage  # its import takes longer than all scores of labels, which do not need it

        names = list(self.points)
        where = np.concatenate([self.points[name].first for name in names])
        kind = np.float32 if self.displacement.single else np.float64
        parts = [
            ndimage.map_coordinates(part, where.T, output=kind, order=3)
            for part in self.displacement.components
        ]
        moved = np.stack(parts, axis=-1)
        edges = np.cumsum([len(self.points[name].first) for name in names])[:-1]
        return dict(zip(names, np.split(moved, edges), strict=True))


def official_values(case: Case) -> Values:
    """Compute what the official code writes under `cases` for one pair.

    Returns:
        metric → {"mean": number, "detailed": number or list}, in the order of the config.

    Raises:
        DataError: a file of the truth is missing, damaged or of another shape.
    """
    values: Values = {}
    for spec in case.config.metrics:
        values[spec.name] = _METRICS[spec.metric](case, spec)
        if spec.metric == "sdlogj":
            values[FOLDINGS] = single(NO_FOLDINGS)
    return values


def single(value: float) -> dict[str, Any]:
    """Return the entry of a metric with one value a case."""
    return {"mean": value, "detailed": value}


def listed(values: list[float]) -> dict[str, Any]:
    """Return the entry of a metric with a value for each label or point."""
    return {"mean": mean_of_numbers(values), "detailed": values}


def _sdlogj(case: Case, spec: MetricSpec) -> dict[str, Any]:
    return single(case.regularity.shifted)


def _dice(case: Case, spec: MetricSpec) -> dict[str, Any]:
    return listed(case.dice(case.overlap, spec.labels))


def _hd95(case: Case, spec: MetricSpec) -> dict[str, Any]:
    return listed([case.hd95_voxels[label] for label in spec.labels])


def surface_values(
    case: Case, labels: Sequence[int], *, lost: float, measure: Callable[..., float]
) -> list[float]:
    """A surface distance of every label: NaN where an original lacks it, `lost` where warping lost it."""
    found: list[float] = []
    for place in map(case.labels.place, labels):
        fixed, warped = case.structures[place - 1]
        found.append((measure(fixed, warped) if warped.any() else lost) if case.in_both[place] else math.nan)
    return found


def _unit_hd95(fixed: NDArray[np.bool_], warped: NDArray[np.bool_]) -> float:
    return hd95_mm(fixed, warped, spacing_mm=UNIT)


def _tre(case: Case, spec: MetricSpec) -> dict[str, Any]:
    files = case.point_files[spec.name]
    if files.are_images:
        return single(centroid_error(case, files))
    points = case.points[spec.name]
    residual = points.first + case.cubic_displacements[spec.name] - points.second
    errors = np.linalg.norm(residual * case.moving_spacing, axis=1)
    return {"mean": float(errors.mean()), "detailed": errors.tolist()}


def centroid_error(case: Case, files: PointFiles) -> float:
    """LUMIR: mean distance, in voxels, of the centroids of the fixed and of the warped moving landmarks."""
    from scipy import ndimage

    fixed, moving = read_voxels(files.fixed), read_voxels(files.moving)
    ids = [int(value) for value in np.unique(fixed) if value != 0]
    labels = LabelSet(tuple(ids))
    warped = warp_index(labels.index(moving), case.displacement, outside=0)
    places = np.arange(1, len(ids) + 1)
    if not np.isin(places, warped).all():
        return math.nan
    maps = (labels.index(fixed), warped)
    centres = [np.asarray(ndimage.center_of_mass(index > 0, index, places)) for index in maps]
    return float(np.linalg.norm(centres[1] - centres[0], axis=1).mean())


def _ndv(case: Case, spec: MetricSpec) -> dict[str, Any]:
    moving = read_voxels(case.folder.image(case.pair.moving))
    return single(non_diffeomorphic_percent(case.displacement, mask=moving > 0))


_METRICS: Mapping[str, Callable[[Case, MetricSpec], dict[str, Any]]] = {
    "sdlogj": _sdlogj,
    "dice": _dice,
    "hd95": _hd95,
    "tre": _tre,
    "ndv": _ndv,
}
