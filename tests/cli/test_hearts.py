"""`medreg generate`, `complete` and `age` as a person types them."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from hearts_run import cheart, hearts_run, known_heart, stand_in, without_pictures, written

from medreg.cli.main import build_parser, main

WOMAN = ["--age", "60", "--sex", "F", "--height", "165", "--weight", "70", "--sbp", "130"]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hearts")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEDREG_ALLOW", "hearts_models")
        heart = known_heart()
        found = {
            "run": hearts_run(folder / "run", stand_in("Beating")),
            "ageing": hearts_run(
                folder / "ageing", stand_in("Shrinking", 2, ("age_years", "sex")), phases="edes"
            ),
            "patients": hearts_run(folder / "patients", cheart(told=("height_cm", "group"))),
            "cycle": written(folder / "cycle.nii.gz", heart),
            "ed": written(folder / "ed.nii.gz", heart[:1]),
            "es": written(folder / "es.nii.gz", heart[5:6]),
            "acdc": written(folder / "acdc.nii.gz", heart[:1], labels={"LV": 3, "MYO": 2, "RV": 1}),
        }
        yield {name: str(path) for name, path in found.items()}


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    """Nothing is drawn; tests/generating looks at pictures."""
    monkeypatch.setenv("MEDREG_ALLOW", "hearts_models")
    without_pictures(monkeypatch)


def test_generate(tmp_path, files, capsys):
    out = tmp_path / "out"
    words = ["generate", files["run"], *WOMAN, "-n", "2", "-o", str(out)]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert "note" not in printed
    assert "heart_002" in printed
    assert "mean of 2 hearts" in printed
    assert "2 label maps" in printed
    assert nib.load(out / "heart_001.nii.gz").shape == (32, 32, 16, 10)
    assert main(words) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert main([*words, "--overwrite", "--quiet"]) == 0
    assert capsys.readouterr().out == ""


def test_conditions_beyond_and_unknown_are_told(tmp_path, files, capsys):
    assert main(["generate", files["run"], "--age", "90", "--sex", "F", "-o", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "age_years=90 lies outside what training has seen (44 to 82 years)" in printed
    assert "not given: height_cm (--height), weight_kg (--weight), sbp_mmhg (--sbp)" in printed


def test_other_conditions_by_name(tmp_path, files):
    words = [
        "generate",
        files["patients"],
        "--height",
        "170",
        "--condition",
        "group=DCM",
        "-o",
        str(tmp_path / "out"),
    ]
    assert main(words) == 0
    assert pd.read_csv(tmp_path / "out" / "measures.csv").loc[0, "group"] == "DCM"


def test_complete_with_stated_codes(tmp_path, files, capsys):
    out = tmp_path / "out"
    words = ["complete", files["run"], files["acdc"], *WOMAN, "-o", str(out)]
    assert main(words) == 1
    error = capsys.readouterr().err
    assert "label 3" in error
    assert "LV=3,MYO=2,RV=1" in error
    assert not out.exists()
    assert main([*words, "--labels", "LV=3,MYO=2,RV=1", "--samples", "2"]) == 0
    assert "mean of 2 samples" in capsys.readouterr().out
    completed = np.asarray(nib.load(out / "completion.nii.gz").dataobj)
    assert np.array_equal(completed[..., 7], np.asarray(nib.load(files["acdc"]).dataobj))


def test_age_of_one_file_and_of_two(tmp_path, files, capsys):
    words = ["--from", "50", "--to", "65", "--steps", "2", "--sex", "M"]
    assert main(["age", files["ageing"], files["cycle"], *words, "-o", str(tmp_path / "one")]) == 0
    printed = capsys.readouterr().out
    assert "ES frame 5" in printed
    assert "age_65" in printed
    assert main(["age", files["ageing"], files["ed"], files["es"], *words, "-o", str(tmp_path / "two")]) == 0
    one, two = (np.asarray(nib.load(tmp_path / name / "age_65.nii.gz").dataobj) for name in ("one", "two"))
    assert np.array_equal(one, two)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["generate", "{run}", "--age", "-3"], "age_years (--age) is '-3'"),
        (["generate", "{run}", "--sex", "X"], "sex (--sex) is 'X'"),
        (["generate", "{run}", "--condition", "group=DCM"], "not conditioned on group"),
        (["generate", "{run}", "--condition", "group"], "write NAME=VALUE"),
        (["generate", "{run}", "--age", "60", "--condition", "age_years=61"], "age_years is given twice"),
        (["generate", "{run}", "-n", "0"], "-n is 0"),
        (["generate", "{run}", "-n", "few"], "-n few: write a whole number"),
        (["generate", "{ed}"], "ed.nii.gz"),
        (["complete", "{run}", "{ed}", "--labels", "LV"], "--labels LV"),
        (["complete", "{run}", "{cycle}"], "--frame 0"),
        (["complete", "{run}", "{cycle}", "--frame", "10"], "frame 10 does not exist"),
        (["complete", "{run}", "{ed}", "--frame", "first"], "--frame first: write a whole number"),
        (["complete", "{run}", "{run}"], "is a folder, not a file"),
        (
            ["age", "{run}", "{ed}", "--from", "45", "--to", "70"],
            "does not say what a heart is like at another age",
        ),
        (["age", "{ageing}", "{cycle}", "--from", "old", "--to", "70"], "--from old: write a number"),
        (["age", "{ageing}", "{cycle}", "--from", "45", "--to", "150"], "--to is 150"),
        (["age", "{ageing}", "{ed}", "{es}", "{es}", "--from", "45", "--to", "70"], "3 label maps"),
    ],
)
def test_what_cannot_be_done_is_a_sentence(tmp_path, files, capsys, words, told):
    out = tmp_path / "out"
    assert main([*(word.format(**files) for word in words), "-o", str(out)]) == 1
    error = capsys.readouterr().err
    assert told in error
    assert "Traceback" not in error
    assert not out.exists()


@pytest.mark.parametrize("verb", ["generate", "complete", "age"])
def test_help_is_one_screen(verb, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        build_parser().parse_args([verb, "--help"])
    assert len(capsys.readouterr().out.splitlines()) <= 45
