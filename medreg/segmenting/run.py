"""A trained run that segments: opened safely once, then asked image by image."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from medreg.config.instantiate import build, check_target
from medreg.errors import CheckpointError, CompositionError, NumericalError
from medreg.io.checkpoint import apply_weights
from medreg.io.image import Volume
from medreg.io.on_grid import called
from medreg.io.stack import stack_shape
from medreg.registering.pair import Source
from medreg.runs.device import usable_device
from medreg.runs.trained import TrainedRun
from medreg.segmenting.image import ROLE, read_source
from medreg.segmenting.measure import check_truth, measure, read_truth
from medreg.segmenting.prepared import PreparedImage, prepare_image
from medreg.segmenting.result import Segmentation
from medreg.segmenting.unlike import unlike_training
from medreg.tasks.segmentation import SegmentationTask

SLICES = 32  # that a network is given at once, at most


@dataclass(frozen=True, eq=False)
class SegmentationRun:
    """A run that segments, made by `SegmentationRun.open`.

    Attributes:
        trained: what the run folder or checkpoint holds.
        task: its task with the weights, in evaluation mode, on the device.
    """

    trained: TrainedRun
    task: SegmentationTask

    @classmethod
    def open(cls, path: str | Path, *, ckpt: str = "best", device: str = "cpu") -> SegmentationRun:
        """Read a run folder or a checkpoint; nothing of it is executed.

        Args:
            path: run folder, or a checkpoint file.
            ckpt: "best" or "last" of a run folder.
            device: "cpu", "cuda", …

        Raises:
            CheckpointError: nothing there, no weights, or the run of another kind of work.
            ConfigError: a device that cannot be used, or a configuration that is refused.
        """
        where = usable_device(device)
        run = TrainedRun.open(path, ckpt, device=where)
        target = str(run.task.get("_target_"))
        if not run.task or not issubclass(check_target(target), SegmentationTask):
            raise CheckpointError(
                f"{path} is not the run of a segmentation (its task is {target}); give one that was trained with "
                "task=segmentation, such as by `python train.py model=unet data=acdc_segmentation`."
            )
        if run.file is None:
            raise CheckpointError(f"{path} holds no checkpoint, so there are no weights; train first.")
        task: SegmentationTask = build(run.config["task"])
        task.name_structures(run.labels)
        apply_weights(task.model, run.file)
        return cls(run, task.eval().to(where))

    @property
    def labels(self) -> dict[str, int]:
        """Structure → label code."""
        return dict(self.task.evaluator.labels)

    @property
    def planar(self) -> bool:
        """Whether the network takes slices."""
        return self.trained.slice_axis is not None

    def segment(
        self,
        image: Source,
        *,
        labels: Source | None = None,
        frame: int | None = None,
        probabilities: bool = False,
    ) -> Segmentation:
        """Segment one image and, with true labels, score the result on the grid of the file.

        Args:
            image: file, image of nibabel, SimpleITK or MONAI, `Volume`, or array (X, Y[, Z]) of 1 mm voxels.
            labels: its true labels, on its grid.
            frame: 0-based index along the fourth axis of the file.
            probabilities: whether to keep the probability of every class.

        Raises:
            DataError: an image or label map that cannot be read, or that does not fit.
            CompositionError: a single slice for a network of volumes.
            NumericalError: the network gives NaN.
        """
        volume = read_source(image, frame)
        truth = None if labels is None else read_truth(labels, volume, frame)
        return self.segment_volume(volume, truth=truth, frame=frame, probabilities=probabilities)

    def segment_volume(
        self,
        volume: Volume,
        *,
        truth: Volume | None = None,
        frame: int | None = None,
        probabilities: bool = False,
    ) -> Segmentation:
        """Segment an image that was read by `segmenting.image.read_source`; arguments and errors as in `segment`."""
        self._check(volume, truth)
        began = time.perf_counter()
        prepared = prepare_image(self.trained.preprocess, volume, planar=self.planar)
        found = prepared.back(self._probabilities(prepared.image, volume), keep=probabilities)
        seconds = time.perf_counter() - began
        codes = torch.tensor([0, *self.labels.values()])
        segmented = codes[found.index]
        return Segmentation(
            image=volume,
            array=segmented.numpy().reshape(volume.shape),
            structures=self.labels,
            rows=tuple(measure(self.task.evaluator, prepared, segmented, truth)),
            outside=found.outside,
            seconds=seconds,
            notes=tuple(self._notes(volume, prepared, found.outside)),
            probabilities=(
                None
                if found.probabilities is None
                else found.probabilities.numpy().reshape(-1, *volume.shape)
            ),
            frame=frame,
        )

    def _check(self, volume: Volume, truth: Volume | None) -> None:
        """Refuse what does not fit before the network runs."""
        if not self.planar and 1 in stack_shape(volume):
            raise CompositionError(
                f"{self.trained.path} was trained on volumes (data.ndim=3) and {called(volume, ROLE)} is a single "
                f"slice, {volume.shape}; give a volume, or a run that was trained on slices."
            )
        if truth is not None:
            check_truth(truth, volume, self.labels)

    def _probabilities(self, image: Tensor, volume: Volume) -> Tensor:
        """Return the probability of every class, (N, L + 1, *S), the same whenever it is asked for."""
        parts = []
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            for part in image.split(SLICES):
                torch.manual_seed(self.trained.seed)
                parts.append(self.task.probabilities(part.to(self.trained.device)).float().cpu())
        found = torch.cat(parts)
        if not bool(torch.isfinite(found).all()):
            raise NumericalError(
                f"The network of {self.trained.path} gives NaN or infinite values for {called(volume, ROLE)}: its "
                "training diverged, or its weights are damaged. Take --ckpt last, or another run."
            )
        return found

    def _notes(self, volume: Volume, prepared: PreparedImage, outside: int) -> list[str]:
        """Say what about header, orientation and crop a person should know."""
        preprocess = self.trained.preprocess
        notes = [*volume.notes, *unlike_training(self.trained.folder, preprocess, prepared)]
        if prepared.turned is not None:
            notes.append(
                f"the slices of {called(volume, ROLE)} lie along axis {prepared.turned + 1} of the file; the network "
                "was given them one by one, the result keeps the axes of the file"
            )
        if outside:
            share = 100 * outside / volume.array.size
            size = "×".join("all" if n is None else str(n) for n in preprocess.size or prepared.grid.shape)
            notes.append(
                f"{outside} voxels of the image ({share:.1f} %) lie outside the crop that the network sees (data."
                f"preprocess.size={size}); they are background"
            )
        if preprocess.crop_label is not None:
            notes.append("the training's crops were centred on a structure; this one is centred on the image")
        if preprocess.mask_input:
            notes.append(
                "the training's images were blanked outside their masks; this one has none and is not"
            )
        return notes
