"""One seeded generator of tiny data sets in the layouts that users have on disk.

Every maker writes the tree below a folder. Headers are written with nibabel as the originals are, lies included.
"""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np

LV, MYO, RV = 3, 2, 1  # ACDC codes


def heart(shape, *, radius, codes=(LV, MYO, RV), seed=0, empty=()):
    """Labels and image of a ring-shaped ventricle; slices in `empty` hold no label."""
    x, y, z = np.indices(shape)
    cx, cy = shape[0] / 2, shape[1] / 2
    distance = np.hypot(x - cx, y - cy)
    label = np.zeros(shape, np.uint8)
    label[(distance < radius + 4) & (x < cx - radius)] = codes[2]
    label[distance < radius + 2] = codes[1]
    label[distance < radius] = codes[0]
    label[..., list(empty)] = 0
    noise = np.random.default_rng(seed).normal(0, 10, shape)
    grey = {codes[0]: 300.0, codes[1]: 120.0, codes[2]: 280.0, 0: 60.0}
    image = np.vectorize(grey.get)(label) + noise
    return np.clip(image, 0, 400).astype(np.int16), label


def write(path, array, affine, *, zooms=None, qform=None, sform=None, dtype=None):
    """Write NIfTI with qform and sform set apart, then the zooms, which must come last."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(np.asarray(array, dtype=dtype), affine)
    image.header.set_qform(affine if qform is None else qform, code=1)
    image.header.set_sform(affine if sform is None else sform, code=1)
    if zooms is not None:
        image.header.set_zooms(zooms)
    nib.save(image, path)
    return path


def write_acdc_file(path, array, *, time_s=None):
    """Write as ACDC does: true qform and zooms beside an sform of unit scale."""
    zooms = (1.5625, 1.5625, 10.0) if time_s is None else (1.5625, 1.5625, 10.0, time_s)
    qform, sform = np.diag([-1.5625, -1.5625, 10.0, 1.0]), np.diag([-1.0, -1.0, 1.0, 1.0])
    return write(path, array, sform, zooms=zooms, qform=qform, sform=sform)


def acdc_patient(root, name, shape, *, ed, es, frames, split="training", labelled=True, empty=()):
    folder = Path(root) / split / name
    seed = int(name[-3:])
    cine = np.stack([heart(shape, radius=5 - 2 * t / frames, seed=seed + t)[0] for t in range(frames)], -1)
    write_acdc_file(folder / f"{name}_4d.nii.gz", cine, time_s=0.03)
    for number, radius in ((ed, 5), (es, 3)):
        image, label = heart(shape, radius=radius, seed=seed + number, empty=empty)
        write_acdc_file(folder / f"{name}_frame{number:02d}.nii.gz", image)
        if labelled:
            write_acdc_file(folder / f"{name}_frame{number:02d}_gt.nii.gz", label)
    info = {"ED": ed, "ES": es, "Group": "NOR", "Height": 180.0, "NbFrame": frames, "Weight": 80.0}
    (folder / "Info.cfg").write_text("".join(f"{key}: {value}\n" for key, value in info.items()))


def acdc(root, *, test_labels=True):
    """Four patients: 001, 002 (two empty slices) and 090 (frames 4 and 11) in training, 101 in testing."""
    root = Path(root)
    acdc_patient(root, "patient001", (20, 24, 4), ed=1, es=4, frames=6)
    acdc_patient(root, "patient002", (24, 20, 3), ed=1, es=5, frames=6, empty=(0, 2))
    acdc_patient(root, "patient090", (22, 22, 5), ed=4, es=11, frames=12)
    acdc_patient(root, "patient101", (20, 20, 2), ed=1, es=3, frames=6, split="testing", labelled=test_labels)
    (root / "training" / ".DS_Store").write_bytes(b"\0")
    (root / "training" / "MANDATORY_CITATION.md").write_text("Bernard et al., 2018\n")
    return root
