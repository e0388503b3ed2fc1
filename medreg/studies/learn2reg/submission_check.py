"""Look at a submission before it is sent: names, shapes, types, units, NaN, count, size, and what does not belong."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from medreg.data.datasets.learn2reg_config import EvaluationConfig
from medreg.errors import MedregError
from medreg.studies.learn2reg.fields import Entry, FieldSource
from medreg.studies.learn2reg.names import Rule, accepted_names
from medreg.studies.learn2reg.submission_format import Form

SMALL_VOXELS = 1.0  # largest displacement of normalised coordinates, which run from -1 to 1
IDENTITY_TOLERANCE = 0.25  # share of the grid: a field whose corners move as far as the grid is long is a map
FAR = 0.5  # share of the image; further displacements are hardly anatomy
SHOWN = 8  # names in a message that says how many more there are


@dataclass(frozen=True)
class Check:
    """What was found.

    Attributes:
        errors: reasons for which the challenge would refuse or misread the submission.
        warnings: what looks wrong but may be meant.
        fields: number of fields that were looked at.
        pairs: number of pairs that the task has.
        megabytes: size on disk.
    """

    errors: tuple[str, ...]
    warnings: tuple[str, ...]
    fields: int
    pairs: int
    megabytes: float

    @property
    def passed(self) -> bool:
        """Whether there is no error."""
        return not self.errors


@dataclass(frozen=True)
class _Seen:
    """Largest displacement of a field along each axis, voxels, and whether it looks like a map."""

    name: str
    largest: NDArray[np.float64]
    is_map: bool


def check_submission(path: str | Path, config: EvaluationConfig, form: Form, *, rule: Rule = "any") -> Check:
    """Check a folder or zip of displacement fields; every finding is reported, not only the first.

    Args:
        path: the submission.
        config: grid and pairs of the task.
        form: edition and type that are expected.
        rule: file names of which official code: "2022" (until February 2025, and the challenge site), "2025", or
            "any".

    Raises:
        DataError: neither a folder nor a zip.
    """
    path = Path(path)
    source = FieldSource(path)
    if form.old and any(f"{form.folder}/" in f"/{entry.name}" for entry in source.entries()):
        source = FieldSource(path / form.folder)  # a zip of that edition holds several tasks
    errors, warnings = _names(source, config, form, rule)
    warnings += _surplus(source, config, form)
    seen: list[_Seen] = []
    for pair in config.pairs:
        try:
            entry = source.find(pair)
            if entry is not None:
                seen.append(_field(source, entry, config, form, errors))
        except MedregError as error:
            errors.append(str(error))
    warnings += _units(seen, config.shape)
    size = path.stat().st_size if path.is_file() else sum(entry.size for entry in source.entries())
    return Check(tuple(errors), tuple(warnings), len(seen), len(config.pairs), size / 1e6)


def _names(
    source: FieldSource, config: EvaluationConfig, form: Form, rule: Rule
) -> tuple[list[str], list[str]]:
    errors, warnings = [], []
    lost = [pair for pair in config.pairs if source.find(pair, rule=rule) is None]
    if lost:
        names = [accepted_names(pair, rule="2022" if rule == "any" else rule)[0] for pair in lost]
        errors.append(
            f"{len(lost)} of {len(config.pairs)} fields are missing: "
            f"{_list([name + form.suffix for name in names], limit=len(names))}."
        )
    if rule == "any":
        for only, other, told in (
            ("2022", "2025", "not by the official code since February 2025, which wants disp_F_f_M_m"),
            ("2025", "2022", "not by the challenge site and official code before February 2025"),
        ):
            found = [
                pair
                for pair in config.pairs
                if source.find(pair, rule=_rule(only)) and not source.find(pair, rule=_rule(other))
            ]
            if found:
                warnings.append(
                    f"The names of {len(found)} fields are understood by one rule only: {told} "
                    "(--naming both writes both)."
                )
    return errors, warnings


def _rule(name: str) -> Rule:
    return "2022" if name == "2022" else "2025"


def _surplus(source: FieldSource, config: EvaluationConfig, form: Form) -> list[str]:
    """Files that belong to no pair, and folders as the challenge does not want them."""
    wanted = {name for pair in config.pairs for name in accepted_names(pair)}
    fields = source.entries()
    extra = [entry.name for entry in fields if _stem(entry.name) not in wanted]
    known = {entry.name for entry in fields}
    others = [name for name in _all_files(source) if name not in known]
    out = []
    if extra:
        out.append(f"{len(extra)} fields belong to no pair of {config.name}: {_list(extra)}.")
    if others:
        out.append(f"{len(others)} files are no displacement fields: {_list(others)}.")
    folders = {str(PurePosixPath(entry.name).parent) for entry in fields if _stem(entry.name) in wanted}
    if source.archive is not None and not source.inside:
        if folders == {"."}:
            out.append(
                "The fields lie at the top of the zip; the challenge's examples have them in one folder."
            )
        elif form.old and folders and not all(PurePosixPath(f).name == form.folder for f in folders):
            out.append(f"The edition {form.edition} wants the fields in the folder {form.folder}.")
        elif len(folders) > 1 or any("/" in folder for folder in folders):
            out.append(
                f"The fields lie in {_list(sorted(folders))}; the challenge's examples have one folder."
            )
    return out


def _field(
    source: FieldSource, entry: Entry, config: EvaluationConfig, form: Form, errors: list[str]
) -> _Seen:
    """Read one field; say what is wrong with it, and return what tells its unit."""
    field = source.read(entry, config.shape)
    stored = _stored(source, entry)
    if stored is not None:
        dtype, shape = stored
        if form.old and dtype != np.float16:
            errors.append(f"{entry.name}: values are {dtype}; the edition {form.edition} takes float16 only.")
        if shape != form.stored_shape(config.shape):
            errors.append(
                f"{entry.name}: shape {_times(shape)}; the edition {form.edition} wants "
                f"{_times(form.stored_shape(config.shape))}."
            )
    elif form.old:
        errors.append(f"{entry.name}: the edition {form.edition} takes .npz files only.")
    elif field.notes and config.name != "LUMIR":
        errors.append(f"{entry.name}: {field.notes[0]}; since 2022 the shape is (X, Y, Z, 3).")
    return _seen(entry.name, field.values, config.shape)


def _stored(source: FieldSource, entry: Entry) -> tuple[np.dtype, tuple[int, ...]] | None:
    """Type and shape of the array in an `.npz`, from its header; None for NIfTI."""
    if not entry.name.endswith(".npz"):
        return None
    if source.archive is None:
        content = (source.path / entry.name).read_bytes()
    else:
        with zipfile.ZipFile(source.archive) as archive:
            content = archive.read(source.inside + entry.name)
    with zipfile.ZipFile(io.BytesIO(content)) as arrays, arrays.open(arrays.namelist()[0]) as stream:
        version = np.lib.format.read_magic(stream)
        read = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = read(stream)
    return np.dtype(dtype), tuple(shape)


def _seen(name: str, values: NDArray[np.floating], shape: Sequence[int]) -> _Seen:
    largest = np.array([float(np.abs(values[..., axis]).max()) for axis in range(3)])
    # A map x + u instead of u grows along each axis by the length of the grid.
    rise = [
        float(values[-1, 0, 0, 0] - values[0, 0, 0, 0]),
        float(values[0, -1, 0, 1] - values[0, 0, 0, 1]),
        float(values[0, 0, -1, 2] - values[0, 0, 0, 2]),
    ]
    lengths = [size - 1 for size in shape]
    is_map = all(
        abs(found - length) <= IDENTITY_TOLERANCE * length
        for found, length in zip(rise, lengths, strict=True)
    )
    return _Seen(name, largest, is_map)


def _units(seen: Sequence[_Seen], shape: Sequence[int]) -> list[str]:
    """Signs of another unit or meaning, over all fields."""
    if not seen:
        return []
    out = []
    largest = np.stack([one.largest for one in seen])
    maps = [one.name for one in seen if one.is_map]
    still = [one.name for one in seen if not one.largest.any()]
    far = [one.name for one in seen if (one.largest > FAR * np.array(shape)).any() and not one.is_map]
    if maps:
        out.append(
            f"{_list(maps)}: the values grow like the coordinates themselves; a field holds displacements, not "
            "positions. Subtract the identity."
        )
    if far:
        top = largest.max()
        out.append(
            f"{_list(far)}: displacements of up to {top:.0f} voxels on a grid of {_times(tuple(shape))}. Are they in "
            "millimetres, or relative to another origin? The unit is the voxel."
        )
    if len(still) == len(seen):
        out.append("All fields are exactly zero.")
    elif still:
        out.append(f"{len(still)} fields are exactly zero: {_list(still)}.")
    if largest.max() <= SMALL_VOXELS and len(still) < len(seen):
        out.append(
            f"No displacement is larger than {largest.max():.2g} voxel. Are they normalised (-1 to 1)? The unit is the "
            "voxel: multiply by (size - 1)/2 (align_corners) or size/2, and reverse the order of the components."
        )
    return out


def _all_files(source: FieldSource) -> list[str]:
    if source.archive is not None:
        with zipfile.ZipFile(source.archive) as archive:
            names = [info.filename for info in archive.infolist() if not info.is_dir()]
        return [name.removeprefix(source.inside) for name in names if name.startswith(source.inside)]
    files = (file for file in source.path.rglob("*") if file.is_file() and not file.name.startswith("."))
    return [file.relative_to(source.path).as_posix() for file in files]


def _stem(name: str) -> str:
    plain = PurePosixPath(name).name
    for suffix in (".npz", ".nii.gz", ".nii"):
        plain = plain.removesuffix(suffix)
    return plain


def _times(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape))


def _list(names: Sequence[str], *, limit: int = SHOWN) -> str:
    shown = ", ".join(names[:limit])
    return f"{shown} and {len(names) - limit} more" if len(names) > limit else shown
