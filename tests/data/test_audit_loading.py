"""The doctor and the loaders never disagree: what training would stop at, the doctor reports, and nothing else."""

from __future__ import annotations

import re

import nibabel as nib
import numpy as np
import pytest
import torch
from data_build import data_module

from medreg.data.audit import audit
from medreg.data.loading import as_float
from medreg.errors import MedregError

AFFINE = np.diag([2.0, 2.0, 3.0, 1.0])
MIRRORED = AFFINE @ np.array([[-1.0, 0, 0, 9], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
TURNED = AFFINE @ np.array([[0.0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
IMAGE = np.random.default_rng(0).normal(size=(10, 10, 6, 4)).astype("f4")
LABEL = (IMAGE[..., 0] > 0).astype("u1")
NO_OTHERS = ("split.val=0", "split.test=0")
COLOUR = np.zeros((10, 10, 6), np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))


def _file(cell):
    name, mark, frame = cell.partition("#")
    return f"{name}.nii.gz{mark}{frame}"


@pytest.fixture
def folder(tmp_path):
    files = {
        "f": IMAGE[..., 0],
        "m": IMAGE[..., 1],
        "cine": IMAGE,
        "label": LABEL,
        "labels4": np.stack([LABEL] * 3, -1),
        "flat": IMAGE[..., :1, 0],
        "flat2": IMAGE[..., 0, 0],
        "flat_label": LABEL[..., 0],
        "small_label": LABEL[:8],
        "small": IMAGE[:8, ..., 0],
        "nan": np.where(LABEL, np.nan, IMAGE[..., 0]),
        "rgb": COLOUR,
        "complex": IMAGE[..., 0].astype("c8"),
        "half": LABEL * np.float32(0.5),
        "wide": LABEL.astype("u4") * np.uint32(3_000_000_000),
        "big": LABEL.astype("i4") + np.int32(2**24),
        "empty": LABEL * 0,
    }
    for name, array in files.items():
        nib.save(nib.Nifti1Image(array, AFFINE, dtype=array.dtype), tmp_path / f"{name}.nii.gz")
    for name, affine in (("mirrored", MIRRORED), ("turned", TURNED), ("unplaced", np.eye(4))):
        nib.save(nib.Nifti1Image(LABEL, affine), tmp_path / f"{name}.nii.gz")
    (tmp_path / "damaged.nii.gz").write_bytes((tmp_path / "f.nii.gz").read_bytes()[:-60])
    (tmp_path / "text.nii.gz").write_text("none")
    for name, text in (("two", "1,2,3\n4,5,4\n"), ("one", "1,2,3\n"), ("none", "x,y\n")):
        (tmp_path / f"{name}.csv").write_text(text)
    return tmp_path


def outcomes(folder, row, *, name="folder", columns=""):
    """Whether the doctor fails and what training and evaluation say, for a table with two rows."""
    file = folder / "pairs.csv"
    file.write_text(f"fixed,moving,split{columns}\n{row}\n")
    options = (name, file, "loader.batch_size=1", "loader.num_workers=0")

    def loads():
        data = data_module(*options)
        data.setup()
        _ = data.labels
        for stage in ("train", "val", "test"):
            if data.items(stage):
                list(getattr(data, f"{stage}_dataloader")())

    try:
        loads()
    except MedregError as error:
        said = str(error)
    else:
        said = ""
    try:
        found = audit(data_module(*options))
    except MedregError as error:
        return True, said, [str(error)]
    return found.failed, said, [issue.message for issue in found.issues if issue.severity == "error"]


@pytest.mark.parametrize(
    ("row", "columns", "words"),
    [
        ("cine#9,m,test", "", "frame 9 does not exist"),
        ("cine,m,test", "", r"cine\.nii\.gz#0 … cine\.nii\.gz#3"),
        ("rgb,m,test", "", "colour or complex"),
        ("complex,m,test", "", "colour or complex"),
        ("nan,m,test", "", "NaN"),
        ("f,damaged,test", "", "damaged or truncated"),
        ("f,text,test", "", "cannot be read as an image"),
        ("f,gone,test", "", r"missing files: gone\.nii\.gz"),
        ("flat,flat2,test", "", "single slice"),
        ("f,m,test,label,mirrored", ",fixed_label,moving_label", "another place in the world"),
        ("f,m,test,label,turned", ",fixed_label,moving_label", "another place in the world"),
        ("f,m,test,unplaced,", ",fixed_label,moving_label", "another place in the world"),
        ("f,m,test,small_label,label", ",fixed_label,moving_label", "has shape"),
        ("f,m,test,flat_label,label", ",fixed_label,moving_label", "has shape"),
        ("f,m,test,half,label", ",fixed_label,moving_label", "away from an integer"),
        ("f,m,test,wide,label", ",fixed_label,moving_label", "32-bit integers"),
        ("f,m,test,labels4#3,label", ",fixed_label,moving_label", "frame 3 does not exist"),
        ("f,m,test,labels4,label", ",fixed_label,moving_label", r"labels4\.nii\.gz#0"),
        ("f,m,test,mirrored,label", ",fixed_mask,moving_mask", "another place in the world"),
        ("f,m,test,empty,label", ",fixed_mask,moving_mask", "holds no voxel"),
        ("f,m,test,half,label", ",fixed_mask,moving_mask", "mask of probabilities"),
        ("f,m,test,one.csv,two.csv", ",fixed_landmarks,moving_landmarks", "1 landmarks.*2"),
        ("f,m,test,none.csv,two.csv", ",fixed_landmarks,moving_landmarks", "holds no points"),
    ],
)
def test_what_training_stops_at_the_doctor_reports(folder, row, columns, words):
    cells = [cell if "." in cell or cell in ("test", "") else _file(cell) for cell in row.split(",")]
    failed, said, errors = outcomes(folder, ",".join(cells), columns=columns)
    assert failed
    assert said
    assert len(errors) >= 1
    if "missing" not in words:
        assert any(re.search(words, error) for error in errors), (said, errors)
    assert re.search(words, said)


@pytest.mark.parametrize(
    ("row", "columns", "name"),
    [
        ("f.nii.gz,m.nii.gz,test", "", "folder"),
        ("cine.nii.gz#0,cine.nii.gz#3,test", "", "folder"),
        ("f.nii.gz,small.nii.gz,test", "", "folder"),
        ("f.nii.gz,m.nii.gz,test,label.nii.gz,labels4.nii.gz#2", ",fixed_label,moving_label", "folder"),
        ("f.nii.gz,m.nii.gz,test,label.nii.gz,big.nii.gz", ",fixed_label,moving_label", "folder"),
        (
            "flat.nii.gz,flat2.nii.gz,test,flat_label.nii.gz,flat_label.nii.gz",
            ",fixed_label,moving_label",
            "folder_slices",
        ),
        ("f.nii.gz,m.nii.gz,test,two.csv,two.csv", ",fixed_landmarks,moving_landmarks", "folder"),
    ],
)
def test_what_can_be_used_is_usable_for_both(folder, row, columns, name):
    failed, said, errors = outcomes(folder, row, columns=columns, name=name)
    assert (failed, said, errors) == (False, "", [])


def test_images_of_other_shapes_in_one_batch_are_reported(folder):
    file = folder / "pairs.csv"
    file.write_text("fixed,moving,split\nf.nii.gz,m.nii.gz,train\nsmall.nii.gz,small.nii.gz,train\n")
    found = audit(data_module("folder", file, "loader.batch_size=2", *NO_OTHERS))
    assert any("different shapes" in issue.message for issue in found.issues if issue.severity == "error")
    assert not audit(data_module("folder", file, "loader.batch_size=1", *NO_OTHERS)).failed


def test_files_of_one_mistake_are_counted_together(folder):
    file = folder / "pairs.csv"
    rows = [f"cine.nii.gz#{9 + k},cine.nii.gz#{19 + k},test" for k in range(5)]
    file.write_text("\n".join(["fixed,moving,split", *rows]) + "\n")
    errors = [issue for issue in audit(data_module("folder", file)).issues if issue.severity == "error"]
    assert [issue.count for issue in errors] == [10]


def test_a_code_that_occurs_nowhere_and_a_label_on_one_side_are_warnings(folder):
    file = folder / "pairs.csv"
    file.write_text("fixed,moving,split,fixed_label\nf.nii.gz,m.nii.gz,test,label.nii.gz\n")
    found = audit(data_module("folder", file, "labels={LV: 1, RV: 7}"))
    text = [issue.message for issue in found.issues if issue.severity == "warning"]
    assert "label code 7 of RV occurs in no label map" in text
    assert any("only one image of a pair has a label map" in message for message in text)


def test_an_nrrd_file_is_no_error_of_the_doctor(folder):
    sitk = pytest.importorskip("SimpleITK")
    for name in ("f", "m"):
        sitk.WriteImage(sitk.ReadImage(str(folder / f"{name}.nii.gz")), str(folder / f"{name}.nrrd"))
    failed, said, errors = outcomes(folder, "f.nrrd,m.nrrd,test")
    assert (failed, said, errors) == (False, "", [])


def test_large_codes_pass_resampling_exactly(folder):
    codes = torch.tensor([0, 2**24, 2**24 + 1, -5, 2**31 - 1], dtype=torch.int32)
    values, table = as_float(codes)
    assert values.dtype == torch.float32
    assert torch.equal(table[values.long()], codes)
    file = folder / "pairs.csv"
    file.write_text(
        "fixed,moving,split,fixed_label,moving_label\nf.nii.gz,m.nii.gz,test,big.nii.gz,big.nii.gz\n"
    )
    data = data_module("folder", file, "preprocess.spacing_mm=[2.0,2.0,6.0]", "preprocess.orientation=ras")
    label = next(iter(data.test_dataloader()))["fixed_label"]
    assert label.shape[-1] < 6
    assert set(label.unique().tolist()) <= {0, 2**24, 2**24 + 1}
    assert {2**24, 2**24 + 1} <= set(label.unique().tolist())


def test_a_table_without_rows_says_so(folder):
    failed, said, _ = outcomes(folder, "")
    assert failed
    assert "pairs.csv has no rows below its header" in said
