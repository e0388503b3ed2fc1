"""Hearts of ellipsoids over a cycle, and the folder of a run that has made some, for tests of reports and pictures."""

from __future__ import annotations

import numpy as np

SPACING = (5.0, 5.0, 8.0)


def made_heart(frames=10, size=(32, 32, 16), spacing=SPACING, *, scale=1.0, shift=(0.0, 0.0), ejection=0.62):
    """(T, X, Y, Z) uint8: a left ventricle in its wall, and a right one beside it, that contract and relax."""
    axes = np.meshgrid(*(np.arange(n) * mm for n, mm in zip(size, spacing, strict=True)), indexing="ij")
    centre = np.array(size) * spacing / 2
    x, y, z = axes[0] - centre[0] - shift[0], axes[1] - centre[1] - shift[1], axes[2] - centre[2]
    heart = np.zeros((frames, *size), np.uint8)
    for t in range(frames):
        phase = np.sin(np.pi * t / frames) ** 2 if frames > 2 else float(t)
        radius = 24.0 * scale * (1 - (1 - np.sqrt(1 - ejection * 0.85)) * phase)
        wall = (radius**3 + (35.0 * scale) ** 3 - (24.0 * scale) ** 3) ** (1 / 3)
        below = z < 34.0 * scale
        left = (x / radius) ** 2 + (y / radius) ** 2 + (z / (44 * scale)) ** 2 < 1
        muscle = (x / wall) ** 2 + (y / wall) ** 2 + (z / (54 * scale)) ** 2 < 1
        out = 14 * scale
        right = ((x + out + radius) / (1.45 * radius)) ** 2 + ((y + out + radius) / (1.45 * radius)) ** 2
        right = right + (z / (46 * scale)) ** 2 < 1
        heart[t][right & below] = 3
        heart[t][muscle & below] = 2
        heart[t][left & below] = 1
    return heart
