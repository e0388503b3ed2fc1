"""One seeded generator of tiny data sets in the layouts that users have on disk.

Every maker writes the tree below a folder. Headers are written with nibabel as the originals are, lies
included.
"""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np

LV, MYO, RV = 3, 2, 1  # ACDC codes


def heart(shape, *, radius, codes=(LV, MYO, RV), seed=0, empty=()):
    """Labels and image of a ring-shaped ventricle; slices in `empty` hold no label."""
    x, y, _ = np.indices(shape)
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


MNMS_HEADER = ",External code,VendorName,Vendor,Centre,ED,ES,Age,Pathology,Sex,Height,Weight"


def mnms_subject(folder, code, *, ed, es, labelled=True, skew=0.0):
    """4-D cine of four frames and 4-D labels that are zero except at ED and ES."""
    shape, frames = (20, 22, 3), 4
    cine = np.stack([heart(shape, radius=5, codes=(1, 2, 3), seed=t)[0] for t in range(frames)], -1)
    label = np.zeros((*shape, frames), np.uint8)
    if labelled:
        for frame, radius in ((ed, 5), (es, 3)):
            cine[..., frame], label[..., frame] = heart(shape, radius=radius, codes=(1, 2, 3), seed=frame)
    affine = np.diag([-1.4, -1.4, 9.0, 1.0])
    affine[0, 1] = skew * 1.4
    place = Path(folder) / code
    for name, array in ((f"{code}_sa", cine), (f"{code}_sa_gt", label)):
        write(place / f"{name}.nii.gz", array, affine, zooms=(1.4, 1.4, 9.0, 0.03))


def mnms(root, *, shift=0):
    """Three labelled subjects, one unlabelled, one of Testing with skewed axes; `shift` plants a wrong ED."""
    root = Path(root) / "OpenDataset"
    subjects = {"A0S9V9": (0, 2), "A1D0Q7": (1, 3), "B2C3D4": (2, 0)}
    for code, (ed, es) in subjects.items():
        mnms_subject(root / "Training" / "Labeled", code, ed=ed, es=es)
    mnms_subject(root / "Training" / "Unlabeled", "U1U1U1", ed=0, es=2, labelled=False)
    mnms_subject(root / "Testing", "T9T9T9", ed=0, es=1, skew=1e-3 * 5)
    rows = [MNMS_HEADER]
    table = {**subjects, "U1U1U1": (0, 2), "T9T9T9": (0, 1)}
    for number, (code, (ed, es)) in enumerate(table.items()):
        rows.append(f"{number},{code},Siemens,A,1,{ed + shift},{es + shift},50,NOR,M,170,70")
    (root / "211230_M&Ms_Dataset_information_diagnosis_opendataset.csv").write_text("\n".join(rows) + "\n")
    return root.parent


def oblique(zooms):
    """RAS-type affine turned by 20 degrees about the first axis."""
    angle = np.deg2rad(20)
    turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag(zooms)
    affine[:3, 3] = (-20, 15, 40)
    return affine


def ukbb(root):
    """Two people, 24x26x4x5; predicted labels as float64; the second lacks label_sa_ES."""
    zooms = (1.8, 1.8, 10.0)
    for number, person in enumerate(("1234567", "7654321")):
        folder = Path(root) / person
        frames = []
        for t in range(5):
            frames.append(heart((24, 26, 4), radius=6 - t, codes=(1, 2, 3), seed=10 * number + t))
        cine = np.stack([image for image, _ in frames], -1)
        write(folder / "sa.nii.gz", cine, oblique(zooms), zooms=(*zooms, 0.03))
        for phase, (image, label) in (("ED", frames[0]), ("ES", frames[3])):
            write(folder / f"sa_{phase}.nii.gz", image, oblique(zooms))
            write(folder / f"seg_sa_{phase}.nii.gz", label.astype(np.float64), oblique(zooms))
            if not (person == "7654321" and phase == "ES"):
                write(folder / f"label_sa_{phase}.nii.gz", label, oblique(zooms))
    return Path(root)


def brain(shape, *, seed, labels=(3, 7, 21, 35)):
    """Nested ellipsoids; returns image in [0, 1] and labels."""
    rng = np.random.default_rng(seed)
    grid = np.indices(shape, dtype=float)
    centre = (np.array(shape) / 2 + rng.uniform(-1, 1, 3)).reshape(3, 1, 1, 1)
    radius = np.sqrt((((grid - centre) / (np.array(shape) / 2.4).reshape(3, 1, 1, 1)) ** 2).sum(0))
    label = np.zeros(shape, np.int32)
    for code, limit in zip(labels, (1.0, 0.75, 0.5, 0.25), strict=True):
        label[radius < limit] = code
    grey = dict(zip((0, *labels), (0.0, 0.4, 0.9, 0.6, 0.2), strict=True))
    return (np.vectorize(grey.get)(label) + 0.01 * rng.random(shape)).astype(np.float32), label


