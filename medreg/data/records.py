"""What a data set consists of (records, one an image), and what is made of them: pairs and sequences."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from medreg.data.corruption import Corruption
from medreg.io.sequence import StatedGrid

NIFTI_SUFFIXES = (".nii.gz", ".nii")


def stem(path: Path) -> str:
    """Return a file name without its NIfTI suffix (`a.b.nii.gz` → `a.b`)."""
    for suffix in NIFTI_SUFFIXES:
        if path.name.endswith(suffix):
            return path.name.removesuffix(suffix)
    return path.stem


class Item(ABC):
    """What a split is a list of: an image, a pair or a sequence."""

    id: str  # name of the case in tables

    @property
    @abstractmethod
    def parts(self) -> Mapping[str, Record]:
        """Images by the first part of their batch keys; the first one gives the grid."""

    @property
    def beside(self) -> tuple[Path, ...]:
        """Files that belong to the item but to none of its images."""
        return ()


@dataclass(frozen=True)
class Record(Item):
    """One image of one subject, with what belongs to it.

    Attributes:
        subject: the unit of splitting; already hashed where the data set demands it.
        image: image file.
        label: label map on the grid of the image.
        mask: region of interest on the grid of the image.
        keypoints: CSV of points in 0-based voxel coordinates of the image file.
        more_keypoints: a second such file, of points of another kind.
        frame: index into a 4-D image file, None for 3-D.
        label_frame: index into a 4-D label file, None for 3-D.
        phase: "ED", "ES", "t07" or "".
        modality: name of the contrast, or "".
        group: pathology, vendor or site, or "".
        split: published split ("train", "val", "test") or None.
        id: name in tables and messages; unique in the data set, never a person's number.
        must_have_label: an empty label map is an error (wrong frame), not an empty slice.
        confidential: messages show `id` instead of the path.
        by_index: label map and mask match the image voxel by voxel whatever their headers say (Learn2Reg).
        trainable: the data set lists the image for training; images that are published for evaluation only
            are never trained on.
        position: place of the image among the frames of its cine, counted from 0; that of `frame` unless stated.
        covariates: numbers and categories of the subject, from the table of the data set.
        corruption: what is done to the image when it is read, for tests of robustness.
        visit: number of the visit of the subject, None where there is one only.
        stated: the grid of image and label map where they are arrays without a header.
    """

    subject: str
    image: Path
    label: Path | None = None
    mask: Path | None = None
    keypoints: Path | None = None
    more_keypoints: Path | None = None
    frame: int | None = None
    label_frame: int | None = None
    phase: str = ""
    modality: str = ""
    group: str = ""
    split: str | None = None
    id: str = ""
    must_have_label: bool = False
    confidential: bool = False
    by_index: bool = False
    trainable: bool = True
    position: int | None = None
    covariates: Mapping[str, float | str] = field(default_factory=dict, compare=False)
    corruption: Corruption | None = None
    visit: int | None = None
    stated: StatedGrid | None = None

    def __post_init__(self) -> None:
        if not self.id:
            parts = (self.subject, self.modality, self.phase)
            object.__setattr__(self, "id", "_".join(part for part in parts if part).replace(" ", "-"))
        if self.position is None:
            object.__setattr__(self, "position", self.frame)

    @property
    def parts(self) -> Mapping[str, Record]:
        """The image itself, whose batch keys have no prefix."""
        return {"": self}

    @property
    def stem(self) -> str:
        """Name of the image in the names of truth files: the file stem, with the frame of a 4-D file."""
        return stem(self.image) if self.frame is None else f"{stem(self.image)}_t{self.frame:02d}"

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that the record refers to."""
        files = (self.image, self.label, self.mask, self.keypoints, self.more_keypoints)
        return tuple(file for file in files if file is not None)

    def without_labels(self) -> Record:
        """Return the image without what people have drawn on it."""
        return replace(
            self, label=None, label_frame=None, keypoints=None, more_keypoints=None, must_have_label=False
        )

    def describe(self, file: Path | None = None) -> str:
        """Name a file of this record in a message without giving away a person's number."""
        file = file or self.image
        return f"{file.name} of {self.id}" if self.confidential else str(file)


@dataclass(frozen=True)
class Pair(Item):
    """A fixed and a moving image to be registered.

    Attributes:
        fixed: the reference.
        moving: the image that is warped onto it.
        truth: displacement file of the true motion, where known.
        id: name of the case in tables.
        listed: the data set itself names this pair; it is never redrawn.
        evaluation: it names it for validation or test only, so that it never counts as a training pair.
    """

    fixed: Record
    moving: Record
    truth: Path | None = None
    id: str = ""
    listed: bool = False
    evaluation: bool = False

    def __post_init__(self) -> None:
        if not self.id:
            object.__setattr__(self, "id", f"{self.fixed.id}__{self.moving.id}")

    @property
    def parts(self) -> Mapping[str, Record]:
        """Both images; the fixed one gives the grid."""
        return {"fixed_": self.fixed, "moving_": self.moving}

    @property
    def beside(self) -> tuple[Path, ...]:
        """The file of the true motion, if there is one."""
        return () if self.truth is None else (self.truth,)

    @property
    def subjects(self) -> frozenset[str]:
        """The one or two subjects of the pair."""
        return frozenset((self.fixed.subject, self.moving.subject))


@dataclass(frozen=True)
class FrameSequence(Item):
    """Images of one subject in their order in time.

    Attributes:
        id: name of the case in tables.
        frames: the images, on one grid.
    """

    id: str
    frames: tuple[Record, ...]

    @property
    def parts(self) -> Mapping[str, Record]:
        """The frames by their number; the first one gives the grid."""
        return {f"{number}_": record for number, record in enumerate(self.frames)}
