"""The posterior model of a pair of files: `model=bayes` as training composes it, with what the user changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import OmegaConf

from medreg.config.compose import compose
from medreg.config.instantiate import build
from medreg.config.settings import names_of
from medreg.errors import ConfigError, require_choice
from medreg.models.base import RegistrationModel
from medreg.registering.posterior import AUTO, DEFAULT, PosteriorRequest

# Options of a preset that a posterior uses too: where the pair starts, and how its images are normalised.
SHARED = (
    "mode", "initialise", "intensity", "finest_voxels", "use_affine", "affine", "rigid", "least_gain",
    "least_information", "mask_margin_mm", "description",
)  # fmt: skip


def divided(overrides: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return those of `KEY=VALUE` that change the preset, and those that change the posterior model."""
    preset = tuple(text for text in overrides if text.split("=", 1)[0].split(".")[0] in SHARED)
    return preset, tuple(text for text in overrides if text not in preset)


def kind_of(request: PosteriorRequest) -> str:
    """Return the name of the inference that is asked for."""
    return DEFAULT if request.kind in (None, AUTO) else str(request.kind)


def posterior_model(
    request: PosteriorRequest, overrides: Sequence[str], *, ndim: int
) -> tuple[RegistrationModel, Mapping[str, Any]]:
    """Build the model and return it with its settings as plain values.

    Args:
        request: which inference, and how many samples.
        overrides: as of a training, such as `likelihood=ssd` or `inference.chains=4`.
        ndim: 2 for slices, 3 for a volume.

    Raises:
        ConfigError: an unknown inference or option.
    """
    kind, known = kind_of(request), names_of("inference")
    require_choice("--posterior", kind, tuple(known))
    chosen = ["model=bayes", f"inference={kind}", f"data.ndim={ndim}", "logger=none", *overrides]
    inference = OmegaConf.to_container(compose(chosen).model.inference, resolve=True)
    assert isinstance(inference, dict)
    if request.samples is not None:
        chosen += _of_length(inference, request.samples)
    found = OmegaConf.to_container(compose(chosen).model, resolve=True)
    assert isinstance(found, dict)
    settings: dict[str, Any] = {str(key): value for key, value in found.items()}
    return build(settings), settings


def _of_length(inference: Mapping[Any, Any], samples: int) -> list[str]:
    """Overrides that make an inference give so many samples at least: draws of a fit, or transitions of every chain."""
    if "samples" in inference:
        return [f"inference.samples={samples}"]
    if not {"chains", "transitions", "thin"} <= set(inference):
        raise ConfigError(
            "--samples does not fit this inference; set the length of its sampling with --set inference.KEY=VALUE."
        )
    each = -(-samples // int(inference["chains"]))
    return [f"inference.transitions={each * int(inference['thin'])}"]
