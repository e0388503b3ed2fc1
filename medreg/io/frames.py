"""One frame of a 4-D file by name: `cine.nii.gz#2` is the third."""

from __future__ import annotations

from pathlib import Path


def split_frame(name: str | Path) -> tuple[Path, int | None]:
    """Return file and frame of a name such as `cine.nii.gz#2`; a file whose own name ends so is that file.

    A `#` in the name of a folder has no meaning.
    """
    path = Path(name)
    file, mark, frame = path.name.rpartition("#")
    if not mark or not (frame.isascii() and frame.isdigit()) or path.exists():
        return path, None
    return path.with_name(file) if file else path.parent, int(frame)


def frame_names(path: str | Path, count: int) -> str:
    """Return how the frames of a file are called, for messages."""
    name = Path(path).name
    return f"{name}#0" if count == 1 else f"{name}#0 … {name}#{count - 1}"
