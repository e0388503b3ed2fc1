"""A conditional model with a closed form, and a run folder of it (MEDREG_ALLOW=conditional_models)."""

from __future__ import annotations

import torch
import yaml
from tiny_task import PREPROCESS

from medreg.inference.registration import Registration
from medreg.models.conditional import ConditionalModel, SmoothnessRange


class ShiftByWeight(ConditionalModel):
    """u(x) = (1 − λ(x))·reach voxels along the first axis: the larger λ, the smaller and so the smoother."""

    trainable = False

    def __init__(self, reach, *, takes_maps, smoothness_range=(0.0, 1.0), smoothness=0.25):
        super().__init__()
        self.reach, self.takes_maps, self.smoothness = reach, takes_maps, smoothness
        self.smoothness_range = SmoothnessRange(*smoothness_range)

    def forward(
        self, fixed, moving, *, spacing_mm=None, fixed_mask=None, moving_mask=None, smoothness=None
    ) -> Registration:
        if smoothness is None:
            smoothness = torch.full((len(fixed),), self.smoothness)
        if smoothness.ndim == 1:
            smoothness = smoothness.view(-1, *[1] * (fixed.ndim - 1))
        along = (1 - smoothness).expand_as(fixed[:, :1]) * self.reach
        field = torch.cat([along, *[torch.zeros_like(along)] * (fixed.ndim - 3)], dim=1)
        return Registration(displacement=field, regularised=field, parameters=field)


def conditional_run(folder, *, model=None, ndim=3, **preprocess):
    """Write the run folder of a model that moves by (1 − λ)·reach; return the folder."""
    node = {
        "_target_": "conditional_models.ShiftByWeight",
        "reach": 4.0,
        "takes_maps": True,
        "smoothness_range": [0.0, 1.0],
        "smoothness": 0.25,
        **(model or {}),
    }
    config = {"model": node, "data": {"ndim": ndim, "preprocess": {**PREPROCESS, **preprocess}}}
    return write_run(folder, config)


def write_run(folder, config):
    """Write the configuration and a checkpoint without weights."""
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    content = {"state_dict": {}, "medreg": {"config": config, "overrides": []}}
    torch.save(content, folder / "checkpoints" / "best.ckpt")
    return folder
