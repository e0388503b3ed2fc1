"""A folder of results that is whole or not there: made beside its place, then moved into it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from medreg.errors import ConfigError
from medreg.io.atomic import read_json
from medreg.io.faults import told
from medreg.io.outputs import Input, check_folder

MADE = "made.json"  # says what was made, and is written last
OPTION = "-o"


def check_place(
    folder: str | Path, writes: Iterable[str], *, inputs: Iterable[Input] = (), overwrite: bool = False
) -> Path:
    """Look at a folder for results before any work.

    Args:
        folder: what the user named.
        writes: files that will be written, relative to it.
        inputs: files that are read and must stay.
        overwrite: whether results may be there already.

    Raises:
        ConfigError: it is a file, cannot be written, holds results already, or an input would be overwritten.
    """
    names = list(writes)
    place = check_folder(folder, OPTION, inputs=list(inputs), writes=[*names, MADE])
    place = place.expanduser()
    there = [name for name in (MADE, *names) if os.path.lexists(place / name)]
    if there and not overwrite:
        raise ConfigError(
            f"{OPTION} {folder}: {place / there[0]} is there already; choose another folder, or add --overwrite."
        )
    for name in there:
        if (place / name).is_dir():
            raise ConfigError(f"{OPTION} {folder}: {place / name} is a folder where a file is to be written.")
    return place


@contextmanager
def delivering(place: Path) -> Iterator[Path]:
    """Yield a folder to write to; its files take their place when the block ends well, and are removed otherwise.

    What an earlier command made there, as its `made.json` says, is removed before. Where nothing is there yet, the
    whole folder appears at once; else file by file, `made.json` last.

    Raises:
        ConfigError: it cannot be written.
    """
    part = place.absolute().parent / f".{place.absolute().name}.{os.getpid()}.part"
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        yield part
        _move(part, place)
    except OSError as error:
        if error.filename is None:
            error.filename = str(place)
        raise ConfigError(f"{OPTION} {place} cannot be written: {told(error)}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _move(part: Path, place: Path) -> None:
    if not place.exists():
        part.rename(place)
        return
    remove_made(place)
    files = sorted(file.relative_to(part) for file in part.rglob("*") if file.is_file())
    for name in sorted(files, key=lambda name: name.as_posix() == MADE):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (part / name).replace(place / name)


def remove_made(place: Path) -> None:
    """Remove what an earlier command made in a folder, and nothing else that lies there."""
    record = read_json(place / MADE)
    names = record.get("files") if isinstance(record, dict) else None
    (place / MADE).unlink(missing_ok=True)
    for name in names if isinstance(names, list) else ():
        file = place / str(name)
        if file.is_file() and file.resolve().is_relative_to(place.resolve()):
            file.unlink()
            for folder in file.parents:
                if folder == place:
                    break
                with suppress(OSError):  # it holds more
                    folder.rmdir()
