"""medreg: one energy, many solvers, for medical image registration and cardiac imaging."""

from __future__ import annotations

__version__ = "0.1.0"
