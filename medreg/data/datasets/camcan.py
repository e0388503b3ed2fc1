"""Cam-CAN: T1 and T2 brain MR over the adult lifespan, as prepared by BioMedIA (GraDIRN's released code)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Unpack

from medreg.data.datasets.base import DataSource, SourceOptions, nifti, visible
from medreg.data.records import Record


class CamCAN(DataSource):
    """One folder a person: `T1_brain.nii.gz, T2_brain.nii.gz, T1_brain_MALPEM_tissues.nii.gz`, in one space.

    Args:
        root: folder of the people.
        images: modality → file name without suffix; only people that have all of them are taken, others are
            passed over.
        label: file name of the label map, which serves all modalities; None for none.
        mask: file name of the brain mask, None for none.
        **options: of every data set.
    """

    title = "Cam-CAN (prepared)"
    source = "Apply at https://opendata.mrc-cbu.cam.ac.uk; skull-strip and align the images affinely, one "
    "folder a person."

    def __init__(
        self,
        root: str | Path,
        *,
        images: Mapping[str, str],
        label: str | None,
        mask: str | None,
        **options: Unpack[SourceOptions],
    ) -> None:
        super().__init__(root, **options)
        self.images = dict(images)
        self.label = label
        self.mask = mask

    def scan(self) -> list[Record]:
        """Return every modality of every complete person."""
        out: list[Record] = []
        for folder in (entry for entry in visible(self.root) if entry.is_dir()):
            files = {modality: nifti(folder, name) for modality, name in self.images.items()}
            if None in files.values():
                self.pass_over(folder.name, f"lack one of {', '.join(self.images)}")
                continue
            label = None if self.label is None else nifti(folder, self.label)
            if self.label is not None and label is None:
                self.problem(f"{folder / self.label}.nii.gz is missing.")
                continue
            mask = None if self.mask is None else nifti(folder, self.mask)
            out += [
                Record(folder.name, file, label, mask, modality=modality)
                for modality, file in files.items()
                if file is not None
            ]
        return out
