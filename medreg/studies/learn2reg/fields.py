"""Displacement fields of a submission: a folder or a zip, every naming and every file variant of the challenge.

| edition | file | array |
| --- | --- | --- |
| since 2022 | `.nii.gz`, or `.npz` with one array under any key | (X, Y, Z, 3), component last |
| LUMIR | `.nii.gz` | also (3, X, Y, Z) |
| 2020, 2021 | `.npz`, float16 | (3, X/2, Y/2, Z/2), or (3, X, Y, Z); values in voxels of the full grid |

Official code reads NIfTI as float64 and `.npz` as float32, and goes on in that precision.
"""

from __future__ import annotations

import contextlib
import math
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medreg.data.datasets.learn2reg_config import PairPaths
from medreg.errors import DataError, FieldFormatError
from medreg.io.digest import digest_of_file
from medreg.io.memory import in_words
from medreg.io.nifti import load_nibabel, read_voxels
from medreg.io.npz import ENCRYPTED, read_single_array
from medreg.studies.learn2reg.names import Rule, accepted_names

SUFFIXES = (".npz", ".nii.gz", ".nii")  # the first that exists is taken, as official code does
DEPTH = 3  # folders inside the given one in which fields are looked for
ORDER = 2  # spline order with which official code enlarges the half-resolution files of 2020 and 2021
BLOCK = 2**20
ROOM = 2**24  # bytes of headers and the like that a field may have beside its values


@dataclass(frozen=True)
class Entry:
    """A field file of a source.

    Attributes:
        name: path inside the folder or zip, with forward slashes.
        size: bytes (in a zip: uncompressed).
        digest: size and CRC-32 as a zip lists them; empty in a folder.
    """

    name: str
    size: int
    digest: str = ""


@dataclass(frozen=True, eq=False)
class FieldArray:
    """A displacement field, pull, in voxels of the fixed grid.

    Attributes:
        values: (X, Y, Z, 3); the values of the file exactly, float32 where it stores no more, else float64.
            Each component is contiguous with the first axis fastest, as in a NIfTI file.
        single: official code works in float32 from here on, as it does for `.npz`.
        notes: what was done to read it.
    """

    values: NDArray[np.floating]
    single: bool
    notes: tuple[str, ...] = ()

    @property
    def components(self) -> tuple[NDArray[np.floating], ...]:
        """The three components, (X, Y, Z) each, without a copy."""
        return tuple(self.values[..., axis] for axis in range(3))


