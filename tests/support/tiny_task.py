"""A Learn2Reg task of three tiny scans in the official layout, and a run folder whose method does nothing."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import yaml

SHAPE = (16, 12, 10)
PAIRS = (("0001", "0002"), ("0002", "0003"))
SHIFT = 2  # voxels along axis 0 from a scan to the next
PREPROCESS = {
    "_target_": "medreg.data.preprocess.Preprocess",
    "orientation": "stored",
    "spacing_mm": None,
    "size": None,
    "resize": None,
    "alignment": "index",
    "background": 0.0,
    "crop_label": None,
    "intensity": None,
}


def write_image(path: Path, array, affine=None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, np.eye(4) if affine is None else affine), path)


def tiny_task(root: Path, *, name: str = "Tiny", affines=None, test: bool = False) -> Path:
    """Write a box that moves by `SHIFT` voxels from scan to scan; return the folder of the task."""
    folder = root / name
    for k in range(3):
        label = np.zeros(SHAPE, dtype=np.uint8)
        label[3 + SHIFT * k : 7 + SHIFT * k, 3:8, 3:7] = 1
        image = (label + 0.01 * np.arange(label.size).reshape(SHAPE) / label.size).astype(np.float32)
        affine = None if affines is None else affines[k]
        write_image(folder / "imagesTr" / f"{name}_000{k + 1}_0000.nii.gz", image, affine)
        write_image(folder / "labelsTr" / f"{name}_000{k + 1}_0000.nii.gz", label, affine)
    pairs = [
        {
            side: f"./imagesTr/{name}_{case}_0000.nii.gz"
            for side, case in zip(("fixed", "moving"), pair, strict=True)
        }
        for pair in PAIRS
    ]
    descriptor = {
        "name": name,
        "labels": {"0": {"1": "box"}},
        "provided_data": {"0": ["image", "label"]},
        "pairings": "unpaired",
        "tensorImageShape": {"0": list(SHAPE)},
        "training": [{"image": f"./imagesTr/{name}_000{k + 1}_0000.nii.gz"} for k in range(3)],
        "registration_val": pairs,
        "registration_test": pairs[:1] if test else [],
    }
    (folder / f"{name}_dataset.json").write_text(json.dumps(descriptor))
    return folder


def identity_run(folder: Path, *, root: Path | None = None, **preprocess) -> Path:
    """Write the run folder of model=identity; changes of the preparation are given by name."""
    folder.mkdir(parents=True)
    config = {
        "model": {"_target_": "medreg.models.identity.Identity"},
        "refine": {},
        "task": {"use_masks": True},
        "data": {
            "ndim": 3,
            "preprocess": {**PREPROCESS, **preprocess},
            "dataset": {"root": None if root is None else str(root)},
        },
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "run.json").write_text(
        json.dumps({"overrides": ["model=identity", "data.dataset.root=/home/me"]})
    )
    return folder
