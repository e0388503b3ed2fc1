"""OASIS-1 as released by neurite: aligned T1 brains, or one coronal slice of each (Hoopes et al., 2022)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Unpack

from medreg.data.datasets.base import DataSource, SourceOptions, nifti, visible
from medreg.data.datasets.learn2reg_pairs import padded, read_pair_list
from medreg.data.records import Pair, Record
from medreg.errors import DataError

NAME = re.compile(r"OASIS_(OAS1_\d{4}_MR\d)")


def _read_pairs(path: Path) -> list[tuple[str, str]]:
    found = read_pair_list(path, option="data.dataset.pairs")
    if not found.by_case:
        raise DataError(f"{path} lists files; data.dataset.pairs of OASIS is a CSV of the numbers of people.")
    return [(f"OAS1_{padded(fixed)}_MR1", f"OAS1_{padded(moving)}_MR1") for fixed, moving in found.pairs]


class OASIS(DataSource):
    """`OASIS_OAS1_0001_MR1/{aligned_norm, aligned_seg35, slice_norm, slice_seg24, …}.nii.gz`.

    Ids have gaps and not every person has every label. The 24 codes of the 2-D set differ from the 35 of the
    3-D set.

    Args:
        root: folder of the people.
        image: file name without suffix.
        label: file name of the label map, None for none.
        require_labels: leave out people without that file (they are counted).
        pairs: CSV with the columns fixed and moving, as Learn2Reg had it in 2021 (438, 439); these people are
            test cases, registered in these pairs.
        **options: of every data set.
    """

    title = "OASIS (neurite)"
    source = "Download neurite-oasis v1.0 from https://github.com/adalca/medical-datasets (OASIS data use "
    "agreement)."

    def __init__(
        self,
        root: str | Path,
        *,
        image: str,
        label: str | None,
        require_labels: bool,
        pairs: str | Path | None = None,
        **options: Unpack[SourceOptions],
    ) -> None:
        super().__init__(root, **options)
        self.image = image
        self.label = label
        self.require_labels = require_labels
        self.pairs_file = None if pairs is None else Path(pairs).expanduser()

    @cached_property
    def pairs(self) -> list[tuple[str, str]]:
        """Fixed and moving person of each pair of the CSV."""
        return [] if self.pairs_file is None else _read_pairs(self.pairs_file)

    def scan(self) -> list[Record]:
        """Return one record a person."""
        found = {m.group(1): e for e in visible(self.root) if (m := NAME.fullmatch(e.name)) and e.is_dir()}
        self._compare_with_list(set(found))
        out: list[Record] = []
        for subject, folder in found.items():
            image = nifti(folder, self.image)
            label = None if self.label is None else nifti(folder, self.label)
            if image is None:
                self.problem(f"{folder / self.image}.nii.gz is missing.")
            elif self.label is not None and label is None and self.require_labels:
                self.pass_over(subject, f"have no {self.label}")
            else:
                split = "test" if any(subject in pair for pair in self.pairs) else None
                out.append(Record(subject, image, label, modality="T1", split=split))
        return out

    def listed_pairs(self, records: Sequence[Record]) -> list[Pair]:
        """Return the pairs of the CSV."""
        known = {record.subject: record for record in records}
        missing = sorted({name for pair in self.pairs for name in pair} - known.keys() - self.exclude)
        for name in missing:
            self.problem(f"{self.root / f'OASIS_{name}'} is missing, but data.dataset.pairs lists it.")
        ends = [(known.get(fixed), known.get(moving)) for fixed, moving in self.pairs]
        return [Pair(f, m, listed=True, evaluation=True) for f, m in ends if f is not None and m is not None]

    def _compare_with_list(self, found: set[str]) -> None:
        file = self.root / "subjects.txt"
        if not file.is_file():
            return
        words = file.read_text(encoding="utf-8").split()
        listed = {m.group(1) for word in words if (m := NAME.fullmatch(word))}
        for subject in sorted(listed - found):
            self.problem(f"{self.root / f'OASIS_{subject}'} is missing, but subjects.txt lists it.")
