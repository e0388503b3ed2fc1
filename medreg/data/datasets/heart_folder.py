"""Label maps of hearts in any folders, told by patterns of their names, with a table of people."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Formatter
from typing import Any, Unpack

from medreg.data.datasets.base import DataSource, SourceOptions
from medreg.data.datasets.heart_table import HeartTable, Told
from medreg.data.datasets.named import fields_of
from medreg.data.datasets.ukbb import DIGITS
from medreg.data.records import Record
from medreg.errors import ConfigError, DataError
from medreg.io.sequence import StatedGrid, is_array

logger = logging.getLogger(__name__)
FIELDS = {"subject": r"[^/]+?", "visit": r"\d+", "frame": r"\d+", "phase": r"ED|ES|ed|es"}
PHASES = ("ED", "ES")


@dataclass(frozen=True)
class _File:
    """A label file and what its name says."""

    path: Path
    number: int = 0  # of the frame
    phase: str = ""


class HeartFolder(DataSource):
    """Hearts: a 4-D file, a file a frame, or a file for ED and one for ES; and a CSV of the people.

    A pattern is a path below `root` with fields in braces: `{subject}`, and perhaps `{visit}`, `{frame}` (numbers) and
    `{phase}` (ED or ES). Of several patterns the first that finds a whole heart counts.

    Args:
        root: folder of everything.
        files: patterns of the label maps, in order of preference.
        table: CSV of the people below `root`, or an absolute path; None: nothing is told of them.
        columns: see `HeartTable`, as the following up to `missing`.
        subject: column of the person.
        visit: column of the visit.
        split: column of the set.
        sex: word → 0 (female) or 1 (male).
        factors: covariate → factor from the unit of the table.
        limits: covariate → least and greatest value that a person can have.
        missing: words for an unknown value.
        categories: covariates that are categories though they look like numbers.
        arrays: grid of `.npy` files, `spacing_mm` and `axes` (see `StatedGrid`); None where there are none.
        confidential: names of people are hashed at once and never shown.
        salt: mixed into the hash.
        **options: of every data set.
    """

    title = "The folder of hearts"
    source = "Put label maps and a CSV of people there (docs/how-to/heart-data.md); data=heart_population makes some."

    def __init__(
        self,
        root: str | Path,
        *,
        files: Sequence[str],
        table: str | None,
        columns: Mapping[str, str | None],
        subject: str,
        visit: str | None,
        split: str | None,
        sex: Mapping[Any, Any],
        factors: Mapping[str, Any],
        limits: Mapping[str, Any],
        missing: Sequence[str],
        categories: Sequence[str],
        arrays: Mapping[str, Any] | None,
        confidential: bool,
        salt: str,
        **options: Unpack[SourceOptions],
    ) -> None:
        super().__init__(root, **options)
        self.files = tuple(files)
        self.patterns = [_compiled(pattern) for pattern in self.files]
        self.table_name = table
        self.table = HeartTable(
            columns=columns,
            subject=subject,
            visit=visit,
            split=split,
            sex=sex,
            factors=factors,
            limits=limits,
            missing=missing,
            categories=categories,
            shown=not confidential,
        )
        if table is not None and visit is None and any("{visit}" in pattern for pattern in self.files):
            raise ConfigError(
                "data.dataset.files tells visits apart, the table does not: set data.dataset.visit to its column of "
                "the number of the visit."
            )
        self.arrays = None if arrays is None else _stated(arrays)
        self.confidential, self.salt = confidential, salt

    def scan(self) -> list[Record]:
        """Return the label files of every heart, those of one 4-D file as one record.

        Raises:
            DataError: a table that is not in order, or a person of it without a heart, unless `skip_bad`.
        """
        hearts = self._hearts()
        told = self._told()
        if not hearts:
            return []
        if told is None:
            return [
                r
                for (who, visit), files in hearts.items()
                for r in self._records(who, visit, files, Told({}, None))
            ]
        out: list[Record] = []
        for (who, visit), files in hearts.items():
            row = told.pop((who, visit), None)
            if row is None:
                self.pass_over(self._named(who), f"have no row in {Path(self.table_name or '').name}")
            else:
                out += self._records(who, visit, files, row)
        for note in self.notes():
            logger.warning("%s: %s.", self.title, note)
        for who, visit in told:
            where = f" of visit {visit}" if visit is not None else ""
            if self._named(who) not in self.exclude:
                self.problem(
                    f"{self._named(who)} is in {self.table_name}, but no label map{where} is in {self.root} "
                    f"({' or '.join(self.files)})."
                )
        return out

    def aliases(self) -> dict[str, str]:
        """Return name → hash of hidden people, so that a split file may list names."""
        return {who: self._named(who) for who, _ in self._hearts()} if self.confidential else {}

    def labels(self) -> dict[str, int]:
        """Return nothing: the codes are an option."""
        return {}

    def _named(self, who: str) -> str:
        if not self.confidential:
            return who
        return hashlib.sha256(f"{self.salt}:{who}".encode()).hexdigest()[:DIGITS]

    def _told(self) -> dict[tuple[str, int | None], Told] | None:
        if self.table_name is None:
            return None
        file = self.root / Path(self.table_name).expanduser()
        if not file.is_file():
            raise self.not_found(
                f"there is no table {file.name} of the people; data.dataset.table=null does without one"
            )
        return self.table.read(file)

    def _hearts(self) -> dict[tuple[str, int | None], list[_File]]:
        """Return (person, visit) → files, of the first pattern that finds a whole heart."""
        found: list[dict[tuple[str, int | None], list[_File]]] = [{} for _ in self.patterns]
        for path in sorted(self.root.rglob("*")) if self.root.is_dir() else ():
            name = path.relative_to(self.root).as_posix()
            if name.startswith(".") or "/." in name or not path.is_file():
                continue
            for hearts, pattern in zip(found, self.patterns, strict=True):
                match = pattern.fullmatch(name)
                if match is not None:
                    key, file = self._file(path, match.groupdict())
                    hearts.setdefault(key, []).append(file)
                    break
        whole: dict[tuple[str, int | None], list[_File]] = {}
        for hearts in found:
            for key, files in hearts.items():
                if key not in whole and self._is_whole(key, files):
                    whole[key] = sorted(files, key=lambda file: (file.number, file.phase))
        for key in dict.fromkeys(key for hearts in found for key in hearts):
            if key not in whole:
                self.problem(f"{self._named(key[0])} has one of ED and ES only in {self.root}.")
        return dict(sorted(whole.items(), key=lambda entry: (entry[0][0], entry[0][1] or 0)))

    def _file(self, path: Path, fields: Mapping[str, str]) -> tuple[tuple[str, int | None], _File]:
        if is_array(path) and self.arrays is None:
            raise DataError(
                f"{path.name if self.confidential else path} has no header: state the grid of such files with "
                "'data.dataset.arrays={spacing_mm: [2,1.25,1.25], axes: SPL}' (those of AgeHeart)."
            )
        visit = int(fields["visit"]) if "visit" in fields else (1 if self.table.visit is not None else None)
        number = int(fields["frame"]) if "frame" in fields else 0
        return (fields["subject"], visit), _File(path, number, fields.get("phase", "").upper())

    def _is_whole(self, key: tuple[str, int | None], files: Sequence[_File]) -> bool:
        phases = [file.phase for file in files if file.phase]
        numbers = [file.number for file in files]
        if (len(set(phases)) < len(phases)) or (not phases and len(set(numbers)) < len(numbers)):
            raise DataError(
                f"{self._named(key[0])} has two files for one frame ({files[0].path.name}, …); a pattern of "
                "data.dataset.files must tell hearts apart."
            )
        return not phases or set(phases) == set(PHASES)

    def _records(self, who: str, visit: int | None, files: Sequence[_File], told: Told) -> list[Record]:
        subject = self._named(who)
        heart = subject if visit in (None, 1) else f"{subject}_v{visit}"
        several = len(files) > 1
        out = []
        for place, file in enumerate(files):
            part = file.phase or (f"t{file.number:02d}" if several else "")
            out.append(
                Record(
                    subject,
                    file.path,
                    file.path,
                    phase=part,
                    split=told.split,
                    id="_".join(word for word in (heart, part) if word).replace(" ", "-"),
                    confidential=self.confidential,
                    position=None if file.phase else (place if several else None),
                    covariates=told.covariates,
                    group=str(told.covariates.get("group", "")),
                    visit=visit,
                    stated=self.arrays if is_array(file.path) else None,
                )
            )
        return out


def _compiled(pattern: str) -> re.Pattern[str]:
    """Return the expression of a pattern.

    Raises:
        ConfigError: unknown fields, or none that tells people apart.
    """
    fields = fields_of(pattern)
    if "subject" not in fields or fields - set(FIELDS):
        raise ConfigError(
            f"data.dataset.files holds {pattern!r}; a pattern has {{subject}}, and perhaps "
            f"{', '.join('{' + name + '}' for name in FIELDS if name != 'subject')}."
        )
    text, seen = "", set[str]()
    for literal, field, _, _ in Formatter().parse(pattern):
        text += re.escape(literal)
        if field is not None:
            text += f"(?P={field})" if field in seen else f"(?P<{field}>{FIELDS[field]})"
            seen.add(field)
    return re.compile(text)


def _stated(arrays: Mapping[str, Any]) -> StatedGrid:
    if set(arrays) != {"spacing_mm", "axes"}:
        raise ConfigError("data.dataset.arrays needs spacing_mm (three numbers, mm) and axes, such as SPL.")
    return StatedGrid(tuple(arrays["spacing_mm"]), str(arrays["axes"]))
