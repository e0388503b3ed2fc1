"""Arrange loose sample images into the layouts that medreg reads.

    python scripts/arrange_samples.py SOURCE TARGET

SOURCE holds `acdc/patient001_{ed,es}[_gt].nii.gz` and `hippocampus/hippocampus_001[_seg].nii.gz`. TARGET gets
`acdc/training/patient001/…` (ACDC) and `HippocampusMR/HippocampusMR_dataset.json` (Learn2Reg), in which every
case is registered to the one before it and the first to the last: i ← i+1.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path

# Frame numbers of ED and ES in the original data set (from the names of the source files).
ACDC_FRAMES = {
    "patient001": (1, 12),
    "patient022": (1, 11),
    "patient052": (1, 9),
    "patient070": (1, 10),
    "patient082": (1, 7),
}
TASK = "HippocampusMR"


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


def arrange_hippocampus(source: Path, target: Path) -> Path:
    """Copy the labelled cases into Learn2Reg's folders and write the descriptor; return its root."""
    root = target / TASK
    files = sorted(
        file for file in (source / "hippocampus").glob("hippocampus_*.nii.gz") if "_seg" not in file.name
    )
    if not files:
        raise FileNotFoundError(f"no hippocampus_*.nii.gz in {source / 'hippocampus'}")
    images = []
    for folder in ("imagesTr", "labelsTr"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for file in files:
        number = int(file.name.split("_")[1].split(".")[0])
        name = f"{TASK}_{number:04d}_0000.nii.gz"
        shutil.copyfile(file, root / "imagesTr" / name)
        shutil.copyfile(file.with_name(file.name.replace(".nii", "_seg.nii")), root / "labelsTr" / name)
        images.append(name)
    (root / f"{TASK}_dataset.json").write_text(json.dumps(descriptor(images), indent=1), encoding="utf-8")
    return root


def descriptor(images: list[str]) -> dict:
    """Learn2Reg descriptor in which case i is fixed and case i+1 is moving, the first following the last."""
    paths = [f"./imagesTr/{name}" for name in images]
    following = [*paths[1:], paths[0]]
    return {
        "name": TASK,
        "release": "samples",
        "description": "Hippocampus crops of the Medical Segmentation Decathlon, task 4 (CC BY-SA 4.0).",
        "pairings": "unpaired",
        "provided_data": {"0": ["image", "label"]},
        "registration_direction": {"fixed": 0, "moving": 0},
        "modality": {"0": "MR"},
        "labels": {"0": {"0": "background", "1": "head", "2": "tail"}},
        "numTraining": len(images),
        "training": [{"image": f"./imagesTr/{n}", "label": f"./labelsTr/{n}"} for n in images],
        "numRegistration_val": len(images),
        "registration_val": [{"fixed": f, "moving": m} for f, m in zip(paths, following, strict=True)],
        "registration_test": [],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="folder with acdc/ and hippocampus/")
    parser.add_argument("target", type=Path, help="folder to write to")
    args = parser.parse_args()
    try:
        acdc = arrange_acdc(args.source, args.target)
        hippocampus = arrange_hippocampus(args.source, args.target)
    except FileNotFoundError as error:
        print(f"A sample is missing: {error}", file=sys.stderr)
        return 1
    print(
        f"data=acdc data.dataset.root={acdc} data.split.val=0 data.split.test=1 "
        "data.preprocess.spacing_mm=null   # the samples have lost their spacing\n"
        f"data=hippocampus data.dataset.root={hippocampus}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
