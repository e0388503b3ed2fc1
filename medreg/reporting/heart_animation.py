"""A beating heart in three views as a GIF that loops, with its volume curves below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from medreg.io.atomic import replacing
from medreg.reporting.heart_curves import volumes_ml
from medreg.reporting.heart_style import STRUCTURE_COLOURS, STRUCTURES, rgb
from medreg.reporting.heart_views import VIEWS, HeartPlanes
from medreg.reporting.style import INK, PALE
from medreg.reporting.views import Array

HEIGHT = 220  # pixels of a view
GAP, HEADING, CURVES = 8, 18, 84  # pixels
COLOURS = ((255, 255, 255), *(rgb(STRUCTURE_COLOURS[name]) for name in STRUCTURES), rgb(INK), rgb(PALE))
DARK, FAINT = 4, 5  # places of COLOURS


def write_gif(
    path: str | Path, shape: Array, spacing_mm: Sequence[float] | Array, fps: float | None = None
) -> Path:
    """Write a heart beating for ever and return the path.

    Args:
        path: of the file.
        shape: (T, X, Y, Z) places of the structures, 1 LV, 2 MYO, 3 RV.
        spacing_mm: of the voxels.
        fps: frames a second; None: one beat a second.

    Raises:
        ValueError: no sequence of volumes, or a speed that is none.
    """
    if fps is not None and not fps > 0:
        raise ValueError(f"{fps} frames a second is no speed")
    pictures = [_picture(canvas) for canvas in frames(shape, spacing_mm)]
    delay = round(1000.0 / (fps or len(shape)), -1)  # GIF knows hundredths of a second
    target = Path(path)
    with replacing(target) as part:
        pictures[0].save(
            part,
            format="GIF",
            save_all=True,
            append_images=pictures[1:],
            duration=max(int(delay), 20),  # browsers slow down what is faster
            loop=0,
            optimize=False,
            disposal=1,
        )
    return target


def frames(shape: Array, spacing_mm: Sequence[float] | Array) -> list[Array]:
    """The pictures of a beat, (rows, columns) places of `COLOURS` each."""
    planes = HeartPlanes.of(shape, spacing_mm)
    tall = max(planes.size_mm(view)[1] for view in range(len(VIEWS)))
    planes = replace(planes, pixel_mm=tall / HEIGHT)
    beats = [[planes.cut(volume, view) for view in range(len(VIEWS))] for volume in shape]
    widths = [flat.shape[1] for flat in beats[0]]
    volumes = volumes_ml(shape, np.asarray(spacing_mm))
    return [_canvas(flats, widths, volumes, time) for time, flats in enumerate(beats)]


def _canvas(flats: Sequence[Array], widths: Sequence[int], volumes: Array, time: int) -> Array:
    """One picture: three views, their names, and the curves with a mark at the time."""
    wide = sum(widths) + GAP * (len(widths) + 1)
    tall = max(flat.shape[0] for flat in flats)
    canvas = np.zeros((HEADING + tall + CURVES, wide), dtype=np.uint8)
    left, starts = GAP, []
    for flat, width in zip(flats, widths, strict=True):
        top = HEADING + (tall - flat.shape[0]) // 2
        canvas[top : top + flat.shape[0], left : left + width] = flat
        starts.append(left)
        left += width + GAP
    picture = _picture(canvas)
    from PIL.ImageDraw import Draw

    pen = Draw(picture)
    for start, name in zip(starts, VIEWS, strict=True):
        pen.text((start, 3), name, fill=DARK)
    _curves(
        pen, volumes, time, box=(GAP + 46, HEADING + tall + 6, wide - GAP - 10, HEADING + tall + CURVES - 10)
    )
    return np.asarray(picture)


def _curves(pen: Any, volumes: Array, time: int, *, box: tuple[int, int, int, int]) -> None:
    """Draw the volumes of the structures over one beat, with a dot at the time."""
    left, top, right, bottom = box
    highest = float(volumes.max()) or 1.0
    count = volumes.shape[1]

    def place(k: int, value: float) -> tuple[float, float]:
        return left + (right - left) * k / max(count - 1, 1), bottom - (bottom - top) * value / highest

    pen.line([(left, bottom), (right, bottom)], fill=FAINT)
    pen.line([(left, top), (left, bottom)], fill=FAINT)
    pen.text((GAP, top - 4), f"{highest:.0f} mL", fill=DARK)
    pen.text((GAP, bottom - 8), "0", fill=DARK)
    x = place(time, 0.0)[0]
    pen.line([(x, top), (x, bottom)], fill=FAINT)
    for structure, values in enumerate(volumes, start=1):
        pen.line([place(k, value) for k, value in enumerate(values)], fill=structure, width=2)
        x, y = place(time, values[time])
        pen.ellipse([x - 3, y - 3, x + 3, y + 3], fill=structure, outline=DARK)


def _picture(canvas: Array) -> Any:
    """Places of `COLOURS` as a picture with a palette."""
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(canvas), mode="P")
    picture.putpalette([value for colour in COLOURS for value in colour])
    return picture
