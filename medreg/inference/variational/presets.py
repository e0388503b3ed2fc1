"""Rank, mode and draws a step for a network of a given size."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Preset:
    """What a network of a size starts with.

    Attributes:
        rank: directions that all layers share.
        mode: of the joint samples.
        pairs: draws a step.
        chunk_size: vectors evaluated side by side; none for all.
    """

    rank: int
    mode: str
    pairs: int
    chunk_size: int | None


# (most parameters, preset). Time and memory of each are in docs/how-to/variational.md.
PRESETS = (
    (1_000, Preset(rank=20, mode="paired", pairs=8, chunk_size=None)),
    (10_000, Preset(rank=10, mode="paired", pairs=4, chunk_size=None)),
    (100_000, Preset(rank=5, mode="paired", pairs=2, chunk_size=None)),
    (1_000_000, Preset(rank=2, mode="paired", pairs=1, chunk_size=2)),
)
LARGE = Preset(rank=1, mode="paired", pairs=1, chunk_size=1)


def preset(parameters: int) -> Preset:
    """The preset of the smallest class that holds so many random parameters."""
    return next((found for most, found in PRESETS if parameters <= most), LARGE)
