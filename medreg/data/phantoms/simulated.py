"""Simulated pairs: the fixed image is the moving one under a map that was drawn, with noise; both laws are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from medreg.data.phantoms.simulated_images import ImageOptions, Noise, picture
from medreg.data.phantoms.simulated_motion import Motion
from medreg.data.phantoms.writing import Job, Phantom
from medreg.errors import ConfigError
from medreg.geometry.warp import warp
from medreg.io.atomic import write_text
from medreg.io.field import write_itk_field
from medreg.io.image import write_image, write_labels

VERSION = 1  # of the generator; part of the name of the folder


class SimulatedPairs(Phantom):
    """Writes pairs F = M ∘ φ* + noise, φ* drawn from a stated law, as `pairs.csv` and the known motion in `truth`.

    Where law of motion and noise are those of a model, its posterior must be calibrated on these pairs; where they are
    not, it may fail. A pair depends on the seed and its number alone: more pairs leave the others as they are.

    Args:
        root: folder of all such data sets.
        pairs: test pairs.
        validation_pairs: for recalibration and choices.
        training_pairs: for methods that are trained.
        shape: voxels per axis, two or three axes; two give single slices.
        spacing_mm: voxel size per axis.
        seed: of everything; not the seed of the run.
        motion: law of φ*.
        image: what M looks like.
        noise: law of F given M ∘ φ*.

    Raises:
        ConfigError: numbers that make no data set.
    """

    title: ClassVar[str] = "Writing simulated pairs"

    def __init__(
        self,
        root: str | Path,
        *,
        pairs: int,
        validation_pairs: int,
        training_pairs: int,
        shape: Sequence[int],
        spacing_mm: Sequence[float],
        seed: int,
        motion: Motion,
        image: ImageOptions,
        noise: Noise,
    ) -> None:
        if pairs < 1 or min(validation_pairs, training_pairs) < 0 or pairs > 9999:
            raise ConfigError(
                "Simulated pairs need 1 ≤ pairs ≤ 9999, and validation_pairs and training_pairs of at least 0, not "
                f"{pairs}, {validation_pairs} and {training_pairs}; set them under data.dataset.prepare."
            )
        if (
            len(shape) not in (2, 3)
            or len(spacing_mm) != len(shape)
            or min(shape) < 8
            or min(spacing_mm) <= 0
        ):
            raise ConfigError(
                "Simulated pairs need two or three sizes of at least 8 voxels and as many positive spacings, not "
                f"{list(shape)} and {list(spacing_mm)}; set data.dataset.prepare.shape and spacing_mm."
            )
        self.counts = {"test": pairs, "val": validation_pairs, "train": training_pairs}
        self.shape = tuple(int(n) for n in shape)
        self.spacing_mm = tuple(float(s) for s in spacing_mm)
        self.seed = seed
        self.motion = motion
        self.image = image
        self.noise = noise
        self.affine = np.diag([*self.spacing_mm, *[1.0] * (4 - len(self.shape))])
        self.folder = self.below(root)

    def parameters(self) -> dict[str, Any]:
        """Return everything on which the files depend."""
        return {
            "version": VERSION,
            "pairs": self.counts,
            "shape": list(self.shape),
            "spacing_mm": list(self.spacing_mm),
            "seed": self.seed,
            **{name: _described(getattr(self, name)) for name in ("motion", "image", "noise")},
        }

    def cases(self) -> list[tuple[str, str, int]]:
        """Return (name, split, number) of every pair; the numbers of a split do not depend on the size of another."""
        starts = {"test": 0, "val": 10_000, "train": 20_000}
        return [
            (f"{split}{k:04d}", split, starts[split] + k)
            for split, count in self.counts.items()
            for k in range(1, count + 1)
        ]

    def missing(self) -> Sequence[Job]:
        """Return a job for each pair whose files are not all there."""
        return [
            partial(self._write, name, number)
            for name, _, number in self.cases()
            if not all(file.is_file() for file in self._files(name))
        ]

    def finish(self) -> None:
        """Write the list of pairs."""
        sides = ("fixed", "moving")
        lines = [",".join([*sides, *(f"{side}_label" for side in sides), "split", "id"])]
        for name, split, _ in self.cases():
            images = [f"{name}_{side}.nii.gz" for side in sides]
            labels = [f"{name}_{side}_label.nii.gz" for side in sides]
            lines.append(",".join([*images, *labels, split, name]))
        write_text(self.folder / "pairs.csv", "\n".join(lines) + "\n")

    def pair(self, number: int) -> dict[str, NDArray[Any]]:
        """Draw a pair.

        Returns:
            `fixed`, `moving` (*S) float32, `fixed_label`, `moving_label` (*S) uint8, `displacement` (D, *S) float32 in
            voxels of the fixed grid, pull direction.
        """
        generators = [np.random.default_rng([self.seed, number, part]) for part in range(3)]
        moving, moving_label = picture(self.shape, self.image, generators[0])
        moving = moving.astype(np.float32)
        displacement = self.motion.draw(self.shape, self.spacing_mm, generators[1]).astype(np.float32)
        field = torch.from_numpy(displacement).unsqueeze(0)
        clean = warp(torch.from_numpy(moving)[None, None], field)[0, 0].numpy()
        labels = torch.from_numpy(moving_label)[None, None]
        fixed_label = warp(labels, field, mode="nearest", padding="zeros")[0, 0].numpy()
        fixed = self.noise.apply(clean.astype(np.float64), generators[2]).astype(np.float32)
        return {
            "fixed": fixed,
            "moving": moving,
            "fixed_label": fixed_label,
            "moving_label": moving_label,
            "displacement": displacement,
        }

    def _files(self, name: str) -> list[Path]:
        images = [self.folder / f"{name}_{side}.nii.gz" for side in ("fixed", "moving")]
        labels = [self.folder / f"{name}_{side}_label.nii.gz" for side in ("fixed", "moving")]
        truth = self.folder / "truth" / f"{name}_fixed__{name}_moving_displacement.nii.gz"
        return [*images, *labels, truth]

    def _write(self, name: str, number: int) -> None:
        made = self.pair(number)
        if len(self.shape) == 2:  # a single slice, which does not move through the plane
            still = np.zeros_like(made["displacement"][:1])
            made["displacement"] = np.concatenate([made["displacement"], still])
            made = {key: array[..., np.newaxis] for key, array in made.items()}
        *files, truth = self._files(name)
        for file, side in zip(files[:2], ("fixed", "moving"), strict=True):
            write_image(file, made[side], self.affine, dtype=np.float32)
        for file, side in zip(files[2:], ("fixed", "moving"), strict=True):
            write_labels(file, made[f"{side}_label"], self.affine)
        write_itk_field(truth, made["displacement"], self.affine)


def _described(part: Any) -> dict[str, Any]:
    plain = {key: list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value
             for key, value in asdict(part).items()}  # fmt: skip
    return {"is": type(part).__name__, **plain}
