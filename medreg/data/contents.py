"""What the cases of a run are made of: a mark of every file that changes with its content and survives a copy.

A mark must be cheap, for it is taken at every start. The end of a gzip file and the directory at the end of a zip hold
check sums of all that is inside, so few bytes say what millions hold. Small files are read whole. Only a large
file that is not compressed is read whole once and remembered by path, size and time of modification.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from medreg.data.records import Item, Record
from medreg.io.atomic import read_json, write_json
from medreg.io.cache import cache_folder
from medreg.io.digest import digest_of, digest_of_file

DIGITS = 12  # of a mark: two different files among a hundred thousand share one with a chance of 1 in 50 000
UNREADABLE = "unreadable"
SMALL = 1 << 20  # bytes; a file up to this size is read whole
DIRECTORY = 1 << 16  # bytes at the end of a zip that hold the check sums of a few hundred members
KINDS = ("image", "label", "mask", "keypoints", "more_keypoints")  # files that a record may have
FACTS = ("frame", "label_frame", "phase", "modality", "group", "position")
Marks = Mapping[str, Mapping[str, str]]  # case → kind of file → mark


class FileMarks:
    """Marks of files; large uncompressed ones are remembered from run to run.

    Args:
        memory: file that remembers them; one that cannot be written costs time, no more.
    """

    def __init__(self, memory: Path | None = None) -> None:
        self.memory = memory or cache_folder() / "contents.json"
        self._found: dict[Path, str] = {}
        self._known: dict[str, Any] | None = None
        self._new = False

    def of(self, file: Path) -> str:
        """Return the mark of a file; of one that cannot be read a word, since loading decides what that means."""
        if file not in self._found:
            try:
                self._found[file] = self._mark(file)[:DIGITS]
            except OSError:
                self._found[file] = UNREADABLE
        return self._found[file]

    def save(self) -> None:
        """Remember what was read whole."""
        if self._new and self._known is not None:
            with suppress(OSError):
                write_json(self.memory, self._known, indent=None)
            self._new = False

    def _mark(self, file: Path) -> str:
        size = file.stat().st_size
        if size <= SMALL:
            return digest_of_file(file)
        with file.open("rb") as stream:
            start = stream.read(4)
            stream.seek(-DIRECTORY, os.SEEK_END)
            end = stream.read()
        # What is longer unpacked than packed is one member; blocked gzip ends with an empty one.
        if start[:2] == b"\x1f\x8b" and int.from_bytes(end[-4:], "little") >= size:
            return digest_of("gzip", size, end[-8:].hex())
        if start == b"PK\x03\x04":
            return digest_of("zip", size, hashlib.sha256(end).hexdigest())
        return self._remembered(file)

    def _remembered(self, file: Path) -> str:
        if self._known is None:
            found = read_json(self.memory)
            self._known = found if isinstance(found, dict) else {}
        status = file.stat()
        key = digest_of(str(file.absolute()), status.st_size, status.st_mtime_ns)
        if key not in self._known:
            self._known[key] = digest_of_file(file)
            self._new = True
        return str(self._known[key])


def contents_of(items: Iterable[Item], marks: FileMarks) -> dict[str, dict[str, str]]:
    """Return case → kind → mark for every file and fact that determines a case."""
    return {item.id: _of_item(item, marks) for item in items}


def _of_item(item: Item, marks: FileMarks) -> dict[str, str]:
    found: dict[str, str] = {}
    for part, record in item.parts.items():
        for kind in KINDS:
            file = getattr(record, kind)
            if file is not None:
                found[f"{part}{kind}"] = marks.of(file)
        found[f"{part}facts"] = digest_of(_facts(record))[:DIGITS]
    for number, file in enumerate(item.beside):
        found[f"truth{number or ''}"] = marks.of(file)
    return found


def _facts(record: Record) -> list[Any]:
    facts = [getattr(record, name) for name in FACTS]
    facts += [] if record.corruption is None else [str(record.corruption)]
    return [record.id, *facts, sorted((name, str(value)) for name, value in record.covariates.items())]