class FieldSource:
    """The displacement files of a folder or of a zip, also when they lie some folders further down.

    Args:
        path: folder or `.zip`; `submission.zip/task_03` chooses a folder inside a zip.

    Raises:
        DataError: neither a folder nor a readable zip.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.archive, self.inside = _split(self.path)
        listed = _zip_members(self.archive, self.inside) if self.archive else _folder_files(self.path)
        self._entries: dict[str, list[Entry]] = {}
        for entry in listed:
            self._entries.setdefault(PurePosixPath(entry.name).name, []).append(entry)

    def entries(self) -> list[Entry]:
        """Every displacement file, by name."""
        return sorted((entry for part in self._entries.values() for entry in part), key=lambda e: e.name)

    def find(self, pair: PairPaths, *, rule: Rule = "any") -> Entry | None:
        """Return the file of a pair, or None: accepted names in their order, `.npz` before `.nii.gz`.

        Raises:
            FieldFormatError: two folders hold a file of that name.
        """
        for name in accepted_names(pair, rule=rule):
            for suffix in SUFFIXES:
                found = self._entries.get(name + suffix, [])
                if len(found) > 1:
                    folders = " and ".join(entry.name for entry in found[:2])
                    raise FieldFormatError(
                        f"{self.path} holds {name + suffix} more than once ({folders}); name the folder of the "
                        f"task, such as {self.path}/{PurePosixPath(found[0].name).parent}."
                    )
                if found:
                    return found[0]
        return None

    def digest(self, entry: Entry) -> str:
        """Return a digest of the content of a file, by which results are found again; a zip has it already."""
        return entry.digest or digest_of_file(self.path / entry.name)

    def read(self, entry: Entry, shape: tuple[int, ...]) -> FieldArray:
        """Read a field on the grid (X, Y, Z) of a task.

        Raises:
            FieldFormatError: another shape (both are named), several arrays, NaN or infinity.
            DataError: a damaged or truncated file.
        """
        name = f"{self.path}/{entry.name}"
        with self._opened(entry, largest=3 * 8 * math.prod(shape) + ROOM) as file:
            array = (
                read_single_array(file, name=name, check=lambda found: _check_shape(found, shape, name))
                if file.suffix == ".npz"
                else _load_nifti(file, shape, name)
            )
        single = entry.name.endswith(".npz")
        if array.dtype not in (np.float32, np.float64) or (single and array.dtype != np.float32):
            array = array.astype(np.float32 if single else np.float64)
        values, notes = _component_last(array, tuple(shape), name)
        for axis in range(3):
            # A minimum passes NaN on and needs no array of flags.
            if not np.isfinite((values[..., axis].min(), values[..., axis].max())).all():
                raise FieldFormatError(f"{name}: the field holds NaN or infinite values.")
        return FieldArray(values, single, notes)

    @contextlib.contextmanager
    def _opened(self, entry: Entry, *, largest: int) -> Iterator[Path]:
        """The file itself, or a copy of a zip's member, of so many bytes at most, that lives while it is used."""
        if self.archive is None:
            file = self.path / entry.name
            file.stat()  # raises where it has gone since the folder was listed
            yield file
            return
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / PurePosixPath(entry.name).name
            self._check_member(self.archive, entry, largest)
            try:
                with (
                    zipfile.ZipFile(self.archive) as archive,
                    archive.open(self.inside + entry.name) as member,
                    copy.open("wb") as stream,
                ):
                    shutil.copyfileobj(member, stream, BLOCK)
            except (OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
                raise DataError(f"{self.archive}: {entry.name} is damaged: {error}") from error
            yield copy

    def _check_member(self, path: Path, entry: Entry, largest: int) -> None:
        with zipfile.ZipFile(path) as archive:
            member = archive.getinfo(self.inside + entry.name)
        if member.flag_bits & ENCRYPTED:
            raise DataError(
                f"{path}: {entry.name} is encrypted; unpack it with its password and zip it without."
            )
        if member.file_size > largest:
            raise FieldFormatError(
                f"{path}: {entry.name} has {in_words(member.file_size)} unpacked, more than any field of this task "
                f"({in_words(largest)}); it was not read."
            )


def _split(path: Path) -> tuple[Path | None, str]:
    """Zip and the folder inside it (with a slash at its end), or None and nothing for a folder."""
    if path.is_dir():
        return None, ""
    for candidate in (path, *path.parents):
        if candidate.is_file():
            if not zipfile.is_zipfile(candidate):
                raise DataError(f"{candidate} is neither a folder nor a zip; fields are read from these.")
            inside = path.relative_to(candidate).as_posix()
            return candidate, "" if inside == "." else inside + "/"
    raise DataError(f"{path} does not exist; give the folder or zip of the displacement fields.")


def _zip_members(archive: Path, inside: str) -> list[Entry]:
    with zipfile.ZipFile(archive) as opened:
        members = [
            info for info in opened.infolist() if not info.is_dir() and info.filename.startswith(inside)
        ]
    entries = [
        Entry(info.filename.removeprefix(inside), info.file_size, f"{info.file_size}-{info.CRC:08x}")
        for info in members
    ]
    return [entry for entry in entries if _is_field(entry.name)]


def _folder_files(folder: Path) -> list[Entry]:
    found = []
    for depth in range(DEPTH + 1):
        for file in folder.glob("*/" * depth + "disp_*"):
            name = file.relative_to(folder).as_posix()
            if _is_field(name) and file.is_file():
                found.append(Entry(name, file.stat().st_size))
    return found


def _is_field(name: str) -> bool:
    """Displacement files; the copies that macOS adds to a zip begin with "._"."""
    return PurePosixPath(name).name.startswith("disp_") and name.endswith(SUFFIXES)


def _load_nifti(path: Path, shape: tuple[int, ...], name: str) -> NDArray[Any]:
    try:
        image = load_nibabel(path)
    except DataError as error:
        raise DataError(f"{name} cannot be read, it may be damaged or truncated.") from error
    if image.get_data_dtype().kind not in "biuf":
        raise FieldFormatError(f"{name}: values of type {image.get_data_dtype()} are no displacements.")
    _check_shape(tuple(image.shape), shape, name)
    return read_voxels(image, name)


def _check_shape(found: tuple[int, ...], shape: tuple[int, ...], name: str) -> None:
    """Check the shape of a file against the grid of the task, before its values are read."""
    shape = tuple(shape)
    half = len(found) == 4 and found[0] == 3 and tuple(2 * size for size in found[1:]) == shape
    if half or found in ((*shape, 3), (3, *shape)):
        return
    hint = (
        " It looks like an ITK field in millimetres; convert it to voxels first." if len(found) == 5 else ""
    )
    raise FieldFormatError(
        f"{name}: shape {'×'.join(map(str, found))} does not fit the task, which wants "
        f"{'×'.join(map(str, (*shape, 3)))}.{hint}"
    )


def _component_last(
    array: NDArray[Any], shape: tuple[int, ...], name: str
) -> tuple[NDArray[np.floating], tuple[str, ...]]:
    """(X, Y, Z, 3) with contiguous components, and notes, of any of the layouts."""
    if array.shape == (*shape, 3):
        return _contiguous(np.moveaxis(array, -1, 0)), ()
    if array.shape == (3, *shape):
        return _contiguous(array), ("component first",)
    from scipy import ndimage

    # Official code leaves the mode at "constant", by which some voxels of the rim become 0.
    zoom: Any = ndimage.zoom  # its stubs do not follow the type of the array
    zoomed = [zoom(component, 2, order=ORDER) for component in array.astype(np.float32)]
    return _contiguous(np.stack(zoomed)), ("half resolution, enlarged with spline order 2",)


def _contiguous(components: NDArray[np.floating]) -> NDArray[np.floating]:
    """(3, X, Y, Z) to (X, Y, Z, 3), the first axis fastest and each component in one piece."""
    last = np.moveaxis(components, 0, -1)
    return last if all(part.flags.f_contiguous for part in components) else last.copy(order="F")
