"""Learn2Reg: any task by its descriptor `<Task>_dataset.json` (Hering et al., IEEE TMI 42(3), 2023)."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medreg.data.datasets.base import DataSource, Generator
from medreg.data.records import Pair, Record, stem
from medreg.errors import ConfigError, DataError

logger = logging.getLogger(__name__)
NAME = re.compile(r"(?P<task>.+)_(?P<case>\d{4})_(?P<modality>\d{4})")
PAIR_LISTS = {  # key of the descriptor: what it holds
    "training_paired_images": "train",
    "registration_val": "validation",
    "validation": "validation",
    "registration_test": "test",
    "test_paired_images": "test",
}


class Learn2Reg(DataSource):
    """`imagesTr, labelsTr, masksTr, keypointsTr, landmarksTr` beside `<Task>_dataset.json`.

    The irregularities of the released descriptors are understood: lists or dictionaries keyed by modality;
    pairs with keys fixed and moving or "0" and "1"; paths with "./", "/" or nothing in front; points listed
    with the suffix of an image; points, labels and masks on disk that are not listed; an entry whose file has
    another name on disk; images of validation pairs that also stand in the training list.

    A subject is the four-digit case number, and a record is named case_modality, as in displacement file
    names.

    Args:
        root: folder of the descriptor (or its parent, with the task name in between).
        task: name of the task, None where the folder holds one descriptor.
        points: folder of the points used for errors: "landmarks" or "keypoints".
        direction: modality numbers of fixed and moving images instead of the descriptor's, such as [0, 1].
        validation_as: the official validation pairs are "test" cases (validation is then split off from
            training) or "val" cases.
        prepare: a generator of this layout.
        skip_bad: leave out entries whose files are missing instead of stopping.
        exclude: case numbers to leave out (public loaders leave out NLST 0206, 0208 and 0298).
    """

    title = "Learn2Reg"
    source = "Download the task from https://learn2reg.grand-challenge.org (registration is free)."

    def __init__(
        self,
        root: str | Path,
        *,
        task: str | None,
        points: str,
        validation_as: str,
        direction: Sequence[int] | None = None,
        prepare: Generator | None = None,
        skip_bad: bool = False,
        exclude: Sequence[str] = (),
    ) -> None:
        super().__init__(root, prepare=prepare, skip_bad=skip_bad, exclude=exclude)
        if validation_as not in ("test", "val"):
            raise ConfigError(f"data.dataset.validation_as is {validation_as!r}; choose test or val.")
        if direction is not None and len(direction) != 2:
            raise ConfigError(
                f"data.dataset.direction is {list(direction)}; give two modality numbers or null."
            )
        if points not in ("landmarks", "keypoints"):
            raise ConfigError(f"data.dataset.points is {points!r}; choose landmarks or keypoints.")
        self.task = task
        self.points = points
        self.validation_as = validation_as
        self.modalities = None if direction is None else tuple(int(number) for number in direction)
        self._content: dict[str, Any] | None = None
        self._folder = self.root

    # -- the descriptor ----------------------------------------------------------------------------

    def descriptor(self) -> dict[str, Any]:
        """Return the parsed descriptor.

        Raises:
            DatasetNotFound: there is none, or several and no task is chosen.
            DataError: it is not valid JSON.
        """
        if self._content is None:
            file = self._descriptor_file()
            try:
                content = json.loads(file.read_text(encoding="utf-8"))
            except json.JSONDecodeError as error:
                raise DataError(f"{file} is not valid JSON: {error}.") from error
            self._folder, self._content = file.parent, content
        return self._content

    def _descriptor_file(self) -> Path:
        pattern = f"{self.task or '*'}_dataset.json"
        folders = [self.root, *([self.root / self.task] if self.task else [])]
        found = sorted(file for folder in folders if folder.is_dir() for file in folder.glob(pattern))
        if len(found) != 1:
            names = ", ".join(file.name for file in found) or "none"
            raise self.not_found(f"one descriptor {pattern} is expected, found {names} (data.dataset.task)")
        return found[0]

    def labels(self) -> dict[str, int]:
        """Return the label names of the descriptor without the background; empty where it names none."""
        named = self.descriptor().get("labels") or {}
        per_modality = [value for value in named.values() if isinstance(value, Mapping)] or [named]
        merged = {int(code): str(name) for names in per_modality for code, name in names.items()}
        return {name: code for code, name in sorted(merged.items()) if code != 0}

    def direction(self) -> tuple[str, str]:
        """Return the modality numbers of fixed and moving images, as strings."""
        found = self.descriptor().get("registration_direction") or {"fixed": 0, "moving": 0}
        return str(found["fixed"]), str(found["moving"])

    # -- records -----------------------------------------------------------------------------------

    def scan(self) -> list[Record]:
        """Return every image of the training list and of the pair lists."""
        content = self.descriptor()
        entries: dict[Path, Mapping[str, str]] = {}
        for entry in _flat(content.get("training", [])):
            entry = {"image": entry} if isinstance(entry, str) else entry
            self._add(entries, entry["image"], entry)
        published: dict[str, str] = {}
        for pair, kind in self._pair_entries():
            for name in pair:
                path = self._add(entries, name, {})
                if path is not None and kind != "train":
                    self._publish(published, _case(path)[0], kind)
        return [self._record(path, entry, published) for path, entry in entries.items()]

    def _publish(self, published: dict[str, str], case: str, kind: str) -> None:
        has_test = any(_flat(self.descriptor().get(key, [])) for key, k in PAIR_LISTS.items() if k == "test")
        split = "test" if kind == "test" else ("val" if has_test else self.validation_as)
        published[case] = "test" if published.get(case) == "test" else split

    def _add(
        self, entries: dict[Path, Mapping[str, str]], name: str, entry: Mapping[str, str]
    ) -> Path | None:
        path = self._resolve(name)
        if path is None:
            self.problem(f"{self._folder / _relative(name)} is listed in the descriptor but does not exist.")
            return None
        entries.setdefault(path, entry)
        return path

    def _record(self, path: Path, entry: Mapping[str, str], published: Mapping[str, str]) -> Record:
        case, modality = _case(path)
        names = self.descriptor().get("modality") or {}
        return Record(
            case,
            path,
            self._companion(path, entry.get("label"), "labels", path.name),
            self._companion(path, entry.get("mask"), "masks", path.name),
            self._companion(path, entry.get(self.points), self.points, f"{stem(path)}.csv"),
            modality=str(names.get(str(int(modality)), modality)),
            split=published.get(case),
            id=f"{case}_{modality}",
        )

    def _resolve(self, name: str) -> Path | None:
        """Find a listed image; one release names a file that is called otherwise on disk."""
        path = self._folder / _relative(name)
        if path.is_file():
            return path
        near = re.sub(r"_[A-Z]+(\d{4}_\d{4})", r"_\1", path.name)
        if near != path.name and path.with_name(near).is_file():
            logger.warning("%s is listed, %s was found and taken.", path.name, near)
            return path.with_name(near)
        return None

    def _companion(self, image: Path, listed: str | None, kind: str, name: str) -> Path | None:
        """Label, mask or points: as listed, with the right suffix, else where the layout puts them."""
        candidates = []
        if listed is not None:
            candidates.append(self._folder / _relative(listed))
            candidates.append(candidates[0].with_name(name))
        candidates.append(self._folder / image.parent.name.replace("images", kind) / name)
        wanted = ".csv" if name.endswith(".csv") else ".nii.gz"
        return next((file for file in candidates if file.name.endswith(wanted) and file.is_file()), None)

    # -- pairs -------------------------------------------------------------------------------------

    def listed_pairs(self, records: Sequence[Record]) -> list[Pair]:
        """Return the paired training images and the validation and test pairs of the descriptor."""
        known = {record.image: record for record in records}
        out: dict[str, Pair] = {}
        for (fixed, moving), _ in self._pair_entries():
            ends = [known.get(path) for name in (fixed, moving) if (path := self._resolve(name)) is not None]
            if len(ends) == 2 and ends[0] is not None and ends[1] is not None:
                pair = Pair(ends[0], ends[1], listed=True)
                out.setdefault(pair.id, pair)
        return list(out.values())

    def _pair_entries(self) -> list[tuple[tuple[str, str], str]]:
        fixed, moving = self.direction()
        out = []
        for key, kind in PAIR_LISTS.items():
            for entry in self.descriptor().get(key) or []:
                first, second = entry.get("fixed", entry.get(fixed)), entry.get("moving", entry.get(moving))
                if first is None or second is None:
                    self.problem(f"An entry of {key} names no fixed and moving image: {entry}.")
                else:
                    out.append((self._redirected(first, second), kind))
        return out

    def _redirected(self, fixed: str, moving: str) -> tuple[str, str]:
        """The same cases in the modalities that `direction` asks for."""
        if self.modalities is None:
            return fixed, moving
        names = zip((fixed, moving), self.modalities, strict=True)
        first, second = (re.sub(r"_\d{4}(?=\.nii\.gz$)", f"_{number:04d}", name) for name, number in names)
        return first, second

    def truth_folder(self, fixed: Record) -> Path:
        """Return the folder `truth` beside the descriptor."""
        return self._folder / "truth"


def _relative(name: str) -> str:
    """Path of a descriptor without "./" or "/" in front, which never means an absolute path."""
    return name.removeprefix(".").lstrip("/")


def _flat(entries: Any) -> list[Any]:
    """List of entries, also of the form modality → list."""
    if isinstance(entries, Mapping):
        return [entry for part in entries.values() for entry in part]
    return list(entries or [])


def _case(path: Path) -> tuple[str, str]:
    """Four-digit case and modality of a file name.

    Raises:
        DataError: the name has another form.
    """
    match = NAME.fullmatch(stem(path))
    if match is None:
        raise DataError(f"{path} is not named <Task>_<4-digit case>_<4-digit modality>.nii.gz.")
    return match.group("case"), match.group("modality")
