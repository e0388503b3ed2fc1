"""What lies around the heart in a short-axis slice: chest wall, lungs, liver, stomach, spine, aorta.

Coordinates are mm from the centre of the left ventricle: x to the back of the chest, y towards the feet, as
the slice is usually shown, with the front of the chest on the left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medreg.data.phantoms.cardiac_canvas import Array, Canvas, inside
from medreg.data.phantoms.cardiac_noise import smooth_plane


@dataclass(frozen=True)
class Body:
    """Places and sizes of organs of one person, mm.

    Attributes:
        front: distance of the inner chest wall in front of the heart.
        depth: front to back of the trunk.
        height: half the length of the trunk that the slice could show.
        fat: thickness of the fat under the skin.
        muscle: thickness of the muscle under it.
        floor: where the diaphragm lies under the heart.
        aorta: centre and radius of the descending aorta.
        spine: centre of the vertebra.
        liver: centre and radii.
        stomach: centre and radii.
        spleen: centre and radii.
        ribs: phase of the row of ribs.
        seed: of textures that differ between slices.
    """

    front: float
    depth: float
    height: float
    fat: float
    muscle: float
    floor: float
    aorta: tuple[float, float, float]
    spine: tuple[float, float]
    liver: tuple[float, float, float, float]
    stomach: tuple[float, float, float, float]
    spleen: tuple[float, float, float, float]
    ribs: float
    seed: int


def draw_body(front_mm: float, floor_mm: float, generator: np.random.Generator) -> Body:
    """Draw a person around a heart.

    Args:
        front_mm: how far the heart reaches to the front.
        floor_mm: how far it reaches to the diaphragm.
        generator: of this subject.
    """
    g = generator
    front, floor = front_mm + g.uniform(5, 9), floor_mm + g.uniform(3, 7)
    depth = front + g.uniform(135, 165)
    back = depth - front
    return Body(
        front=front,
        depth=depth,
        height=g.uniform(120, 150),
        fat=g.uniform(9, 22),
        muscle=g.uniform(8, 11),
        floor=floor,
        aorta=(back - g.uniform(66, 76), g.uniform(8, 24), g.uniform(9.5, 13)),
        spine=(back - g.uniform(36, 42), g.uniform(20, 36)),
        liver=(g.uniform(-40, -15), floor + g.uniform(52, 62), g.uniform(62, 80), g.uniform(50, 56)),
        stomach=(g.uniform(42, 58), floor + g.uniform(26, 34), g.uniform(22, 32), g.uniform(16, 22)),
        spleen=(g.uniform(80, 92), floor + g.uniform(34, 46), g.uniform(15, 20), g.uniform(26, 34)),
        ribs=g.uniform(0, 2 * np.pi),
        seed=int(g.integers(2**31)),
    )


def paint_body(
    canvas: Canvas,
    points: tuple[Array, Array],
    body: Body,
    *,
    level: float,
    axes: Sequence[NDArray[np.floating]],
) -> Array:
    """Paint everything but the heart.

    Args:
        canvas: to paint on.
        points: x and y of each point, mm.
        body: the person.
        level: of the slice, 0 base … 1 apex.
        axes: row and column coordinates of the same grid, mm, for textures.

    Returns:
        distance to the skin, mm, negative inside the body.
    """
    generator = np.random.default_rng([body.seed, round(1000 * level)])
    x, y = points
    rough = [smooth_plane(axes, length, generator) for length in (90.0, 28.0, 7.0, 3.5)]
    skin = _trunk(x, y, body, 0.0) + 1.5 * rough[0]
    canvas.paint(inside(skin, 1.5), "fat", gain=1 + np.float32(0.05) * rough[2])
    # streaks of connective tissue in the fat
    canvas.paint(
        inside(np.abs(rough[1] + 0.3 * rough[2]) * 6 + 0.6, 1.0) * 0.5 * inside(skin + 3, 2), "muscle"
    )
    wall = skin + body.fat * (1 + np.float32(0.12) * rough[0])
    canvas.paint(inside(wall, 1.2), "muscle", gain=1 + np.float32(0.15) * rough[2])
    _paint_ribs(canvas, x, y, body, wall)
    cavity = wall + body.muscle
    canvas.paint(inside(cavity, 1.2), "lung", gain=1 + np.float32(0.25) * rough[3])
    pad = _ellipse(x, y, (-body.front - 2, 12, 17, 40)) + 3 * rough[1]
    canvas.paint(inside(pad, 2) * inside(cavity, 1.2), "fat", gain=0.85 + np.float32(0.1) * rough[2])
    hilum = _ellipse(x, y, (45, -5, 60, 55)) / 40
    vessels = (rough[2] - 1.6) * 2.5 + 0.7 * (rough[1] - 0.4) - np.maximum(hilum, 0)
    canvas.paint(np.clip(vessels, 0, 0.8) * inside(cavity + 8, 3), "vessel")
    _paint_abdomen(canvas, points, body, level, inside(cavity + 1, 1.2), rough)
    _paint_back(canvas, x, y, body, rough[2])
    return skin


def _trunk(x: Array, y: Array, body: Body, margin: float) -> Array:
    """Distance to a rounded rectangle, roughly."""
    shell = body.fat + body.muscle + margin
    half = body.depth / 2 + shell
    middle = body.depth / 2 - body.front
    k = (np.abs((x - middle - 0.06 * y) / half) ** 3 + np.abs((y - 5) / body.height) ** 3) ** np.float32(
        1 / 3
    )
    return (k - 1) * half


def _paint_ribs(canvas: Canvas, x: Array, y: Array, body: Body, wall: Array) -> None:
    along = np.where(x < body.depth / 2 - body.front, y, y + 11) * (2 * np.pi / 27) + body.ribs
    middle = wall + 0.58 * body.muscle
    length = np.angle(np.exp(1j * along)) * np.float32(27 / (2 * np.pi))
    rib = (np.sqrt(np.square(middle / 3.6) + np.square(length / 6.5)) - 1).astype(np.float32) * 4
    canvas.paint(inside(rib - 0.4, 1.2), "bone")
    canvas.paint(inside(rib + 1.0, 1.2), "marrow")


def _paint_abdomen(
    canvas: Canvas,
    points: tuple[Array, Array],
    body: Body,
    level: float,
    within: Array,
    rough: Sequence[Array],
) -> None:
    """Paint what lies under the diaphragm; the dome rises towards the apex."""
    x, y = points
    dome = body.floor * (1 - 0.30 * level) + 0.0035 * np.square(x - 15) + 2.0 * rough[0]
    below = inside(dome - y, 1.2) * within
    canvas.paint(inside(np.abs(y - dome) - 1.3, 1.2) * within, "muscle")
    canvas.paint(below * inside(dome + 1.5 - y, 1.2), "fat", gain=0.9 + np.float32(0.08) * rough[2])
    liver = _ellipse(x, y, body.liver) + 3 * rough[1]
    cover = inside(liver, 1.5) * below
    canvas.paint(cover, "liver", gain=1 + np.float32(0.06) * rough[3])
    branches = (
        7 * np.abs(rough[1] + 0.2 * rough[2]) - 0.8 + 4 * np.maximum(0.1 - rough[0] - 0.4 * rough[2], 0)
    )
    canvas.paint(inside(branches, 1.2) * cover * inside(liver + 7, 6) * 0.8, "vessel")
    stomach = _ellipse(x, y, body.stomach) + 2 * rough[1]
    canvas.paint(inside(stomach, 1.5) * below, "muscle", gain=1.2)
    canvas.paint(inside(stomach + 3.5, 2) * below, "stomach", gain=1 + np.float32(0.35) * rough[1])
    spleen = _ellipse(x, y, body.spleen) + 1.5 * rough[1]
    canvas.paint(inside(spleen, 1.5) * below, "spleen", gain=1 + np.float32(0.04) * rough[3])


def _paint_back(canvas: Canvas, x: Array, y: Array, body: Body, rough: Array) -> None:
    """Paint the spine with its canal and muscle, and the descending aorta."""
    sx, sy = body.spine
    bed = _ellipse(x, y, (sx + 14, sy + 6, 34, 33)) + rough
    canvas.paint(inside(bed, 2), "fat", gain=0.7)
    muscle = np.minimum(
        _ellipse(x, y, (sx + 25, sy + 30, 17, 21)), _ellipse(x, y, (sx + 25, sy - 24, 17, 20))
    )
    canvas.paint(inside(muscle + 0.8 * rough, 2), "muscle", gain=1 + np.float32(0.25) * rough)
    vertebra = _ellipse(x, y, (sx, sy, 17, 19))
    canvas.paint(inside(vertebra, 1.2), "bone")
    canvas.paint(inside(vertebra + 1.6, 1.2), "marrow", gain=1 + np.float32(0.12) * rough)
    canal = (sx + 25, sy + 1)
    canvas.paint(inside(_ellipse(x, y, (*canal, 8.5, 9.5)), 1.2), "fluid")
    canvas.paint(inside(_ellipse(x, y, (*canal, 4, 5.5)), 1.2), "nerve")
    ax, ay, radius = body.aorta
    tube = np.hypot(x - ax, y - ay) - radius
    canvas.paint(inside(tube - 2.2, 1.5), "muscle", gain=0.8)
    canvas.paint(inside(tube, 1.2), "blood", gain=0.92)


def _ellipse(x: Array, y: Array, place: tuple[float, float, float, float]) -> Array:
    cx, cy, rx, ry = place
    k = np.sqrt(np.square((x - cx) / rx) + np.square((y - cy) / ry))
    return (k - 1) * np.float32(min(rx, ry))
