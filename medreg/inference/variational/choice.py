"""A family by its name, as `fit` and `VariationalModule` take it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch

from medreg.errors import ConfigError, require_choice, require_whole
from medreg.inference.variational.families import Diagonal, Family, Full, Mixture, Structured

FamilyName = Literal["diagonal", "structured", "mixture", "full"]


def make_family(
    name: str,
    dim: int,
    *,
    rank: int | None,
    usual_rank: int,
    components: int | None,
    segments: Sequence[int] | None = None,
    batch: Sequence[int] = (),
    dtype: torch.dtype,
    device: torch.device | str,
) -> Family:
    """Make the family of a name, at zeros.

    Args:
        name: diagonal, structured, mixture or full.
        dim: length of the vectors.
        rank: of structured and mixture.
        usual_rank: where none is given; never more than fits.
        components: of the mixture; by default 2.
        segments: lengths of the tensors in a vector.
        batch: shape of independent problems.
        dtype: of the parameters.
        device: of the parameters.

    Raises:
        ConfigError: an unknown name, or an option that the family has not.
    """
    require_choice("family", name, get_args(FamilyName))
    require_whole("dim", dim, 1)
    for option, value, least in (("rank", rank, 0), ("components", components, 1)):
        if value is not None:
            require_whole(option, value, least)
    if rank and name in ("diagonal", "full"):
        raise ConfigError(
            f"rank is {rank}, but family={name} has no rank; take family=structured or leave it out."
        )
    if components is not None and name != "mixture":
        raise ConfigError(f"components is {components}, but family={name} has one; take family=mixture.")
    like: dict[str, Any] = {"batch": batch, "dtype": dtype, "device": device}
    if name == "full":
        return Full(dim, **like)
    like["segments"] = segments
    if name == "diagonal":
        return Diagonal(dim, **like)
    rank = min(usual_rank, dim) if rank is None else rank
    if name == "structured":
        return Structured(dim, rank, **like)
    return Mixture(dim, rank, 2 if components is None else components, **like)
