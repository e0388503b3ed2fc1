"""Small pairs of images with known contents."""

from __future__ import annotations

import torch


def blob(shape, centre, sigma, dtype=torch.float64):
    """exp(−|x − c|²/2σ²) as (1, 1, *shape)."""
    axes = torch.meshgrid(*[torch.arange(n, dtype=dtype) for n in shape], indexing="ij")
    radius2 = sum((axis - c) ** 2 for axis, c in zip(axes, centre, strict=True))
    return torch.exp(-radius2 / (2 * sigma**2))[None, None]


def blobs(dtype=torch.float64):
    """Fixed and moving blob of 64², at lattice points."""
    return blob((64, 64), (32, 32), 8, dtype), blob((64, 64), (35, 30), 9, dtype)


def off_lattice(shape=(24, 20), dtype=torch.float64):
    """Fixed and moving blob at non-integer centres."""
    fixed = blob(shape, [n / 2 + 0.21 for n in shape], 4.0, dtype)
    return fixed, blob(shape, [n / 2 + 1.37 for n in shape], 4.5, dtype)


def zero_networks(model):
    """Set every learned regulariser to zero, so that plain gradient descent remains."""
    for name, parameter in model.named_parameters():
        if "regulariser" in name:
            parameter.data.zero_()
    return model
