"""The cardiac phantom: beating hearts on short-axis stacks, moved by known maps, in the ACDC layout."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from medreg.data.phantoms.cardiac_canvas import CONTRASTS
from medreg.data.phantoms.cardiac_heart import GROUPS
from medreg.data.phantoms.cardiac_scan import Appearance, Cine, Person, acquire, draw_person
from medreg.data.phantoms.writing import Job, Phantom
from medreg.errors import ConfigError
from medreg.io.field_itk import write_itk_field
from medreg.io.image import write_image, write_labels

VERSION = 1  # of the generator; part of the name of the folder
PRECISION = 1024  # truth is rounded to 1/1024 voxel, so that files stay small


class CardiacPhantom(Phantom):
    """Writes synthetic cine MR of hearts whose motion is known, once.

    The folder `<root>/<hash of all parameters>` holds `database/training/patient001` and so on, and
    `database/testing`, with the files of ACDC: Info.cfg, the cine `patient001_4d.nii.gz`, and images and
    labels (RV 1, MYO 2, LV 3) at end-diastole and end-systole. Unlike in some ACDC headers, sform, qform and
    zooms agree.

    In `patient001/truth` lie the true motion `<fixed>__<moving>_displacement.nii.gz`, an ITK field from
    end-diastole, and `<fixed>_mask.nii.gz`, the part of the body that may move. There is no motion through
    the plane: longitudinal shortening is shown as growth of the muscle's area, so that the truth of every
    slice is exact.

    Args:
        root: folder of all such data sets.
        subjects: people in all; groups NOR, MINF, DCM, HCM and RV take turns.
        testing: of these, the last ones, in `database/testing`.
        seed: of anatomy, motion and noise.
        frames: of a cine.
        slices: least and most slices of a stack.
        size: least and most voxels of either in-plane axis.
        spacing_mm: least and most in-plane spacing.
        thickness_mm: least and most distance of slices.
        noise: standard deviation of the Rician noise, fraction of the signal of blood.
        bias: standard deviation of the logarithm of a smooth multiplicative field.
        coil: 0 no surface-coil shading, 1 strong.
        drift: standard deviation of the brightness of a frame, fraction.
        texture: standard deviation of the brightness of blood, new in every frame, fraction.
        gamma: exponent of the signal of tissues: above 1 muscle is darker against blood, below 1 brighter.
        contrasts: "bssfp" first; then any of "t1" (like a T1 map) and "lge" (late enhancement, scar bright),
            written at end-diastole and end-systole as `patient001_frame01_t1.nii.gz`: same grid, same motion.
        all_frames: store the truth from end-diastole to every frame, not only to end-systole, as
            `<fixed>__patient001_4d_t05_displacement.nii.gz` (t counts from 0).

    Raises:
        ConfigError: numbers that make no data set.
    """

    title: ClassVar[str] = "Writing the cardiac phantom"

    def __init__(
        self,
        root: str | Path,
        *,
        subjects: int,
        testing: int,
        seed: int,
        frames: int,
        slices: Sequence[int],
        size: Sequence[int],
        spacing_mm: Sequence[float],
        thickness_mm: Sequence[float],
        noise: float,
        bias: float,
        coil: float,
        drift: float,
        texture: float,
        gamma: float = 1.0,
        contrasts: Sequence[str] = ("bssfp",),
        all_frames: bool = False,
    ) -> None:
        self.subjects, self.testing = int(subjects), int(testing)
        self.seed, self.frames = int(seed), int(frames)
        self.slices, self.size = _range("slices", slices, 1), _range("size", size, 32)
        self.spacing_mm = _range("spacing_mm", spacing_mm, 0.1)
        self.thickness_mm = _range("thickness_mm", thickness_mm, 0.1)
        self.appearance = Appearance(
            float(noise), float(bias), float(coil), float(drift), float(texture), float(gamma)
        )
        self.contrasts, self.all_frames = tuple(str(c) for c in contrasts), bool(all_frames)
        self._check()
        self.folder = self.below(root)

    def parameters(self) -> dict[str, Any]:
        """Return everything on which the files depend; phantoms of the usual contrast keep the name of their folder."""
        seen = {
            name: value for name, value in vars(self.appearance).items() if (name, value) != ("gamma", 1.0)
        }
        return {
            "version": VERSION,
            "subjects": self.subjects,
            "testing": self.testing,
            "seed": self.seed,
            "frames": self.frames,
            "slices": list(self.slices),
            "size": list(self.size),
            "spacing_mm": list(self.spacing_mm),
            "thickness_mm": list(self.thickness_mm),
            **seen,
            "contrasts": list(self.contrasts),
            "all_frames": self.all_frames,
        }

    def missing(self) -> Sequence[Job]:
        """Return a job for each patient that is not there."""
        numbers = range(1, self.subjects + 1)
        return [partial(self._write, number) for number in numbers if not self.patient(number).is_dir()]

    def sweep(self) -> None:
        """Remove half-written patients."""
        for left in self.folder.glob("database/*/.patient*"):
            shutil.rmtree(left, ignore_errors=True)

    def patient(self, number: int) -> Path:
        """Folder of a patient, numbered from 1."""
        split = "testing" if number > self.subjects - self.testing else "training"
        return self.folder / "database" / split / f"patient{number:03d}"

    def person(self, number: int) -> Person:
        """Anatomy and motion of a patient, numbered from 1."""
        return draw_person(
            list(GROUPS)[(number - 1) % len(GROUPS)],
            frames=self.frames,
            slices=(int(self.slices[0]), int(self.slices[1])),
            size=(int(self.size[0]), int(self.size[1])),
            spacing_mm=self.spacing_mm,
            thickness_mm=self.thickness_mm,
            seed=(self.seed, number),
        )

    def _check(self) -> None:
        if not 0 <= self.testing < self.subjects <= 999:
            raise ConfigError(
                f"The cardiac phantom needs 0 ≤ testing < subjects ≤ 999, not {self.testing} and "
                f"{self.subjects}; set data.dataset.prepare.subjects and data.dataset.prepare.testing."
            )
        if self.frames < 2:
            raise ConfigError(
                "The cardiac phantom needs two frames or more; set data.dataset.prepare.frames."
            )
        unknown = [c for c in self.contrasts if c not in CONTRASTS]
        if unknown or self.contrasts[:1] != ("bssfp",) or len(set(self.contrasts)) < len(self.contrasts):
            raise ConfigError(
                f"data.dataset.prepare.contrasts is {list(self.contrasts)}; give bssfp first, then any "
                "of t1 and lge."
            )
        negative = [name for name, value in vars(self.appearance).items() if value < 0]
        if negative:
            raise ConfigError(f"data.dataset.prepare.{negative[0]} is negative; give 0 or more.")
        if self.appearance.gamma == 0:
            raise ConfigError("data.dataset.prepare.gamma is 0, which shows nothing; give a number above 0.")

    def _write(self, number: int) -> None:
        final = self.patient(number)
        final.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{final.name}.", dir=final.parent))
        try:
            person = self.person(number)
            images = acquire(person, self.contrasts, self.appearance)
            write_patient(temporary, final.name, person, images, self.contrasts)
            write_truth(temporary / "truth", final.name, person, all_frames=self.all_frames)
            temporary.chmod(0o755)
            if not final.is_dir():
                temporary.rename(final)
        except OSError:
            if not final.is_dir():  # else another process was faster
                raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def write_patient(folder: Path, name: str, person: Person, cine: Cine, contrasts: Sequence[str]) -> None:
    """Write Info.cfg, the cine, and images and labels at end-diastole and end-systole; the mask of the truth.

    Args:
        folder: of the patient.
        name: first part of file names.
        person: anatomy and motion.
        cine: images.
        contrasts: names of the images.
    """
    affine = person.stack.affine
    write_image(folder / f"{name}_4d.nii.gz", cine.frames[0], affine, dtype=np.int16)
    for frame in (person.end_diastole, person.end_systole):
        stem = f"{name}_frame{frame + 1:02d}"
        write_image(folder / f"{stem}.nii.gz", cine.frames[0, ..., frame], affine, dtype=np.int16)
        write_labels(folder / f"{stem}_gt.nii.gz", person.labels(frame), affine)
        for images, contrast in zip(cine.frames[1:], contrasts[1:], strict=True):
            write_image(folder / f"{stem}_{contrast}.nii.gz", images[..., frame], affine, dtype=np.int16)
    reach = np.stack([person.within_reach(k) for k in range(person.stack.shape[2])], axis=2)
    mask = folder / "truth" / f"{name}_frame{person.end_diastole + 1:02d}_mask.nii.gz"
    write_labels(mask, (reach & cine.body).astype(np.uint8), affine)
    g = np.random.default_rng([*person.seed, 3])
    height = g.normal(171, 9)
    info = {
        "ED": person.end_diastole + 1,
        "ES": person.end_systole + 1,
        "Group": person.heart.group,
        "Height": f"{height:.1f}",
        "NbFrame": len(person.contraction),
        "Weight": f"{np.clip(g.normal(26, 4), 18, 42) * (height / 100) ** 2:.1f}",
    }
    lines = "".join(f"{key}: {value}\n" for key, value in info.items())
    (folder / "Info.cfg").write_text(lines, encoding="utf-8")


def write_truth(folder: Path, name: str, person: Person, *, all_frames: bool) -> None:
    """Write the motion from end-diastole to end-systole, or to every frame of the cine too.

    Args:
        folder: `truth` of the patient.
        name: first part of file names.
        person: anatomy and motion.
        all_frames: every frame.
    """
    fixed = f"{name}_frame{person.end_diastole + 1:02d}"
    moving = {person.end_systole: f"{name}_frame{person.end_systole + 1:02d}"}
    if all_frames:
        others = set(range(len(person.contraction))) - {person.end_diastole, person.end_systole}
        moving.update({frame: f"{name}_4d_t{frame:02d}" for frame in others})
    for frame, stem in moving.items():
        truth = np.round(person.truth(frame) * PRECISION) / PRECISION
        write_itk_field(folder / f"{fixed}__{stem}_displacement.nii.gz", truth, person.stack.affine)


def _range(name: str, values: Sequence[float], least: float) -> tuple[float, float]:
    pair = tuple(float(v) for v in values)
    if len(pair) != 2 or not least <= pair[0] <= pair[1]:
        raise ConfigError(
            f"data.dataset.prepare.{name} is {list(values)}; give the least and the most, at least {least:g}."
        )
    return pair[0], pair[1]
