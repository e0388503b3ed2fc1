"""Sizes as they are written on the command line."""

from __future__ import annotations

import pytest

from experiments.performance.sizes import Size, parse_size
from medreg.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "size", "title"),
    [
        ("96", Size(1, (96, 96, 96)), "96³"),
        ("160x192x224", Size(1, (160, 192, 224)), "160 × 192 × 224"),
        ("16*192x192", Size(16, (192, 192)), "16 × 192²"),
    ],
)
def test_forms(text, size, title):
    assert parse_size(text) == size
    assert size.title == title
    assert parse_size(size.name) == size


@pytest.mark.parametrize("text", ["", "96³", "1x2x3x4", "a", "16*"])
def test_other_forms_are_refused(text):
    with pytest.raises(ConfigError, match="--sizes"):
        parse_size(text)


def test_voxels_count_the_batch():
    assert Size(16, (192, 192)).voxels == 16 * 192**2
