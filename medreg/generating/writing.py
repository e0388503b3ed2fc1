"""The folder of a command: label maps, tables, figures, an animation, surfaces, and what it was made by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from medreg import __version__
from medreg.generating.figures import PICTURES, draw
from medreg.generating.folder import MADE, check_place, delivering
from medreg.generating.heart import Heart
from medreg.generating.measuring import lacking, measured, told_back
from medreg.generating.plan import Plan
from medreg.generating.surfaces import require_meshes, surface_files, write_surfaces
from medreg.generating.tables import (
    Row,
    change_rows,
    curve_rows,
    measure_row,
    spread_rows,
    write_rows,
)
from medreg.io.atomic import write_json
from medreg.io.like_image import write_labels_like
from medreg.metrics.hearts.sources import COMPLETED_SAMPLE

CURVES, MEASURES, SPREAD, CHANGES = "curves.csv", "measures.csv", "spread.csv", "changes.csv"
MESHES = "meshes"
LITTLE = 0.01  # share of a heart that nobody need be told of
MOST_NAMED = 4  # hearts in a sentence
KEPT = 8  # hearts whose shapes are kept for pictures; of ageing all


@dataclass
class Told:
    """What was written, and what is told of it.

    Attributes:
        place: the folder.
        measures: rows of measures.csv.
        curves: rows of curves.csv.
        kept: hearts for pictures, those of the user left out.
        incomplete: names of hearts that lack a structure.
        beyond: largest share of a heart beyond the voxels that are written.
        notes: what was odd about the hearts themselves.
        files: that were written.
    """

    place: Path
    measures: list[Row] = field(default_factory=list)
    curves: list[Row] = field(default_factory=list)
    kept: list[Heart] = field(default_factory=list)
    incomplete: list[str] = field(default_factory=list)
    beyond: float = 0.0
    notes: list[str] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)


def planned_files(plan: Plan, *, mesh: bool) -> list[str]:
    """Names of the files that will be written, relative to the folder, but for made.json."""
    names = [f"{name}.nii.gz" for name in plan.names] + [CURVES, MEASURES]
    names += {"complete": [SPREAD], "age": [CHANGES]}.get(plan.verb, [])
    names += PICTURES[plan.verb]
    if mesh:
        one = surface_files(plan.frames, plan.structures)
        names += [f"{MESHES}/{name}/{file}" for name in plan.names for file in one]
    return names


def check_output(plan: Plan, folder: str | Path, *, mesh: bool, overwrite: bool) -> Path:
    """Look at the folder before any work, and whether meshes can be made.

    Raises:
        ConfigError: see `folder.check_place`.
        MissingExtra: meshes without pyvista.
    """
    if mesh:
        require_meshes()
    return check_place(folder, planned_files(plan, mesh=mesh), inputs=plan.inputs, overwrite=overwrite)


def write(plan: Plan, hearts: Iterable[Heart], place: Path, *, mesh: bool) -> Told:
    """Make hearts one after the other and write everything about them; whole, or nothing.

    Args:
        plan: what is made.
        hearts: `plan.make()`, or hearts in memory.
        place: folder that `check_output` has looked at.
        mesh: whether surfaces are written, too.
    """
    told = Told(place)
    with delivering(place) as part:
        for heart in (*plan.given, *_written(plan, hearts, part, mesh=mesh)):
            told.measures.append(measure_row(heart, measured(heart)))
            told.curves += curve_rows(heart)
            if heart in plan.given:
                continue
            if plan.verb == "age" or len(told.kept) < KEPT:
                told.kept.append(heart)
            if absent := lacking(heart):
                told.incomplete.append(f"{heart.name} ({', '.join(absent)})")
            told.beyond = max(told.beyond, heart.place.beyond(heart.shape))
        told.notes += _notes(plan, told)
        _tables(plan, told, part)
        draw(plan.verb, part, told.kept, given=plan.given, curves=told.curves, measures=told.measures)
        files = sorted(file.relative_to(part).as_posix() for file in part.rglob("*") if file.is_file())
        write_json(part / MADE, _record(plan, told, files))
    told.files = [place / name for name in (*files, MADE)]
    return told


def _notes(plan: Plan, told: Told) -> Iterator[str]:
    """What a person should know of the hearts that were made."""
    for given in plan.given:
        yield told_back(given, told.kept[0])
    drawn = [heart for heart in told.kept if heart.source == COMPLETED_SAMPLE]
    if drawn and all(np.array_equal(heart.shape, told.kept[0].shape) for heart in drawn):
        yield "the samples are the completion itself: this model draws none"
    if told.beyond > LITTLE:
        yield (
            f"up to {100 * told.beyond:.0f} % of a heart lies beyond the slices of the file and is not written, nor "
            "counted; --grid model has all of it"
        )
    if told.incomplete:
        shown = ", ".join(told.incomplete[:MOST_NAMED]) + (" …" if len(told.incomplete) > MOST_NAMED else "")
        yield f"{len(told.incomplete)} of {len(plan.names)} hearts lack a structure in some frame: {shown}"


def _written(plan: Plan, hearts: Iterable[Heart], part: Path, *, mesh: bool) -> Iterator[Heart]:
    """Write each heart as it comes."""
    for heart in hearts:
        write_labels_like(part / f"{heart.name}.nii.gz", heart.array, heart.place.image)
        if mesh:
            write_surfaces(part / MESHES / heart.name, heart.shape, heart.place.affine, plan.structures)
        yield heart


def _tables(plan: Plan, told: Told, part: Path) -> None:
    write_rows(part / CURVES, told.curves)
    write_rows(part / MEASURES, told.measures)
    if plan.verb == "complete":
        write_rows(part / SPREAD, spread_rows(told.curves, COMPLETED_SAMPLE))
    if plan.verb == "age":
        write_rows(part / CHANGES, change_rows(told.measures))


def _record(plan: Plan, told: Told, files: Sequence[str]) -> Mapping[str, Any]:
    return {
        "command": f"medreg {plan.verb}",
        "medreg": __version__,
        **plan.record,
        "coordinates": "RAS mm",
        "notes": [*plan.notes, *told.notes],
        "files": list(files),
    }
