"""A finished segmentation run without a training: a 1×1 convolution that knows the grey value of every structure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import yaml

LABELS = {"LV": 3, "MYO": 2, "RV": 1}
# Of a code in the images below. What touches has neighbouring grey values, so that a voxel between two structures, as
# resampling makes it, does not look like a third.
GREY = {1: 0.0, 0: 0.33, 2: 0.66, 3: 1.0}
SHARP = 400.0  # of the scores, so that the probabilities are nearly 0 and 1


def perfect_run(folder: Path, *, ndim: int = 2, labels=None, task=None, **preprocess) -> Path:
    """Write a run folder whose network gives back the structures from their grey values.

    Args:
        folder: to write.
        ndim: 2 or 3.
        labels: structure → code.
        task: changes to the options of the task.
        **preprocess: changes to the preparation.
    """
    labels = LABELS if labels is None else labels
    kind = f"torch.nn.Conv{ndim}d"
    model = {"_target_": kind, "in_channels": 1, "out_channels": len(labels) + 1, "kernel_size": 1}
    intensity = {
        "_target_": "medreg.data.intensity.Intensity", "percentiles": None, "window": [0.0, 1.0], "scope": "volume",
    }  # fmt: skip
    preparation = {
        "_target_": "medreg.data.preprocess.Preprocess", "orientation": "stored", "spacing_mm": None, "size": None,
        "resize": None, "alignment": "world", "background": GREY[0], "intensity": intensity, **preprocess,
    }  # fmt: skip
    config = {
        "model": model,
        "seed": 1,
        "data": {"ndim": ndim, "labels": labels, "preprocess": preparation},
        "task": {
            "_target_": "medreg.tasks.segmentation.SegmentationTask",
            "model": model,
            "loss": {"_target_": "monai.losses.DiceCELoss", "softmax": True},
            "evaluator": {"_target_": "medreg.metrics.segmentation.SegmentationEvaluator", "labels": labels},
            "multiple": 4,
            **(task or {}),
        },
    }
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    for name in ("best", "last"):
        torch.save(
            {"state_dict": weights(labels, ndim), "medreg": {}}, folder / "checkpoints" / f"{name}.ckpt"
        )
    return folder


def weights(labels, ndim):
    """Nearest grey value: the score of g is −(x − g)² without its x², which all classes share."""
    levels = torch.tensor([GREY[code] for code in (0, *labels.values())])
    shape = (-1, 1, *[1] * ndim)
    return {"model.weight": SHARP * 2 * levels.reshape(shape), "model.bias": -SHARP * levels**2}


def heart(shape=(60, 48, 9), *, spacing=(1.3, 1.7, 6.0)):
    """Label map of nested ellipses and a neighbour, smooth in millimetres, and its image."""
    place = [(np.arange(n) - (n - 1) / 2) * mm for n, mm in zip(shape, spacing, strict=True)]
    x, y, z = np.meshgrid(*place, indexing="ij")
    distance = np.sqrt(x**2 + y**2 + (0.5 * z) ** 2)
    label = np.where(np.hypot(x + 30, y - 4) < 8, 1, 0) * (np.abs(z) < 16)
    label = np.where(distance < 19, 2, label)
    label = np.where(distance < 12, 3, label)
    return label.astype(np.int16), np.vectorize(GREY.get)(label).astype(np.float32)


def oblique(spacing=(1.3, 1.7, 6.0), *, angle=0.3):
    """An affine whose axes run to the left, to the front and up, turned about two axes; far from the origin."""
    c, s = np.cos(angle), np.sin(angle)
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([-1.0, 1.0, 1.0]) @ np.diag(spacing)
    affine[:3, 3] = (81.0, -37.0, 12.5)
    return affine


def dice(first, second, code):
    """Dice of one code."""
    a, b = first == code, second == code
    return 2 * (a & b).sum() / max(a.sum() + b.sum(), 1)
