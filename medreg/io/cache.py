"""Where medreg remembers what takes long to find out."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return the folder that MEDREG_CACHE names, or the usual one below home; it need not be there.

    A user without a home (in a container) gets a path that nobody can write to, which costs time and ends nothing.
    """
    named = Path(os.environ.get("MEDREG_CACHE", "~/.cache/medreg"))
    try:
        return named.expanduser()
    except RuntimeError:
        return named