LIA = np.array([[-1.0, 0, 0, 8], [0, 0, 1, -12], [0, -1, 0, 10], [0, 0, 0, 1]])  # rows -x, z, -y


def neurite(root):
    """Three people with a gap in the ids; 16x20x24 volumes and 16x20x1 slices; 0004 lacks label 21."""
    root = Path(root)
    names = []
    for number in (1, 2, 4):
        folder = root / f"OASIS_OAS1_{number:04d}_MR1"
        names.append(folder.name)
        image, label = brain((16, 20, 24), seed=number)
        if number == 4:
            label[label == 21] = 0
        write(folder / "aligned_norm.nii.gz", image, LIA)
        write(folder / "aligned_seg35.nii.gz", label.astype(np.float32), LIA)
        write(folder / "slice_norm.nii.gz", image[:, :, 12:13], LIA)
        write(folder / "slice_seg24.nii.gz", np.clip(label[:, :, 12:13], 0, 24).astype(np.float32), LIA)
    (root / "subjects.txt").write_text("\n".join(names) + "\n")
    for name in ("seg4_labels.txt", "seg24_labels.txt", "seg35_labels.txt"):
        (root / name).write_text("1 left-cerebral-cortex\n")
    return root


def ixi(root):
    """Five people of three sites; 012 lacks T2; 020 occurs twice in the table with different ages."""
    root = Path(root)
    people = {2: "Guys-0828", 12: "HH-1211", 13: "HH-1212", 14: "IOP-0101", 20: "Guys-0700"}
    for number, tail in people.items():
        for modality in ("T1", "T2", "PD"):
            if (number, modality) in ((12, "T2"), (14, "PD")):
                continue
            image, _ = brain((12, 14, 10), seed=number)
            image = image if modality == "T1" else 1 - image
            name = f"IXI{number:03d}-{tail}-{modality}.nii.gz"
            write(root / modality / name, image, np.diag([0.9375, 0.9375, 1.2, 1.0]))
    for direction in range(17):
        write(root / "DTI" / f"IXI002-Guys-0828-DTI-{direction:02d}.nii.gz", np.zeros((2, 2, 2)), np.eye(4))
    table = "IXI_ID,SEX_ID,AGE\n2,1,35.8\n12,1,38.8\n13,2,46.7\n14,2,34.2\n20,1,39.5\n20,1,60.1\n"
    (root / "IXI.csv").write_text(table)
    return root


def camcan(root):
    """Three people, 18x20x18, T2 with inverted contrast; the second lacks T2."""
    root = Path(root)
    for number in (1, 2, 3):
        folder = root / f"CC11000{number}"
        image, label = brain((18, 20, 18), seed=number, labels=(1, 2, 3, 4))
        write(folder / "T1_brain.nii.gz", image, np.eye(4))
        write(folder / "T1_brain_MALPEM_tissues.nii.gz", label.astype(np.uint8), np.eye(4))
        if number != 2:
            write(folder / "T2_brain.nii.gz", (1 - image) * (label > 0), np.eye(4))
    return root


def learn2reg_unpaired(root, *, name="Toy", subjects=6, validation=((5, 6),)):
    """Unpaired task: non-cubic volumes; the validation cases stand in the training list too."""
    folder = Path(root) / name
    training = []
    for case in range(1, subjects + 1):
        image, label = brain((16, 24, 20), seed=case)
        file = f"{name}_{case:04d}_0000.nii.gz"
        write(folder / "imagesTr" / file, image, np.eye(4))
        write(folder / "labelsTr" / file, label.astype(np.uint8), np.eye(4))
        training.append({"image": f"./imagesTr/{file}", "label": f"./labelsTr/{file}"})
    path = f"./imagesTr/{name}_{{:04d}}_0000.nii.gz".format
    content = {
        "name": name,
        "release": "1.0",
        "pairings": "unpaired",
        "provided_data": {"0": ["image", "label"]},
        "registration_direction": {"fixed": 0, "moving": 0},
        "modality": {"0": "MR"},
        "labels": {"0": {"0": "background", "3": "outer", "7": "middle", "21": "inner", "35": "core"}},
        "tensorImageShape": {"0": [16, 24, 20]},
        "numTraining": subjects,
        "training": training,
        "registration_val": [{"fixed": path(f), "moving": path(m)} for f, m in validation],
        "registration_test": [],
    }
    (folder / f"{name}_dataset.json").write_text(json.dumps(content))
    return folder


