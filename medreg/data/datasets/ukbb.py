"""Short-axis cardiac MR of UK Biobank in the layout of BioMedIA (ukbb_cardiac, GraDIRN, midir)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Unpack

from medreg.data.datasets.base import DataSource, SourceOptions, nifti, visible
from medreg.data.records import Record
from medreg.io.image import frame_count

PHASES = ("ED", "ES")
DIGITS = 12  # hexadecimal digits of a hashed number: no collisions among half a million people


class UKBB(DataSource):
    """One folder a person: `sa_ED, sa_ES, label_sa_ED, label_sa_ES` (and `sa`), each `.nii.gz`.

    Folder names are application-specific numbers of people. They are hashed at once: tables, logs, splits and
    error messages never contain them.

    Args:
        root: folder of the people, or of the folders that `folders` names.
        image: name of the frame files, `{phase}` is ED or ES.
        labels: names of label files in order of preference; the first that exists for both phases is taken.
        require_labels: leave out people without labels (they are counted).
        cine: also take all frames of `cine_name`.
        cine_name: name of the 4-D file.
        folders: published split → folder below root, or None for one folder of people.
        salt: mixed into the hash, so that numbers cannot be found by trying all of them.
        **options: of every data set.
    """

    title = "UK Biobank cardiac MR"
    source = "Access is by application only: https://www.ukbiobank.ac.uk/use-our-data/apply-for-access."

    def __init__(
        self,
        root: str | Path,
        *,
        image: str,
        labels: Sequence[str],
        require_labels: bool,
        salt: str,
        cine: bool = False,
        cine_name: str = "sa",
        folders: Mapping[str, str] | None = None,
        **options: Unpack[SourceOptions],
    ) -> None:
        super().__init__(root, **options)
        self.image = image
        self.label_names = tuple(labels)
        self.require_labels = require_labels
        self.salt = salt
        self.cine = cine
        self.cine_name = cine_name
        self.folders = dict(folders) if folders else {"": ""}

    def hashed(self, number: str) -> str:
        """Return the name under which a person appears."""
        return hashlib.sha256(f"{self.salt}:{number}".encode()).hexdigest()[:DIGITS]

    def _people(self) -> list[tuple[Path, str]]:
        return [
            (person, split)
            for split, name in self.folders.items()
            if (self.root / name).is_dir()
            for person in visible(self.root / name)
            if person.is_dir()
        ]

    def aliases(self) -> dict[str, str]:
        """Return number → hash, so that a split file may list numbers."""
        return {person.name: self.hashed(person.name) for person, _ in self._people()}

    def scan(self) -> list[Record]:
        """Return ED and ES of every person, or all frames with `cine`."""
        return [record for person, split in self._people() for record in self._person(person, split)]

    def _person(self, folder: Path, split: str) -> list[Record]:
        subject = self.hashed(folder.name)
        images = {phase: nifti(folder, self.image.format(phase=phase)) for phase in PHASES}
        if None in images.values():
            missing = [self.image.format(phase=phase) for phase in PHASES if images[phase] is None]
            self.problem(f"{', '.join(missing)} of {subject} is missing in {self.root}.")
            return []
        labels = self._labels(folder)
        if not labels and self.require_labels:
            self.pass_over(subject, "have no labels")
            return []
        out = [
            Record(
                subject,
                image,
                labels.get(phase),
                phase=phase,
                split=split or None,
                must_have_label=phase in labels,
                confidential=True,
            )
            for phase, image in images.items()
            if image is not None
        ]
        return [*out, *self._frames(folder, subject, split)] if self.cine else out

    def _labels(self, folder: Path) -> dict[str, Path]:
        for name in self.label_names:
            found = {phase: nifti(folder, name.format(phase=phase)) for phase in PHASES}
            complete = {phase: file for phase, file in found.items() if file is not None}
            if len(complete) == len(PHASES):
                return complete
        return {}

    def _frames(self, folder: Path, subject: str, split: str) -> list[Record]:
        file = nifti(folder, self.cine_name)
        if file is None:
            self.problem(f"{self.cine_name} of {subject} is missing; data.dataset.cine=true needs it.")
            return []
        return [
            Record(subject, file, frame=t, phase=f"t{t:02d}", split=split or None, confidential=True)
            for t in range(frame_count(file))
        ]
