"""What `medreg doctor TASK_FOLDER` looks for in a Learn2Reg task: its descriptor against what lies on disk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from medreg.data.audit import check_header
from medreg.data.audit_task_files import USUAL, check_map, check_points
from medreg.data.datasets.learn2reg_descriptor import (
    NAME,
    POINTS,
    Descriptor,
    ListedPair,
    case_of,
    find_descriptors,
    pair_points,
    read_descriptor,
    relative,
)
from medreg.data.datasets.learn2reg_pairs import PairList, read_pair_list
from medreg.data.findings import Audit, Notes
from medreg.data.records import stem
from medreg.errors import DatasetNotFound
from medreg.io.report import HeaderReport

FOLDERS = {"label": "labels", "mask": "masks"}  # kind in the descriptor: folder; points keep their name


@dataclass
class _Task:
    """A task while it is inspected."""

    descriptor: Descriptor
    official: PairList | None
    deep: bool
    notes: Notes = field(default_factory=Notes)
    images: dict[Path, dict[str, str]] = field(default_factory=dict)  # on disk: companions as listed
    headers: dict[Path, HeaderReport] = field(default_factory=dict)
    evaluated: set[Path] = field(default_factory=set)  # images of validation and test pairs
    used: set[Path] = field(default_factory=set)  # every file that was accounted for
    codes: set[int] = field(default_factory=set)  # label codes met

    @property
    def known_codes(self) -> set[int]:
        stated = set(self.descriptor.labels.values())
        return stated | set(self.official.codes if self.official else ())

    @property
    def pairs(self) -> list[ListedPair]:
        """Pairs of the descriptor, validation pairs from the official list where one was given."""
        if self.official is None or self.official.by_case:
            return list(self.descriptor.pairs)
        kept = [pair for pair in self.descriptor.pairs if pair.kind != "validation"]
        return kept + [ListedPair(*pair, "validation") for pair in self.official.pairs]


def audit_task(
    folder: Path,
    *,
    config: Path | None = None,
    deep: bool = False,
    progress: Callable[[Sequence[Path]], Iterable[Path]] = iter,
) -> Audit:
    """Compare a Learn2Reg task on disk with its descriptor.

    Args:
        folder: folder of the descriptor.
        config: official evaluation config, whose pairs, labels and shape are compared too.
        deep: read voxels as well: label codes, binary masks, values that are not finite.
        progress: wraps the loop over images, such as a progress bar.

    Raises:
        DatasetNotFound: there is no descriptor, or more than one.
        DataError: the descriptor or the evaluation config cannot be read.
    """
    found = find_descriptors(folder, None)
    if len(found) != 1:
        names = ", ".join(file.name for file in found) or "none"
        raise DatasetNotFound(
            f"{folder} is checked as a Learn2Reg task, which has one file <Task>_dataset.json; found {names}. "
            "Give the folder of one task, or data=NAME for another layout."
        )
    official = None if config is None else read_pair_list(config, option="--config")
    task = _Task(read_descriptor(found[0]), official, deep)
    _list_images(task)
    for image in progress(list(task.images)):
        _check_image(task, image)
    located = ((task.descriptor.image(pair.fixed), task.descriptor.image(pair.moving)) for pair in task.pairs)
    for fixed, moving in dict.fromkeys(located):
        if fixed is not None and moving is not None:
            _check_pair(task, fixed, moving)
    _check_groups(task)
    _check_lists(task)
    _check_unlisted(task)
    return Audit(_facts(task), tuple(task.notes.issues()))


# -- what is listed --------------------------------------------------------------------------------


def _list_images(task: _Task) -> None:
    for message in task.descriptor.problems:
        task.notes.add("error", "entry", message, remedy="correct the descriptor")
    for entry in task.descriptor.training:
        path = _found(task, entry.image)
        if path is not None:
            task.images.setdefault(path, {}).update(entry.files)
    for pair in task.pairs:
        for name in (pair.fixed, pair.moving):
            path = _found(task, name)
            if path is not None:
                task.images.setdefault(path, {})
                if pair.kind != "train":
                    task.evaluated.add(path)


def _found(task: _Task, name: str) -> Path | None:
    descriptor = task.descriptor
    path = descriptor.image(name)
    if path is None:
        remedy = "complete the download, or set data.dataset.skip_bad=true"
        task.notes.add("error", "image", "a listed image is missing", remedy=remedy, example=relative(name))
    elif path != descriptor.locate(name):
        message = f"an image is listed under another name than on disk ({path.name})"
        task.notes.add("info", "renamed", message, example=relative(name))
    if path is not None and NAME.fullmatch(stem(path)) is None:
        remedy = "name it <Task>_<4-digit case>_<4-digit modality>.nii.gz"
        task.notes.add("error", "name", "a file name has another form", remedy=remedy, example=path.name)
        return None
    return path


# -- images and what belongs to them ---------------------------------------------------------------


def _check_image(task: _Task, image: Path) -> None:
    task.used.add(image)
    header = check_header(image, task.notes, name=image.name, voxels=task.deep, usual=USUAL)
    if header is None:
        return
    task.headers[image] = header
    stated = task.descriptor.shape(case_of(image)[1])
    if stated is not None and header.shape[:3] != stated:
        message = f"size {_text(header.shape)} where the descriptor states {_text(stated)}"
        remedy = "fields of another size than stated are refused by the evaluation"
        task.notes.add("error", "shape", message, remedy=remedy, example=image.name)
    for kind, folder in _kinds(task, image):
        _check_companion(task, image, header, kind, folder)


def _kinds(task: _Task, image: Path) -> Iterator[tuple[str, str]]:
    """(kind, folder) of everything that may belong to an image: listed, or in a folder of the layout."""
    listed = {kind: FOLDERS.get(kind, kind) for kind in task.images[image]}
    ending = image.parent.name.removeprefix("images")
    for path in sorted(task.descriptor.folder.glob(f"*{ending}")):
        folder = path.name.removesuffix(ending)
        kind = next((kind for kind, name in FOLDERS.items() if name == folder), folder)
        if path.is_dir() and (kind in FOLDERS or folder.startswith(POINTS)):
            listed.setdefault(kind, folder)
    return iter(sorted(listed.items()))


def _check_companion(task: _Task, image: Path, header: HeaderReport, kind: str, folder: str) -> None:
    name = task.images[image].get(kind)
    file = task.descriptor.companion(image, folder, name)
    if file is None:
        if name is not None:
            severity = "error" if image in task.evaluated else "warning"
            message = f"listed {folder} are missing" + (
                " for images that are evaluated" if severity == "error" else ""
            )
            task.notes.add(severity, f"no {kind}", message, remedy="complete the download", example=name)
        return
    task.used.add(file)
    if name is not None and file != task.descriptor.locate(name):
        message = f"{folder} are listed under another name or suffix than on disk ({file.name})"
        task.notes.add("info", f"suffix {kind}", message, example=name)
    if folder.startswith(POINTS):
        check_points(file, header, task.notes)
    else:
        found = check_map(file, header, task.notes, kind=kind, known=task.known_codes, deep=task.deep)
        task.codes |= found


# -- pairs and groups ------------------------------------------------------------------------------


def _check_pair(task: _Task, fixed_image: Path, moving_image: Path) -> None:
    fixed, moving = task.headers.get(fixed_image), task.headers.get(moving_image)
    if fixed is None or moving is None:
        return
    example = f"{fixed_image.name} ← {moving_image.name}"
    if fixed.shape[:3] != moving.shape[:3]:
        message = "fixed and moving image differ in size"
        remedy = "data.preprocess.alignment=world, centre or mask brings them together"
        task.notes.add("warning", "pair size", message, remedy=remedy, example=example)
    if not np.allclose(fixed.spacing_mm, moving.spacing_mm, rtol=1e-3):
        message = (
            f"fixed and moving image differ in voxel size ({_text(fixed.spacing_mm)} and "
            f"{_text(moving.spacing_mm)} mm)"
        )
        remedy = "errors at points are measured with that of the moving image"
        task.notes.add("info", "pair spacing", message, remedy=remedy, example=example)
    if fixed.axis_codes != moving.axis_codes:
        message = (
            f"fixed and moving image are turned differently ({''.join(fixed.axis_codes)} and "
            f"{''.join(moving.axis_codes)}), but are compared by index"
        )
        remedy = "look at both; leave the case out with data.dataset.exclude if an image is turned"
        task.notes.add("warning", "pair axes", message, remedy=remedy, example=example)
    _check_point_counts(task, fixed_image, moving_image, example)


def _check_point_counts(task: _Task, fixed: Path, moving: Path, example: str) -> None:
    numbers = (case_of(fixed)[1], case_of(moving)[1])
    for kind in [name for points in POINTS for name in (points, pair_points(points, *numbers))]:
        files = [task.descriptor.companion(end, kind, task.images[end].get(kind)) for end in (fixed, moving)]
        counts = [None if file is None else check_points(file, None, Notes()) for file in files]
        if counts[0] is None or counts[1] is None:
            if counts[0] is not counts[1] and fixed in task.evaluated:
                message = f"only one image of an evaluated pair has {kind}"
                task.notes.add("warning", f"one {kind}", message, example=example)
        elif counts[0] != counts[1]:
            message = f"{counts[0]} {kind} in the fixed image, {counts[1]} in the moving one"
            remedy = "row i of one file must be row i of the other"
            task.notes.add("error", f"count {kind}", message, remedy=remedy, example=example)


def _check_groups(task: _Task) -> None:
    """Images of one modality have one voxel size and one orientation."""
    for modality in sorted({case_of(image)[1] for image in task.headers}):
        group = {image: h for image, h in task.headers.items() if case_of(image)[1] == modality}
        spacings = Counter(tuple(round(s, 3) for s in header.spacing_mm) for header in group.values())
        codes = Counter(header.axis_codes for header in group.values())
        usual, axes = spacings.most_common(1)[0][0], codes.most_common(1)[0][0]
        for image, header in group.items():
            if not np.allclose(header.spacing_mm, usual, rtol=1e-2):
                message = f"voxel size {_text(header.spacing_mm)} mm among images of {_text(usual)} mm"
                task.notes.add("warning", f"spacing {modality}", message, example=image.name)
            if header.axis_codes != axes:
                message = f"turned {''.join(header.axis_codes)} among images that are {''.join(axes)}"
                remedy = "look at it; leave it out with data.dataset.exclude if it is turned"
                task.notes.add("warning", f"axes {modality}", message, remedy=remedy, example=image.name)


# -- lists -----------------------------------------------------------------------------------------


def _check_lists(task: _Task) -> None:
    descriptor = task.descriptor
    paths = (descriptor.image(entry.image) for entry in descriptor.training)
    trained = {case_of(path)[0] for path in paths if path in task.images}
    held_out = sorted(trained & _cases(task, "validation", "test"))
    if held_out:
        message = f"{len(held_out)} validation cases stand in the training list too"
        remedy = "nothing to do: they are not trained on unless data.split.train_on_evaluation=true"
        task.notes.add("info", "held out", message, remedy=remedy, example=held_out[0])
    validation = descriptor.pair_entries.get("registration_val", [])
    for key, count in (("numTraining", len(descriptor.training)), ("numRegistration_val", len(validation))):
        stated = descriptor.counts.get(key)
        if isinstance(stated, int) and stated != count:
            task.notes.add("info", key, f"{key} is {stated}, {count} are listed")
    if task.official is not None:
        _compare_with_config(task, task.official)


def _compare_with_config(task: _Task, official: PairList) -> None:
    listed = {
        (relative(p.fixed), relative(p.moving)) for p in task.descriptor.pairs if p.kind == "validation"
    }
    wanted = {(relative(fixed), relative(moving)) for fixed, moving in official.pairs}
    if not official.by_case and listed != wanted:
        message = (
            f"the evaluation config has {len(wanted - listed)} pairs that the descriptor does not list for "
            f"validation, and lacks {len(listed - wanted)} of it"
        )
        remedy = "data.dataset.validation_list=CONFIG keeps the cases of the config out of training"
        example = " ← ".join(min(wanted - listed, default=("", ""))).strip(" ←")
        task.notes.add("warning", "config", message, remedy=remedy, example=example)
    absent = set(official.codes) - task.codes
    if task.deep and absent:
        message = f"labels {sorted(absent)} of the evaluation config are in no label map"
        task.notes.add("warning", "config labels", message)


def _check_unlisted(task: _Task) -> None:
    for folder in sorted(path for path in task.descriptor.folder.iterdir() if path.is_dir()):
        if not folder.name.startswith(("images", *FOLDERS.values(), *POINTS)):
            continue
        for file in sorted(set(folder.iterdir()) - task.used):
            if file.name.startswith("."):
                continue
            image = folder.name.startswith("images")
            message = f"{folder.name} holds files that no entry uses"
            remedy = "they are not read; is the descriptor of this release?" if image else ""
            severity = "warning" if image else "info"
            task.notes.add(
                severity, folder.name, message, remedy=remedy, example=f"{folder.name}/{file.name}"
            )


def _cases(task: _Task, *kinds: str) -> set[str]:
    names = {name for pair in task.pairs if pair.kind in kinds for name in (pair.fixed, pair.moving)}
    paths = (task.descriptor.image(name) for name in names)
    return {case_of(path)[0] for path in paths if path in task.images}


def _facts(task: _Task) -> dict[str, str]:
    descriptor = task.descriptor
    counts = Counter(pair.kind for pair in task.pairs)
    facts = {
        "folder": str(descriptor.folder.absolute()),
        "task": f"{descriptor.name} {descriptor.release}".strip(),
        "licence": _shortened(descriptor.licence),
        "pairing": descriptor.pairings,
        "modalities": ", ".join(f"{number} {name}" for number, name in descriptor.modalities.items()),
        "direction": f"{descriptor.direction[0]} ← {descriptor.direction[1]} (fixed ← moving)",
        "images": str(len(task.images)),
        "pairs": ", ".join(f"{kind} {count}" for kind, count in counts.items()),
        "to train on": _left(task),
        "labels": ", ".join(f"{name} {code}" for name, code in descriptor.labels.items())
        or ", ".join(map(str, sorted(task.codes))),
        "sizes (voxels)": _several(header.shape[:3] for header in task.headers.values()),
        "voxel sizes (mm)": _several(header.spacing_mm for header in task.headers.values()),
        "voxels": "read" if task.deep else "not read; --deep checks label codes, masks and values",
    }
    return {name: text for name, text in facts.items() if text not in ("", "0")}


def _left(task: _Task) -> str:
    """Training images without the cases that are evaluated: in pairs, and by modality unpaired."""
    held_out = _cases(task, "validation", "test")
    descriptor = task.descriptor
    paired: set[tuple[str, ...]] = set()
    for pair in task.pairs:
        ends = [descriptor.image(name) for name in (pair.fixed, pair.moving)] if pair.kind == "train" else []
        if len(ends) == 2 and all(
            end in task.images and case_of(end)[0] not in held_out for end in ends if end
        ):
            paired.add(tuple(end.name for end in ends if end is not None))
    in_pairs = {name for names in paired for name in names}
    found = {path for entry in descriptor.training if (path := descriptor.image(entry.image)) in task.images}
    cases = {case_of(path)[0] for path in found if path.name in in_pairs}
    rest = [path for path in found if case_of(path)[0] not in held_out | cases]
    names = Counter(descriptor.modalities.get(str(int(case_of(path)[1])), "") or "scans" for path in rest)
    parts = [f"{len(paired)} pairs"] if paired else []
    return " + ".join([*parts, *(f"{count} {name}" for name, count in sorted(names.items()))]) or "nothing"


def _several(rows: Iterable[Sequence[float]]) -> str:
    """The different rows, the most frequent first, at most four."""
    counts = Counter(_text(row) for row in rows).most_common()
    shown = ", ".join(f"{text} ({count})" if len(counts) > 1 else text for text, count in counts[:4])
    return shown + (f", … {len(counts) - 4} more" if len(counts) > 4 else "")


def _text(row: Sequence[float]) -> str:
    return " x ".join(f"{value:.4g}" for value in row)


def _shortened(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= 120 else f"{words[:117]}…"
