"""Learn2Reg: any task by its descriptor `<Task>_dataset.json` (Hering et al., IEEE TMI 42(3), 2023)."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Unpack

from medreg.data.datasets.base import DataSource, SourceOptions
from medreg.data.datasets.learn2reg_descriptor import (
    POINTS,
    Descriptor,
    ListedPair,
    case_of,
    find_descriptors,
    pair_points,
    read_descriptor,
)
from medreg.data.datasets.learn2reg_pairs import PairList, padded, read_pair_list
from medreg.data.records import Pair, Record
from medreg.errors import ConfigError

logger = logging.getLogger(__name__)
OPTION = "data.dataset.validation_list"


class Learn2Reg(DataSource):
    """`imagesTr, labelsTr, masksTr, keypointsTr, landmarksTr` beside `<Task>_dataset.json`.

    The irregularities of the released descriptors are understood: lists or dictionaries keyed by modality;
    pairs with keys fixed and moving or "0", "1" and "2"; several pairs of modalities in one task; paths with
    "./", "/" or nothing in front; points listed with the suffix of an image; points per pair of modalities
    (`keypoints01Tr`); points, labels and masks on disk that are not listed; an entry whose file has another
    name on disk; images of validation pairs that also stand in the training list.

    A subject is the four-digit case number, and a record is named case_modality, as in displacement file
    names.

    Args:
        root: folder of the descriptor (or its parent, with the task name in between).
        task: name of the task, None where the folder holds one descriptor.
        points: folder of the points used for errors: "landmarks" or "keypoints".
        more_points: the other of the two, to load and to score beside (`tre_more_mm`); None for none.
        direction: modality numbers of fixed and moving images instead of the descriptor's, such as [0, 1].
        validation_as: the official validation pairs are "test" cases (validation is then split off from
            training) or "val" cases.
        validation_list: official evaluation config (.json) or `pairs_val.csv` whose pairs take the place of
            the descriptor's validation list (NLST: 0101 to 0110 instead of 0041 to 0050); a config also
            names the label codes where the descriptor does not.
        **options: of every data set.
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
        validation_list: str | Path | None = None,
        more_points: str | None = None,
        **options: Unpack[SourceOptions],
    ) -> None:
        super().__init__(root, **options)
        if validation_as not in ("test", "val"):
            raise ConfigError(f"data.dataset.validation_as is {validation_as!r}; choose test or val.")
        if direction is not None and len(direction) != 2:
            raise ConfigError(
                f"data.dataset.direction is {list(direction)}; give two modality numbers or null."
            )
        if points not in POINTS:
            raise ConfigError(f"data.dataset.points is {points!r}; choose landmarks or keypoints.")
        if more_points is not None and (more_points not in POINTS or more_points == points):
            raise ConfigError(
                f"data.dataset.more_points is {more_points!r}; choose what data.dataset.points={points} is not, "
                f"of {' and '.join(POINTS)}, or null."
            )
        self.task = task
        self.points, self.more_points = points, more_points
        self.validation_as = validation_as
        self.modalities = None if direction is None else tuple(int(number) for number in direction)
        self.validation_list = None if validation_list is None else Path(validation_list).expanduser()
        self._descriptor: Descriptor | None = None

    @property
    def descriptor(self) -> Descriptor:
        """The parsed descriptor.

        Raises:
            DatasetNotFound: there is none, or several and no task is chosen.
            DataError: it is not valid JSON or not a descriptor.
        """
        if self._descriptor is None:
            found = find_descriptors(self.root, self.task)
            if len(found) != 1:
                names = ", ".join(file.name for file in found) or "none"
                pattern = f"{self.task or '*'}_dataset.json"
                raise self.not_found(
                    f"one descriptor {pattern} is expected, found {names} (data.dataset.task)"
                )
            self._descriptor = read_descriptor(found[0])
        return self._descriptor

    @cached_property
    def official(self) -> PairList | None:
        """The list of validation pairs that takes the place of the descriptor's."""
        return None if self.validation_list is None else read_pair_list(self.validation_list, option=OPTION)

    def labels(self) -> dict[str, int]:
        """Return structure → code without the background: of the descriptor, else of the evaluation config."""
        if self.descriptor.labels or self.official is None:
            return self.descriptor.labels
        return {f"label{code}": code for code in self.official.codes}

    # -- records -----------------------------------------------------------------------------------

    def scan(self) -> list[Record]:
        """Return every image of the training list and of the pair lists."""
        descriptor = self.descriptor
        files: dict[Path, Mapping[str, str]] = {}
        trained: set[Path] = set()
        for entry in descriptor.training:
            path = self._found(entry.image)
            if path is not None:
                files.setdefault(path, entry.files)
                trained.add(path)
        published: dict[str, str] = {}
        pairs = self._pairs()
        for message in descriptor.problems:
            self.problem(message)
        for pair in pairs:
            for name in (pair.fixed, pair.moving):
                path = self._found(name)
                if path is not None:
                    files.setdefault(path, {})
                    self._publish(published, case_of(path)[0], pair.kind, pairs)
                    if pair.kind == "train":
                        trained.add(path)
        return [self._record(path, entry, published, path in trained) for path, entry in files.items()]

    def _publish(self, published: dict[str, str], case: str, kind: str, pairs: Sequence[ListedPair]) -> None:
        if kind == "train":
            return
        has_test = any(pair.kind == "test" for pair in pairs)
        split = "test" if kind == "test" else ("val" if has_test else self.validation_as)
        published[case] = "test" if published.get(case) == "test" else split

    def _found(self, name: str) -> Path | None:
        path = self.descriptor.image(name)
        if path is None:
            self.problem(f"{self.descriptor.locate(name)} is listed in the descriptor but does not exist.")
        elif path != self.descriptor.locate(name):
            logger.warning("%s is listed, %s was found and taken.", Path(name).name, path.name)
        return path

    def _record(
        self, path: Path, files: Mapping[str, str], published: Mapping[str, str], trainable: bool
    ) -> Record:
        case, modality = case_of(path)
        descriptor = self.descriptor
        return Record(
            case,
            path,
            descriptor.companion(path, "labels", files.get("label")),
            descriptor.companion(path, "masks", files.get("mask")),
            descriptor.companion(path, self.points, files.get(self.points)),
            None
            if self.more_points is None
            else descriptor.companion(path, self.more_points, files.get(self.more_points)),
            modality=descriptor.modalities.get(str(int(modality)), modality),
            split=published.get(case),
            id=f"{case}_{modality}",
            by_index=True,
            trainable=trainable,
        )

    # -- pairs -------------------------------------------------------------------------------------

    def listed_pairs(self, records: Sequence[Record]) -> list[Pair]:
        """Return the paired training images and the validation and test pairs of the descriptor."""
        known = {record.image: record for record in records}
        out: dict[str, Pair] = {}
        for entry in self._pairs():
            paths = [self.descriptor.image(name) for name in (entry.fixed, entry.moving)]
            ends = [known[path] for path in paths if path in known]
            if len(ends) == 2:
                only = entry.kind != "train"  # a pair of both lists was met as a training pair before
                pair = Pair(*self._with_points(*ends), listed=True, evaluation=only)
                out.setdefault(pair.id, pair)
        return list(out.values())

    def _with_points(self, fixed: Record, moving: Record) -> tuple[Record, Record]:
        """Both ends with the points that were found for this pair of modalities, if there are any."""
        ends = [fixed, moving]
        numbers = [case_of(record.image)[1] for record in ends]
        for points, field in ((self.points, "keypoints"), (self.more_points, "more_keypoints")):
            if points is not None:
                kind = pair_points(points, *numbers)
                files = [self.descriptor.companion(record.image, kind, None) for record in ends]
                if None not in files:
                    ends = [replace(end, **{field: file}) for end, file in zip(ends, files, strict=True)]  # type: ignore[arg-type]
        return ends[0], ends[1]

    def _pairs(self) -> list[ListedPair]:
        """Pairs of the descriptor, or of the official list for validation, in the wanted direction."""
        listed = list(self.descriptor.pairs)
        if self.official is not None:
            listed = [pair for pair in listed if pair.kind != "validation"]
            listed += [ListedPair(*self._official_names(*pair), "validation") for pair in self.official.pairs]
        return [self._redirected(pair) for pair in listed]

    def _official_names(self, fixed: str, moving: str) -> tuple[str, str]:
        if self.official is None or not self.official.by_case:
            return fixed, moving
        names = zip((fixed, moving), self.descriptor.direction, strict=True)
        first, second = (self._name_of(padded(case), int(modality)) for case, modality in names)
        return first, second

    def _name_of(self, case: str, modality: int) -> str:
        """Path of a case: as listed for training, else as the layout has it."""
        ending = f"_{case}_{modality:04d}.nii.gz"
        listed = (entry.image for entry in self.descriptor.training if entry.image.endswith(ending))
        return next(listed, f"./imagesTr/{self.descriptor.name}{ending}")

    def _redirected(self, pair: ListedPair) -> ListedPair:
        """The same cases in the modalities that `direction` asks for."""
        if self.modalities is None:
            return pair
        names = zip((pair.fixed, pair.moving), self.modalities, strict=True)
        first, second = (re.sub(r"_\d{4}(?=\.nii\.gz$)", f"_{number:04d}", name) for name, number in names)
        return pair._replace(fixed=first, moving=second)

    def truth_folder(self, fixed: Record) -> Path:
        """Return the folder `truth` beside the descriptor."""
        return self.descriptor.folder / "truth"
