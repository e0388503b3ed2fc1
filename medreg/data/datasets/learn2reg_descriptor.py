"""The descriptor `<Task>_dataset.json` of a Learn2Reg task, with the irregularities of the released ones.

Hering et al., IEEE TMI 42(3), 2023; the layout is that of the releases since 2022. The only reader of descriptors: the
data sets, the audit, the evaluation and the benchmark use it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from medreg.data.records import stem
from medreg.errors import DataError
from medreg.io.json_model import checked, read_object

NAME = re.compile(r"(?P<task>.+)_(?P<case>\d{4})_(?P<modality>\d{4})")
PAIR_LISTS = {  # key of the descriptor: kind of its pairs
    "training_paired_images": "train",
    "registration_val": "validation",
    "validation": "validation",  # LUMIR
    "registration_test": "test",
    "test_paired_images": "test",
}
POINTS = ("landmarks", "keypoints")


class ListedImage(NamedTuple):
    """One entry of the training list.

    Attributes:
        image: path as listed.
        files: kind ("label", "mask", "landmarks", "keypoints", "keypoints01", …) → path as listed.
    """

    image: str
    files: Mapping[str, str]


class ListedPair(NamedTuple):
    """One pair that the descriptor names.

    Attributes:
        fixed: path of the fixed image as listed.
        moving: path of the moving image as listed.
        kind: "train", "validation" or "test".
    """

    fixed: str
    moving: str
    kind: str


def _flat(entries: Any) -> list[dict[str, str]]:
    """Return entries of a list, also of the form modality → list; an entry that is a path is its image."""
    parts = list(entries.values()) if isinstance(entries, Mapping) else [entries or []]
    texts = ({"image": entry} if isinstance(entry, str) else dict(entry) for part in parts for entry in part)
    return [{str(key): str(value) for key, value in entry.items()} for entry in texts]


def _merged(labels: Any) -> dict[int, str]:
    """Return code → name of all modalities without the background, by code."""
    parts = [part for part in labels.values() if isinstance(part, Mapping)] or [labels]
    named = {int(code): str(name) for part in parts for code, name in part.items() if str(code).isdigit()}
    return {code: named[code] for code in sorted(named) if code != 0}


Entries = Annotated[list[dict[str, str]], BeforeValidator(_flat)]


class Descriptor(BaseModel):
    """A parsed descriptor and the folder that its paths start from.

    Lists and dictionaries keyed by modality, pairs with keys fixed and moving or "0", "1" and "2", paths with
    "./", "/" or nothing in front, and both spellings of licence are read alike; unknown keys are passed over.

    Attributes:
        path: the file.
        name: name of the task, as in file names of most tasks.
        release: version of the data.
        licence: terms of use as stated; empty where the descriptor is silent.
        pairings: "paired", "unpaired" or "hybrid".
        provided: modality number → what there is of it, such as "image", "label", "mask".
        stated_direction: modality numbers of "fixed" and "moving" images; empty where none are stated (LUMIR).
        modalities: modality number → name, such as {"0": "MR T1w"}.
        codes: label code → structure without the background; empty where none are named.
        shapes: modality number → size in voxels of its images.
        counts: what the descriptor says of the length of its lists.
        training_entries: entries of the training list, which holds the validation images too in most releases.
        pair_entries: key of the descriptor → entries of that list of pairs.
    """

    model_config = ConfigDict(frozen=True, coerce_numbers_to_str=True, str_strip_whitespace=True)

    path: Path
    name: str
    release: str = ""
    licence: str = Field("", validation_alias=AliasChoices("licence", "license"))
    pairings: str = ""
    provided: dict[str, list[str]] = Field({}, validation_alias="provided_data")
    stated_direction: dict[str, str] = Field({}, validation_alias="registration_direction")
    modalities: dict[str, str] = Field({}, validation_alias="modality")
    codes: Annotated[dict[int, str], BeforeValidator(_merged)] = Field({}, validation_alias="labels")
    shapes: dict[str, tuple[int, ...]] = Field({}, validation_alias="tensorImageShape")
    counts: dict[str, Any] = {}
    training_entries: Entries = Field([], validation_alias="training")
    pair_entries: dict[str, Entries] = {}

    @model_validator(mode="before")
    @classmethod
    def _gathered(cls, content: dict[str, Any]) -> dict[str, Any]:
        """Leave out what is empty, and gather the lists of pairs and the counts."""
        given = {key: value for key, value in content.items() if value not in (None, "", [], {})}
        given.setdefault("name", content["path"].name.removesuffix("_dataset.json"))
        given["pair_entries"] = {key: given[key] for key in PAIR_LISTS if key in given}
        given["counts"] = {key: value for key, value in given.items() if key.startswith("num")}
        return given

    @property
    def folder(self) -> Path:
        """Folder of the task."""
        return self.path.parent

    @property
    def labels(self) -> dict[str, int]:
        """Structure → code without the background; empty where none are named."""
        return {name: code for code, name in self.codes.items()}

    @property
    def direction(self) -> tuple[str, str]:
        """Modality numbers of fixed and moving images; 0 and 0 where none are stated."""
        return self.stated_direction.get("fixed", "0"), self.stated_direction.get("moving", "0")

    def shape(self, modality: str) -> tuple[int, ...] | None:
        """Stated size in voxels of the images of a modality (its number), None where nothing is stated."""
        return self.shapes.get(str(int(modality)), self.shapes.get("0"))

    # -- lists -------------------------------------------------------------------------------------

    @cached_property
    def training(self) -> tuple[ListedImage, ...]:
        """Images of the training list."""
        named = (dict(entry) for entry in self.training_entries if "image" in entry)
        return tuple(ListedImage(entry.pop("image"), entry) for entry in named)

    @cached_property
    def pairs(self) -> tuple[ListedPair, ...]:
        """Pairs of all lists, training first."""
        return tuple(pair for _, pair in self._ends() if isinstance(pair, ListedPair))

    @property
    def points(self) -> tuple[str, ...]:
        """Kinds of points that the training list names: landmarks, keypoints."""
        keys = {re.sub(r"\d+$", "", key) for entry in self.training_entries for key in entry}
        return tuple(kind for kind in POINTS if kind in keys)

    @property
    def problems(self) -> tuple[str, ...]:
        """Sentences about entries that name no image or no pair."""
        nameless = (entry for entry in self.training_entries if "image" not in entry)
        return (
            *(f"An entry of training names no image: {entry}." for entry in nameless),
            *(
                f"An entry of {key} names no fixed and moving image: {found}."
                for key, found in self._ends()
                if not isinstance(found, ListedPair)
            ),
        )

    def _ends(self) -> Iterator[tuple[str, ListedPair | dict[str, str]]]:
        """Yield the key of a list and the pair, or the entry itself where it names none."""
        first, second = self.stated_direction.get("fixed", "0"), self.stated_direction.get("moving", "1")
        for key, entries in self.pair_entries.items():
            for entry in entries:
                fixed, moving = entry.get("fixed", entry.get(first)), entry.get("moving", entry.get(second))
                if fixed is None or moving is None:
                    yield key, entry
                else:
                    yield key, ListedPair(fixed, moving, PAIR_LISTS[key])

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
        DataError: the file is not valid JSON or not a descriptor; the sentence names the key.
    """
    return checked(Descriptor, read_object(path) | {"path": path}, path)


def find_descriptors(root: Path, task: str | None) -> list[Path]:
    """Return the descriptors in a folder or, with a task named, in its subfolder of that name."""
    pattern = f"{task or '*'}_dataset.json"
    folders = [root, *([root / task] if task else [])]
    return sorted(file for folder in folders if folder.is_dir() for file in folder.glob(pattern))


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
