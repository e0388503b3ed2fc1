"""Aligned pairs of images of two contrasts, from any data set of medreg."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from medreg.config.compose import compose
from medreg.config.instantiate import build
from medreg.errors import ConfigError, DataError


@dataclass(frozen=True)
class Cases:
    """Aligned pairs on one grid.

    Attributes:
        names: of each pair.
        fixed: (N, 1, *S).
        moving: (N, 1, *S).
        spacing_mm: (D,), mm.
        left_out: pair → why it cannot be used.
    """

    names: tuple[str, ...]
    fixed: Tensor
    moving: Tensor
    spacing_mm: tuple[float, ...]
    left_out: Mapping[str, str]

    @property
    def shape(self) -> tuple[int, ...]:
        """Spatial shape S."""
        return tuple(self.fixed.shape[2:])


def load_cases(overrides: Sequence[str], *, stage: str, limit: int | None) -> Cases:
    """Load the pairs of a stage, each slice a pair of its own.

    Args:
        overrides: options of train.py that choose the data, such as `data=brain_phantom_slices`.
        stage: val or test.
        limit: most pairs; None for all.

    Raises:
        ConfigError: another stage.
        DataError: no usable pair, or pairs of different size.
    """
    if stage not in ("val", "test"):
        raise ConfigError(f"The pairs of a capture range are of stage val or test, not {stage!r}.")
    data = build(compose(["mode=test", *overrides]).data)
    data.prepare_data()
    data.setup()
    loader = data.val_dataloader() if stage == "val" else data.test_dataloader()
    return gathered(_slices(loader), limit=limit, what=" ".join(overrides))


def _slices(loader: Any) -> Iterator[dict[str, Any]]:
    for batch in loader:
        several = len(batch["fixed_image"]) > 1
        for row in range(len(batch["fixed_image"])):
            number = f" slice {int(batch['slice_index'][row])}" if several else ""
            yield {
                "name": f"{batch['case'][row]}{number}",
                "fixed": batch["fixed_image"][row],
                "moving": batch["moving_image"][row],
                "spacing_mm": tuple(batch["spacing_mm"][row].tolist()),
            }


def gathered(items: Iterator[dict[str, Any]], *, limit: int | None, what: str) -> Cases:
    """Put pairs together; those with NaN or without contrast are left out and named.

    Raises:
        DataError: nothing is left, or pairs differ in size or spacing.
    """
    kept: list[dict[str, Any]] = []
    left_out: dict[str, str] = {}
    for item in items:
        if limit is not None and len(kept) == limit:
            break
        fault = _fault(item)
        if fault:
            left_out[item["name"]] = fault
        else:
            kept.append(item)
    if not kept:
        reasons = "; ".join(f"{name}: {why}" for name, why in list(left_out.items())[:3])
        raise DataError(f"{what} holds no usable pair ({reasons or 'no pairs at all'}).")
    grids = {(tuple(item["fixed"].shape), item["spacing_mm"]) for item in kept}
    if len(grids) > 1:
        raise DataError(
            f"The pairs of {what} have {len(grids)} different grids; give them one by data.preprocess.size and "
            "data.preprocess.spacing_mm."
        )
    fixed, moving = (torch.stack([item[side] for item in kept]) for side in ("fixed", "moving"))
    names = tuple(str(item["name"]) for item in kept)
    return Cases(names, fixed, moving, kept[0]["spacing_mm"], left_out)


def _fault(item: Mapping[str, Any]) -> str:
    for side in ("fixed", "moving"):
        image = item[side]
        if not bool(torch.isfinite(image).all()):
            return f"the {side} image holds NaN or infinite values"
        if float(image.max() - image.min()) == 0:
            return f"the {side} image is constant"
    return ""
