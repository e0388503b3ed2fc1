"""Small Learn2Reg tasks from closed formulas, so that stored values of the official code belong to them for ever.

Run by `python tests/studies/learn2reg/regenerate_expected.py CHECKOUT` and by the tests of medreg.studies.learn2reg.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

SHAPE = (22, 26, 20)
FIXED_MM, MOVING_MM = (1.75, 1.25, 2.0), (1.5, 1.0, 1.25)


@dataclass(frozen=True)
class Task:
    """Folders and config of a task."""

    data: Path
    fields: Path
    config: Path


def grid(shape=SHAPE):
    return np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij")).astype(np.float64)


def waves(amplitude, *, phase=0.0, shape=SHAPE, period=11.0):
    """(X, Y, Z, 3) smooth field in voxels."""
    x, y, z = 2 * np.pi * grid(shape) / period
    parts = (
        np.sin(x + phase) * np.cos(0.7 * y) + 0.3 * np.sin(0.9 * z),
        np.cos(0.8 * x) * np.sin(y - phase) + 0.4 * np.cos(z + phase),
        np.sin(0.6 * x + 0.5 * y) * np.cos(z - 2 * phase),
    )
    return amplitude * np.stack(parts, axis=-1)


def label_map(labels, *, offset=(0.0, 0.0, 0.0), shape=SHAPE):
    """Ellipsoids of the given labels; label 1 touches the lower, label 2 the upper border."""
    centres = {1: (3, 8, 6), 2: (18, 21, 15), 3: (11, 12, 9), 4: (6, 19, 13), 5: (16, 6, 5)}
    radii = {1: (4, 5, 6), 2: (4, 6, 5), 3: (4.5, 3.5, 4), 4: (3, 4, 3), 5: (3, 3, 4)}
    out = np.zeros(shape, dtype=np.uint8)
    for label in labels:
        scaled = [
            (axis - centre - shift) / radius
            for axis, centre, shift, radius in zip(
                grid(shape), centres[label], offset, radii[label], strict=True
            )
        ]
        out[sum(part**2 for part in scaled) <= 1] = label
    return out


def save(path, array, mm=(1.0, 1.0, 1.0)):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, np.diag([*mm, 1.0])), path)


def save_field(folder, name, field, *, suffix=".nii.gz", key="arr_0"):
    folder.mkdir(parents=True, exist_ok=True)
    if suffix == ".npz":
        np.savez_compressed(folder / f"{name}.npz", **{key: field})
    else:
        nib.save(nib.Nifti1Image(field, np.eye(4)), folder / f"{name}{suffix}")


def save_points(path, points):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savetxt(path, points, delimiter=",", fmt="%.5f")


def write_config(root, name, pairs, methods, *, shape=SHAPE, masked=False, key="task_name"):
    config = {
        key: name,
        "evaluation_methods": methods,
        "expected_shape": [*shape, 3],
        "eval_pairs": [
            {"fixed": f"./imagesTr/{f}.nii.gz", "moving": f"./imagesTr/{m}.nii.gz"} for f, m in pairs
        ],
        "eval_config_version": 0.2,
        "masked_evaluation": masked,
    }
    path = root / f"{name}_VAL_evaluation_config.json"
    path.write_text(json.dumps(config), encoding="utf-8")
    return path


def write_images(data, name, labels, mm, *, offset=(0.0, 0.0, 0.0), shape=SHAPE):
    volume = label_map(labels, offset=offset, shape=shape)
    save(data / "imagesTr" / f"{name}.nii.gz", volume.astype(np.float32), mm)
    save(data / "labelsTr" / f"{name}.nii.gz", volume, mm)


LABELLED = [
    {"name": "LogJacDetStd", "metric": "sdlogj"},
    {"name": "DSC", "metric": "dice", "labels": [1, 2, 3, 4, 5]},
    {"name": "HD95", "metric": "hd95", "labels": [1, 2, 3, 4, 5]},
]
POINTS = [
    {"name": "TRE_lm", "metric": "tre", "dest": "landmarks"},
    {"name": "TRE_kp", "metric": "tre", "dest": "keypoints"},
]


def points_of(case):
    """Fixed and moving points: inside, at half-integers, on the corner, outside the grid."""
    inside = 2 + 0.83 * np.arange(12)[:, None] * [1.0, 1.2, 0.9] + [0.0, 0.4 * case, 0.7]
    special = [
        [0, 0, 0], [21, 25, 19], [0, 25, 0], [10.5, 12.5, 9.5], [0.5, 0.5, 0.5], [20.5, 24.5, 18.5],
        [-0.25, 3, 4], [-3, 5, 5], [21.25, 10, 10], [24, 30, 22], [1, 1, 18.999], [11, 13, 10],
    ]  # fmt: skip
    fixed = np.concatenate([inside, special])
    shift = np.stack([np.sin(np.arange(len(fixed)) + axis + case) for axis in range(3)], axis=-1)
    return fixed, fixed + 1.5 * shift


def border_field():
    """Positions that leave the grid by a hundredth of a voxel, meet the rim, or are half-integers."""
    field = np.zeros((*SHAPE, 3))
    field[:, ::2, :, 0], field[:, 1::2, :, 0] = -0.01, 0.01
    field[..., 1::2, 1] = 0.5
    field[0, :, :, 1] = -0.5
    field[..., 2] = np.where(grid()[0] % 3 == 0, 0.49999, -0.5)
    return field


def without_label(field, moving):
    """The field, but no voxel takes its value from the moving structure: the label is lost."""
    position = np.rint(grid() + np.moveaxis(field, -1, 0)).astype(int)
    inside = tuple(np.clip(part, 0, size - 1) for part, size in zip(position, SHAPE, strict=True))
    return np.where(ndimage.binary_dilation(moving, iterations=2)[inside][..., None], [40.0, 0.0, 0.0], field)


def paired(root, *, key="field"):
    """Masks, landmarks, key-points, unequal voxels, missing labels, a lost label, npz and folds; short names."""
    data, fields = root / "data", root / "fields"
    present = {  # labels of the fixed and of the moving map; 4, 3 and 5 are missing in one, the other, both
        1: ((1, 2, 3, 5), (1, 2, 3, 4, 5)),
        2: ((1, 2, 3, 4, 5), (1, 2, 4, 5)),
        3: ((1, 2, 3, 4), (1, 2, 3, 4)),
        4: ((1, 2, 3, 4, 5), (1, 2, 3, 4, 5)),
    }
    names = [(f"Paired_{case:04d}_0000", f"Paired_{case:04d}_0001") for case in present]
    for (fixed, moving), (case, (ours, theirs)) in zip(names, present.items(), strict=True):
        write_images(data, fixed, ours, FIXED_MM)
        write_images(data, moving, theirs, MOVING_MM, offset=(0.7, -1.1, 0.4 * case))
        if case != 4:  # the mask of one case is missing
            mask = (label_map((1, 2, 3, 4, 5), offset=(0.5 * case, 0, 0)) > 0) | (grid()[2] > 12)
            save(
                data / "masksTr" / f"{fixed}.nii.gz",
                np.where(mask, np.where(grid()[1] > 20, 2, 1), 0).astype(np.uint8),
            )
        for kind, step in (("landmarks", 1), ("keypoints", 2)):
            for name, rows in zip((fixed, moving), points_of(case * step), strict=True):
                save_points(data / f"{kind}Tr" / f"{name}.csv", rows)
    away = without_label(waves(0.8), label_map((3,), offset=(0.7, -1.1, 1.2)) > 0)
    save_field(fields, "disp_0001_0001", waves(1.3))
    save_field(fields, "disp_0002_0002", waves(2.0, phase=0.5).astype(np.float16), suffix=".npz", key=key)
    save_field(fields, "disp_0002_0002", np.zeros((*SHAPE, 3), np.float32))  # npz wins
    save_field(fields, "disp_0003_0003", away.astype(np.float32))
    save_field(fields, "disp_0004_0004", border_field())
    return Task(data, fields, write_config(root, "Paired", names, LABELLED + POINTS, masked=True))


def rough(root):
    """Large folds, det J below −3 too, as float32 npz and as NIfTI of integers that the header scales."""
    data, fields = root / "data", root / "fields"
    names = [(f"Rough_{case:04d}_0000", f"Rough_{case:04d}_0001") for case in (1, 2, 3)]
    for fixed, moving in names:
        write_images(data, fixed, (1, 2, 3, 4, 5), (1, 1, 1))
        write_images(data, moving, (1, 2, 3, 4, 5), (1, 1, 1), offset=(1, 1, 0))
        for name, rows in zip((fixed, moving), points_of(3), strict=True):
            save_points(data / "landmarksTr" / f"{name}.csv", rows)
    save_field(fields, "disp_0001_0001", waves(5.0, period=7.0).astype(np.float32), suffix=".npz")
    save_field(fields, "disp_0002_0002", waves(4.0, period=6.0, phase=1.0).astype(np.float32))
    fields.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(np.rint(waves(3.0) * 100).astype(np.int16), np.eye(4))
    image.header.set_slope_inter(0.01, 0.005)
    nib.save(image, fields / "disp_0003_0003.nii.gz")
    return Task(data, fields, write_config(root, "Rough", names, LABELLED + POINTS[:1]))


def same_modality(root, *, naming="long"):
    """Modality 0000 twice, as OASIS."""
    data, fields = root / "data", root / "fields"
    for case in (1, 2, 3, 4):
        write_images(
            data, f"Same_{case:04d}_0000", (1, 2, 3, 4, 5), (1, 1, 1), offset=(0.4 * case, 0, -0.5 * case)
        )
    names = [(f"Same_{case:04d}_0000", f"Same_{case + 1:04d}_0000") for case in (1, 2, 3)]
    for case in (1, 2, 3):
        name = (
            f"disp_{case:04d}_0000_{case + 1:04d}_0000"
            if naming == "long"
            else f"disp_{case:04d}_{case + 1:04d}"
        )
        save_field(fields, name, waves(0.5 * case, phase=0.3 * case).astype(np.float32))
    return Task(data, fields, write_config(root, "Same", names, LABELLED))


def several_modalities(root):
    """(0001 ← 0000) and (0002 ← 0000) with key-points per pair of modalities, as ThoraxCBCT."""
    data, fields = root / "data", root / "fields"
    names = []
    for case in (1, 2):
        for modality in (0, 1, 2):
            write_images(
                data, f"Thorax_{case:04d}_{modality:04d}", (1, 2, 3), MOVING_MM, offset=(0.5 * modality, 0, 0)
            )
        for modality in (1, 2):
            pair = f"Thorax_{case:04d}_{modality:04d}", f"Thorax_{case:04d}_0000"
            names.append(pair)
            for name, rows in zip(pair, points_of(case + modality), strict=True):
                save_points(data / f"keypoints0{modality}Tr" / f"{name}.csv", rows)
            field = waves(0.7 * modality, phase=0.2 * case).astype(np.float32)
            save_field(fields, f"disp_{case:04d}_{modality:04d}_{case:04d}_0000", field)
    methods = [LABELLED[0], POINTS[1], LABELLED[1] | {"labels": [1]}]
    return Task(data, fields, write_config(root, "Thorax", names, methods))


def lumir(root):
    """Background scored, component-first fields with folds, landmarks drawn into images."""
    data, fields = root / "data", root / "fields"
    names = []
    for case in (1, 3, 5):
        pair = f"LUMIRMRI_{case:04d}_0000", f"LUMIRMRI_{case - 1:04d}_0000"
        names.append(pair)
        for name, shift in zip(pair, (0.0, 1.0), strict=True):
            write_images(data, name, (1, 2, 3, 4, 5), (1, 1, 1), offset=(shift, 0, 0.2 * case * shift))
            marks = np.zeros(SHAPE, np.uint8)
            for number, corner in enumerate([(6, 7, 8), (12, 15, 9), (14, 8, 12)], start=1):
                x, y, z = (start + int(shift) for start in corner)
                marks[x : x + 3, y : y + 3, z : z + 3] = number
            save(data / "landmarksTr" / f"{name}.nii.gz", marks)
        field = np.moveaxis(waves(0.9 * case), -1, 0)
        save_field(
            fields, f"disp_{case:04d}_{case - 1:04d}", field if case != 3 else np.moveaxis(field, 0, -1)
        )
    methods = [
        {"name": "Non-diffeomorphic Volumes", "metric": "ndv"},
        {"name": "DSC", "metric": "dice", "labels": [0, 1, 2, 3, 4, 5]},
        {"name": "HD95", "metric": "hd95", "labels": [0, 1, 2, 3, 4, 5]},
        {"name": "TRE_lm", "metric": "tre", "dest": "landmarks"},
    ]
    return Task(data, fields, write_config(root, "LUMIR", names, methods, key="name"))


def half_resolution(root, *, enlarged=False):
    """The float16, component-first half-resolution files of 2020/21, or what official code makes of them."""
    data, fields = root / "data", root / "fields"
    names = [(f"Half_{case:04d}_0000", f"Half_{case:04d}_0001") for case in (1, 2, 3)]
    for case, (fixed, moving) in enumerate(names, start=1):
        write_images(data, fixed, (1, 2, 3, 4, 5), (1, 1, 1))
        write_images(data, moving, (1, 2, 3, 4, 5), (1, 1, 1), offset=(1, 0, 0.5))
        full = np.moveaxis(waves(0.8 * case, phase=0.4), -1, 0)
        half = np.stack([ndimage.zoom(part, 0.5, order=2) for part in full]).astype(np.float16)
        if enlarged:
            half = half.astype(np.float32)
            half = np.moveaxis(np.stack([ndimage.zoom(part, 2, order=2) for part in half]), 0, -1)
        save_field(fields, f"disp_{case:04d}_{case:04d}", half, suffix=".npz")
    return Task(data, fields, write_config(root, "Half", names, LABELLED))


def hippocampus(folder, root):
    """Three pairs of the real hippocampi, in the layout and on the grid that scripts/arrange_samples.py makes."""
    descriptor = json.loads((folder / "HippocampusMR_dataset.json").read_text(encoding="utf-8"))
    shape = tuple(descriptor["tensorImageShape"]["0"])
    pairs = [(p["fixed"], p["moving"]) for p in descriptor["registration_val"][:3]]
    names = [tuple(Path(path).name.removesuffix(".nii.gz") for path in pair) for pair in pairs]
    for number, (fixed, moving) in enumerate(names, start=1):
        name = f"disp_{fixed[-9:]}_{moving[-9:]}"
        field = waves(0.8 * number, phase=0.7 * number, shape=shape, period=17.0).astype(np.float32)
        save_field(root / "fields", name, field)
    methods = [LABELLED[0], *(entry | {"labels": [1, 2]} for entry in LABELLED[1:])]
    return Task(folder, root / "fields", write_config(root, "HippocampusMR", names, methods, shape=shape))


def brain(root):
    """Two pairs of the brain phantom with all its labels."""
    from medreg.data.phantoms.brain import BrainPhantom
    from medreg.data.phantoms.brain_anatomy import FoldingOptions
    from medreg.data.phantoms.brain_appearance import AppearanceOptions
    from medreg.data.phantoms.brain_motion import ShapeOptions
    from medreg.data.phantoms.brain_tissues import LABELS

    shape = (32, 40, 32)
    folder = BrainPhantom(
        root / "phantom", subjects=2, validation_subjects=2, size=shape, spacing_mm=(5.0, 4.8, 5.0),
        template_spacing_mm=4.0, seed=7, folding=FoldingOptions(27.0, 20.0, 2.8, 0.6),
        shape=ShapeOptions(2.0, 1.0, 0.7, 1.9, 45.0, 1.2, 18.0, 1.5, 5),
        appearance=AppearanceOptions(2.5, 10.0, 4.0, 2.0),
    ).ensure()  # fmt: skip
    names = [
        ("PhantomBrain_0001_0000", "PhantomBrain_0002_0000"),
        ("PhantomBrain_0002_0000", "PhantomBrain_0001_0000"),
    ]
    for number, (fixed, moving) in enumerate(names, start=1):
        field = waves(0.5 * number, phase=0.3, shape=shape, period=13.0).astype(np.float32)
        save_field(root / "fields", f"disp_{fixed[-9:]}_{moving[-9:]}", field)
    methods = [LABELLED[0], *(entry | {"labels": sorted(LABELS.values())} for entry in LABELLED[1:])]
    return Task(folder, root / "fields", write_config(root, "PhantomBrain", names, methods, shape=shape))


def digest(folder):
    """Hash of the label maps of a task, to see whether they are those of the stored values."""
    import hashlib

    total = hashlib.sha256()
    for file in sorted((folder / "labelsTr").glob("*.nii.gz")):
        total.update(np.asarray(nib.load(file).dataobj).tobytes())
    return total.hexdigest()
