"""What a test step hands to the callbacks: the rows of one case, and the arrays worth drawing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from medreg.metrics.rows import MetricRow
from medreg.metrics.runtime import RuntimeUsage

UNREGISTERED = "unregistered"
WHOLE = ("spacing_mm", "affine")  # of the case, not of its slices


@dataclass(frozen=True)
class CaseResult:
    """What is known of one case of any kind.

    Attributes:
        case: its id.
        rows: metric rows by method, the state before any method first.
        columns: what else identifies a case of this kind, such as the ids of fixed and moving image; columns of
            results.csv.
        arrays: by name, what the pictures of this kind are drawn from, see `case_arrays`.
        tables: by name, rows of further tables of this kind; `distances` becomes `distances.csv`.
        writers: by name, what writes further files of the case into a folder; `posterior` gets `posterior/<case>/`.
    """

    case: str
    rows: Mapping[str, Sequence[MetricRow]]
    columns: Mapping[str, str] = field(default_factory=dict)
    arrays: Mapping[str, Tensor] = field(default_factory=dict)
    tables: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    writers: Mapping[str, Callable[[Path], Any]] = field(default_factory=dict)


def case_arrays(batch: Mapping[str, Any], arrays: Mapping[str, Tensor | None]) -> dict[str, Tensor]:
    """Return the arrays of one case with voxel size and affine: a volume or slice as it is, a stack with its axis.

    Args:
        batch: the case, with `spacing_mm` (N, D) and perhaps `affine` (N, 4, 4).
        arrays: (N, …) each; those that are None are left out.
    """
    kept = {name: array for name, array in arrays.items() if array is not None}
    single = all(len(array) == 1 for array in kept.values())
    found = {name: array[0] if single else array for name, array in kept.items()}
    return found | {name: batch[name][0] for name in WHOLE if name in batch}


def cost_rows(usage: RuntimeUsage) -> list[MetricRow]:
    """Rows of time and memory of one case."""
    return [
        MetricRow("all", "time_s", usage.time_s, "s"),
        MetricRow("all", "peak_memory_mib", usage.peak_memory_mib, "MiB"),
    ]
