"""What `medreg doctor` looks for in a data set: counts, files, grids, labels and headers that lie."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medreg.data.images import ImageData
from medreg.data.images_dataset import TOLD
from medreg.data.loading import record_item
from medreg.data.records import Record
from medreg.data.splits import STAGES
from medreg.errors import DataError
from medreg.io.image import read_labels
from medreg.io.report import HeaderReport, header_report

SEVERITIES = ("error", "warning", "info")


@dataclass(frozen=True)
class Issue:
    """One kind of finding over the whole data set.

    Attributes:
        severity: "error", "warning" or "info".
        message: what was found.
        remedy: what to do; empty where nothing needs doing.
        count: number of files or subjects.
        example: one of them.
    """

    severity: str
    message: str
    remedy: str
    count: int
    example: str


@dataclass(frozen=True)
class Audit:
    """The state of a data set.

    Attributes:
        facts: what there is, name → text.
        issues: what is odd, worst first.
    """

    facts: dict[str, str]
    issues: tuple[Issue, ...]

    @property
    def failed(self) -> bool:
        """Whether there is any error."""
        return any(issue.severity == "error" for issue in self.issues)


@dataclass
class Notes:
    """Findings gathered by (severity, kind)."""

    found: dict[tuple[str, str], list[tuple[str, str, str]]] = field(default_factory=dict)

    def add(self, severity: str, kind: str, message: str, *, remedy: str = "", example: str = "") -> None:
        """Note a finding; findings of one severity and kind are counted together."""
        self.found.setdefault((severity, kind), []).append((message, remedy, example))

    def issues(self) -> Iterator[Issue]:
        """Yield one issue a kind, worst first."""
        for severity in SEVERITIES:
            for (level, _), entries in self.found.items():
                if level == severity:
                    message, remedy, example = entries[0]
                    yield Issue(severity, message, remedy, len(entries), example)


def audit(data: ImageData, *, progress: Callable[[Sequence[Record]], Iterable[Record]] = iter) -> Audit:
    """Inspect every file of a data set.

    Args:
        data: the data module; its data set is read with `skip_bad`, so that one error does not hide the next.
        progress: wraps the loop over records, such as a progress bar.

    Raises:
        DatasetNotFound: there is nothing to inspect.
    """
    notes = Notes()
    data.dataset.skip_bad = True
    data.setup()
    records = data.dataset.records()
    for message in data.dataset.left_out:
        notes.add(
            "error", message, message, remedy="mend or replace the files, or set data.dataset.skip_bad=true"
        )
    for message in data.dataset.notes():
        notes.add("info", message, message)
    reports: dict[str, HeaderReport] = {}
    volumes: dict[tuple[str, str], int] = {}
    cut: dict[int, tuple[float, str]] = {}
    for record in progress(records):
        hidden = record.confidential
        report = check_header(record.image, notes, name=record.describe(), hidden=hidden)
        if report is not None:
            reports[record.id] = report
            _check_label(record, report, data.labels, notes, volumes)
            _measure_cut(record, data, cut)
    _tell_cut(cut, data, notes)
    _check_phases(volumes, notes)
    _check_items(data, reports, notes)
    below = f"{data.dataset.root}{os.sep}"
    issues = (replace(issue, example=issue.example.removeprefix(below)) for issue in notes.issues())
    return Audit(_facts(data, records, reports), tuple(issues))


def check_header(
    file: Path,
    notes: Notes,
    *,
    name: str,
    voxels: bool = True,
    usual: Collection[str] = (),
    hidden: bool = False,
) -> HeaderReport | None:
    """Return what the header of an image says, None where it cannot be read.

    Args:
        file: the image.
        notes: receives what is odd.
        name: under which the file is shown.
        voxels: look at the values too.
        usual: codes of findings that are none in this data set.
        hidden: messages must not show the path.
    """
    try:
        report = header_report(file, voxels=voxels)
    except DataError as error:
        message = f"{name} cannot be read" if hidden else str(error)
        notes.add("error", message, message, remedy="copy or download the file again")
        return None
    for found in report.findings:
        if found.code not in usual:
            notes.add(found.severity, found.code, found.message, remedy=found.remedy, example=name)
    return report


def _check_label(
    record: Record,
    report: HeaderReport,
    labels: Mapping[str, int],
    notes: Notes,
    volumes: dict[tuple[str, str], int],
) -> None:
    if record.label is None:
        return
    name = record.describe(record.label)
    try:
        array = read_labels(record.label, frame=record.label_frame).array
    except DataError as error:
        notes.add("error", "label_unreadable", str(error) if not record.confidential else name, example=name)
        return
    if array.shape != report.shape[: array.ndim]:
        message = f"label map has shape {array.shape}, its image {report.shape}"
        notes.add("error", "label_shape", message, remedy="resample the label map to its image", example=name)
    found = {int(code) for code in np.unique(array)} - {0}
    unknown = found - set(labels.values())
    if unknown and labels:
        message = f"label codes {sorted(unknown)} are not in data.labels ({dict(labels)})"
        notes.add("error", "label_codes", message, remedy="correct data.labels or the files", example=name)
    if not found:
        severity = "error" if record.must_have_label else "warning"
        notes.add(
            severity, "label_empty", "label map without any label", remedy="check the frame", example=name
        )
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
        loaded = data.preprocess.transform(())(record_item(record))
    except (DataError, RuntimeError):  # said already, by the check of the file
        return
    for code, share in data.preprocess.cut_off(loaded).items():
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


def _same_grid(first: HeaderReport, second: HeaderReport) -> bool:
    return first.shape[:3] == second.shape[:3] and bool(np.allclose(first.affine, second.affine, atol=1e-3))


def _facts(data: ImageData, records: Sequence[Record], reports: Mapping[str, HeaderReport]) -> dict[str, str]:
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
        "label codes": ", ".join(f"{name} {code}" for name, code in data.labels.items()),
        "axes": _counts("".join(report.axis_codes) for report in reports.values()),
        "types": _counts(report.dtype for report in reports.values()),
    }
    if reports:
        facts["sizes (voxels)"] = _range([report.shape[:3] for report in reports.values()], "{:.0f}")
        facts["spacings (mm)"] = _range([report.spacing_mm for report in reports.values()], "{:.3g}")
    facts["subjects per set"] = ", ".join(f"{stage} {len(data.split.subjects(stage))}" for stage in STAGES)
    facts[f"{data.kind} per set"] = ", ".join(f"{stage} {len(data.items(stage))}" for stage in STAGES)
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
