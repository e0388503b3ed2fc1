"""What is known of a registered pair's map after it was sampled: gathered while sampling, then arrays, rows, files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medreg.errors import ConfigError
from medreg.geometry.pair_transform import PairTransform, from_slices, to_slices
from medreg.inference.gathering import Gatherer, LabelQuestion
from medreg.inference.posterior_summary import PosteriorSummary
from medreg.inference.sampling.draw import Draw
from medreg.inference.sampling.streaming import LabelCounts, Probe
from medreg.io.posterior import PosteriorArrays, variance_lps_mm, write_posterior
from medreg.io.stack import tensor_of
from medreg.metrics.rows import MetricRow, row
from medreg.registering.pair import Pair
from medreg.tasks.posterior import notes_of
from medreg.tasks.posterior_rows import summary_rows

AUTO = "auto"  # kind of inference where none is named: that of the model at hand, else `DEFAULT`
DEFAULT = "vi"
PROBED = 500  # voxels at which whole chains are kept, for R-hat and ESS
SEED = 0  # of their choice


Posterior: TypeAlias = "PosteriorRequest | str | bool"


@dataclass(frozen=True)
class PosteriorRequest:
    """What the user asked for.

    Attributes:
        kind: inference of a model that comes with medreg, a file of configs/inference; `AUTO`; None for no posterior.
        samples: how many are drawn; None leaves it to the model.
        keep: how many are written as fields.
        state: folder for the state while it is sampled, from which the same call goes on after a kill; None for none.
    """

    kind: str | None = None
    samples: int | None = None
    keep: int = 0
    state: Path | None = None

    def check(self, *, own: bool, refined: bool) -> None:
        """Refuse what cannot be done, before any work.

        Args:
            own: whether a trained run or a model in memory registers.
            refined: whether its answer is refined.

        Raises:
            ConfigError: naming the option, and what to do.
        """
        if self.kind is None and (self.samples is not None or self.keep):
            given = "--samples" if self.samples is not None else "--keep-samples"
            raise ConfigError(f"{given} says nothing without --posterior; add it, or leave {given} out.")
        if self.samples is not None and self.samples < 2:
            raise ConfigError(f"--samples {self.samples}: give 2 or more; one sample has no spread.")
        if self.keep < 0:
            raise ConfigError(f"--keep-samples {self.keep}: give a number of samples to keep, or 0.")
        if self.samples is not None and self.keep > self.samples:
            raise ConfigError(
                f"--keep-samples {self.keep} is more than --samples {self.samples}; draw as many, or keep fewer."
            )
        if own and self.kind not in (None, AUTO):
            raise ConfigError(
                f"--posterior {self.kind} names the inference of medreg's own model, but another model registers here; "
                "write --posterior alone to ask that model for its samples."
            )
        if self.kind is not None and refined:
            raise ConfigError(
                "--posterior does not go with --refine: the refined field would not be the one that was sampled."
            )


def wanted(posterior: Posterior | None) -> PosteriorRequest:
    """Return what is asked for: by a name of an inference, by True for the model at hand, or said in full."""
    if isinstance(posterior, PosteriorRequest):
        return posterior
    return PosteriorRequest((AUTO if posterior else None) if isinstance(posterior, bool) else posterior)


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
    def count(self) -> float:
        """Number of samples; of slices by themselves the mean over them."""
        return self.summary.count

    @property
    def mean_transform(self) -> PairTransform:
        """The map whose deformation is the mean of the samples."""
        return replace(self.base, displacement=_volume(self.summary.mean, self.base.slice_axis))

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
        return self.summary.volumes_ml()[structure]

    @cached_property
    def arrays(self) -> PosteriorArrays:
        """What the files hold."""
        grid = self.base.fixed.affine
        matrix = torch.linalg.solve(grid, self.base.world.double() @ grid)[:3, :3]
        covariance = torch.einsum("ik,klxyz,jl->ijxyz", matrix, self._matrices().double(), matrix)
        found = self.summary.probabilities
        return PosteriorArrays(
            affine=self.pair.fixed.affine,
            mean=self._flat(self._total(self.summary.mean), 1),
            covariance=self._flat(covariance, 2),
            probabilities={} if found is None else {
                name: found[0, number].numpy().reshape(self.pair.fixed.shape)
                for number, name in enumerate(self.summary.labels)
            },
            volumes=list(self.summary.volume_rows()),
            samples=[self._flat(self._total(sample), 1) for sample in self.summary.samples],
        )  # fmt: skip

    def rows(self) -> list[MetricRow]:
        """What metrics.json and the table tell, see `tasks.posterior_rows.summary_rows`."""
        mask = None if self.pair.fixed_mask is None else tensor_of(self.pair.fixed_mask)
        norm = torch.from_numpy(np.sqrt(np.square(self.displacement_sd_mm).sum(0)))
        spread = norm.reshape(1, *self.base.fixed.shape)
        return [*summary_rows(self.summary, spread, mask), row("all", "samples", self.count)]

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

    def _flat(self, field: Tensor, components: int) -> NDArray[np.floating]:
        """An array with the axes of the fixed file: of a 2-D file the two components in its plane."""
        if self.pair.fixed.array.ndim == 3:
            return np.asarray(field.numpy())
        inside = field[:2] if components == 1 else field[:2, :2]
        return np.ascontiguousarray(inside[..., 0].numpy())


class PairGatherer:
    """Told the samples of a pair as maps, it gathers them; `posterior` is what is known then.

    Args:
        pair: the images.
        labels: structure → code, of the moving labels.
        keep: number of samples that are kept as they are.
        place: folder for the state while it is sampled; None for none.
    """

    def __init__(
        self, pair: Pair, labels: Mapping[str, int], *, keep: int = 0, place: Path | None = None
    ) -> None:
        self.pair, self.labels, self.keep, self.place = pair, dict(labels), keep, place
        self.notes: list[str] = []
        self._base: PairTransform | None = None
        self._gatherer: Gatherer | None = None

    def __call__(self, maps: list[PairTransform], draw: Draw) -> None:
        """Take in one sample of every chain."""
        if self._gatherer is None:
            self._base, self._gatherer = maps[0], self._begun(maps[0])
        axis, pairs = maps[0].slice_axis, self._gatherer.pairs
        fields = [m.displacement if axis is None else to_slices(m.displacement, axis) for m in maps]
        runs = draw.alive.view(len(maps), -1)
        if runs.shape[1] != pairs:  # a crop of the slices: all of them run, or none
            runs = runs.all(1, keepdim=True).expand(-1, pairs)
        energies = draw.energies.view(len(maps), -1).sum(1, keepdim=True).expand(-1, pairs) / pairs
        self._gatherer(Draw(draw.transition, torch.cat(fields), runs.flatten(), energies.flatten()))

    def forget(self) -> None:
        """Begin anew."""
        self._base, self._gatherer = None, None

    def state(self) -> dict[str, Any]:
        """All that was gathered; empty before the first sample."""
        return {} if self._gatherer is None else self._gatherer.state()

    def load_state(self, state: Mapping[str, Any], like: PairTransform) -> None:
        """Go on from what `state` gave."""
        self._base, self._gatherer = like, self._begun(like)
        self._gatherer.load_state(state)

    def mean(self) -> Tensor | None:
        """Mean of the samples so far, (1, 3, *S) voxels of the fixed image; None without any."""
        if self._gatherer is None or self._base is None or not self._gatherer.count:
            return None
        return _volume(self._gatherer.mean(), self._base.slice_axis)

    def posterior(self) -> PairPosterior | None:
        """Return what is known; None of fewer than two samples."""
        if self._gatherer is None or self._base is None:
            self.notes.append("nothing was sampled, so that nothing is said of the uncertainty")
            return None
        summary = self._gatherer.summary()
        self.notes += notes_of(summary, self._gatherer.left_out)
        return None if summary is None else PairPosterior(self.pair, self._base, summary)

    def _begun(self, base: PairTransform) -> Gatherer:
        axis, pair = base.slice_axis, self.pair
        mask = None if pair.fixed_mask is None else tensor_of(pair.fixed_mask)
        kept = [k for k in range(3) if k != axis]
        pairs = 1 if axis is None else base.fixed.shape[axis]
        return Gatherer(
            pairs=pairs,
            spacing_mm=base.fixed.spacing_mm[kept].float(),
            mask=mask if mask is None or axis is None else to_slices(mask, axis),
            labels=self._question(base),
            probe=self._probe(base, pairs),
            keep=self.keep,
        )

    def _probe(self, base: PairTransform, pairs: int) -> Probe:
        """Voxels within the mask, where whole chains are kept."""
        inside = torch.ones(1, 1, *base.fixed.shape)
        slices = inside if base.slice_axis is None else to_slices(inside, base.slice_axis)
        generator = torch.Generator().manual_seed(SEED)
        return Probe.at_random(slices, count=max(1, PROBED // pairs), generator=generator)

    def _question(self, base: PairTransform) -> LabelQuestion | None:
        """Labels are interpolated once, from the moving file, through every sample of the whole map."""
        if self.pair.moving_labels is None or not self.labels:
            return None
        fixed = self.pair.fixed_labels
        counts = LabelCounts(
            tensor_of(self.pair.moving_labels, dtype=torch.int32),
            self.labels,
            spacing_mm=base.fixed.spacing_mm,
            fixed_labels=None if fixed is None else tensor_of(fixed, dtype=torch.int32),
        )

        def sampled_at(displacement: Tensor) -> Tensor:
            return replace(base, displacement=_volume(displacement, base.slice_axis)).sampling_displacement()

        return LabelQuestion(counts, sampled_at)


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
