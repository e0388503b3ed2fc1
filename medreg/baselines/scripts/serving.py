"""The loop of every worker: read requests from standard input, register, answer on standard output.

A line in, a line out, both JSON. Whatever the tool prints goes to standard error. An error of the tool ends the
process on purpose: the parent notes it for that case and starts another worker, so that nothing is left behind in
memory. Runs in the environment of the tool: standard library, NumPy and nibabel only.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TextIO

import nibabel as nib
import numpy as np

WARM_UP_SIZE = 32  # voxels along each axis of the piece that is registered before the clock starts
MIB = 2**20


@dataclass(frozen=True)
class CaseImage:
    """An image.

    Attributes:
        array: (X, Y, Z) float32 in the order of the file.
        affine: (4, 4), voxel → RAS mm.
        mask: (X, Y, Z) uint8, 1 where the image is to be compared; None where everywhere.
        path: file that holds the whole image; None of a piece of it.
    """

    array: np.ndarray
    affine: np.ndarray
    mask: np.ndarray | None = None
    path: str | None = None

    @property
    def spacing(self) -> np.ndarray:
        """Voxel size per array axis, mm."""
        return np.linalg.norm(self.affine[:3, :3], axis=0)

    @property
    def direction(self) -> np.ndarray:
        """Direction cosines (3, 3) of the array axes in LPS, one a column."""
        return np.diag([-1.0, -1.0, 1.0]) @ (self.affine[:3, :3] / self.spacing)

    @property
    def origin(self) -> np.ndarray:
        """World position of voxel 0, LPS mm."""
        return np.diag([-1.0, -1.0, 1.0]) @ self.affine[:3, 3]


@dataclass(frozen=True)
class Answer:
    """What a tool found.

    Attributes:
        field: (X, Y, Z, 3) displacement on the fixed grid, from fixed to moving positions.
        convention: "lps_mm" (ITK, ANTs), "voxel" (array axes, voxels) or "normalised" (the last axis reversed,
            −1 and 1 are the centres of the outer voxels).
        warped: the tool's own warped image (X, Y, Z), None where it makes none.
    """

    field: np.ndarray
    convention: str
    warped: np.ndarray | None = None


Register = Callable[[CaseImage, CaseImage, Mapping[str, Any]], Answer]


def serve(load: Callable[[], Register]) -> None:
    """Answer requests until standard input ends.

    Args:
        load: imports the tool and returns the function that registers (fixed, moving, settings).
    """
    answers = _claim_standard_output()
    try:
        register = load()
    except ImportError as error:
        _say(answers, {"missing": str(error)})
        return
    _say(answers, {"ready": True})
    for line in sys.stdin:
        _say(answers, _answer(register, json.loads(line)))


def importing(register: Register, *modules: str) -> Callable[[], Register]:
    """Return what `serve` takes of a function whose tool is nothing but modules to import.

    Args:
        register: registers (fixed, moving, settings).
        *modules: imported before the first request; one that is missing is told.
    """

    def load() -> Register:
        for module in modules:
            importlib.import_module(module)
        return register

    return load


def _answer(register: Register, request: Mapping[str, Any]) -> dict[str, Any]:
    settings = request["settings"]
    if request["warm_up"]:
        fixed, moving = _pictures(request)
        register(_centre(fixed), _centre(moving), settings)
    reset = _reset_peak_memory()
    wall, cpu = time.perf_counter(), _cpu_seconds()
    fixed, moving = _pictures(request)
    found = register(fixed, moving, settings)
    np.save(request["field"], np.asarray(found.field, dtype=np.float32))
    reply = {
        "convention": found.convention,
        "seconds": time.perf_counter() - wall,
        "cpu_seconds": _cpu_seconds() - cpu,
        "peak_memory_mib": _peak_memory_mib(),
        "memory_of": "case" if reset else "worker",
    }
    if request.get("warped") and found.warped is not None:
        np.save(request["warped"], np.asarray(found.warped, dtype=np.float32))
    return reply


def _pictures(request: Mapping[str, Any]) -> list[CaseImage]:
    """Read the fixed and the moving image with their masks, where there are any."""
    found = []
    for side in ("fixed", "moving"):
        image: Any = nib.load(request[side])
        array = np.ascontiguousarray(np.asanyarray(image.dataobj), dtype=np.float32)
        file = request.get(f"{side}_mask")
        drawn: Any = None if file is None else nib.load(file)
        mask = None if file is None else np.asanyarray(drawn.dataobj).astype(np.uint8)
        found.append(CaseImage(array, image.affine, mask, request[side]))
    return found


def _centre(picture: CaseImage) -> CaseImage:
    """The middle of an image, whole; the affine is that of all of it, which a warm-up does not need right."""
    starts = [max((size - WARM_UP_SIZE) // 2, 0) for size in picture.array.shape]
    piece = picture.array[tuple(slice(a, a + WARM_UP_SIZE) for a in starts)].copy()
    return replace(picture, array=piece, mask=None, path=None)


def _claim_standard_output() -> TextIO:
    """Return the stream of answers; from now on all that is printed goes to standard error."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


def _say(answers: TextIO, message: Mapping[str, Any]) -> None:
    answers.write(json.dumps(message) + "\n")
    answers.flush()


def _cpu_seconds() -> float:
    """CPU time of this process with its finished children, seconds."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _reset_peak_memory() -> bool:
    """Let the kernel measure the peak anew; only Linux can, and only where it is allowed."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _peak_memory_mib() -> float:
    """Largest resident memory, MiB, since the reset, else of the process's whole life; NaN on Windows."""
    status = Path("/proc/self/status")
    if status.exists():
        found = [line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        if found:
            return int(found[0]) / 1024
    if sys.platform == "win32":
        return float("nan")
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MIB
