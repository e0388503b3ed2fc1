"""ACDC: cine cardiac MR of 150 people, ED and ES labelled (Bernard et al., IEEE TMI 37(11), 2018)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Unpack

from medreg.data.datasets.base import DataSource, SourceOptions, nifti, told, visible
from medreg.data.published_splits import PublishedSplit, read_published
from medreg.data.records import Record
from medreg.errors import DataError
from medreg.io.image import frame_count

SPLITS = {"training": "train", "testing": "test"}
TOLD = {"group": "Group", "height_cm": "Height", "weight_kg": "Weight"}  # covariate: its key in Info.cfg


class ACDC(DataSource):
    """The official folders, `training/patient001/{Info.cfg, patient001_frame01.nii.gz, …_gt, …_4d}`.

    ED and ES are read from Info.cfg (1-based frame numbers), never assumed: patient090 has no frame01. Test
    labels are absent from older releases.

    Args:
        root: folder that holds `training` and, perhaps, `testing`; its parent (with `database` in between)
            will do.
        cine: also take every frame of the 4-D file, to register all of them to ED.
        contrasts: further images on the grid of ED and ES, `patient001_frame01_t1.nii.gz` for "t1" (only the
            phantom has them); that is then the modality, and "cine" that of the others.
        unlabelled: also take training images without a label map, which is a mistake in the folder otherwise.
        **options: of every data set.
    """

    title = "ACDC"
    source = (
        "Apply for the data at https://humanheart-project.creatis.insa-lyon.fr (database page, free "
        "registration); unpack it so that the folder holds training/patient001."
    )

    def __init__(
        self,
        root: str | Path,
        *,
        cine: bool = False,
        contrasts: Sequence[str] = (),
        unlabelled: bool = False,
        **options: Unpack[SourceOptions],
    ) -> None:
        super().__init__(root, **options)
        self.cine = cine
        self.contrasts = tuple(contrasts)
        self.unlabelled = unlabelled

    def scan(self) -> list[Record]:
        """Return ED and ES of every patient, or all frames with `cine`."""
        base = next((f for f in (self.root, self.root / "database") if (f / "training").is_dir()), self.root)
        out: list[Record] = []
        for name, split in SPLITS.items():
            folder = base / name
            for patient in visible(folder) if folder.is_dir() else []:
                if patient.is_dir() and re.fullmatch(r"patient\d{3,}", patient.name):
                    out += self._patient(patient, split)
                elif patient.suffix not in (".md", ".txt"):
                    self.problem(f"{patient} is not a patient folder (patient001, patient002, …).")
        return out

    def _patient(self, folder: Path, split: str) -> list[Record]:
        try:
            info = read_info(folder / "Info.cfg")
            frames = {"ED": int(info["ED"]), "ES": int(info["ES"])}
        except (DataError, KeyError, ValueError) as error:
            reason = (
                str(error)
                if isinstance(error, DataError)
                else f"{folder / 'Info.cfg'} has no valid ED and ES."
            )
            self.problem(reason)
            return []
        group = info.get("Group", "")
        out = []
        for phase, number in frames.items():
            name = f"{folder.name}_frame{number:02d}"
            image, label = nifti(folder, name), nifti(folder, f"{name}_gt")
            if image is None:
                self.problem(
                    f"{folder / name}.nii.gz is missing, but Info.cfg says that {phase} is frame {number}."
                )
                return []
            if label is None and split == "train" and not self.unlabelled:
                hint = "; data.dataset.unlabelled=true takes images without one"
                self.problem(f"{folder / name}_gt.nii.gz is missing{hint}.")
                return []
            record = Record(
                folder.name,
                image,
                label,
                phase=phase,
                modality="cine" if self.contrasts else "",
                group=group,
                split=split,
                must_have_label=label is not None,
                position=number - 1,
                covariates=told(info, TOLD),
            )
            out += [record, *self._other_contrasts(record)]
        return self._all_frames(folder, out, frames) if self.cine else out

    def _other_contrasts(self, record: Record) -> list[Record]:
        out = []
        for contrast in self.contrasts:
            image = nifti(record.image.parent, f"{record.stem}_{contrast}")
            if image is None:
                self.problem(f"{record.image.parent / record.stem}_{contrast}.nii.gz is missing.")
            else:
                out.append(replace(record, image=image, modality=contrast, id=""))
        return out

    def published_splits(self) -> Mapping[str, PublishedSplit]:
        """Return those of AdvChain and its like, of the hundred patients of `training`; a phantom has none."""
        return (
            {} if self.generator is not None else read_published(Path(__file__).with_name("acdc_splits.yaml"))
        )

    def truth(self, fixed: Record, moving: Record) -> Path | None:
        """Return the known motion, which is the same for all contrasts of a frame."""
        names = [record.stem.removesuffix(f"_{record.modality}") for record in (fixed, moving)]
        file = self.truth_folder(fixed) / f"{names[0]}__{names[1]}_displacement.nii.gz"
        return file if file.is_file() else None

    def _all_frames(self, folder: Path, labelled: list[Record], frames: dict[str, int]) -> list[Record]:
        cine = nifti(folder, f"{folder.name}_4d")
        if cine is None:
            self.problem(f"{folder / folder.name}_4d.nii.gz is missing; data.dataset.cine=true needs it.")
            return []
        known = {frames[record.phase] for record in labelled}
        count = frame_count(cine)
        if max(known) > count:
            self.problem(f"{cine} has {count} frames, but Info.cfg names frame {max(known)}.")
            return []
        first = labelled[0]
        rest = [n for n in range(1, count + 1) if n not in known]
        others = [
            replace(
                first,
                image=cine,
                label=None,
                frame=n - 1,
                position=n - 1,
                phase=f"t{n:02d}",
                must_have_label=False,
                id="",
            )
            for n in rest
        ]
        return [*labelled, *others]


def read_info(file: Path) -> dict[str, str]:
    """Return the `key: value` lines of an Info.cfg.

    Raises:
        DataError: the file is missing.
    """
    if not file.is_file():
        raise DataError(f"{file} is missing.")
    rows = (line.split(":", 1) for line in file.read_text(encoding="utf-8").splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, value in rows}
