"""IXI: T1, T2 and PD brain MR of about 600 people from three hospitals."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

from medreg.data.datasets.base import DataSource, SourceOptions, visible
from medreg.data.records import Record, stem
from medreg.data.tables import read_rows
from medreg.errors import DataError, MissingExtra

NAME = re.compile(r"(IXI\d{3})-(Guys|HH|IOP)-(\d{4})-([A-Z0-9]+)")


class IXI(DataSource):
    """`T1/IXI002-Guys-0828-T1.nii.gz, T2/…-T2.nii.gz, PD/…`, perhaps with the table IXI.xls.

    Only people that have all the modalities asked for are taken; the others are counted. Ids
    that occur in the table with different ages are not one person and are left out.

    Args:
        root: folder of the modality folders.
        modalities: folders to take, such as T1 and T2.
        table: CSV (or .xls, with xlrd installed) with the column IXI_ID and AGE, relative to root; None for
            none.
        **options: of every data set.
    """

    title = "IXI"
    source = "Download the tar files from https://brain-development.org/ixi-dataset (CC BY-SA 3.0), no "
    "application."

    def __init__(
        self,
        root: str | Path,
        *,
        modalities: Sequence[str],
        table: str | None,
        **options: Unpack[SourceOptions],
    ) -> None:
        super().__init__(root, **options)
        self.modalities = tuple(modalities)
        self.table = table

    def scan(self) -> list[Record]:
        """Return every modality of the people that have all of them."""
        files = {modality: self._modality(modality) for modality in self.modalities}
        everyone = set().union(*files.values())
        complete = set.intersection(*(set(found) for found in files.values()))
        ambiguous = complete & self._repeated()
        for subject in sorted(everyone - complete):
            self.pass_over(subject, f"lack one of {', '.join(self.modalities)}")
        for subject in sorted(ambiguous):
            self.pass_over(subject, f"occur in {self.table} with different ages")
        return [
            Record(subject, file, modality=modality, group=site)
            for modality in self.modalities
            for subject, (file, site) in files[modality].items()
            if subject in complete and subject not in ambiguous
        ]

    def _modality(self, modality: str) -> dict[str, tuple[Path, str]]:
        folder = self.root / modality
        if not folder.is_dir():
            raise self.not_found(f"the folder {modality} is missing (data.dataset.modalities)")
        found: dict[str, tuple[Path, str]] = {}
        for file in visible(folder):
            match = NAME.fullmatch(stem(file))
            if match is None or match.group(4) != modality:
                self.problem(f"{file} is not named like IXI002-Guys-0828-{modality}.nii.gz.")
            elif match.group(1) in found:
                self.problem(f"{file} and {found[match.group(1)][0].name} have the same id.")
            else:
                found[match.group(1)] = (file, match.group(2))
        return found

    def _repeated(self) -> set[str]:
        """Ids that occur more than once in the table with different ages."""
        if self.table is None:
            return set()
        file = self.root / self.table
        if not file.is_file():
            raise DataError(f"{file} is missing (data.dataset.table; null works without it).")
        ages: dict[str, set[str]] = {}
        for row in read_rows(file, "IXI_ID", "AGE") if file.suffix == ".csv" else _excel_rows(file):
            ages.setdefault(f"IXI{int(float(row['IXI_ID'])):03d}", set()).add(row["AGE"])
        return {subject for subject, found in ages.items() if len(found) > 1}


def _excel_rows(file: Path) -> list[dict[str, str]]:
    import pandas as pd

    try:
        table = pd.read_excel(file)
    except ImportError as error:
        raise MissingExtra(
            f"Reading {file} needs xlrd: pip install xlrd, or save the table as CSV."
        ) from error
    return [{"IXI_ID": str(row["IXI_ID"]), "AGE": str(row["AGE"])} for _, row in table.iterrows()]
