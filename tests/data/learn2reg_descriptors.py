"""Descriptors of Learn2Reg tasks whose originals are not at hand, with all their irregularities, and tiny tasks."""

from __future__ import annotations

import json
from pathlib import Path

import data_fixtures as fixtures
import numpy as np

IMAGES = "./imagesTr/{}_{:04d}_{:04d}.nii.gz".format


def abdomen_mrct():
    """AbdomenMRCT 1.0: hybrid, dictionaries by modality, a pair whose images are called otherwise on disk."""
    task = "AbdomenMRCT"
    cases = {0: [*range(1, 9), *range(1051, 1091)], 1: [*range(1, 9), *(set(range(1001, 1051)) - {1026})]}
    training = {
        str(modality): [
            {
                kind: IMAGES(task, case, modality).replace("images", f"{kind}s")
                for kind in ("image", "label", "mask")
            }
            for case in sorted(numbers)
        ]
        for modality, numbers in cases.items()
    }
    pairs = [{str(m): IMAGES(task, case, m) for m in (0, 1)} for case in range(1, 9)]
    pairs[-1] = {key: name.replace("_0008_", "_TCIA0008_") for key, name in pairs[-1].items()}
    names = {"0": "background", "1": "liver", "2": "spleen", "3": "right kidney", "4": "left kidney"}
    return {
        "name": task,
        "release": "1.0",
        "licence": "see README_LICENCE",
        "pairings": "hybrid",
        "provided_data": {"0": ["image", "label", "mask"], "1": ["image", "label", "mask"]},
        "registration_direction": {"fixed": 0, "moving": 1},
        "modality": {"0": "MR T1w", "1": "CT"},
        "labels": {"0": names, "1": names},
        "tensorImageShape": {"0": [192, 160, 192], "1": [192, 160, 192]},
        "numTraining": {"0": 48, "1": 57},
        "training": training,
        "numPairedTraining": 8,
        "training_paired_images": pairs,
        "registration_val": [_pair(task, case, 0, 1) for case in (6, 7, 8)],
        "registration_test": [],
    }


def curious():
    """CuRIOUS 1.0: three modalities, no numTraining, paths from "/", landmarks "0001_0002csv" without a dot."""
    task = "CuRIOUS"
    training: dict[str, list[dict[str, str]]] = {"0": [], "1": [], "2": []}
    for case in range(1, 23):
        for modality in (0, 1, 2):
            image = IMAGES(task, case, modality)
            points = image.replace("images", "landmarks").replace(
                ".nii.gz", "csv" if modality == 2 else ".csv"
            )
            entry = {"image": image, "landmarks": points.replace("_0001.csv", "_0000.csv")}
            if modality == 2:
                entry["mask"] = image.replace("images", "masks")
            training[str(modality)].append(entry)
    triples = [{str(m): IMAGES(task, case, m).removeprefix(".") for m in (0, 1, 2)} for case in range(1, 23)]
    return {
        "name": task,
        "release": "1.0",
        "licence": "Citation: RESECT",
        "pairings": "paired",
        "registration_direction": {"fixed": 0, "moving": 2},
        "modality": {"0": "MR FLAIR", "1": "MR T1", "2": "US"},
        "labels": {"0": {}, "1": {}, "2": {}},
        "tensorImageShape": {key: [256, 256, 288] for key in "012"},
        "training": training,
        "test": [],
        "training_paired_images": triples,
        "registration_val": [_pair(task, case, 0, 2) for case in range(3, 22, 3)],
        "registration_test": [],
    }


def thorax_cbct():
    """ThoraxCBCT 2: two pairs a patient, (1, 0) and (2, 0), and key-points for each in a folder of its own."""
    task = "ThoraxCBCT"
    entries = []
    for case in range(14):
        for modality in (0, 1, 2):
            image = IMAGES(task, case, modality)
            keys = [f"keypoints0{m}" for m in (1, 2) if modality in (0, m)]
            entries.append({"image": image, **{key: image.replace("images", key) for key in keys}})
    pairs = [_pair(task, case, fixed, 0) for case in range(14) for fixed in (1, 2)]
    return {
        "name": task,
        "release": "2",
        "pairings": "paired",
        "provided_data": {
            "0": ["image", "keypoints01", "keypoints02"],
            "1": ["image", "keypoints01"],
            "2": ["image", "keypoints02"],
        },
        "registration_direction": {"fixed": 1, "moving": 0},
        "img_shift": {"fixed": "followup", "moving": "baseline"},
        "modality": {"0": "FBCT", "1": "CBCT", "2": "CBCT"},
        "labels": {},
        "tensorImageShape": {"0": [390, 280, 300]},
        "training": entries,
        "training_paired_images": [pair for pair in pairs if int(pair["fixed"][-16:-12]) < 11],
        "registration_val": [pair for pair in pairs if int(pair["fixed"][-16:-12]) >= 11],
    }


def touch_images(root: Path, content) -> Path:
    """Write a descriptor and an empty file for every image that it names; the TCIA entry exists without TCIA."""
    root.mkdir(parents=True, exist_ok=True)
    (root / f"{content['name']}_dataset.json").write_text(json.dumps(content))
    for name in _images(content):
        path = root / name.lstrip("./").replace("TCIA", "")
        path.parent.mkdir(exist_ok=True)
        path.touch()
    return root


def tiny(root: Path, content, *, shape=(12, 10, 14), points=()) -> Path:
    """Write the images of a descriptor as small volumes, with three points in each of the folders given."""
    root.mkdir(parents=True, exist_ok=True)
    (root / f"{content['name']}_dataset.json").write_text(json.dumps(content))
    for number, name in enumerate(sorted(_images(content))):
        path = root / name.lstrip("./").replace("TCIA", "")
        fixtures.write(path, fixtures.brain(shape, seed=number)[0], np.eye(4))
    for position, folder in enumerate(points):
        (root / folder).mkdir()
        for path in (root / "imagesTr").iterdir():
            rows = np.array([[3, 4, 5], [6, 5, 8], [2, 7, 9]]) + 0.25 * position
            np.savetxt(root / folder / path.name.replace(".nii.gz", ".csv"), rows, fmt="%.3f", delimiter=",")
    return root


def cut(content, cases):
    """The same descriptor with these cases only."""
    wanted = {f"_{case:04d}_" for case in cases}

    def keeps(entry):
        return any(part in json.dumps(entry).replace("TCIA", "") for part in wanted)

    out = dict(content)
    for key in ("training", "training_paired_images", "registration_val"):
        part = content[key]
        if isinstance(part, dict):
            out[key] = {name: [e for e in entries if keeps(e)] for name, entries in part.items()}
        else:
            out[key] = [entry for entry in part if keeps(entry)]
    return out


def _pair(task, case, fixed, moving):
    return {"fixed": IMAGES(task, case, fixed), "moving": IMAGES(task, case, moving)}


def _images(content):
    training = content["training"]
    entries = [e for part in training.values() for e in part] if isinstance(training, dict) else training
    names = {entry["image"] for entry in entries}
    for key in ("training_paired_images", "registration_val", "validation"):
        names.update(name for pair in content.get(key) or [] for name in pair.values())
    return names
