"""The descriptor `<Task>_dataset.json` of a Learn2Reg task, with the irregularities of the released ones.

Hering et al., IEEE TMI 42(3), 2023; the layout is that of the releases since 2022.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medreg.data.records import stem
from medreg.errors import DataError

NAME = re.compile(r"(?P<task>.+)_(?P<case>\d{4})_(?P<modality>\d{4})")
PAIR_LISTS = {  # key of the descriptor: what it holds
    "training_paired_images": "train",
    "registration_val": "validation",
    "validation": "validation",
    "registration_test": "test",
    "test_paired_images": "test",
}
POINTS = ("landmarks", "keypoints")


@dataclass(frozen=True)
class ListedImage:
    """One entry of the training list.

    Attributes:
        image: path as listed.
        files: kind ("label", "mask", "landmarks", "keypoints", "keypoints01", …) → path as listed.
    """

    image: str
    files: Mapping[str, str]


@dataclass(frozen=True)
class ListedPair:
    """One pair that the descriptor names.

    Attributes:
        fixed: path of the fixed image as listed.
        moving: path of the moving image as listed.
        kind: "train", "validation" or "test".
    """

    fixed: str
    moving: str
    kind: str


@dataclass(frozen=True)
class Descriptor:
    """A parsed descriptor and the folder that its paths start from.

    Lists and dictionaries keyed by modality, pairs with keys fixed and moving or "0", "1" and "2", paths with
    "./", "/" or nothing in front, and both spellings of licence are read alike.

    Attributes:
        path: the file.
        content: its parsed text.
        training: images of the training list, which holds the validation images too in most releases.
        pairs: pairs of all lists, training first.
        problems: entries that name no image or no pair.
    """

    path: Path
    content: Mapping[str, Any]
    training: tuple[ListedImage, ...]
    pairs: tuple[ListedPair, ...]
    problems: tuple[str, ...]

    @property
    def folder(self) -> Path:
        """Folder of the task."""
        return self.path.parent

    @property
    def name(self) -> str:
        """Name of the task, as in file names of most tasks."""
        return str(self.content.get("name") or self.path.name.removesuffix("_dataset.json"))

    @property
    def licence(self) -> str:
        """Terms of use as stated; empty where the descriptor is silent."""
        return str(self.content.get("licence") or self.content.get("license") or "").strip()

    @property
    def modalities(self) -> dict[str, str]:
        """Modality number → name, such as {"0": "MR T1w"}."""
        return {str(number): str(name) for number, name in (self.content.get("modality") or {}).items()}

    @property
    def labels(self) -> dict[str, int]:
        """Structure → code without the background; empty where none are named."""
        named = self.content.get("labels") or {}
        per_modality = [value for value in named.values() if isinstance(value, Mapping)] or [named]
        merged = {int(code): str(name) for names in per_modality for code, name in names.items()}
        return {name: code for code, name in sorted(merged.items()) if code != 0}

    @property
    def direction(self) -> tuple[str, str]:
        """Modality numbers of fixed and moving images; 0 and 0 where none are stated (LUMIR)."""
        return _direction(self.content)

    def shape(self, modality: str) -> tuple[int, ...] | None:
        """Stated size in voxels of the images of a modality (its number), None where nothing is stated."""
        shapes = self.content.get("tensorImageShape") or {}
        found = shapes.get(str(int(modality)), shapes.get("0"))
        return None if found is None else tuple(int(size) for size in found)

    # -- files -------------------------------------------------------------------------------------

    def locate(self, name: str) -> Path:
        """Return where a listed path lies; "/" in front never means an absolute path."""
        return self.folder / relative(name)

    def image(self, name: str) -> Path | None:
        """Find a listed image; one release names a file that is called otherwise on disk."""
        path = self.locate(name)
        if path.is_file():
            return path
        near = path.with_name(re.sub(r"_[A-Z]+(\d{4}_\d{4})", r"_\1", path.name))
        return near if near.is_file() else None

    def companion(self, image: Path, kind: str, listed: str | None) -> Path | None:
        """Find label, mask or points of an image: as listed, with the right suffix, else by the layout.

        Args:
            image: the image on disk.
            kind: folder name without Tr, Ts or Val: "labels", "masks", "landmarks", "keypoints01", ….
            listed: path in the descriptor, whose suffix may be wrong.
        """
        suffix = ".csv" if kind.startswith(POINTS) else ".nii.gz"
        name = f"{stem(image)}{suffix}"
        candidates = []
        if listed is not None:
            candidates.append(self.locate(listed))
            candidates.append(candidates[0].with_name(name))
        candidates.append(self.folder / image.parent.name.replace("images", kind) / name)
        return next((file for file in candidates if file.name.endswith(suffix) and file.is_file()), None)


def read_descriptor(path: Path) -> Descriptor:
    """Read a descriptor.

    Raises:
        DataError: the file is not valid JSON or not a dictionary.
    """
    content = read_json(path)
    training, nameless = _training(content)
    pairs, incomplete = _pairs(content)
    return Descriptor(path, content, tuple(training), tuple(pairs), (*nameless, *incomplete))


def _training(content: Mapping[str, Any]) -> tuple[list[ListedImage], list[str]]:
    images, problems = [], []
    for entry in flat(content.get("training")):
        given = {"image": entry} if isinstance(entry, str) else dict(entry)
        if "image" in given:
            image = str(given.pop("image"))
            images.append(ListedImage(image, {key: str(value) for key, value in given.items()}))
        else:
            problems.append(f"An entry of training names no image: {entry}.")
    return images, problems


def _pairs(content: Mapping[str, Any]) -> tuple[list[ListedPair], list[str]]:
    fixed, moving = _direction(content)
    pairs, problems = [], []
    for key, kind in PAIR_LISTS.items():
        for entry in flat(content.get(key)):
            first, second = entry.get("fixed", entry.get(fixed)), entry.get("moving", entry.get(moving))
            if first is None or second is None:
                problems.append(f"An entry of {key} names no fixed and moving image: {entry}.")
            else:
                pairs.append(ListedPair(first, second, kind))
    return pairs, problems


def _direction(content: Mapping[str, Any]) -> tuple[str, str]:
    found = content.get("registration_direction") or {}
    return str(found.get("fixed", 0)), str(found.get("moving", 0))


def find_descriptors(root: Path, task: str | None) -> list[Path]:
    """Return the descriptors in a folder or, with a task named, in its subfolder of that name."""
    pattern = f"{task or '*'}_dataset.json"
    folders = [root, *([root / task] if task else [])]
    return sorted(file for folder in folders if folder.is_dir() for file in folder.glob(pattern))


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds a dictionary.

    Raises:
        DataError: it cannot be read or holds something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not valid JSON: {error}.") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} holds no dictionary; is it the right file?")
    return content


def pair_points(points: str, fixed: str, moving: str) -> str:
    """Return the folder name of points that were found for one pair of modalities, such as `keypoints02`.

    It is made of the sorted modality numbers (ThoraxCBCT); points of all other tasks lie in `keypoints` and
    `landmarks`.

    Args:
        points: "landmarks" or "keypoints".
        fixed: modality number of the fixed image.
        moving: modality number of the moving image.
    """
    first, second = sorted((int(fixed), int(moving)))
    return f"{points}{first}{second}"


def case_of(path: Path) -> tuple[str, str]:
    """Four-digit case and modality of a file name.

    Raises:
        DataError: the name has another form.
    """
    match = NAME.fullmatch(stem(path))
    if match is None:
        raise DataError(f"{path} is not named <Task>_<4-digit case>_<4-digit modality>.nii.gz.")
    return match.group("case"), match.group("modality")


def relative(name: str) -> str:
    """Path of a descriptor without "./" or "/" in front."""
    return name.removeprefix(".").lstrip("/")


def flat(entries: Any) -> list[Any]:
    """List of entries, also of the form modality → list."""
    return list(_entries(entries))


def _entries(entries: Any) -> Iterator[Any]:
    if isinstance(entries, Mapping):
        for part in entries.values():
            yield from part
    else:
        yield from entries or []
