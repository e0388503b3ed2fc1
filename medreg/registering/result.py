"""The outcome of registering a pair, and the files that hold it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from medreg.errors import CompositionError
from medreg.geometry.compose import Inverse
from medreg.geometry.pair_transform import PairTransform
from medreg.io.atomic import write_text
from medreg.io.field import write_field
from medreg.io.image import Volume, write_image, write_labels
from medreg.io.stack import stack_shape
from medreg.metrics.evaluator import MetricRow
from medreg.registering.measure import as_records
from medreg.registering.pair import Pair
from medreg.registering.posterior import PairPosterior


@dataclass(frozen=True, eq=False)
class RegistrationResult:
    """A registered pair.

    Attributes:
        pair: the images as read.
        transform: the map from fixed to moving space.
        start: the map before registration: headers, and what `--initialise` did.
        warped: the moving image on the fixed grid, interpolated once from its file.
        warped_labels: the moving labels on the fixed grid, or None.
        before: metrics of the pair before registration.
        after: metrics after it.
        method: what registered the pair: a preset's or a checkpoint's name.
        reason: why this preset, in words.
        settings: the preset as plain values.
        seconds: time of the registration itself.
        outside: intensity beyond the moving image.
        labels: structure name → label code.
        notes: what about headers and position a person should know.
        posterior: what is known of the uncertainty, where it was asked for and two samples were drawn at least.
    """

    pair: Pair
    transform: PairTransform
    start: PairTransform
    warped: Volume
    warped_labels: Volume | None
    before: list[MetricRow]
    after: list[MetricRow]
    method: str
    reason: str
    settings: Mapping[str, Any]
    seconds: float
    outside: float
    labels: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    posterior: PairPosterior | None = None

    @property
    def displacement(self) -> NDArray[np.float32]:
        """Displacement (D, *S) of the fixed image, voxels, pull: initial alignment and deformation in one.

        D is 2 for a 2-D file (X, Y); for everything else 3, with a zero component across independent slices.
        """
        total = self.transform.total_displacement().to(torch.float32).numpy()
        if self.pair.fixed.array.ndim == 2:
            return np.ascontiguousarray(total[:2, :, :, 0])
        return total

    @property
    def jacobian(self) -> NDArray[np.float32]:
        """Jacobian determinant of the whole map on the fixed grid, array shape of the fixed image."""
        return self.transform.jacobian_determinant()[0].numpy().reshape(self.pair.fixed.shape)

    def metrics(self) -> dict[str, Any]:
        """Return what `metrics.json` holds."""
        return {
            "method": self.method,
            "reason": self.reason,
            "fixed": str(self.pair.fixed.path or "array"),
            "moving": str(self.pair.moving.path or "array"),
            "shape": list(self.pair.fixed.shape),
            "spacing_mm": [float(value) for value in self.pair.fixed.spacing_mm],
            "slice_by_slice": self.transform.slice_axis is not None,
            "seconds": round(self.seconds, 3),
            "outside_value": self.outside,
            "before": as_records(self.before),
            "after": as_records(self.after),
            "notes": list(self.notes),
            "settings": dict(self.settings),
        }

    def save(self, folder: str | Path, *, inverse: bool = False, jacobian: bool = False) -> list[Path]:
        """Write the result into a folder and return the files.

        Always `warped.nii.gz`, `displacement.nii.gz` (ITK, LPS mm; voxels on a skewed grid) and `metrics.json`;
        `warped_labels.nii.gz` with labels; `inverse_displacement.nii.gz` (on the moving grid) and
        `jacobian.nii.gz` on demand; `posterior/` with the files of `io.posterior` where there is one.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        affine = self.pair.fixed.affine
        files = [
            write_image(folder / "warped.nii.gz", self.warped.array, affine),
            write_field(folder / "displacement.nii.gz", self.displacement, affine),
        ]
        if self.warped_labels is not None:
            files.append(write_labels(folder / "warped_labels.nii.gz", self.warped_labels.array, affine))
        content = self.metrics()
        if inverse:
            found = self.transform.inverse()
            files.append(self._write_inverse(folder / "inverse_displacement.nii.gz", found))
            content["inverse"] = {
                "residual_voxels_max": found.residual_voxels_max,
                "residual_voxels_mean": found.residual_voxels_mean,
            }
        if jacobian:
            files.append(write_image(folder / "jacobian.nii.gz", self.jacobian, affine))
        if self.posterior is not None:
            files += self.posterior.save(folder / "posterior")
        path = folder / "metrics.json"
        write_text(path, json.dumps(content, indent=2) + "\n")
        return [*files, path]

    def _write_inverse(self, path: Path, found: Inverse) -> Path:
        displacement = found.displacement.to(torch.float32).numpy()
        if self.pair.moving.array.ndim == 2:
            displacement = np.ascontiguousarray(displacement[:2, :, :, 0])
        return write_field(path, displacement, self.pair.moving.affine)

    def posterior_picture(self) -> Any:
        """Return the picture sheet of the uncertainty, a Matplotlib figure.

        Raises:
            CompositionError: it was not asked for.
        """
        from medreg.registering.picture import posterior_of

        if self.posterior is None:
            raise CompositionError(
                "This registration holds no posterior; register with posterior=…, --posterior."
            )
        return posterior_of(
            self.pair, self.start, self.posterior, label_names=self.labels, method=self.method
        )

    def overview(self) -> Any:
        """Return the picture sheet of the pair, a Matplotlib figure."""
        from medreg.registering.picture import overview_of

        return overview_of(
            self.pair,
            self.start,
            self.transform,
            outside=self.outside,
            window=self.settings.get("intensity", {}).get("window"),
            label_names=self.labels,
            method=self.method,
        )


def like(volume: Volume, array: NDArray[Any]) -> Volume:
    """Return an array (1, 1, X, Y, Z) on the grid of a volume, in its number of axes."""
    assert array.size == np.prod(stack_shape(volume))
    return Volume(array.reshape(volume.shape), volume.affine, volume.spacing_mm)
