"""Structured variational inference: normal families of any rank, mixtures of them, for a density or any module.

Two ways in: `fit` takes a log density over a vector, `VariationalModule` any `torch.nn.Module`.
"""

from medreg.inference.variational.fit import fit
from medreg.inference.variational.module import VariationalModule

__all__ = ["VariationalModule", "fit"]