def learn2reg_paired(root, *, name="Duo", cases=4):
    """Paired two-modality task in the shape of AbdomenMRCT, NLST and CuRIOUS at their most irregular.

    Training keyed by modality, pairs keyed by modality number and with a leading slash, key-points listed as
    images, one entry whose file is called otherwise on disk, spacings that differ between the modalities.
    """
    folder = Path(root) / name
    training = {"0": [], "1": []}
    pairs = []
    for case in range(1, cases + 1):
        for modality in (0, 1):
            image, label = brain((16, 24, 20), seed=case)
            stem = f"{name}_{case:04d}_{modality:04d}"
            spacing = np.diag([1.5, 1.0 + 0.25 * modality, 2.0, 1.0])
            write(folder / "imagesTr" / f"{stem}.nii.gz", 1 - image if modality else image, spacing)
            write(folder / "masksTr" / f"{stem}.nii.gz", (label > 0).astype(np.uint8), spacing)
            (folder / "keypointsTr").mkdir(parents=True, exist_ok=True)
            shift = 0.5 * modality
            (folder / "keypointsTr" / f"{stem}.csv").write_text(f"8,{12 + shift},10\n4,{6 + shift},5\n")
            training[str(modality)].append(
                {
                    "image": f"./imagesTr/{stem}.nii.gz",
                    "mask": f"./masksTr/{stem}.nii.gz",
                    "keypoints": f"./keypointsTr/{stem}.nii.gz",
                }
            )
        wrong = "TCIA" if case == cases else ""
        pairs.append(
            {
                "0": f"/imagesTr/{name}_{wrong}{case:04d}_0000.nii.gz",
                "1": f"/imagesTr/{name}_{case:04d}_0001.nii.gz",
            }
        )
    path = f"./imagesTr/{name}_0001_{{:04d}}.nii.gz".format
    content = {
        "name": name,
        "pairings": "paired",
        "registration_direction": {"fixed": 1, "moving": 0},
        "modality": {"0": "CT", "1": "MR T1w"},
        "labels": {},
        "training": training,
        "training_paired_images": pairs,
        "registration_val": [{"fixed": path(1), "moving": path(0)}],
    }
    (folder / f"{name}_dataset.json").write_text(json.dumps(content))
    return folder


def folder(root, *, splits=("train", "train", "val", "test")):
    """A user's CSV: four pairs with labels, masks and landmarks; the moving grid is shifted and coarser."""
    root = Path(root)
    rows = [
        "fixed,moving,fixed_label,moving_label,fixed_mask,moving_mask,fixed_landmarks,moving_landmarks,split,id"
    ]
    for number, split in enumerate(splits):
        image, label = brain((16, 18, 14), seed=number)
        coarse = np.diag([2.0, 2.0, 2.0, 1.0])
        coarse[:3, 3] = (
            4.0,
            0.0,
            2.0,
        )  # voxel i of the moving image is voxel 2 i + (4, 0, 2) of the fixed one
        cut = (slice(4, None, 2), slice(0, None, 2), slice(2, None, 2))
        names = []
        for side, affine, part in (("f", np.eye(4), (slice(None),) * 3), ("m", coarse, cut)):
            base = f"p{number}_{side}"
            write(root / "img" / f"{base}.nii.gz", image[part], affine)
            write(root / "img" / f"{base}_seg.nii.gz", label[part].astype(np.uint8), affine)
            write(root / "img" / f"{base}_mask.nii.gz", (label[part] > 0).astype(np.uint8), affine)
            point = "8,8,8" if side == "f" else "2,4,3"
            (root / "img" / f"{base}.csv").write_text(f"{point}\n")
            names.append(base)
        cells = [f"img/{b}{end}" for end in (".nii.gz", "_seg.nii.gz", "_mask.nii.gz", ".csv") for b in names]
        rows.append(",".join([*cells, split, f"case{number}"]))
    (root / "pairs.csv").write_text("\n".join(rows) + "\n")
    return root / "pairs.csv"


def decathlon(root, *, cases=("00", "04", "13", "16")):
    """A task of two contrasts: 4-D images whose first volume shows the structures and whose second is dark."""
    root = Path(root) / "Task05_Prostate"
    affine = np.diag([0.625, 0.625, 3.6, 1.0])
    entries = []
    for number, case in enumerate(cases):
        image, label = heart((20, 18, 4), radius=4, codes=(1, 2, 2), seed=number)
        names = [f"./{folder}/prostate_{case}.nii.gz" for folder in ("imagesTr", "labelsTr")]
        write(root / names[0], np.stack([image, 0 * image + number], -1), affine)
        write(root / names[1], label, affine)
        entries.append(dict(zip(("image", "label"), names, strict=True)))
    write(root / "imagesTs/prostate_08.nii.gz", np.stack([image, image], -1), affine)
    (root / "imagesTr/._prostate_00.nii.gz").write_bytes(b"\0")
    content = {
        "name": "PROSTATE", "modality": {"0": "T2", "1": "ADC"},
        "labels": {"0": "background", "1": "PZ", "2": "TZ"},
        "training": entries, "test": ["./imagesTs/prostate_08.nii.gz"],
    }  # fmt: skip
    (root / "dataset.json").write_text(json.dumps(content))
    return root
