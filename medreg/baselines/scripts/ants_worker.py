"""ANTs through antspyx: `ants.registration` (Avants et al. 2008), one field for the whole chain of transforms."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from serving import Answer, CaseImage, importing, serve


def register(fixed: CaseImage, moving: CaseImage, settings: Mapping[str, Any]) -> Answer:
    """Register and compose all transforms into one displacement field.

    Args:
        fixed: fixed image.
        moving: moving image.
        settings: type_of_transform, and arguments of `ants.registration` under `options`. The number of threads
            comes from ITK's environment variable.
    """
    import ants

    target, source = _image(ants, fixed), _image(ants, moving)
    masks = {}
    if fixed.mask is not None and moving.mask is not None:
        masks = {"mask": _image(ants, fixed, fixed.mask), "moving_mask": _image(ants, moving, moving.mask)}
    with tempfile.TemporaryDirectory() as folder:
        found = ants.registration(
            target,
            source,
            type_of_transform=settings["type_of_transform"],
            outprefix=f"{folder}/of_",
            **settings["options"],
            **masks,
        )
        composed = ants.apply_transforms(target, source, found["fwdtransforms"], compose=f"{folder}/all_")
        field = ants.image_read(str(Path(composed))).numpy()
    return Answer(field, "lps_mm", found["warpedmovout"].numpy())


def _image(ants: Any, picture: CaseImage, values: np.ndarray | None = None) -> Any:
    """ANTs image of a picture, or of other values on its grid."""
    return ants.from_numpy(
        picture.array if values is None else values.astype(np.float32),
        origin=[float(value) for value in picture.origin],
        spacing=[float(value) for value in picture.spacing],
        direction=picture.direction,
    )


if __name__ == "__main__":
    serve(importing(register, "ants"))
