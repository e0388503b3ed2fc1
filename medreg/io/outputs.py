"""Where results are to go, looked at before any work is done: is it a place, may it be written, is it an input?"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from medreg.errors import ConfigError
from medreg.io.faults import told

Input = str | Path | None


def check_folder(
    folder: str | Path, option: str, *, inputs: Iterable[Input] = (), writes: Sequence[str] = ()
) -> Path:
    """Return a folder for results, which need not be there yet.

    Args:
        folder: what the user named.
        option: how it was named, for the message.
        inputs: files that are read and must stay.
        writes: names of files that will be written there.

    Raises:
        ConfigError: it is a file, cannot be written, or an input would be overwritten.
    """
    place = Path(folder).expanduser()
    if place.exists() and not place.is_dir():
        raise ConfigError(f"{option} {folder} is a file; name a folder for the results.")
    for name in writes:
        _spare(place / name, option, inputs)
    _try(place, option)
    return Path(folder)


def check_file(
    file: str | Path, option: str, *, inputs: Iterable[Input] = (), suffixes: tuple[str, ...] = ()
) -> Path:
    """Return a file for a result, which is replaced if it is there.

    Args:
        file: what the user named.
        option: how it was named, for the message.
        inputs: files that are read and must stay.
        suffixes: how its name may end; empty for any way.

    Raises:
        ConfigError: it is a folder, its folder cannot be written, it is an input, or its name ends in another way.
    """
    target = Path(file).expanduser()
    if suffixes and not target.name.endswith(suffixes):
        raise ConfigError(f"{option} {file}: the name of this result ends in {' or '.join(suffixes)}.")
    if target.is_dir():
        raise ConfigError(f"{option} {file} is a folder; name a file for the result.")
    _spare(target, option, inputs)
    _try(target.parent, option)
    return Path(file)


def _spare(target: Path, option: str, inputs: Iterable[Input]) -> None:
    """Refuse to overwrite an input, whatever it is called: by a link, a relative path, another case."""
    for given in inputs:
        if given is None or not target.exists():
            continue
        source = Path(given).expanduser()
        if source.exists() and source.samefile(target):
            raise ConfigError(
                f"{option}: {target} is an input of this command and would be overwritten; choose another place."
            )


def _try(folder: Path, option: str) -> None:
    """Write a file where the folder is or will be, since permissions alone do not tell of read-only disks."""
    there = folder.absolute()
    while not os.path.lexists(there) and there != there.parent:
        there = there.parent
    try:
        with tempfile.TemporaryFile(dir=there, prefix=".medreg-") as stream:
            stream.write(b"medreg")
            stream.flush()
    except OSError as error:
        error.filename = str(there)
        raise ConfigError(f"{option} {folder} cannot be written: {told(error)}") from error
