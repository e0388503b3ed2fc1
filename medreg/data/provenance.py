"""What identifies the data of a run: hashes of files and settings, and a table of all images."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from medreg.data.records import Record
from medreg.errors import DataError
from medreg.io.atomic import write_text
from medreg.io.report import header_report

COLUMNS = ("id", "subject", "phase", "modality", "group", "shape", "spacing_mm", "axes", "dtype")


def hash_files(files: Iterable[Path], root: Path) -> dict[str, str]:
    """Return one hash of names and sizes, and one of modification times, which a copy changes."""
    names, times = hashlib.sha256(), hashlib.sha256()
    for file in sorted(set(files)):
        status = file.stat()
        name = file.relative_to(root).as_posix() if file.is_relative_to(root) else file.name
        names.update(f"{name}:{status.st_size}\n".encode())
        times.update(f"{status.st_mtime_ns}\n".encode())
    return {"files": names.hexdigest(), "times": times.hexdigest()}


def hash_settings(settings: Mapping[str, Any]) -> str:
    """Return a hash of plain settings."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()


def write_inventory(records: Iterable[Record], path: str | Path) -> Path:
    """Write id, size, spacing, axes and type of every image, as its header says; no voxel is read."""
    buffer = io.StringIO()
    table = csv.writer(buffer)
    table.writerow(COLUMNS)
    for record in records:
        who = (record.id, record.subject, record.phase, record.modality, record.group)
        try:
            report = header_report(record.image, voxels=False, stated=record.stated)
        except DataError:  # loading decides what a damaged file means for the run
            table.writerow([*who, "unreadable", "", "", ""])
            continue
        shape = "x".join(map(str, report.shape))
        spacing = "x".join(f"{size:.4g}" for size in report.spacing_mm)
        table.writerow([*who, shape, spacing, "".join(report.axis_codes), report.dtype])
    return write_text(Path(path), buffer.getvalue())
