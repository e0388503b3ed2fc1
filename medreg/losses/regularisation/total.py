"""Weighted sum of named regularisers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from medreg.errors import ConfigError
from medreg.losses.regularisation.base import Regulariser

if TYPE_CHECKING:
    from medreg.geometry.transformation import Deformation


class Sum(Regulariser):
    """R = λ Σ_i R_i, each term with its own weight, units and field of the deformation.

    `units` is without effect here: every term has its own.

    Args:
        terms: regularisers by name, for example {"diffusion": …, "folding": …}.
        weight: λ, common factor; a weight given to the call replaces this one and not those of the terms.
    """

    def __init__(self, *, terms: Mapping[str, Regulariser], weight: float) -> None:
        super().__init__(weight=weight)
        if not terms:
            raise ConfigError(
                "regularisation.terms is empty; name one regulariser or choose regularisation=none."
            )
        self.terms = nn.ModuleDict(terms)

    def forward(
        self,
        field: Tensor,
        *,
        spacing_mm: Tensor | None = None,
        weight: float | Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Sum of the terms on this one field, (B,); arguments as `Regulariser.forward`."""
        chosen = self.weight if weight is None else weight
        return self._sum(lambda term: term(field, spacing_mm=spacing_mm, weight=chosen, mask=mask))

    def evaluate(
        self,
        deformation: Deformation,
        *,
        spacing_mm: Tensor | None = None,
        weight: float | Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Sum of the terms, each on its own field of the deformation, (B,)."""
        chosen = self.weight if weight is None else weight
        return self._sum(
            lambda term: term.evaluate(deformation, spacing_mm=spacing_mm, weight=chosen, mask=mask)
        )

    def density(self, field: Tensor, *, spacing_mm: Tensor | None) -> Tensor:
        """Return the sum of the weighted densities of all terms on this one field, (B, 1, *S)."""
        return self._sum(lambda term: term.density(field, spacing_mm=spacing_mm))

    def density_of(self, deformation: Deformation, *, spacing_mm: Tensor | None) -> Tensor:
        """Return the sum of the weighted densities, each term on its own field, (B, 1, *S)."""
        return self._sum(lambda term: term.density_of(deformation, spacing_mm=spacing_mm))

    def extra_repr(self) -> str:
        """Return the common factor; units belong to the terms."""
        return f"weight={self.weight}"

    def _sum(self, value: Callable[[Regulariser], Tensor]) -> Tensor:
        terms = [cast(Regulariser, term) for term in self.terms.values()]
        return torch.stack([term.weight * value(term) for term in terms]).sum(0)
