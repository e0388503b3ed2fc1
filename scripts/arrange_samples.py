"""Arrange loose sample images into the layouts that medreg reads.

    python scripts/arrange_samples.py SOURCE TARGET                       # everything that SOURCE holds
    python scripts/arrange_samples.py SOURCE TARGET --pairs all --shape 64 64 64

SOURCE holds `acdc/patient001_{ed,es}[_gt].nii.gz`, `hippocampus/hippocampus_001[_seg].nii.gz` and
`lung_ct/{baseline,followup}[_mask].nii.gz` with `landmarks_voxel.csv`. TARGET gets `acdc/training/patient001/…`
(ACDC), `HippocampusMR/` and `LungCT/` (Learn2Reg, each with its descriptor). Of the hippocampi every case is
registered to the one before it and the first to the last, i ← i+1, or every case to every other (`--pairs all`);
`--shape` puts the crops onto one grid, as in the official release. The lung pair stays on its two grids.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from itertools import permutations
from pathlib import Path

import numpy as np

from medreg.errors import ConfigError, MedregError

# Frame numbers of ED and ES in the original data set (from the names of the source files).
ACDC_FRAMES = {
    "patient001": (1, 12),
    "patient022": (1, 11),
    "patient052": (1, 9),
    "patient070": (1, 10),
    "patient082": (1, 7),
}
HIPPOCAMPUS = "HippocampusMR"
LUNG = "LungCT"
LUNG_SIDES = {"baseline": "0000", "followup": "0001"}  # fixed, moving: the lungs are smaller at baseline


def arrange_acdc(source: Path, target: Path) -> Path:
    """Copy ED and ES of each patient into ACDC's folders and write Info.cfg; return the root."""
    for patient, frames in ACDC_FRAMES.items():
        folder = target / "acdc" / "training" / patient
        folder.mkdir(parents=True, exist_ok=True)
        for phase, number in zip(("ed", "es"), frames, strict=True):
            for ending in ("", "_gt"):
                name = f"{patient}_frame{number:02d}{ending}.nii.gz"
                shutil.copyfile(source / "acdc" / f"{patient}_{phase}{ending}.nii.gz", folder / name)
        (folder / "Info.cfg").write_text(f"ED: {frames[0]}\nES: {frames[1]}\n", encoding="utf-8")
    return target / "acdc"


