"""The worker of medreg's own methods: `python -m medreg.studies.benchmark.worker`, spoken to as any other tool's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from medreg.baselines.scripts.serving import Answer, Picture, Register, serve


def load() -> Register:
    """Import torch and the models; build each model once."""
    import torch  # noqa: F401

    import medreg.registering.solve  # noqa: F401
    from medreg.kernels.allocator import keep_freed_memory

    keep_freed_memory()
    built: dict[str, Register] = {}

    def register(fixed: Picture, moving: Picture, settings: Mapping[str, Any]) -> Answer:
        key = json.dumps(settings, sort_keys=True)
        if key not in built:
            built[key] = _trained(settings) if "ckpt" in settings else _composed(settings)
        return built[key](fixed, moving, settings)

    return register


def _composed(settings: Mapping[str, Any]) -> Register:
    """Return a model from its configuration; it sees the images as they come, in [0, 1]."""
    import torch

    from medreg.config.instantiate import build

    torch.set_num_threads(int(settings["threads"]))
    device = torch.device(settings["device"])
    model = build(settings["model"]).to(device)

    def register(fixed: Picture, moving: Picture, settings: Mapping[str, Any]) -> Answer:
        arrays = (fixed.array, _fitted(moving.array, fixed.array.shape))
        images = [torch.from_numpy(array)[None, None].to(device) for array in arrays]
        spacing = torch.tensor(fixed.spacing, dtype=torch.float32, device=device)[None]
        masks = [
            None if mask is None else torch.from_numpy(mask).float()[None, None].to(device)
            for mask in (fixed.mask, _fitted(moving.mask, fixed.array.shape))
        ]
        with torch.no_grad():
            found = model(*images, spacing_mm=spacing, fixed_mask=masks[0], moving_mask=masks[1])
        return Answer(np.moveaxis(found.displacement[0].cpu().numpy(), 0, -1), "voxel")

    return register


def _trained(settings: Mapping[str, Any]) -> Register:
    """Return the model of a run with the preparation of its training."""
    import torch

    from medreg.config.instantiate import build
    from medreg.errors import CheckpointError
    from medreg.io.image import Volume
    from medreg.models.base import RegistrationModel
    from medreg.registering.pair import Pair
    from medreg.registering.solve import predict
    from medreg.runs.checkpoint import load_model

    torch.set_num_threads(int(settings["threads"]))
    model, config = load_model(Path(settings["ckpt"]))
    data = config.get("data", {})
    if not isinstance(model, RegistrationModel) or "preprocess" not in data:
        raise CheckpointError(f"{settings['ckpt']} is not the checkpoint of a registration run.")
    preprocess = build(data["preprocess"])

    def register(fixed: Picture, moving: Picture, settings: Mapping[str, Any]) -> Answer:
        first, second = (
            Volume(one.array, one.affine, tuple(float(value) for value in one.spacing))
            for one in (fixed, moving)
        )
        device = torch.device(settings["device"])
        transform = predict(
            Pair(first, second), model, ndim=int(data["ndim"]), preprocess=preprocess, device=device
        )
        found = transform.sampling_displacement()[0].numpy()
        return Answer(np.moveaxis(found, 0, -1), "voxel")

    return register


@overload
def _fitted(array: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]: ...
@overload
def _fitted(array: None, shape: tuple[int, ...]) -> None: ...
def _fitted(array: NDArray[Any] | None, shape: tuple[int, ...]) -> NDArray[Any] | None:
    """Return an array cut or padded with zeros at its far ends, so that indices keep their meaning."""
    if array is None:
        return None
    cut = array[tuple(slice(0, size) for size in shape)]
    return np.pad(cut, [(0, size - have) for size, have in zip(shape, cut.shape, strict=True)])


if __name__ == "__main__":
    serve(load)
