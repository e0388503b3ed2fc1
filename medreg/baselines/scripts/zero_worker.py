"""No registration: the zero field, whose scores are those of the images as they come."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from serving import Answer, CaseImage, importing, serve


def register(fixed: CaseImage, moving: CaseImage, settings: Mapping[str, Any]) -> Answer:
    """Return zeros."""
    return Answer(np.zeros((*fixed.array.shape, 3), np.float32), "voxel")


if __name__ == "__main__":
    serve(importing(register))