def arrange_hippocampus(
    source: Path, target: Path, *, pairs: str = "ring", shape: tuple[int, ...] | None = None
) -> Path:
    """Copy the labelled cases into Learn2Reg's folders and write the descriptor; return its root.

    Args:
        source: folder of the samples.
        target: folder to write to.
        pairs: "ring" for i ← i+1, "all" for every ordered pair.
        shape: size in voxels to zero-pad every crop to, the same voxels of the world for all; None copies.
    """
    root = target / HIPPOCAMPUS
    files = sorted(
        file for file in (source / "hippocampus").glob("hippocampus_*.nii.gz") if "_seg" not in file.name
    )
    if not files:
        raise FileNotFoundError(f"no hippocampus_*.nii.gz in {source / 'hippocampus'}")
    names = []
    for folder in ("imagesTr", "labelsTr"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for file in files:
        number = int(file.name.split("_")[1].split(".")[0])
        names.append(f"{HIPPOCAMPUS}_{number:04d}_0000.nii.gz")
    labels = [file.with_name(file.name.replace(".nii", "_seg.nii")) for file in files]
    for folder, group in (("imagesTr", files), ("labelsTr", labels)):
        copies = [root / folder / name for name in names]
        if shape is None:
            for file, copy in zip(group, copies, strict=True):
                shutil.copyfile(file, copy)
        else:
            pad(group, copies, shape)
    content = hippocampus_descriptor(names, pairs=pairs, shape=shape)
    _write_descriptor(root, content)
    return root


def pad(files: list[Path], copies: list[Path], shape: tuple[int, ...]) -> None:
    """Write crops that start at one point of the world as volumes of one shape on one grid, zeros around.

    The same number of voxels is put before every crop, so that registration by voxel index starts where
    registration in the world does.
    """
    from medreg.io.image import read_image, read_labels, write_image, write_labels

    labelled = copies[0].parent.name == "labelsTr"
    read, write = (read_labels, write_labels) if labelled else (read_image, write_image)
    crops = [read(file) for file in files]
    largest = np.max([crop.array.shape for crop in crops], axis=0)
    before = (np.array(shape) - largest) // 2
    if (before < 0).any():
        raise ConfigError(f"--shape {shape} has no room for crops of up to {largest.tolist()} voxels.")
    for crop, copy in zip(crops, copies, strict=True):
        after = np.array(shape) - before - crop.array.shape
        padded = np.pad(crop.array, list(zip(before, after, strict=True)))
        affine = np.array(crop.affine)
        affine[:3, 3] -= affine[:3, :3] @ before
        write(copy, padded, affine)


def hippocampus_descriptor(images: list[str], *, pairs: str, shape: tuple[int, ...] | None) -> dict:
    """Learn2Reg descriptor in which case i is fixed and case i+1 is moving, or every ordered pair."""
    paths = [f"./imagesTr/{name}" for name in images]
    ordered = list(
        permutations(paths, 2) if pairs == "all" else zip(paths, [*paths[1:], paths[0]], strict=True)
    )
    sizes = {} if shape is None else {"tensorImageShape": {"0": list(shape)}}
    return {
        "name": HIPPOCAMPUS,
        "release": "samples",
        "description": "Hippocampus crops of the Medical Segmentation Decathlon, task 4 (CC BY-SA 4.0).",
        "pairings": "unpaired",
        "provided_data": {"0": ["image", "label"]},
        "registration_direction": {"fixed": 0, "moving": 0},
        "modality": {"0": "MR"},
        "labels": {"0": {"0": "background", "1": "head", "2": "tail"}},
        **sizes,
        "numTraining": len(images),
        "training": [{"image": f"./imagesTr/{n}", "label": f"./labelsTr/{n}"} for n in images],
        "numRegistration_val": len(ordered),
        "registration_val": [{"fixed": f, "moving": m} for f, m in ordered],
        "registration_test": [],
    }


def arrange_lung(source: Path, target: Path) -> Path:
    """Copy the lung CT pair with masks and landmarks into LungCT's folders; return its root.

    The images keep their own grids. Landmarks become one CSV an image, in voxel indices of that image.
    """
    from medreg.io.image import read_image
    from medreg.io.points import read_point_pairs, write_points

    root = target / LUNG
    lung = source / "lung_ct"
    if not (lung / "baseline.nii.gz").is_file():
        raise FileNotFoundError(f"no baseline.nii.gz in {lung}")
    points = read_point_pairs(lung / "landmarks_voxel.csv")
    entries, sizes = [], {}
    for folder in ("imagesTr", "masksTr", "landmarksTr"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for (side, modality), rows in zip(LUNG_SIDES.items(), (points.first, points.second), strict=True):
        name = f"{LUNG}_0001_{modality}"
        shutil.copyfile(lung / f"{side}.nii.gz", root / "imagesTr" / f"{name}.nii.gz")
        shutil.copyfile(lung / f"{side}_mask.nii.gz", root / "masksTr" / f"{name}.nii.gz")
        write_points(root / "landmarksTr" / f"{name}.csv", rows)
        sizes[str(int(modality))] = list(read_image(lung / f"{side}.nii.gz").shape)
        entries.append(
            {
                "image": f"./imagesTr/{name}.nii.gz",
                "mask": f"./masksTr/{name}.nii.gz",
                "landmarks": f"./landmarksTr/{name}.csv",
            }
        )
    _write_descriptor(root, lung_descriptor(entries, sizes))
    return root


def lung_descriptor(entries: list[dict[str, str]], sizes: dict[str, list[int]]) -> dict:
    """LungCT descriptor of one pair, the first entry fixed, with the two sizes in voxels."""
    pair = {"fixed": entries[0]["image"], "moving": entries[1]["image"]}
    return {
        "name": LUNG,
        "release": "samples",
        "description": "Chest CT of one person at two times: test data of elastix (Apache-2.0).",
        "pairings": "paired",
        "provided_data": {"0": ["image", "mask", "landmarks"], "1": ["image", "mask", "landmarks"]},
        "registration_direction": {"fixed": 0, "moving": 1},
        "modality": {"0": "baseline", "1": "followup"},
        "labels": {},
        "tensorImageShape": sizes,
        "numTraining": 2,
        "training": entries,
        "numPairedTraining": 1,
        "training_paired_images": [pair],
        "numRegistration_val": 1,
        "registration_val": [pair],
        "registration_test": [],
    }


def _write_descriptor(root: Path, content: dict) -> None:
    file = root / f"{content['name']}_dataset.json"
    file.write_text(json.dumps(content, indent=1), encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "source", type=Path, help="folder with acdc/, hippocampus/ and lung_ct/, or some of them"
    )
    parser.add_argument("target", type=Path, help="folder to write to")
    parser.add_argument(
        "--pairs",
        choices=["ring", "all"],
        default="ring",
        help="hippocampi: i with i+1, or every ordered pair",
    )
    parser.add_argument(
        "--shape",
        type=int,
        nargs=3,
        metavar="N",
        help="hippocampi: zero-pad to this size (official: 64 64 64)",
    )
    args = parser.parse_args()
    shape = None if args.shape is None else tuple(args.shape)
    jobs = {
        "acdc": lambda: arrange_acdc(args.source, args.target),
        "hippocampus": lambda: arrange_hippocampus(args.source, args.target, pairs=args.pairs, shape=shape),
        "lung_ct": lambda: arrange_lung(args.source, args.target),
    }
    hints = {
        "acdc": "data=acdc data.dataset.root={} data.split.val=0 data.split.test=1 "
        "data.preprocess.spacing_mm=null   # the samples have lost their spacing",
        "hippocampus": "data=hippocampus data.dataset.root={}",
        "lung_ct": "data=lungct_pair data.dataset.root={}",
    }
    present = [name for name in jobs if (args.source / name).is_dir()]
    if not present:
        print(f"No samples in {args.source}: it has none of {', '.join(jobs)}.", file=sys.stderr)
        return 1
    try:
        for name in present:
            print(hints[name].format(jobs[name]()))
    except (FileNotFoundError, MedregError) as error:
        print(f"A sample is missing or cannot be read: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
