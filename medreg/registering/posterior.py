"""What is known of a registered pair's map after it was sampled: gathered while sampling, then arrays, rows, files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medreg.geometry.pair_transform import PairTransform, from_slices, to_slices
from medreg.inference.gathering import Gatherer, LabelQuestion
from medreg.inference.posterior_summary import PosteriorSummary
from medreg.io.posterior import PosteriorArrays, variance_lps_mm, write_posterior
from medreg.io.stack import grid_of, tensor_of
from medreg.metrics.rows import MetricRow, row
from medreg.registering.pair import Pair
from medreg.tasks.posterior_rows import summary_rows


@dataclass(frozen=True, eq=False)
class PairPosterior:
    """The posterior of a registered pair, on the grid of the fixed image.

    The start and the affine stage count as known: what is uncertain is the deformation after them. Field, spread and
    samples are those of the whole map to the moving file, as in `displacement.nii.gz`.

    Attributes:
        pair: the images as read.
        base: a map of the pair whose displacement is replaced by that of a sample.
        summary: of the samples.
    """

    pair: Pair
    base: PairTransform
    summary: PosteriorSummary

    @property
    def count(self) -> int:
        """Number of samples."""
        return self.summary.count

    @property
    def mean_displacement(self) -> NDArray[np.float32]:
        """Mean of the samples, (D, *S) voxels of the fixed image, pull, as `RegistrationResult.displacement`."""
        return self.arrays.mean.astype(np.float32)

    @cached_property
    def displacement_sd_mm(self) -> NDArray[np.float32]:
        """Standard deviation of the displacement along L, P and S, (3, *S) mm."""
        return np.sqrt(variance_lps_mm(self.arrays.covariance, self.arrays.affine)).astype(np.float32)

    @property
    def probabilities(self) -> Mapping[str, NDArray[np.floating]]:
        """Structure → share of the samples in which it covers a voxel, (*S)."""
        return self.arrays.probabilities

    def volume_ml(self, structure: str) -> tuple[float, float, float]:
        """Mean volume of a warped structure, ml, and the ends of its 95 % credible interval."""
        return self.summary.volume_ml(structure)

    @cached_property
    def arrays(self) -> PosteriorArrays:
        """What the files hold."""
        whole = self.base.world.double()
        matrix = torch.linalg.solve(self.base.fixed.affine, whole @ self.base.fixed.affine)[:3, :3]
        covariance = torch.einsum("ik,klxyz,jl->ijxyz", matrix, self._matrices().double(), matrix)
        found = self.summary.probabilities
        return PosteriorArrays(
            affine=self.pair.fixed.affine,
            mean=self._on_file(self._total(self.summary.mean)),
            covariance=self._flat(covariance, 2),
            probabilities={} if found is None else {
                name: found[0, number].numpy().reshape(self.pair.fixed.shape)
                for number, name in enumerate(self.summary.labels)
            },
            volumes=list(self.summary.volume_rows()),
            samples=[self._on_file(self._total(sample)) for sample in self.summary.samples],
        )  # fmt: skip

    def rows(self) -> list[MetricRow]:
        """What metrics.json and the table tell, see `tasks.posterior_rows.summary_rows`."""
        mask = None if self.pair.fixed_mask is None else tensor_of(self.pair.fixed_mask)
        norm = torch.from_numpy(np.sqrt(np.square(self.displacement_sd_mm).sum(0)))
        spread = norm.reshape(1, *self.base.fixed.shape)
        return [*summary_rows(self.summary, spread, mask), row("all", "samples", float(self.count))]

    def save(self, folder: str | Path) -> list[Path]:
        """Write the files of `io.posterior` into a folder and return them."""
        return write_posterior(folder, self.arrays)

    def _total(self, displacement: Tensor) -> Tensor:
        """(P, D, *S) as the gatherer has it to (3, *S) of the whole map."""
        return replace(
            self.base, displacement=_volume(displacement, self.base.slice_axis)
        ).total_displacement()

    def _matrices(self) -> Tensor:
        """Covariance (3, 3, *S) of the deformation, voxels²; 0 across slices."""
        covariance, axis = self.summary.covariance, self.base.slice_axis
        if axis is None:
            return covariance[0]
        columns = [from_slices(column, axis)[0] for column in covariance.unbind(2)]
        whole = torch.zeros(3, *columns[0].shape)
        for place, column in zip([k for k in range(3) if k != axis], columns, strict=True):
            whole[place] = column
        return whole

    def _on_file(self, field: Tensor) -> NDArray[np.floating]:
        return self._flat(field, 1)

    def _flat(self, field: Tensor, components: int) -> NDArray[np.floating]:
        """An array with the axes of the fixed file: of a 2-D file the two components in its plane."""
        if self.pair.fixed.array.ndim == 3:
            return field.numpy()
        return np.ascontiguousarray(field[(*[slice(2)] * components, ..., 0)].numpy())


class PairGatherer:
    """Told the samples of a pair as maps, it gathers them; `posterior` is what is known then.

    Args:
        pair: the images.
        labels: structure → code, of the moving labels.
        keep: number of samples that are kept as they are.
    """

    def __init__(self, pair: Pair, labels: Mapping[str, int], *, keep: int = 0) -> None:
        self.pair, self.labels, self.keep = pair, labels, keep
        self.notes: list[str] = []
        self._base: PairTransform | None = None
        self._gatherer: Gatherer | None = None

    def __call__(self, transform: PairTransform, chain: int, number: int) -> None:
        """Take one sample."""
        if self._gatherer is None:
            self._base, self._gatherer = transform, self._begun(transform)
        axis = transform.slice_axis
        field = transform.displacement if axis is None else to_slices(transform.displacement, axis)
        self._gatherer.take(field, chain, number)

    def posterior(self) -> PairPosterior | None:
        """Return what is known; None of fewer than two samples, with a note."""
        left_out = 0 if self._gatherer is None else self._gatherer.left_out
        if left_out:
            self.notes.append(f"{left_out} samples of the posterior were not finite and do not count")
        summary = None if self._gatherer is None else self._gatherer.summary()
        if summary is None or self._base is None:
            self.notes.append(
                "fewer than two samples of the posterior were drawn, so nothing is said about its uncertainty; ask for "
                "more with --samples"
            )
            return None
        return PairPosterior(self.pair, self._base, summary)

    def _begun(self, base: PairTransform) -> Gatherer:
        axis, pair = base.slice_axis, self.pair
        mask = None if pair.fixed_mask is None else tensor_of(pair.fixed_mask)
        kept = [k for k in range(3) if k != axis]
        return Gatherer(
            pairs=1 if axis is None else base.fixed.shape[axis],
            spacing_mm=base.fixed.spacing_mm[kept].float(),
            mask=mask if mask is None or axis is None else to_slices(mask, axis),
            labels=self._question(base),
            keep=self.keep,
        )

    def _question(self, base: PairTransform) -> LabelQuestion | None:
        if self.pair.moving_labels is None or not self.labels:
            return None
        moving = tensor_of(self.pair.moving_labels, dtype=torch.int32)
        fixed = self.pair.fixed_labels

        def warped(displacement: Tensor) -> Tensor:
            """Interpolate the labels once, from the moving file, through a sample of the whole map."""
            sample = replace(base, displacement=_volume(displacement, base.slice_axis))
            return sample.warp_labels(moving)

        return LabelQuestion(
            labels=self.labels,
            moving=moving,
            warp=warped,
            voxel_ml=float(torch.linalg.det(grid_of(self.pair.fixed).affine[:3, :3]).abs()) / 1000,
            fixed=None if fixed is None else tensor_of(fixed, dtype=torch.int32),
        )


def moving_label_names(
    pair: Pair, known: Mapping[str, int], given: Mapping[str, int] | None
) -> dict[str, int]:
    """Return names and codes of the structures whose place is asked for; those of the moving labels alone count, too.

    Args:
        pair: the images.
        known: as `measure.label_names` found them, empty without fixed labels.
        given: as the user names them; None takes every code.
    """
    if known or pair.moving_labels is None:
        return dict(known)
    codes = [int(code) for code in np.unique(pair.moving_labels.array) if code != 0]
    return dict(given) if given else {f"label {code}": code for code in codes}


def _volume(displacement: Tensor, slice_axis: int | None) -> Tensor:
    """(P, D, *S) as (1, 3, *S)."""
    return displacement if slice_axis is None else from_slices(displacement, slice_axis)
