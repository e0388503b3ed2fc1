"""The cardiac phantom: ACDC's layout, plausible hearts, exact motion, a writer that survives being killed."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import torch
from scipy.interpolate import BSpline

from medreg.data.datasets.acdc import ACDC
from medreg.data.phantoms import cardiac
from medreg.data.phantoms.cardiac import CardiacPhantom
from medreg.data.phantoms.cardiac_heart import GROUPS
from medreg.data.phantoms.cardiac_motion import contraction_curve
from medreg.data.phantoms.cardiac_noise import smooth_plane
from medreg.data.phantoms.cardiac_scan import Appearance, acquire
from medreg.data.phantoms.writing import MARKER
from medreg.errors import ConfigError
from medreg.geometry.derivatives import jacobian_determinant
from medreg.geometry.warp import warp
from medreg.io.field import read_displacement
from medreg.io.image import frame_count, read_image, read_labels

OPTIONS = {
    "subjects": 5,
    "testing": 1,
    "seed": 5,
    "frames": 4,
    "slices": [8, 10],
    "size": [96, 100],
    "spacing_mm": [1.8, 2.0],
    "thickness_mm": [9.0, 10.0],
    "noise": 0.03,
    "bias": 0.15,
    "coil": 0.6,
    "drift": 0.04,
    "texture": 0.06,
}
TINY = OPTIONS | {"subjects": 4, "slices": [2, 3], "size": [48, 48], "spacing_mm": [4.0, 4.0], "frames": 2}


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    made = CardiacPhantom(
        tmp_path_factory.mktemp("cardiac"), **OPTIONS, contrasts=["bssfp", "t1", "lge"], all_frames=True
    )
    made.ensure()
    return made


@pytest.fixture(scope="module")
def patients(phantom):
    return [Patient(phantom.patient(k)) for k in range(1, phantom.subjects + 1)]


class Patient:
    """Files of one patient, found as a reader of ACDC finds them."""

    def __init__(self, folder):
        self.folder = folder
        self.info = dict(line.split(": ") for line in (folder / "Info.cfg").read_text().splitlines())
        self.stems = [f"{folder.name}_frame{int(self.info[phase]):02d}" for phase in ("ED", "ES")]
        self.images = [read_image(folder / f"{stem}.nii.gz") for stem in self.stems]
        self.labels = [read_labels(folder / f"{stem}_gt.nii.gz").array for stem in self.stems]
        name = f"{self.stems[0]}__{self.stems[1]}_displacement.nii.gz"
        self.truth = torch.from_numpy(read_displacement(folder / "truth" / name).displacement)
        self.mask = read_labels(folder / "truth" / f"{self.stems[0]}_mask.nii.gz").array.astype(bool)

    @property
    def group(self):
        return self.info["Group"]

    def volume_ml(self, phase, code):
        return (self.labels[phase] == code).sum() * np.prod(self.images[0].spacing_mm) / 1000

    def ejection(self, code):
        return 1 - self.volume_ml(1, code) / self.volume_ml(0, code)


def digest(folder):
    """Content of all files of a data set."""
    files = sorted(f for f in folder.rglob("*.*") if f.is_file() and not f.name.startswith("."))
    return {f.relative_to(folder).as_posix(): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def test_layout_is_that_of_acdc(phantom, patients):
    database = phantom.folder / "database"
    assert [p.name for p in sorted((database / "training").iterdir())] == [
        f"patient{k:03d}" for k in range(1, 5)
    ]
    assert [p.name for p in (database / "testing").iterdir()] == ["patient005"]
    for patient in patients:
        assert list(patient.info) == ["ED", "ES", "Group", "Height", "NbFrame", "Weight"]
        cine = patient.folder / f"{patient.folder.name}_4d.nii.gz"
        assert frame_count(cine) == int(patient.info["NbFrame"]) == 4
        for phase, volume in zip(("ED", "ES"), patient.images, strict=True):
            frame = read_image(cine, frame=int(patient.info[phase]) - 1)
            assert np.array_equal(frame.array, volume.array)
        assert set(np.unique(patient.labels)) == {0, 1, 2, 3}
        assert 120 < float(patient.info["Height"]) < 220
    assert {p.group for p in patients} == set(GROUPS)


def test_reader_of_acdc_finds_patients_phases_splits_and_truth(phantom):
    source = ACDC("unused", prepare=phantom)
    source.ensure()
    pairs = {}
    for record in source.records():
        pairs.setdefault(record.subject, {})[record.phase] = record
    assert len(pairs) == 5
    for phases in pairs.values():
        fixed, moving = phases["ED"], phases["ES"]
        truth = source.truth(fixed, moving)
        assert truth is not None
        assert read_displacement(truth).displacement.shape[1:] == read_image(fixed.image).array.shape
        assert source.truth(moving, fixed) is None  # only from end-diastole
    assert [phases["ED"].split for phases in pairs.values()] == ["train"] * 4 + ["test"]
    assert {phases["ED"].group for phases in pairs.values()} == set(GROUPS)


def test_header_says_the_true_geometry(patients):
    for volume in (p.images[0] for p in patients):
        assert 1.8 <= volume.spacing_mm[0] <= 2.0
        assert 9.0 <= volume.spacing_mm[2] <= 10.0
        signs = np.sign(np.diag(volume.affine)[:3])
        assert list(signs) == [-1, -1, 1]  # LPS as in ACDC


def test_volumes_are_those_of_the_group(patients):
    for patient in patients:
        ranges = GROUPS[patient.group]
        for code, volume, fraction in (
            (3, ranges.lv_edv_ml, ranges.lv_ef),
            (1, ranges.rv_edv_ml, ranges.rv_ef),
        ):
            # counted voxels against the contours that were solved for
            assert 0.96 * volume[0] < patient.volume_ml(0, code) < 1.04 * volume[1], (patient.group, code)
            assert fraction[0] - 0.03 < patient.ejection(code) < fraction[1] + 0.03, (patient.group, code)


def test_wall_thickens_and_keeps_its_volume_up_to_longitudinal_shortening(patients):
    thickening = {}
    for patient in patients:
        ratio = patient.volume_ml(1, 2) / patient.volume_ml(0, 2)
        assert 1.0 < ratio < 1.25
        middle = patient.labels[0].shape[2] // 2
        radii = [
            [np.sqrt(np.isin(labels[:, :, middle], codes).sum() / np.pi) for codes in ([2, 3], [3])]
            for labels in patient.labels
        ]
        (outer, inner), (outer_es, inner_es) = radii
        assert outer_es < outer + 0.1
        thickening[patient.group] = (outer_es - inner_es) / (outer - inner) - 1
    assert 0.3 < thickening["NOR"] < 0.9
    assert thickening["DCM"] < 0.6 * thickening["NOR"]
    assert thickening["MINF"] < 0.8 * thickening["NOR"]


def test_base_and_apex_twist_oppositely(phantom):
    twist = phantom.person(1).heart.twist
    assert twist[0] < 0 < twist[-1]


def dice_after(fixed, moving, truth):
    """Dice of RV, MYO and LV after the true motion; labels are interpolated one by one."""
    planes = np.stack([moving == code for code in range(4)]).astype(np.float64)
    warped = warp(torch.from_numpy(planes)[None], truth[None])[0].argmax(0).numpy()
    return [dice(warped == code, fixed == code) for code in (1, 2, 3)]


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def test_written_truth_carries_end_systole_onto_end_diastole(patients):
    for patient in patients:
        after = dice_after(*patient.labels, patient.truth)
        assert min(after) > 0.94, patient.group  # a wall of four voxels
        before = [dice(patient.labels[1] == code, patient.labels[0] == code) for code in (1, 2, 3)]
        assert max(before) < 0.93  # there is something to register
        assert min(np.subtract(after, before)) > 0.05


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5])
def test_the_finer_the_grid_the_more_exact_the_labels(number, tmp_path):
    fine = CardiacPhantom(
        tmp_path, **OPTIONS | {"spacing_mm": [0.9, 0.9], "size": [192, 192], "slices": [5, 5]}
    )
    person = fine.person(number)
    labels = [person.labels(frame) for frame in (person.end_diastole, person.end_systole)]
    assert min(dice_after(*labels, torch.from_numpy(person.truth(person.end_systole)))) > 0.97


def test_truth_does_not_fold_nor_leave_the_slice(patients):
    for patient in patients:
        determinant = jacobian_determinant(patient.truth[None], mode="central")
        assert 0.1 < determinant.min() < 0.8
        assert determinant.max() < 2.5
        assert patient.truth[2].abs().max() == 0
        assert patient.truth[:, torch.from_numpy(~patient.mask)].abs().max() < 1.0  # air and lung by the skin
        assert 4 < patient.truth.abs().max() * 1.9 < 25  # mm


def test_forward_and_inverse_motion_agree(phantom):
    person = phantom.person(2)
    for k in (0, 4, len(person.motions) - 1):
        points = person.points[:, person.within_reach(k)]
        for contraction in (0.3, 1.0):
            there = person.motions[k].forward(points, contraction)
            back = person.motions[k].inverse(there, contraction)
            assert np.abs(back - points).max() < 1e-3
            assert np.abs(there - points).max() > 0.5
    assert np.array_equal(person.motions[0].forward(points, 0.0), points)


def test_images_follow_the_truth_but_not_exactly(patients):
    for patient in patients:
        fixed, moving = (torch.from_numpy(v.array)[None, None].double() for v in patient.images)
        mask = torch.from_numpy(np.isin(patient.labels[0], (1, 2, 3)))[None, None]
        before, after = (
            float((fixed - image)[mask].square().mean().sqrt())
            for image in (moving, warp(moving, patient.truth[None]))
        )
        assert after < 0.75 * before
        assert after > 5  # grey values: noise, flow and drift remain


def test_truth_of_every_frame_on_request(phantom):
    folder = phantom.patient(1) / "truth"
    names = {f.name for f in folder.glob("*_4d_t*_displacement.nii.gz")}
    assert len(names) == 2  # four frames less end-diastole and end-systole
    field = read_displacement(folder / sorted(names)[0]).displacement
    assert np.abs(field[:2]).max() > 0.3


def test_images_have_noise_shading_and_contrast(patients):
    for patient in patients:
        image, labels = patient.images[0].array, patient.labels[0]
        blood, muscle = image[labels == 3], image[labels == 2]
        assert np.median(blood) > 2 * np.median(muscle)
        assert blood.std() > 0.05 * blood.mean()
        air = image[:4, :4]
        assert air.min() >= 0
        assert air.mean() > 0  # the floor of a Rician magnitude
    plain = {**TINY, "noise": 0.0, "drift": 0.0, "texture": 0.0, "testing": 0}
    smooth = cardiac.acquire(*scan_arguments(plain | {"bias": 0.0, "coil": 0.0})).frames[0]
    shaded = cardiac.acquire(*scan_arguments(plain | {"bias": 0.3, "coil": 1.0})).frames[0]
    bright = smooth[..., 0] > 100
    ratio = shaded[..., 0][bright] / smooth[..., 0][bright]
    assert np.percentile(ratio, 95) > 1.3 * np.percentile(ratio, 5)
    noisy = cardiac.acquire(*scan_arguments(plain | {"bias": 0.0, "coil": 0.0, "noise": 0.03})).frames[0]
    assert (noisy.astype(float) - smooth)[bright].std() == pytest.approx(0.03 * 400, rel=0.15)


def scan_arguments(options):
    made = CardiacPhantom("unused", **options)
    return made.person(1), made.contrasts, made.appearance


def test_other_contrasts_share_the_anatomy(patients):
    infarct = next(p for p in patients if p.group == "MINF")
    stem = infarct.folder / infarct.stems[0]
    cine = infarct.images[0].array
    t1, late = (read_image(f"{stem}_{name}.nii.gz").array for name in ("t1", "lge"))
    muscle, blood = infarct.labels[0] == 2, infarct.labels[0] == 3
    assert np.median(t1[muscle]) > 1.5 * np.median(cine[muscle])
    assert np.median(late[muscle]) < 0.6 * np.median(cine[muscle])
    assert np.percentile(late[muscle], 95) > 0.7 * np.median(late[blood])  # the scar


def test_same_seed_same_bytes_other_options_other_folder(tmp_path):
    first, second = (CardiacPhantom(tmp_path / name, **TINY) for name in ("a", "b"))
    assert digest(first.ensure()) == digest(second.ensure())
    other = CardiacPhantom(tmp_path / "a", **TINY | {"seed": 6})
    assert other.folder != first.folder
    assert other.folder.parent == first.folder.parent
    other.ensure()
    assert set(digest(other.folder).items()) & set(digest(first.folder).items()) == set()


def test_texture_is_the_cubic_spline_of_its_values():
    axes = [np.linspace(0, 90, 41), np.linspace(-20, 50, 33)]
    step = 3.5
    starts = [axis.min() - 3 * step for axis in axes]
    counts = [int(np.ceil((axis.max() - s) / step)) + 4 for axis, s in zip(axes, starts, strict=True)]
    values = np.random.default_rng(4).standard_normal(counts)
    kernel = BSpline.basis_element([-2, -1, 0, 1, 2], extrapolate=False)
    rows, columns = (
        np.nan_to_num(kernel((axis - s)[:, None] / step - np.arange(count)))
        for axis, s, count in zip(axes, starts, counts, strict=True)
    )
    found = smooth_plane(axes, 2 * step, np.random.default_rng(4))
    np.testing.assert_allclose(found, 1.45 * rows @ values @ columns.T, atol=2e-6)


def test_bytes_do_not_depend_on_the_number_of_threads():
    code = (
        "import hashlib, numpy as np\n"
        "from medreg.data.phantoms.cardiac_noise import smooth_plane\n"
        "axes = [np.linspace(0, 180, n) for n in (208, 200)]\n"
        "planes = [smooth_plane(axes, mm, np.random.default_rng(1)) for mm in (90.0, 28.0, 7.0, 3.5)]\n"
        "print(hashlib.sha256(np.stack(planes).tobytes()).hexdigest())"
    )
    found = set()
    for threads in ("1", "3"):
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        environment = os.environ | dict.fromkeys(names, threads)
        run = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
        )
        found.add(run.stdout)
    assert len(found) == 1


def test_second_call_touches_nothing(tmp_path):
    made = CardiacPhantom(tmp_path, **TINY)
    folder = made.ensure()
    before = {f: f.stat().st_mtime_ns for f in folder.rglob("*")}
    assert CardiacPhantom(tmp_path, **TINY).ensure() == folder
    assert {f: f.stat().st_mtime_ns for f in folder.rglob("*")} == before


def test_a_killed_writer_is_continued(tmp_path):
    options = TINY | {"subjects": 10}
    code = (
        "from medreg.data.phantoms.cardiac import CardiacPhantom\n"
        f"CardiacPhantom({str(tmp_path)!r}, **{options!r}).ensure()"
    )
    made = CardiacPhantom(tmp_path, **options)
    writer = subprocess.Popen([sys.executable, "-c", code])
    while not made.patient(2).is_dir() and writer.poll() is None:
        time.sleep(0.005)
    os.kill(writer.pid, signal.SIGKILL)
    writer.wait()
    assert not (made.folder / MARKER).exists()
    written = [k for k in range(1, 11) if made.patient(k).is_dir()]
    assert 0 < len(written) < 10
    stamp = made.patient(written[0]).stat().st_mtime_ns
    made.ensure()
    assert made.patient(written[0]).stat().st_mtime_ns == stamp
    assert list(made.folder.rglob(".patient*")) == []
    fresh = CardiacPhantom(tmp_path / "fresh", **options)
    assert digest(made.folder) == digest(fresh.ensure())


def test_writers_at_the_same_time_agree(tmp_path):
    made = [CardiacPhantom(tmp_path, **TINY) for _ in range(2)]
    threads = [threading.Thread(target=phantom.ensure) for phantom in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert digest(made[0].folder) == digest(CardiacPhantom(tmp_path / "alone", **TINY).ensure())


def test_a_failing_patient_leaves_no_half_folder(tmp_path, monkeypatch):
    def full_disk(*arguments, **options):
        raise OSError(28, "No space left on device")

    made = CardiacPhantom(tmp_path, **TINY)
    monkeypatch.setattr(cardiac, "write_truth", full_disk)
    with pytest.raises(OSError, match="No space"):
        made.ensure()
    assert not (made.folder / MARKER).exists()
    assert list(made.folder.rglob("*patient*")) == []
    monkeypatch.undo()
    made.ensure()
    assert all(made.patient(k).is_dir() for k in range(1, 5))


def test_beat_starts_relaxed_and_contracts_once():
    curve = contraction_curve(25, 9)
    assert curve[0] == 0
    assert curve.argmax() == 9
    assert curve[9] == 1
    assert (np.diff(curve[:10]) > 0).all()
    assert (np.diff(curve[9:]) <= 1e-12).all()


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"testing": 5}, "testing"),
        ({"frames": 1}, "frames"),
        ({"size": [100, 96]}, "size"),
        ({"spacing_mm": [1.0]}, "spacing_mm"),
        ({"contrasts": ["t1"]}, "contrasts"),
        ({"noise": -0.1}, "noise"),
    ],
)
def test_impossible_options_are_named(tmp_path, wrong, word):
    with pytest.raises(ConfigError, match=f"prepare.*{word}"):
        CardiacPhantom(tmp_path, **OPTIONS | wrong)


def test_contrast_of_another_scanner_keeps_blood_and_the_name_of_the_usual_phantom(tmp_path):
    usual, other = (CardiacPhantom(tmp_path, **TINY, gamma=gamma) for gamma in (1.0, 0.5))
    assert usual.folder == CardiacPhantom(tmp_path, **TINY).folder
    assert "gamma" not in usual.parameters()
    assert other.folder != usual.folder
    person = usual.person(1)
    quiet = {"noise": 0.0, "bias": 0.0, "coil": 0.0, "drift": 0.0, "texture": 0.0}
    plain, changed = (
        acquire(person, ("bssfp",), Appearance(**quiet, gamma=gamma)).frames[0, ..., 0]
        for gamma in (1.0, 0.5)
    )
    np.testing.assert_allclose(changed / 400, np.sqrt(plain / 400), atol=0.05)
    with pytest.raises(ConfigError, match=r"gamma is 0"):
        CardiacPhantom(tmp_path, **TINY, gamma=0)
