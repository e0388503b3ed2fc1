"""M&Ms: multi-centre, multi-vendor cine cardiac MR (Campello et al., IEEE TMI 2021)."""

from __future__ import annotations

from pathlib import Path
from typing import Unpack

from medreg.data.datasets.base import DataSource, SourceOptions, nifti, told, visible
from medreg.data.records import Record
from medreg.data.tables import read_rows

FOLDERS = {"Training/Labeled": "train", "Validation": "val", "Testing": "test"}
UNLABELLED = "Training/Unlabeled"
TOLD = {  # covariate: its column in the table
    "age_years": "Age", "height_cm": "Height", "weight_kg": "Weight", "sex": "Sex", "pathology": "Pathology",
    "vendor": "VendorName", "centre": "Centre",
}  # fmt: skip
CATEGORIES = frozenset(("centre",))  # numbers that count nothing


class MnMs(DataSource):
    """`OpenDataset/{*.csv, Training/Labeled/A0S9V9/A0S9V9_sa.nii.gz, …_sa_gt.nii.gz, Validation, Testing}`.

    Cine and labels are 4-D; labels are non-zero at ED and ES only. The frame numbers of the table are 0-based
    (those of ACDC are 1-based): a frame without any label is an error.

    Args:
        root: folder of the CSV, or its parent (with `OpenDataset` in between).
        unlabelled: also take Training/Unlabeled, whose label files are empty.
        **options: of every data set.
    """

    title = "M&Ms"
    source = "Register at https://www.ub.edu/mnms to download it."

    def __init__(
        self,
        root: str | Path,
        *,
        unlabelled: bool = False,
        **options: Unpack[SourceOptions],
    ) -> None:
        super().__init__(root, **options)
        self.unlabelled = unlabelled

    def scan(self) -> list[Record]:
        """Return ED and ES of every subject in the table."""
        base = self.root / "OpenDataset" if (self.root / "OpenDataset").is_dir() else self.root
        tables = [file for file in visible(base) if file.suffix == ".csv" and "information" in file.name]
        if len(tables) != 1:
            raise self.not_found(f"it holds {len(tables)} files *information*.csv, one is expected")
        folders = {**FOLDERS, **({UNLABELLED: "train"} if self.unlabelled else {})}
        places = {
            subject.name: (subject, split, name != UNLABELLED)
            for name, split in folders.items()
            if (base / name).is_dir()
            for subject in visible(base / name)
            if subject.is_dir()
        }
        rows = {row["External code"]: row for row in read_rows(tables[0], "External code")}
        for code in sorted(set(places) - set(rows)):
            self.problem(f"{places[code][0]} is not listed in {tables[0].name}.")
        out: list[Record] = []
        for code in sorted(set(places) & set(rows)):
            out += self._subject(*places[code], rows[code])
        return out

    def _subject(self, folder: Path, split: str, labelled: bool, row: dict[str, str]) -> list[Record]:
        image, label = nifti(folder, f"{folder.name}_sa"), nifti(folder, f"{folder.name}_sa_gt")
        if image is None or (label is None and labelled and split == "train"):
            self.problem(f"{folder} lacks {folder.name}_sa{'' if image is None else '_gt'}.nii.gz.")
            return []
        try:
            frames = {phase: int(float(row[phase])) for phase in ("ED", "ES")}
        except (KeyError, ValueError):
            self.problem(f"The table has no valid ED and ES for {folder.name}.")
            return []
        use = label if labelled else None
        return [
            Record(
                folder.name,
                image,
                use,
                frame=frame,
                label_frame=None if use is None else frame,
                phase=phase,
                group=row.get("VendorName") or row.get("Vendor", ""),
                split=split,
                must_have_label=use is not None,
                covariates=told(row, TOLD, categories=CATEGORIES),
            )
            for phase, frame in frames.items()
        ]
