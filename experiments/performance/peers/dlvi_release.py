"""The authors' engine of "Is MC Dropout Bayesian?", imported from a checkout that the user names; no part of medreg."""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from experiments.performance.inputs import Inputs
from experiments.performance.peers.checkout import Checkout
from experiments.performance.peers.notebook import (
    BETAS,
    LEARNING_RATE,
    MODE,
    RANK,
    STEPS,
    NormalTarget,
    divergence,
)
from experiments.performance.peers.release import importable
from experiments.performance.work import Inference, InferenceMaker

SOFTENING = 1e-3  # under the root of a column's norm; the release


class DLVIRelease(Checkout):
    """Its structured normal on the problem of its notebook, in the loop of that notebook.

    The notebook's mode runs as it is; `paired` and `exhaustive` need the alias `numpy.int`, which NumPy 1.24 took
    away and which is lent to it while it runs here.

    Args:
        folder: checkout of github.com/llefolgo/dlvi.

    Raises:
        ConfigError: the folder is not such a checkout.
    """

    name = "dlvi release"
    marker = "dlvi/variationalize.py"

    @property
    def version(self) -> str:
        """Of its last change."""
        return "2021"

    def inference(self) -> Mapping[str, InferenceMaker]:
        """The notebook."""
        return {"notebook": partial(self._notebook)}

    def _notebook(self, inputs: Inputs, *, steps: int = STEPS) -> Inference:
        with importable(self.folder):
            code = importlib.import_module("dlvi")
        target, found = NormalTarget.random(seed=0), {}

        def run() -> None:
            with numpy_alias():
                found["q"] = _fit(code, target, steps)

        return Inference(run, lambda: {"kl": divergence(target, *_moments(found["q"]))})


class _Vector(nn.Module):
    """A module whose only parameter is the vector that is inferred; its own start is the notebook's."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.empty(dim))
        nn.init.uniform_(self.x, -1 / math.sqrt(dim), 1 / math.sqrt(dim))

    def forward(self, *_: Any) -> Tensor:
        """The vector (dim,)."""
        return self.x


def _fit(code: Any, target: NormalTarget, steps: int) -> Any:
    """The variational parameters after the notebook's loop, both of whose traces are read at every step."""
    torch.manual_seed(0)
    dim = target.mean.numel()
    family = code.vp.GaussianVariationalParameters(low_rank_dimension=RANK, init_zero_mean=True, mode=MODE)
    model = code.Variationalize(lambda: _Vector(dim), family)
    optimiser = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE, betas=BETAS)
    traces: list[tuple[float, float]] = []
    for _ in range(steps):
        samples, weights = model.sample_model(detach=False)
        surprise = model.mlog_q()
        energy = sum(
            target.energy(sample(None)) * weight for sample, weight in zip(samples, weights, strict=True)
        )
        entropy = model.entropy_q()
        loss = energy - surprise
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        traces.append((loss.item(), entropy.item()))
    return model.vp_list[0]


def _moments(parameters: Any) -> tuple[Tensor, Tensor]:
    """Mean (D,) and covariance (D, D), double precision."""
    columns = parameters.U.detach().double()
    norm = (columns.square().sum(0) + SOFTENING).sqrt()
    factor = columns * parameters.rho.detach().double().exp() / norm
    noise = (2 * parameters.diag_lstd.detach().double()).exp().diag()
    return parameters.mean.detach().double(), noise + factor @ factor.T


@contextmanager
def numpy_alias() -> Iterator[None]:
    """Lend `numpy.int` to the release where NumPy has it no longer."""
    names = vars(np)
    missing = "int" not in names
    if missing:
        names["int"] = int
    try:
        yield
    finally:
        if missing:
            del names["int"]
