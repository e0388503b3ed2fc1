"""Images whose label maps are found by their names, such as `Case00.mhd` and `Case00_segmentation.mhd`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Formatter
from typing import Unpack

from medreg.data.datasets.base import DataSource, SourceOptions
from medreg.data.records import Record
from medreg.errors import ConfigError

PLACES = (
    "subject",
    "group",
    "modality",
    "phase",
)  # of a name that a record keeps; others only tell files apart


class NamedImages(DataSource):
    """Images and label maps in any folders, told by a pattern of their names.

    A pattern is a path with fields in braces, such as `{group}/{subject}_{phase}.nii.gz`: `subject` is needed, `group`
    (a site, a vendor), `modality` and `phase` are kept too, and any other field only tells files apart. Folders above
    may be of any depth, so that parts of a download stay as they were unpacked.

    Args:
        root: folder of all images.
        image: pattern of images.
        label: patterns of label maps, of the same fields, in order of preference.
        folders: published split → folder below root, or None for one folder of everything.
        **options: of every data set.
    """

    title = "The folder of images"
    source = "Say how images and label maps are called with data.dataset.image and data.dataset.label."

    def __init__(
        self,
        root: str | Path,
        *,
        image: str,
        label: Sequence[str],
        folders: Mapping[str, str] | None = None,
        **options: Unpack[SourceOptions],
    ) -> None:
        super().__init__(root, **options)
        self.image = image
        self.label_patterns = tuple(label)
        self.folders = dict(folders) if folders else {"": ""}
        self._check()

    def _check(self) -> None:
        fields = fields_of(self.image)
        if "subject" not in fields:
            raise ConfigError(f"data.dataset.image is {self.image!r}; it must hold {{subject}}.")
        for pattern in self.label_patterns:
            unknown = fields_of(pattern) - fields
            if unknown or pattern == self.image:
                raise ConfigError(
                    f"data.dataset.label is {pattern!r}; it must differ from data.dataset.image and hold no other "
                    f"fields than it ({', '.join(sorted(fields))})."
                )

    def scan(self) -> list[Record]:
        """Return the images that have a label map, and count the others."""
        return [
            record
            for split, name in self.folders.items()
            if (self.root / name).is_dir()
            for record in self._folder(self.root / name, split)
        ]

    def _folder(self, folder: Path, split: str) -> list[Record]:
        image, labels = compiled(self.image), [compiled(pattern) for pattern in self.label_patterns]
        files = [path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()]
        names = [f.as_posix() for f in files if not any(part.startswith(".") for part in f.parts)]
        out = []
        for name in names:
            match = image.fullmatch(name)
            if match is None or any(label.fullmatch(name) for label in labels):
                continue
            record = self._record(folder, name, match.groupdict(), split)
            if record.label is None:
                self.pass_over(record.subject, "have no labels")
            out.append(record)
        return out

    def _record(self, folder: Path, name: str, fields: Mapping[str, str], split: str) -> Record:
        above = folder / (fields["above"] or "")
        candidates = [above / pattern.format(**fields) for pattern in self.label_patterns]
        label = next((file for file in candidates if file.is_file()), None)
        kept = {place: fields.get(place, "") for place in PLACES}
        subject = "_".join(part for part in (kept["group"], kept["subject"]) if part)
        others = [value for field, value in fields.items() if field not in (*PLACES, "above")]
        parts = (subject, kept["modality"], *others, kept["phase"])
        return Record(
            subject,
            folder / name,
            label,
            phase=kept["phase"],
            modality=kept["modality"],
            group=kept["group"],
            split=split or None,
            id="_".join(part for part in parts if part).replace(" ", "-"),
        )


def fields_of(pattern: str) -> set[str]:
    """Return the names in braces of a pattern.

    Raises:
        ConfigError: braces that are not in order.
    """
    try:
        return {field for _, field, _, _ in Formatter().parse(pattern) if field is not None}
    except ValueError as error:
        raise ConfigError(f"The pattern {pattern!r} of data.dataset is not in order: {error}.") from error


def compiled(pattern: str) -> re.Pattern[str]:
    """Return the expression of a pattern: a field is any text without a slash, the same wherever it occurs again."""
    text, seen = "(?:(?P<above>.*)/)?", set[str]()
    for literal, field, _, _ in Formatter().parse(pattern):
        text += re.escape(literal)
        if field is not None:
            text += f"(?P={field})" if field in seen else f"(?P<{field}>[^/]+?)"
            seen.add(field)
    return re.compile(text)
