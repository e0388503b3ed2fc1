"""The label maps of a heart that someone brings: read and checked before any work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from medreg.errors import ConfigError, DataError
from medreg.io.foreign import is_foreign
from medreg.io.frames import split_frame
from medreg.io.image import Volume, existing_file, frame_count
from medreg.io.labels import exact_labels
from medreg.io.objects import placed
from medreg.io.on_grid import called, check_on_grid
from medreg.io.sequence import read_label_sequence
from medreg.registering.pair import Source

ROLE = "label map"
Sources = Source | Sequence[Source]


def read_labels_option(text: str) -> dict[str, int]:
    """Return structure → code of words such as `LV=3,MYO=2,RV=1`.

    Raises:
        ConfigError: other words, or one code or structure twice.
    """
    found: dict[str, int] = {}
    for part in text.split(","):
        name, mark, code = (word.strip() for word in part.partition("="))
        if not mark or not name or not (code.isascii() and code.isdigit()) or name in found:
            raise ConfigError(f"--labels {text}: write the code of every structure, such as LV=3,MYO=2,RV=1.")
        found[name] = int(code)
    return found


def check_labels(stated: Mapping[str, int], run: Mapping[str, int]) -> dict[str, int]:
    """Return the codes of a file in the order of the run's structures.

    Args:
        stated: structure → code of the file.
        run: structure → code of the run.

    Raises:
        ConfigError: other structures than those of the run, or codes that are no two different ones above 0.
    """
    names = {name.lower(): name for name in run}
    codes = {names.get(name.lower(), name): code for name, code in stated.items()}
    if set(codes) != set(run):
        raise ConfigError(
            f"--labels names {', '.join(stated)}; the run has {', '.join(run)}: give the code of each of them."
        )
    if len(set(codes.values())) != len(codes) or min(codes.values()) < 1:
        raise ConfigError(
            f"--labels {_words(codes)}: every structure has a code of its own, and 0 is background."
        )
    return {name: int(codes[name]) for name in run}


def read_first(source: Source, *, frame: int | None = None) -> Volume:
    """Return the label map of one frame, (X, Y, Z, 1).

    Args:
        source: file (`heart.nii.gz#0` names a frame), or a label map in memory.
        frame: 0-based index along the fourth axis of a file.

    Raises:
        DataError: it cannot be read, or has several frames of which none was named.
        ConfigError: two frames are named.
    """
    count = frames_in(source)
    named = split_frame(source)[1] if isinstance(source, str | Path) else None
    if named is not None and frame is not None:
        raise ConfigError(f"{source} names a frame, and so does --frame {frame}; leave one of them out.")
    wanted = named if frame is None else frame
    if wanted is None and count > 1:
        raise DataError(
            f"{_name(source)} has {count} frames (fourth axis), where end-diastole (ED) is wanted: name it, such as "
            "with --frame 0."
        )
    if wanted is not None and not 0 <= wanted < count:
        raise DataError(f"{_name(source)}: frame {wanted} does not exist; it has {count} (0 … {count - 1}).")
    return _frame(read_frames(source), wanted or 0)


def read_ed_es(source: Sources, *, cavity: int) -> tuple[Volume, list[str]]:
    """Return the label maps of ED and ES, (X, Y, Z, 2), and sentences about how they were found.

    Args:
        source: two files or label maps, ED first; or one of two frames, ED first, or of a whole cycle from ED, in
            which ES is the frame of the smallest left ventricle.
        cavity: code of the left ventricle.

    Raises:
        DataError: something that cannot be read, one frame alone, or two that lie on different voxels.
        ConfigError: more than two.
    """
    given = listed(source)
    if len(given) == 2:
        first, second = (read_first(one) for one in given)
        check_on_grid(_flat(second), ROLE, _flat(first), ROLE, remedy="Give ED and ES of one acquisition")
        return replace(first, array=np.concatenate([first.array, second.array], -1)), []
    if len(given) != 1:
        raise ConfigError(f"{len(given)} label maps are given; give ED and ES, or one file that holds both.")
    whole = read_frames(given[0])
    count = whole.array.shape[3]
    if count < 2:
        raise DataError(
            f"{_name(given[0])} has one frame, where ED and ES are wanted: give two files, ED first, or a file with "
            "both along the fourth axis."
        )
    if count == 2:
        return whole, []
    sizes = (whole.array == cavity).sum((0, 1, 2))
    if not sizes[1:].any():
        raise DataError(
            f"{_name(given[0])}: no frame but the first holds a left ventricle, so ES is not there."
        )
    # Frames without one were not segmented.
    es = 1 + int(np.where(sizes[1:] > 0, sizes[1:], np.iinfo(np.int64).max).argmin())
    note = f"ED is frame 0 of {_name(given[0])}, ES frame {es}, that of the smallest left ventricle"
    return replace(whole, array=np.ascontiguousarray(whole.array[..., [0, es]])), [note]


def read_frames(source: Source) -> Volume:
    """Return all frames of a label map, (X, Y, Z, T) int32.

    Raises:
        DataError: it cannot be read, holds no codes, or is 2-D.
    """
    file = isinstance(source, str | Path)
    volume = read_label_sequence(split_frame(source)[0]) if file else _in_memory(source)  # type: ignore[arg-type]
    if volume.array.ndim != 4 or min(volume.array.shape[:3]) < 2:
        raise DataError(
            f"{called(volume, ROLE)} has shape {volume.shape}; a heart is a volume of several slices."
        )
    return volume


def frames_in(source: Source) -> int:
    """Return the number of frames of a file or a label map in memory.

    Raises:
        DataError: the file does not exist.
    """
    if isinstance(source, str | Path):
        file = existing_file(split_frame(source)[0])
        return 1 if is_foreign(file) else frame_count(file)
    shape: tuple[int, ...] = tuple(
        getattr(source.array if isinstance(source, Volume) else source, "shape", ())
    )
    return int(shape[3]) if len(shape) > 3 else 1


def check_codes(volume: Volume, labels: Mapping[str, int], *, stated: bool) -> None:
    """Refuse a label map with codes that nobody explained, or a heart that lacks a structure.

    Args:
        volume: (X, Y, Z, T), frames of one heart.
        labels: structure → code of the file.
        stated: whether the user said the codes, rather than the run.

    Raises:
        DataError: naming the file, its codes and how to say what they mean.
    """
    held = {int(code) for code in np.unique(volume.array)}
    name, whose = called(volume, ROLE), "--labels says" if stated else "the run's are"
    unknown = sorted(held - {0, *labels.values()})
    if unknown:
        raise DataError(
            f"{name} holds label {', '.join(map(str, unknown))}, which is no structure of the model ({whose} "
            f"{_words(labels)}). Say what the codes of the file are, such as --labels LV=3,MYO=2,RV=1 (ACDC) or "
            "LV=1,MYO=2,RV=3 (M&Ms); set to 0 whatever else it holds."
        )
    for frame in range(volume.array.shape[3]):
        missing = [one for one, code in labels.items() if not (volume.array[..., frame] == code).any()]
        if missing:
            raise DataError(
                f"{name} holds no {', no '.join(missing)} in frame {frame} of those that are taken ({whose} "
                f"{_words(labels)}): the model needs a whole heart. Is it the right frame, and are these the codes?"
            )


def listed(source: Sources) -> list[Source]:
    """Return one or several label maps as a list."""
    return list(source) if isinstance(source, list | tuple) else [source]  # type: ignore[list-item]


def file_of(source: Source) -> str | None:
    """Return the name of a file, None of what lies in memory."""
    return str(source) if isinstance(source, str | Path) else None


def _in_memory(source: Source) -> Volume:
    """All frames of a label map in memory."""
    given = placed(source, ROLE)
    array = np.asarray(given.array if isinstance(given, Volume) else given)
    if array.ndim not in (3, 4):
        raise DataError(f"the {ROLE} has shape {array.shape}; give (X, Y, Z), or (X, Y, Z, frames).")
    array = array[..., np.newaxis] if array.ndim == 3 else array
    codes = np.ascontiguousarray(exact_labels(array, f"the {ROLE}"))
    if isinstance(given, Volume):
        return replace(given, array=codes, spacing_mm=tuple(given.spacing_mm[:3]))
    return Volume(codes, np.eye(4), (1.0, 1.0, 1.0))


def _frame(volume: Volume, frame: int) -> Volume:
    return replace(volume, array=np.ascontiguousarray(volume.array[..., [frame]]))


def _flat(volume: Volume) -> Volume:
    return replace(volume, array=volume.array[..., 0])


def _name(source: Source) -> str:
    return str(split_frame(source)[0]) if isinstance(source, str | Path) else f"the {ROLE}"


def _words(labels: Mapping[str, int]) -> str:
    return ",".join(f"{name}={code}" for name, code in labels.items())
