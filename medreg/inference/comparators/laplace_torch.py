"""Laplace approximations of any network by the library laplace-torch (Daxberger et al., NeurIPS 2021), an extra."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

from medreg.errors import MissingExtra


class LibraryLaplace:
    """A fitted `laplace.Laplace`; `predict` gives mean and variance (regression) or probabilities (classification).

    Args:
        module: at its MAP; it must map a batch to (B, outputs).
        data: batches (inputs, targets) of the training data.
        likelihood: regression or classification.
        subset: weights that are random: all or last_layer.
        structure: full, kron or diag.
        **settings: of `laplace.Laplace`, such as sigma_noise and prior_precision.

    Raises:
        MissingExtra: laplace-torch is not installed.
    """

    def __init__(
        self,
        module: nn.Module,
        data: Iterable[Any],
        *,
        likelihood: str = "classification",
        subset: str = "last_layer",
        structure: str = "kron",
        **settings: Any,
    ) -> None:
        try:
            library = importlib.import_module("laplace")
        except ImportError as error:
            raise MissingExtra(
                f"Laplace approximations of any network need laplace-torch: pip install 'medreg[laplace]'. ({error})"
            ) from error
        self.fitted = library.Laplace(
            module, likelihood, subset_of_weights=subset, hessian_structure=structure, **settings
        )
        self.fitted.fit(data)

    def predict(self, inputs: Tensor) -> Any:
        """Return what the library predicts: (mean, variance) or class probabilities."""
        return self.fitted(inputs)
