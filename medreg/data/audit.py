"""What `medreg doctor` looks for in a data set: counts, files, grids, labels and headers that lie."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from medreg.data.audit_loading import Loading
from medreg.data.findings import Audit, Notes
from medreg.data.images import ImageData
from medreg.data.images_dataset import TOLD
from medreg.data.loading import record_item
from medreg.data.records import Record
from medreg.data.split_sets import SETS, STAGES
from medreg.errors import DataError
from medreg.io.report import HeaderReport, header_report
from medreg.io.sequence import StatedGrid


def audit(data: ImageData, *, progress: Callable[[Sequence[Record]], Iterable[Record]] = iter) -> Audit:
    """Inspect every file of a data set.

    Images, label maps, masks and points are loaded by the loaders of the data module, so that nothing passes here
    at which training would stop.

    Args:
        data: the data module; its data set is read with `skip_bad`, so that one error does not hide the next.
        progress: wraps the loop over records, such as a progress bar.

    Raises:
        DatasetNotFound: there is nothing to inspect.
    """
    notes = Notes()
    left_out = "warning" if data.dataset.skip_bad else "error"
    data.dataset.skip_bad = True
    data.setup()
    records = _used(data)
    for message in data.dataset.left_out:
        remedy = "mend or replace the files, or set data.dataset.skip_bad=true"
        notes.add(left_out, message, message, remedy=remedy)
    for message in data.dataset.notes():
        notes.add("info", message, message)
    reports: dict[str, HeaderReport] = {}
    volumes: dict[tuple[str, str], int] = {}
    seen: set[int] = set()
    labels, loading = _labels(data), Loading(data, notes)
    cut: dict[int, tuple[float, str]] = {}
    for record in progress(records):
        hidden = record.confidential
        report = check_header(
            record.image, notes, name=record.describe(), voxels=False, hidden=hidden, stated=record.stated
        )
        loaded = None if report is None else loading.record(record)
        if report is not None:
            reports[record.id] = report
        if loaded is not None:
            _check_image(record, loaded["image"], notes)
            _check_label(record, loaded, labels, notes, volumes, seen)
            _measure_cut(record, data, cut)
    loading.items()
    for kind, message, example in data.oddities():
        notes.add("warning", kind, message, example=example)
    _tell_cut(cut, data, notes)
    for name, code in labels.items() if seen else ():
        if code not in seen:
            message = f"label code {code} of {name} occurs in no label map"
            notes.add("warning", message, message, remedy="correct data.labels")
    _check_phases(volumes, notes)
    _check_items(data, reports, notes)
    below = f"{data.dataset.root}{os.sep}"
    issues = (replace(issue, example=issue.example.removeprefix(below)) for issue in notes.issues())
    return Audit(_facts(data, labels, records, reports), tuple(issues))


def _used(data: ImageData) -> list[Record]:
    """All images as they are used: those of unlabelled subjects without their labels, which are never opened."""
    unlabelled = frozenset(data.split.unlabelled)
    return [
        record.without_labels() if record.subject in unlabelled else record
        for record in data.dataset.records()
    ]


def check_header(
    file: Path,
    notes: Notes,
    *,
    name: str,
    voxels: bool = True,
    usual: Collection[str] = (),
    hidden: bool = False,
    stated: StatedGrid | None = None,
) -> HeaderReport | None:
    """Return what the header of an image says, None where it cannot be read.

    Args:
        file: the image.
        notes: receives what is odd.
        name: under which the file is shown.
        voxels: look at the values too.
        usual: codes of findings that are none in this data set.
        hidden: messages must not show the path.
        stated: the grid of an array without a header.
    """
    try:
        report = header_report(file, voxels=voxels, stated=stated)
    except DataError as error:
        message = f"{name} cannot be read" if hidden else str(error)
        notes.add("error", message, message, remedy="copy or download the file again")
        return None
    for found in report.findings:
        if found.code not in usual:
            notes.add(found.severity, found.code, found.message, remedy=found.remedy, example=name)
    return report


def _labels(data: ImageData) -> dict[str, int]:
    """The structures; none where a label map that should tell them cannot be read, which is noted with its image."""
    try:
        return data.labels
    except DataError:
        return {}


def _check_image(record: Record, image: Tensor, notes: Notes) -> None:
    if float(image.max()) == float(image.min()):
        message = f"all voxels equal {float(image.flatten()[0]):g}"
        remedy = "the file is empty; export it again"
        notes.add("error", "constant", message, remedy=remedy, example=record.describe())


def _check_label(
    record: Record,
    loaded: Mapping[str, Tensor],
    labels: Mapping[str, int],
    notes: Notes,
    volumes: dict[tuple[str, str], int],
    seen: set[int],
) -> None:
    if record.label is None:
        return
    name = record.describe(record.label)
    array = np.asarray(loaded["label"][0])
    found = {int(code) for code in np.unique(array)} - {0}
    seen |= found
    if not found:
        message = "label map without any label"
        notes.add("warning", "label_empty", message, remedy="check the frame", example=name)
    missing = [structure for structure, code in labels.items() if found and code not in found]
    if missing:
        notes.add("info", f"absent {missing}", f"structures absent: {', '.join(missing[:5])}", example=name)
    if {"LV", "MYO", "RV"} <= labels.keys() and found >= {labels["LV"], labels["RV"]}:
        _check_ventricles(array, labels, notes, name)
    if "LV" in labels and record.phase in ("ED", "ES"):
        volumes[record.subject, record.phase] = int((array == labels["LV"]).sum())


def _check_ventricles(array: NDArray[Any], labels: Mapping[str, int], notes: Notes, name: str) -> None:
    """The left cavity lies inside the myocardium, the right one beside it: a swap of their codes shows."""
    left, right = (_enclosed(array, labels[cavity], labels["MYO"]) for cavity in ("LV", "RV"))
    if left < right:
        message = "RV is enclosed by myocardium rather than LV"
        notes.add("error", "ventricles", message, remedy="swap LV and RV in data.labels", example=name)


def _enclosed(array: NDArray[Any], code: int, wall: int) -> float:
    """Share of the in-plane outside neighbours of a structure that are wall."""
    touching = total = 0
    for axis in (0, 1):
        for first, second in ((slice(None, -1), slice(1, None)), (slice(1, None), slice(None, -1))):
            inside, outside = (np.moveaxis(array, axis, 0)[part] for part in (first, second))
            border = (inside == code) & (outside != code)
            touching += int((border & (outside == wall)).sum())
            total += int(border.sum())
    return touching / total if total else 0.0


def _measure_cut(record: Record, data: ImageData, cut: dict[int, tuple[float, str]]) -> None:
    """Note the largest share of each label that the crop of the preprocessing leaves out."""
    if record.label is None or data.preprocess.size is None:
        return
    try:
        prepared = data.preprocess.transform(())(record_item(record))
    except (DataError, RuntimeError):  # said where items are put together
        return
    for code, share in data.preprocess.cut_off(prepared).items():
        cut[code] = max(cut.get(code, (0.0, "")), (share, record.describe(record.label)))


def _tell_cut(cut: Mapping[int, tuple[float, str]], data: ImageData, notes: Notes) -> None:
    names = {code: name for name, code in data.labels.items()}
    size = list(data.preprocess.size or ())
    for code, (share, example) in sorted(cut.items()):
        if share > TOLD:
            what = names.get(code, f"label {code}")
            message = (
                f"data.preprocess.size={size} cuts off up to {100 * share:.0f} % of {what}: losses and metrics see "
                "only what is left"
            )
            remedy = "a larger data.preprocess.size, or data.preprocess.crop_label"
            notes.add("warning", f"cut {code}", message, remedy=remedy, example=example)


def _check_phases(volumes: Mapping[tuple[str, str], int], notes: Notes) -> None:
    for subject, phase in volumes:
        if phase == "ED" and volumes[subject, "ED"] <= volumes.get((subject, "ES"), -1):
            message = "the LV cavity is not larger in ED than in ES"
            remedy = "check the frame numbers of ED and ES, and the code of LV in data.labels"
            notes.add("warning", "phases", message, remedy=remedy, example=subject)


def _check_items(data: ImageData, reports: Mapping[str, HeaderReport], notes: Notes) -> None:
    for stage in STAGES:
        if not data.items(stage):
            remedy = f"see data.split and {data.chosen_by}; needed only for the modes that use it"
            notes.add("warning", stage, f"there are no {stage} {data.kind}", remedy=remedy)
        for item in data.items(stage):
            known = [reports[r.id] for r in item.parts.values() if r.id in reports]
            if not all(_same_grid(known[0], other) for other in known[1:]):
                message = "images of one case (fixed and moving) lie on different grids"
                remedy = "they are resampled by world coordinates (data.preprocess.alignment)"
                notes.add("info", "grids", message, remedy=remedy, example=item.id)
            ends = list(item.parts.values())
            if len(ends) == 2 and (ends[0].label is None) != (ends[1].label is None):
                message = (
                    "only one image of a pair has a label map: the overlap of such a pair is not measured"
                )
                notes.add("warning", "one label map", message, remedy="give both or none", example=item.id)


def _same_grid(first: HeaderReport, second: HeaderReport) -> bool:
    return first.shape[:3] == second.shape[:3] and bool(np.allclose(first.affine, second.affine, atol=1e-3))


def _facts(
    data: ImageData, labels: Mapping[str, int], records: Sequence[Record], reports: Mapping[str, HeaderReport]
) -> dict[str, str]:
    facts = {
        "folder": str(data.dataset.root.absolute()),
        "subjects": str(len({record.subject for record in records})),
        "images": str(len(records)),
        "phases": _counts(record.phase for record in records if record.phase),
        "modalities": _counts(record.modality for record in records if record.modality),
        "groups": _counts(record.group for record in records if record.group),
        "label maps": str(sum(record.label is not None for record in records)),
        "masks": str(sum(record.mask is not None for record in records)),
        "point files": str(sum((r.keypoints is not None) + (r.more_keypoints is not None) for r in records)),
        "label codes": ", ".join(f"{name} {code}" for name, code in labels.items()),
        "axes": _counts("".join(report.axis_codes) for report in reports.values()),
        "types": _counts(report.dtype for report in reports.values()),
    }
    if reports:
        facts["sizes (voxels)"] = _range([report.shape[:3] for report in reports.values()], "{:.0f}")
        facts["spacings (mm)"] = _range([report.spacing_mm for report in reports.values()], "{:.3g}")
    sets = [stage for stage in SETS if stage in STAGES or data.split.subjects(stage)]
    facts["subjects per set"] = ", ".join(f"{stage} {len(data.split.subjects(stage))}" for stage in sets)
    facts[f"{data.kind} per set"] = ", ".join(f"{stage} {len(data.items(stage))}" for stage in data.stages)
    return {name: text for name, text in facts.items() if text not in ("", "0")}


def _counts(values: Iterator[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(Counter(values).items()))


def _range(rows: Sequence[Sequence[float]], form: str) -> str:
    """Smallest and largest value per axis, such as 154–512 x 154–428 x 6–18."""
    axes = []
    for values in zip(*rows, strict=False):
        low, high = form.format(min(values)), form.format(max(values))
        axes.append(low if low == high else f"{low}–{high}")
    return " x ".join(axes)
