"""The λ that a conditional model is run with: one number, or one for every label of the fixed image."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from medreg.errors import CompositionError, ConfigError, DataError
from medreg.models.conditional import ConditionalModel

CONDITIONAL = ("csain", "cin", "hypermorph")  # options of the group model that take a λ
WITH_MAPS = ("csain",)  # of them those whose λ may differ from voxel to voxel


@dataclass(frozen=True)
class ChosenSmoothness:
    """λ of a call: `labels[k]` where the fixed image has label k, `smoothness` elsewhere.

    Attributes:
        smoothness: λ of every other voxel; None is the model's own, `ConditionalModel.smoothness`.
        labels: λ by label code, 0 for the background; empty for one λ everywhere.

    Raises:
        ConfigError: a λ that is negative or no finite number, or a label that is no integer.
    """

    smoothness: float | None = None
    labels: Mapping[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.smoothness is not None and not _is_number(self.smoothness):
            raise ConfigError(f"λ is {self.smoothness!r}; give a finite number, 0 or more, such as 0.3.")
        for code, value in self.labels.items():
            if not isinstance(code, int):
                raise ConfigError(f"λ is given for label {code!r}; labels are integers, 0 is the background.")
            if not _is_number(value):
                raise ConfigError(
                    f"λ of label {code} is {value!r}; give a finite number, 0 or more, such as 0.3."
                )

    def tensor(self, model: ConditionalModel, labels: Tensor | None, *, batch: int) -> Tensor:
        """λ as the model takes it: (B,) for one number, (B, 1, *S) float32 for one a label.

        Args:
            model: gives the λ that is not named here.
            labels: (B, 1, *S) label map of the fixed image; needed where λ is given by label.
            batch: B.

        Raises:
            CompositionError: λ by label without a label map, or for a model of one λ a pair.
        """
        rest = model.smoothness if self.smoothness is None else self.smoothness
        if not self.labels:
            return torch.full((batch,), float(rest))
        require_maps(model)
        if labels is None:
            raise CompositionError(
                "λ is given by label, but the fixed image has no label map that says where each label is."
            )
        found = torch.full(labels.shape, float(rest), device=labels.device)
        for code, value in self.labels.items():
            found[labels == code] = float(value)
        return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and value >= 0


def require_conditional(model: nn.Module) -> ConditionalModel:
    """Return the model if it takes a λ.

    Raises:
        CompositionError: it does not; the message names those that do.
    """
    if not isinstance(model, ConditionalModel):
        raise CompositionError(
            f"{type(model).__name__} takes no λ: its smoothness was fixed in training. Conditional "
            f"models take one: {', '.join(f'model={name}' for name in CONDITIONAL)}."
        )
    return model


def require_maps(model: ConditionalModel) -> None:
    """Check that λ may differ from voxel to voxel.

    Raises:
        CompositionError: the model takes one number a pair only; the message names those that take maps.
    """
    if not model.takes_maps:
        raise CompositionError(
            f"This {type(model).__name__} takes one λ for the whole pair, not a map or one λ a label; give one "
            f"number, or train {', '.join(f'model={name}' for name in WITH_MAPS)}, whose λ may differ from voxel "
            "to voxel."
        )


def range_note(model: ConditionalModel, smoothness: Tensor) -> str | None:
    """Return a sentence where λ leaves the range that the model has seen in training; None within it."""
    trained = model.smoothness_range
    if trained.contains(smoothness):
        return None
    low, high = float(smoothness.min()), float(smoothness.max())
    values = f"λ = {low:.4g} lies" if low == high else f"λ reaches from {low:.4g} to {high:.4g},"
    return (
        f"{values} outside the range of training, {trained.low:.4g} to {trained.high:.4g}: the model extrapolates, "
        "and its answer is not to be trusted there"
    )


def read_choice(path: str | Path) -> ChosenSmoothness:
    """Read the λ that `medreg search-smoothness` has found: YAML with `smoothness` and, by region, `labels`.

    Raises:
        DataError: a file that is missing, is no YAML, or holds no λ.
    """
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(
            f"{path} cannot be read as a file of λ ({reason}); `medreg search-smoothness` writes one."
        ) from error
    if isinstance(content, dict) and "weight" in content:  # as earlier versions wrote it
        content.setdefault("smoothness", content.pop("weight"))
    known = isinstance(content, Mapping) and ("smoothness" in content or "labels" in content)
    labels = content.get("labels") or {} if known else {}
    if not known or not isinstance(labels, Mapping):
        raise DataError(
            f"{path} holds no λ: it needs `smoothness: NUMBER` and may have `labels: {{CODE: NUMBER}}`, as "
            "`medreg search-smoothness` writes them."
        )
    try:
        return ChosenSmoothness(content.get("smoothness"), labels)
    except ConfigError as error:
        raise DataError(f"{path}: {error}") from error
