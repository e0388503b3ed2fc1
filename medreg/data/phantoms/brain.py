"""The brain phantom: people with one brain each, deformed by known maps, in the Learn2Reg layout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from medreg.data.phantoms.brain_anatomy import (
    FoldingOptions,
    Template,
    build_template,
    centred_affine,
)
from medreg.data.phantoms.brain_appearance import AppearanceOptions, scan, texture
from medreg.data.phantoms.brain_motion import ShapeOptions, pair_motion, subject_map
from medreg.data.phantoms.brain_shapes import Array
from medreg.data.phantoms.brain_tissues import LABELS, SIGNAL
from medreg.data.phantoms.writing import Job, Phantom, write_plain
from medreg.errors import ConfigError
from medreg.io.atomic import replacing
from medreg.io.field import write_itk_field
from medreg.io.image import write_image, write_labels

TASK = "PhantomBrain"
VERSION = 1  # of the generator; part of the name of the folder
CONTRASTS = ("MR T1w", "MR T2w")
DESCRIPTORS = {
    TASK: "MR T1w",
    f"{TASK}T1T2": "MR T2w",
    f"{TASK}T1PD": "MR PDw",
}  # of moving images; T1 is fixed


class BrainPhantom(Phantom):
    """Writes synthetic T1- and T2-weighted brains: people are known deformations of one template.

    The folder `<root>/<hash of all parameters>` holds `imagesTr`, `labelsTr`, `masksTr` and `truth`, with
    modality 0000 the T1-weighted and 0001 the T2-weighted image on the same grid, and two descriptors:
    `PhantomBrain_dataset.json` registers T1 to T1, `PhantomBrainT1T2_dataset.json` T2 (moving) to T1 (fixed).
    `truth` holds the motion of each validation pair between any two contrasts, and of each person the map to
    the template, as ITK fields.

    Args:
        root: folder of all such data sets.
        subjects: people in all.
        validation_subjects: the last of them, registered in a ring: each to the next, the last to the first.
        size: voxels per axis (right, anterior, superior).
        spacing_mm: voxel size per axis.
        template_spacing_mm: voxel size of the template from which people are sampled.
        seed: of anatomy and noise.
        folding: the cortex.
        shape: how people differ.
        appearance: how scans are degraded.
        contrasts: of every person, T1 first; "MR PDw" is a third one.

    Raises:
        ConfigError: numbers that make no data set.
    """

    title: ClassVar[str] = "Writing the brain phantom"

    def __init__(
        self,
        root: str | Path,
        *,
        subjects: int,
        validation_subjects: int,
        size: Sequence[int],
        spacing_mm: Sequence[float],
        template_spacing_mm: float,
        seed: int,
        folding: FoldingOptions,
        shape: ShapeOptions,
        appearance: AppearanceOptions,
        contrasts: Sequence[str] = CONTRASTS,
    ) -> None:
        if tuple(contrasts[:1]) != CONTRASTS[:1] or not set(contrasts) <= set(SIGNAL):
            raise ConfigError(
                f"data.dataset.prepare.contrasts is {list(contrasts)}; list MR T1w first, then others of "
                f"{', '.join(SIGNAL)}."
            )
        if not 2 <= validation_subjects <= subjects <= 9999:
            raise ConfigError(
                "The brain phantom needs 2 ≤ validation_subjects ≤ subjects ≤ 9999, not "
                f"{validation_subjects} and {subjects}; set them under data.dataset.prepare."
            )
        if len(size) != 3 or len(spacing_mm) != 3 or min(size) < 8 or min(spacing_mm) <= 0:
            raise ConfigError(
                "The brain phantom needs three sizes of at least 8 voxels and three positive spacings, not "
                f"{list(size)} and {list(spacing_mm)}; set data.dataset.prepare.size and spacing_mm."
            )
        self.subjects = subjects
        self.validation_subjects = validation_subjects
        self.size = tuple(int(n) for n in size)
        self.spacing_mm = tuple(float(s) for s in spacing_mm)
        self.template_spacing_mm = float(template_spacing_mm)
        self.seed = seed
        self.folding = folding
        self.shape = shape
        self.appearance = appearance
        self.contrasts = tuple(contrasts)
        self.affine = centred_affine(self.size, self.spacing_mm)
        self.folder = self.below(root)

    def parameters(self) -> dict[str, Any]:
        """Return everything on which the files depend."""
        # Folders written before there was a choice keep their names.
        chosen = {} if self.contrasts == CONTRASTS else {"contrasts": list(self.contrasts)}
        return {
            **chosen,
            "version": VERSION,
            "subjects": self.subjects,
            "validation_subjects": self.validation_subjects,
            "size": list(self.size),
            "spacing_mm": list(self.spacing_mm),
            "template_spacing_mm": self.template_spacing_mm,
            "seed": self.seed,
            "folding": asdict(self.folding),
            "shape": asdict(self.shape),
            "appearance": asdict(self.appearance),
        }

    def missing(self) -> Sequence[Job]:
        """Return a job for each person and each known motion whose files are not all there."""
        parts = [(self._subject, k, self._subject_files(k)) for k in range(1, self.subjects + 1)]
        parts += [(self._pair, k, self._truth_files(k)) for k in self.validation()]
        jobs = [partial(write, k) for write, k, files in parts if not all(f.is_file() for f in files)]
        if jobs:
            _ = self.template, self.grain  # once, before threads ask for them
        return jobs

    def finish(self) -> None:
        """Write the descriptors."""
        for task, moving in DESCRIPTORS.items():
            if moving in self.contrasts:
                descriptor = self.descriptor(task, self.contrasts.index(moving))
                write_plain(self.folder / f"{task}_dataset.json", descriptor)

    def validation(self) -> list[int]:
        """Case numbers of the people that are registered for validation."""
        return list(range(self.subjects - self.validation_subjects + 1, self.subjects + 1))

    def partner(self, case: int) -> int:
        """Case number of the moving image that belongs to a fixed validation case."""
        ring = self.validation()
        return ring[(ring.index(case) + 1) % len(ring)]

    def map_to_template(self, case: int) -> NDArray[np.float64]:
        """Return the map of a person to the template as displacement (3, X, Y, Z), voxels."""
        generator = np.random.default_rng([self.seed, 3, case])
        return subject_map(
            self.template, self.shape, shape=self.size, affine=self.affine, generator=generator
        )

    @cached_property
    def template(self) -> Template:
        """The brain of which all people are deformations."""
        return build_template(self.template_spacing_mm, self.folding, self.seed)

    @cached_property
    def grain(self) -> Array:
        """Texture on the grid of the template."""
        return texture(self.template, self.seed)

    def descriptor(self, task: str, moving: int) -> dict[str, Any]:
        """Return the content of `<task>_dataset.json`; `moving` is the modality number of moving images."""
        modalities = range(len(self.contrasts))
        names = {str(m): name for m, name in enumerate(self.contrasts)}
        cases = [(k, m) for k in range(1, self.subjects + 1) for m in modalities]
        ring = [(k, self.partner(k)) for k in self.validation()]
        pairs = [{"fixed": _image(f, 0), "moving": _image(m, moving)} for f, m in ring]
        codes = {"0": "background", **{str(code): name for name, code in LABELS.items()}}
        return {
            "name": task,
            "release": str(VERSION),
            "description": "Synthetic brains with known deformation; see complete.json for the parameters.",
            "licence": "Apache-2.0",
            "reference": "medreg",
            "pairings": "unpaired",
            "provided_data": {m: ["image", "label", "mask"] for m in names},
            "registration_direction": {"fixed": 0, "moving": moving},
            "modality": names,
            "labels": dict.fromkeys(names, codes),
            "tensorImageSize": dict.fromkeys(names, "3D"),
            "tensorImageShape": {m: list(self.size) for m in names},
            "numTraining": len(cases),
            "numTest": 0,
            "training": [
                {kind: f"./{kind}sTr/{_stem(k, m)}.nii.gz" for kind in ("image", "label", "mask")}
                for k, m in cases
            ],
            "test": [],
            "numRegistration_val": len(pairs),
            "registration_val": pairs,
            "numRegistration_test": 0,
            "registration_test": [],
        }

    # -- files ---------------------------------------------------------------------------------------

    def _subject_files(self, case: int) -> list[Path]:
        out = [
            self.folder / f"{kind}Tr" / f"{_stem(case, m)}.nii.gz"
            for m in range(len(self.contrasts))
            for kind in ("images", "labels", "masks")
        ]
        return [*out, self.folder / "truth" / f"{_stem(case, 0)}__template_displacement.nii.gz"]

    def _truth_files(self, case: int) -> list[Path]:
        moving = self.partner(case)
        modalities = range(len(self.contrasts))
        return [
            self.folder / "truth" / f"{_stem(case, f)}__{_stem(moving, m)}_displacement.nii.gz"
            for f in modalities
            for m in modalities
        ]

    def _subject(self, case: int) -> None:
        displacement = self.map_to_template(case)
        generator = np.random.default_rng([self.seed, 4, case])
        made = scan(
            self.template,
            self.grain,
            displacement,
            self.appearance,
            affine=self.affine,
            generator=generator,
            contrasts=self.contrasts,
        )
        files = self._subject_files(case)
        for first, image in enumerate(made.images.values()):
            image_file, label_file, mask_file = files[3 * first : 3 * first + 3]
            write_image(image_file, image, self.affine, dtype=np.int16)
            write_labels(label_file, made.labels, self.affine)
            write_labels(mask_file, made.mask, self.affine)
        write_itk_field(files[-1], np.round(displacement * 256) / 256, self.affine)

    def _pair(self, case: int) -> None:
        motion = pair_motion(self.map_to_template(case), self.map_to_template(self.partner(case)))
        first, *others = self._truth_files(case)
        write_itk_field(first, motion, self.affine)
        for file in others:
            _link(first, file)


def _stem(case: int, modality: int) -> str:
    return f"{TASK}_{case:04d}_{modality:04d}"


def _image(case: int, modality: int) -> str:
    return f"./imagesTr/{_stem(case, modality)}.nii.gz"


def _link(source: Path, target: Path) -> None:
    """The same content under a second name: contrasts of one person share the grid, and so the motion."""
    with replacing(
        target
    ) as part:  # removes its own link: renaming one link of a file onto another does nothing
        part.unlink(missing_ok=True)
        try:
            part.hardlink_to(source)
        except OSError:  # a file system without hard links
            part.write_bytes(source.read_bytes())
