"""Folders of hearts in the layouts that people have, and tables of people: what is read, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from data_build import data_module
from heart_data import TABLE, centred, heart_volume, population, tiny_volume, write_heart

from medreg.data.audit import audit
from medreg.errors import ConfigError, DataError, DatasetNotFound

VISITS = ("dataset.visit=visit", "dataset.split=split", "labels={LV: 1, MYO: 2, RV: 4}")
LAYOUT = ("dataset.files=['hearts/{subject}_v{visit}.nii.gz','hearts/{subject}.nii.gz']", *VISITS)


def folder(root, *changes, name="heart_folder"):
    return data_module(name, root, "cache.kind=none", *changes)


@pytest.fixture
def made(tmp_path):
    return population(tmp_path / "made", second=(3,))


def rewrite(root, line, *, header=TABLE):
    """One person in the table, whose heart is there."""
    (root / "conditions.csv").write_text(f"{header}\n{line}\n")
    return root


def told(root, *changes):
    """Covariates of the only person of a table."""
    record, *_ = folder(root, *LAYOUT, *changes).dataset.records()
    return dict(record.covariates)


def test_the_layout_of_the_made_population(made):
    records = folder(made, *LAYOUT).dataset.records()
    assert [r.id for r in records] == ["S00", "S01", "S02", "S03", "S03_v2", "S04", "S05"]
    assert [r.visit for r in records] == [1, 1, 1, 1, 2, 1, 1]
    assert [r.split for r in records] == ["train", "train", "val", "test", "test", "train", "train"]
    assert dict(records[1].covariates) == {
        "age_years": 53.0, "sex": 1.0, "height_cm": 166.0, "weight_kg": 71.0, "sbp_mmhg": 131.0,
    }  # fmt: skip
    assert records[4].covariates["age_years"] == 67.0


def test_a_file_a_frame(tmp_path):
    volume = tiny_volume()
    for number in (3, 0, 2, 1):
        one = heart_volume((32, 32, 16), volume.affine, contractions=(0.2 * number,))
        write_heart(tmp_path / "P1" / f"frame{number:02d}.nii.gz", one)
    data = folder(
        tmp_path, "dataset.files=['{subject}/frame{frame}.nii.gz']", "dataset.table=null", "labels.RV=4", "frames=null",
        "split.val=0", "split.test=1.0",
    )  # fmt: skip
    (heart,) = data.items("test")
    assert [record.position for record in heart.frames] == [0, 1, 2, 3]
    assert [record.id for record in heart.frames] == ["P1_t00", "P1_t01", "P1_t02", "P1_t03"]
    case = next(iter(data.test_dataloader()))
    sizes = (case["shape"][0] == 1).flatten(1).sum(1).tolist()
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == 4
    assert "covariates" not in data.provides


def test_ed_and_es_by_pattern_and_a_manual_label_before_a_predicted_one(tmp_path):
    shape, affine = (40, 40, 18), centred((5.0, 5.0, 8.0), (40, 40, 18))
    codes = {"LV": 1, "MYO": 2, "RV": 3}
    for name, contraction in (("ED", 0.0), ("ES", 1.0)):
        volume = heart_volume(shape, affine, codes=codes, contractions=(contraction,))
        write_heart(tmp_path / "1000012" / f"seg_sa_{name}.nii.gz", volume, np.float64)
        write_heart(tmp_path / "1000023" / f"label_sa_{name}.nii.gz", volume)
        write_heart(tmp_path / "1000023" / f"seg_sa_{name}.nii.gz", volume)
    write_heart(tmp_path / "1000034" / "label_sa_ED.nii.gz", volume)
    (tmp_path / "conditions.csv").write_text("subject,Age,Sex\n1000012,61,0\n1000023,55,1\n1000045,66,1\n")
    with pytest.raises(DataError, match="has one of ED and ES only"):
        folder(tmp_path, name="ukbb_hearts").dataset.records()
    data = folder(tmp_path, "dataset.skip_bad=true", "split.val=0", "split.test=0.5", name="ukbb_hearts")
    records = data.dataset.records()
    assert len({record.subject for record in records}) == 2
    assert sorted(record.label.name for record in records) == [
        "label_sa_ED.nii.gz", "label_sa_ES.nii.gz", "seg_sa_ED.nii.gz", "seg_sa_ES.nii.gz",
    ]  # fmt: skip
    shown = " ".join([*data.dataset.left_out, *data.dataset.notes(), *(r.describe() for r in records)])
    assert "10000" not in shown
    assert any("no label map" in text for text in data.dataset.left_out)
    assert set(data.dataset.aliases()) >= {"1000012", "1000023"}
    case = next(iter(data.test_dataloader()))
    assert case["shape"].shape == (1, 2, 32, 32, 16)
    sizes = (case["shape"][0] == 1).flatten(1).sum(1)
    assert sizes[1] < 0.7 * sizes[0]
    assert len(case["case"][0]) == 12


def test_arrays_without_a_header_need_their_grid_and_come_as_the_same_heart(tmp_path):
    volume = heart_volume((32, 32, 16), centred((5.0, 5.0, 8.0), (32, 32, 16)), contractions=(0.0, 1.0))
    for number, name in enumerate(("ED", "ES")):
        array = volume.array[..., number].transpose(2, 1, 0)  # upwards, forwards, right: "SAR"
        (tmp_path / "7").mkdir(exist_ok=True)
        np.save(tmp_path / "7" / f"seg_sa_{name}_SR.npy", array.astype(np.float64))
    (tmp_path / "conditions.csv").write_text("subject,Age,Sex\n7,61,0\n")
    options = (
        "grid=tiny",
        "split.val=0",
        "split.test=1.0",
        "dataset.arrays={spacing_mm: [8,5,5], axes: SAR}",
    )
    data = folder(tmp_path, *options, name="ukbb_hearts_sr")
    case = next(iter(data.test_dataloader()))
    expected = np.moveaxis(np.array([0, 1, 2, 0, 3])[volume.array], 3, 0)
    counts = [(case["shape"][0] == place).sum().item() for place in (1, 2, 3)]
    assert counts == [int((expected == place).sum()) for place in (1, 2, 3)]
    found = audit(data)
    assert not found.failed
    assert found.facts["spacings (mm)"] == "8 x 5 x 5"
    assert "7_ES" not in data.save_inventory(tmp_path / "inventory.csv").read_text()  # names are hashed
    assert "16x32x32,8x5x5,SAR,float64" in (tmp_path / "inventory.csv").read_text()
    with pytest.raises(DataError, match=r"has no header: state the grid of such files"):
        folder(tmp_path, *options[:3], "dataset.arrays=null", name="ukbb_hearts_sr").setup()
    with pytest.raises(ConfigError, match=r"data.dataset.arrays.axes is 'SPX'"):
        folder(tmp_path, "dataset.arrays.axes=SPX", name="ukbb_hearts_sr")
    with pytest.raises(ConfigError, match=r"needs spacing_mm .* and axes"):
        folder(tmp_path, "dataset.arrays={spacing_mm: [1,1,1]}", name="heart_folder")


def test_two_files_for_one_frame_are_refused(tmp_path):
    for word in ("a", "b"):
        write_heart(tmp_path / word / "P1.nii.gz", tiny_volume())
    write_heart(tmp_path / "a" / "P2.nii.gz", tiny_volume())
    with pytest.raises(ConfigError, match=r"\{subject\}, and perhaps \{visit\}, \{frame\}, \{phase\}"):
        folder(tmp_path, "dataset.files=['{folder}/{subject}.nii.gz']")
    files = "dataset.files=['a/{subject}.nii.gz','b/{subject}.nii.gz']"
    records = folder(tmp_path, files, "dataset.table=null").dataset.records()
    assert [r.image.parent.name for r in records] == ["a", "a"]
    write_heart(tmp_path / "P3_1.nii.gz", tiny_volume())
    write_heart(tmp_path / "P3_01.nii.gz", tiny_volume())
    with pytest.raises(DataError, match="P3 has two files for one frame"):
        folder(tmp_path, "dataset.files=['{subject}_{frame}.nii.gz']", "dataset.table=null").dataset.records()


def test_units_words_and_unknown_values(made):
    header = "ID;Alter;Geschlecht;cm;kg;RR"
    rewrite(made, "S00;61;w;1.70;NA;", header=header)
    options = (
        "dataset.subject=ID", "dataset.visit=null", "dataset.split=null", "+dataset.sex={w: 0}",
        "dataset.factors={height_cm: 100}",
        "dataset.columns={age_years: Alter, sex: Geschlecht, height_cm: cm, weight_kg: kg, sbp_mmhg: RR}",
        "dataset.files=['hearts/{subject}.nii.gz']",
    )  # fmt: skip
    data = folder(made, *options)
    record = data.dataset.records()[0]
    assert dict(record.covariates) == {"age_years": 61.0, "sex": 0.0, "height_cm": 170.0}
    assert data.dataset.notes() == [
        "6 people (S01, S02, S03, S03_v2, S04, …) have no row in conditions.csv and are left out"
    ]


def test_a_table_may_be_left_out_and_a_covariate_too(made):
    rewrite(made, "S00,1,60,F", header="subject,visit,age_years,sex")
    none = [f"dataset.columns.{name}=null" for name in ("height_cm", "weight_kg", "sbp_mmhg")]
    data = folder(made, *LAYOUT, "dataset.split=null", *none)
    assert dict(data.dataset.records()[0].covariates) == {"age_years": 60.0, "sex": 0.0}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("S00,1,-3,F,165,70,130,train", r"row 1 \(S00\), column 'age_years': age_years is -3, which no person has"),
        ("S00,1,60,F,1.7,70,130,train", r"height_cm is 1.7, which no person has.*is in metres.*factors.height_cm=100"),
        ("S00,1,60,F,67,70,130,train", None),
        ("S00,1,60,F,165,0.07,130,train", r"weight_kg is 0.07, which no person has"),
        ("S00,1,60,F,165,70,13,train", r"sbp_mmhg is 13, which no person has"),
        ("S00,1,60,X,165,70,130,train", r"column 'sex': sex is 'X'; data.dataset.sex knows f, m, female, male"),
        ("S00,1,60,1,165,70,130,train", r"sex is '1'.*'\+\+data.dataset.sex=\{1: 1\}'"),
        ("S00,1,old,F,165,70,130,train", r"age_years is 'old', which is no number"),
        ('S00,1,"60,5",F,165,70,130,train', r"age_years is '60,5', which is no number; write numbers with a point"),
        ("S00,1,inf,F,165,70,130,train", r"age_years is inf, which no person has"),
        ("S00,first,60,F,165,70,130,train", r"column 'visit' is 'first'; give the number of the visit"),
        ("S00,1,60,F,165,70,130,dev", r"column 'split' is 'dev'; train, val or test"),
        (",1,60,F,165,70,130,train", r"row 1: the column 'subject' is empty"),
        ("S00,1,60,F,165,70,130,train\nS00,1,61,F,165,70,130,train", r"row 2 \(S00\): the same person and visit"),
        ("S03,1,60,F,165,70,130,train\nS03,2,61,F,165,70,130,test", r"row 2 \(S03\): .*different sets"),
        ("S99,1,60,F,165,70,130,train", r"S99 is in conditions.csv, but no label map of visit 1 is in"),
    ],
)  # fmt: skip
def test_a_table_that_is_not_in_order_is_told_with_file_row_and_column(made, line, said):
    rewrite(made, line)
    if said is None:
        assert told(made)["height_cm"] == 67.0
        return
    with pytest.raises(DataError, match=said):
        folder(made, *LAYOUT).dataset.records()


def test_a_missing_column_names_those_that_there_are(made):
    rewrite(made, "S00,1,60", header="subject,visit,age")
    with pytest.raises(
        DataError, match=r"has no column 'age_years' \(data.dataset.columns.age_years\); it has subject, "
    ):
        folder(made, *LAYOUT, "dataset.split=null").dataset.records()
    (made / "conditions.csv").write_text(TABLE + "\n")
    with pytest.raises(DataError, match="has no rows below its header"):
        folder(made, *LAYOUT).dataset.records()


def test_a_hidden_person_is_told_by_row_alone(made):
    rewrite(made, "S00,1,-3,F,165,70,130,train")
    with pytest.raises(DataError, match="row 1, column 'age_years'") as caught:
        folder(made, *LAYOUT, "dataset.confidential=true").dataset.records()
    assert "S00" not in str(caught.value)


def test_files_with_visits_need_a_table_with_visits(made):
    with pytest.raises(ConfigError, match=r"set data.dataset.visit to its column"):
        folder(made, *LAYOUT, "dataset.visit=null")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("dataset.sex={F: 2}", "data.dataset.sex.F is 2"),
        ("+dataset.sex={f: 1}", "means 0 .female. or 1 .male., and one of them only"),
        ("+dataset.factors={waist_cm: 2}", "data.dataset.columns has no covariate waist_cm"),
    ],
)
def test_options_of_the_table_that_mean_nothing(made, change, said):
    with pytest.raises(ConfigError, match=said):
        folder(made, *LAYOUT, change)


def test_categories_that_look_like_numbers(made):
    rewrite(made, "S00,1,60,F,165,70,130,train,2", header=TABLE + ",scanner")
    options = ("+dataset.columns.scanner=scanner", "+categories.scanner=['1','2']")
    data = folder(made, *LAYOUT, *options)
    assert data.dataset.records()[0].covariates["scanner"] == "2"
    assert data.categories == {"scanner": ("1", "2")}
    assert data.training_covariates()["scanner"].tolist() == [1]


def test_a_missing_table_or_folder_says_what_to_do(tmp_path, made):
    (made / "conditions.csv").unlink()
    with pytest.raises(
        DatasetNotFound, match=r"no table conditions.csv of the people; data.dataset.table=null"
    ):
        folder(made, *LAYOUT).setup()
    with pytest.raises(DatasetNotFound, match=r"data.dataset.root=FOLDER"):
        folder(tmp_path / "nowhere").setup()
