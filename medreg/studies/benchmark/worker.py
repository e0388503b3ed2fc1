"""The worker of medreg's own methods: `python -m medreg.studies.benchmark.worker`, spoken to as any other tool's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from medreg.baselines.conversion import fitted
from medreg.baselines.scripts.serving import Answer, CaseImage, Register, serve

if TYPE_CHECKING:
    from medreg.runs.scans import Scan


def load() -> Register:
    """Import torch and the models; build each model once."""
    import torch  # noqa: F401

    import medreg.runs.trained  # noqa: F401
    from medreg.kernels.allocator import keep_freed_memory

    keep_freed_memory()
    built: dict[str, Register] = {}

    def register(fixed: CaseImage, moving: CaseImage, settings: Mapping[str, Any]) -> Answer:
        key = json.dumps(settings, sort_keys=True)
        if key not in built:
            built[key] = _trained(settings) if "ckpt" in settings else _composed(settings)
        return built[key](fixed, moving, settings)

    return register


def _composed(settings: Mapping[str, Any]) -> Register:
    """Return a model from its configuration; it sees the images as they come, in [0, 1]."""
    import torch

    from medreg.config.instantiate import build
    from medreg.models.asking import ask

    torch.set_num_threads(int(settings["threads"]))
    device = torch.device(settings["device"])
    model = build(settings["model"]).to(device)

    def register(fixed: CaseImage, moving: CaseImage, settings: Mapping[str, Any]) -> Answer:
        arrays = (fixed.array, fitted(moving.array, fixed.array.shape))
        images = [torch.from_numpy(array)[None, None].to(device) for array in arrays]
        spacing = torch.tensor(fixed.spacing, dtype=torch.float32, device=device)[None]
        masks = [
            None if mask is None else torch.from_numpy(mask).float()[None, None].to(device)
            for mask in (fixed.mask, fitted(moving.mask, fixed.array.shape))
        ]
        names = ("fixed_image", "moving_image", "fixed_mask", "moving_mask")
        batch = dict(zip(names, (*images, *masks), strict=True))
        with torch.no_grad():
            found = ask(model, {**batch, "spacing_mm": spacing}, use_masks=True)
        return Answer(np.moveaxis(found.displacement[0].cpu().numpy(), 0, -1), "voxel")

    return register


def _trained(settings: Mapping[str, Any]) -> Register:
    """Return a trained run; it prepares the images, as the task holds them, as in its training."""
    import torch

    from medreg.runs.trained import TrainedRun

    torch.set_num_threads(int(settings["threads"]))
    run = TrainedRun.open(settings["ckpt"], device=settings["device"])

    def register(fixed: CaseImage, moving: CaseImage, settings: Mapping[str, Any]) -> Answer:
        found = run.register(_scan(fixed), _scan(moving)).sampling_displacement()[0].numpy()
        return Answer(np.moveaxis(found, 0, -1), "voxel")

    return register


def _scan(picture: CaseImage) -> Scan:
    """An image as medreg reads its file; a piece of one, which has none, as it is."""
    from medreg.io.image import Volume, read_image
    from medreg.runs.scans import Scan

    spacing = tuple(float(value) for value in picture.spacing)
    image = (
        Volume(picture.array, picture.affine, spacing) if picture.path is None else read_image(picture.path)
    )
    mask = None if picture.mask is None else Volume(picture.mask, image.affine, image.spacing_mm)
    return Scan(image, mask=mask)


if __name__ == "__main__":
    serve(load)
