"""The population as files: layout, determinism, independence of its size, and a writer that survives being killed."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from medreg.data.phantoms.hearts import truth
from medreg.data.phantoms.hearts.visits import AGEING
from medreg.data.phantoms.hearts.writing import HeartPopulation
from medreg.data.phantoms.writing import MARKER
from medreg.errors import ConfigError
from medreg.io.image import frame_count, read_labels

OPTIONS = {
    "grid": {"size": [32, 32, 16], "spacing_mm": [5.0, 5.0, 8.0], "frames": 10},
    "training": 2,
    "validation": 1,
    "testing": 2,
    "seed": 3,
    "effect_scale": 1.0,
    "ageing": "none",
    "repose": True,
    "modes": 1,
    "pose": True,
    "course": "physiological",
    "phases": "cycle",
}
EDES = OPTIONS | {"phases": "edes"}


def rows(file):
    with file.open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def digest(folder):
    files = sorted(f for f in folder.rglob("*.*") if f.is_file() and not f.name.startswith("."))
    return {f.relative_to(folder).as_posix(): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    made = HeartPopulation(tmp_path_factory.mktemp("hearts"), **OPTIONS)
    made.ensure()
    return made


def test_layout(written):
    names = sorted(f.name for f in (written.folder / "hearts").iterdir())
    assert names == [
        f"{s}.nii.gz" for s in ("test00001", "test00002", "train00001", "train00002", "val00001")
    ]
    file = written.folder / "hearts" / "train00001.nii.gz"
    assert frame_count(file) == 10
    frame = read_labels(file, frame=0)
    assert frame.array.shape == (32, 32, 16)
    assert frame.spacing_mm == pytest.approx((5, 5, 8))
    assert set(np.unique(frame.array)) == {0, 1, 2, 4}
    centre = frame.affine @ [15.5, 15.5, 7.5, 1]
    assert centre == pytest.approx([0, 0, 0, 1])


def test_conditions_and_truth_say_what_was_drawn(written):
    conditions, known = (rows(written.folder / f"{name}.csv") for name in ("conditions", "truth"))
    assert list(conditions[0]) == [
        "subject", "visit", "age_years", "sex", "height_cm", "weight_kg", "sbp_mmhg", "split",
    ]  # fmt: skip
    assert [(r["subject"], r["split"]) for r in conditions] == [
        ("train00001", "train"), ("train00002", "train"), ("val00001", "val"),
        ("test00001", "test"), ("test00002", "test"),
    ]  # fmt: skip
    assert {r["sex"] for r in conditions} <= {"F", "M"}
    assert [r["subject"] for r in known] == [r["subject"] for r in conditions]
    for row, aims in zip(conditions, known, strict=True):
        assert 44 <= float(row["age_years"]) <= 82
        file = written.folder / "hearts" / f"{row['subject']}.nii.gz"
        volume = [(read_labels(file, frame=t).array == 1).sum() * 0.2 for t in range(10)]
        assert volume[0] == pytest.approx(float(aims["lvedv_ml"]), rel=0.08)
        assert min(volume) == pytest.approx(float(aims["lvesv_ml"]), rel=0.14)
        assert int(np.argmin(volume)) == int(float(aims["es_frame"]))


def test_parameters_of_a_folder_give_its_truths(written):
    stored = json.loads((written.folder / MARKER).read_text())
    assert truth.population_of(stored) == written.population


def test_bytes_depend_on_the_parameters_alone(written, tmp_path):
    again = HeartPopulation(tmp_path, **OPTIONS)
    again.ensure()
    assert again.folder.name == written.folder.name
    assert digest(again.folder) == digest(written.folder)
    other = HeartPopulation(tmp_path, **OPTIONS | {"seed": 4})
    one = other.hearts()[0]
    assert other.folder != again.folder
    assert not np.array_equal(other.labels(one), again.labels(one))


def test_a_heart_does_not_depend_on_the_size_of_any_split(written, tmp_path):
    larger = HeartPopulation(tmp_path, **OPTIONS | {"training": 4, "validation": 3, "testing": 5})
    inside = {one.name: one for one in larger.hearts()}
    assert len(inside) == 12
    assert {one.name: one for one in written.hearts()}.items() <= inside.items()
    for one in written.hearts()[1:4]:
        there = np.stack([read_labels(written.file(one), frame=t).array for t in range(10)], axis=-1)
        assert np.array_equal(larger.labels(inside[one.name]), there)


def test_two_phases_are_end_diastole_and_end_systole(tmp_path):
    cycle, edes = HeartPopulation(tmp_path, **OPTIONS), HeartPopulation(tmp_path, **EDES)
    one = cycle.hearts()[0]
    frames, two = cycle.labels(one), edes.labels(one)
    end = int((frames == 1).sum((0, 1, 2)).argmin())
    assert two.shape == (32, 32, 16, 2)
    assert np.array_equal(two[..., 1], frames[..., end])
    # The largest frame of the cycle may set the place in the field of view; the volume is the same in any place.
    assert (two[..., 0] == 1).sum() == pytest.approx((frames[..., 0] == 1).sum(), rel=0.02)


@pytest.mark.parametrize("frames", [2, 10, 20, 50])
def test_any_number_of_frames(tmp_path, frames):
    grid = OPTIONS["grid"] | {"frames": frames}
    made = HeartPopulation(tmp_path, **OPTIONS | {"grid": grid, "course": "simple", "modes": 0})
    labels = made.labels(made.hearts()[0])
    assert labels.shape == (32, 32, 16, frames)
    if frames > 2:
        assert int((labels == 1).sum((0, 1, 2)).argmin()) == {10: 4, 20: 8, 50: 20}[frames]


@pytest.mark.parametrize("ageing", ["consistent", "confounded"])
def test_test_subjects_are_seen_twice(tmp_path, ageing):
    made = HeartPopulation(tmp_path, **EDES | {"ageing": ageing, "training": 1})
    made.ensure()
    names = {f.name for f in (made.folder / "hearts").iterdir()}
    assert {"test00001.nii.gz", "test00001_v2.nii.gz", "train00001.nii.gz"} <= names
    assert "train00001_v2.nii.gz" not in names
    found = {(r["subject"], r["visit"]): r for r in rows(made.folder / "conditions.csv")}
    first, later = found[("test00001", "1")], found[("test00001", "2")]
    assert 2 <= float(later["age_years"]) - float(first["age_years"]) <= 15
    assert later["height_cm"] == first["height_cm"]
    assert later["sex"] == first["sex"]
    assert ("train00001", "2") not in found


def test_confounding_changes_second_visits_of_men_only(tmp_path):
    consistent, confounded = (
        HeartPopulation(tmp_path, **EDES | {"ageing": a, "testing": 12}) for a in ("consistent", "confounded")
    )
    changed = {}
    for one in consistent.hearts():
        people = consistent.population.people([one.number], one.visit, pairs=one.split == "test")
        mass = [
            p.population.drawn(people, [one.number], one.visit).lvm_g[0] for p in (consistent, confounded)
        ]
        changed.setdefault((one.visit, int(people.sex[0])), []).append(mass[1] / mass[0])
    assert np.allclose(changed[(1, 0)] + changed[(1, 1)] + changed[(2, 0)], 1)
    assert min(changed[(2, 1)]) > 1.01


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ageing": "fast"}, "ageing"),
        ({"modes": 2}, "modes"),
        ({"course": "slow"}, "course"),
        ({"phases": "all"}, "phases"),
        ({"training": -1}, "train"),
        ({"training": 0, "validation": 0, "testing": 0}, "no subjects"),
        ({"effect_scale": -1}, "effect_scale"),
        ({"grid": {"size": [32, 32], "spacing_mm": [5, 5], "frames": 10}}, "three sizes"),
        ({"grid": {"size": [32, 32, 16], "spacing_mm": [5, 5, 8]}}, "frames"),
    ],
)
def test_options_that_make_no_population_are_refused(tmp_path, change, words):
    with pytest.raises(ConfigError, match=words):
        HeartPopulation(tmp_path, **OPTIONS | change)


def test_choices_are_those_of_the_visits():
    assert AGEING == ("none", "consistent", "confounded")


@pytest.mark.slow
def test_a_killed_writer_is_continued(tmp_path):
    many = OPTIONS | {"training": 60}
    code = (
        "from medreg.data.phantoms.hearts.writing import HeartPopulation\n"
        f"HeartPopulation({str(tmp_path)!r}, **{many!r}).ensure()\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    made = HeartPopulation(tmp_path, **many)
    hearts = made.folder / "hearts"
    until = time.monotonic() + 120
    while time.monotonic() < until and len(list(hearts.glob("*.nii.gz"))) < 5:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    there = [f for f in hearts.glob("*.nii.gz") if not f.name.startswith(".")]
    assert 5 <= len(there) < 63
    assert not (made.folder / MARKER).is_file()
    (hearts / ".train00060.1.part.nii.gz").write_bytes(b"half")
    made.ensure()
    assert len(list(hearts.iterdir())) == 63
    whole = HeartPopulation(tmp_path / "whole", **many)
    whole.ensure()
    assert digest(whole.folder) == digest(made.folder)
