"""Packages whose classes and functions a file may name: ours, and those that the user vouches for."""

from __future__ import annotations

import os

ALLOW_VARIABLE = "MEDREG_ALLOW"


def trusted_prefixes() -> tuple[str, ...]:
    """Return the packages that the user names in MEDREG_ALLOW, each with its dot."""
    named = [name.strip() for name in os.environ.get(ALLOW_VARIABLE, "").split(",")]
    return tuple(f"{name.removesuffix('.')}." for name in named if name)
