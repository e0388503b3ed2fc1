"""ConvexAdam with MIND features: coupled convex search, then Adam (Siebert et al., 2021 and 2024)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from serving import Answer, Picture, Register, serve


def load() -> Register:
    """Import torch and convexAdam."""
    import torch  # noqa: F401
    from convexAdam.convex_adam_MIND import convex_adam_pt  # noqa: F401

    return register


def register(fixed: Picture, moving: Picture, settings: Mapping[str, Any]) -> Answer:
    """Register by array index; the tool knows no geometry.

    Args:
        fixed: fixed image.
        moving: moving image; cut or padded with zeros to the fixed shape.
        settings: arguments of `convex_adam_pt` under `options`, device, threads.
    """
    import torch
    from convexAdam.convex_adam_MIND import convex_adam_pt

    torch.set_num_threads(int(settings["threads"]))
    found = convex_adam_pt(
        torch.from_numpy(fixed.array),
        torch.from_numpy(_fitted(moving.array, fixed.array.shape)),
        device=torch.device(settings["device"]),
        dtype=torch.float32,
        **settings["options"],
    )
    return Answer(np.asarray(found), "voxel")


def _fitted(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Cut or pad an array at its far ends, so that indices keep their meaning."""
    cut = array[tuple(slice(0, size) for size in shape)]
    return np.pad(cut, [(0, size - have) for size, have in zip(shape, cut.shape, strict=True)])


if __name__ == "__main__":
    serve(load)
