"""What a test step hands to the callbacks: the scores of one case and the arrays worth drawing."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from medreg.metrics.evaluator import MetricRow

UNREGISTERED = "unregistered"


@dataclass(frozen=True)
class CaseResult:
    """Scores and arrays of one case.

    Attributes:
        case: id of the pair.
        fixed: id of the fixed image.
        moving: id of the moving image.
        rows: metric rows by method; `unregistered` is always among them.
        displacement: (N, D, *S) voxels, of the last method.
        warped: (N, 1, *S) moving image warped by it.
        warped_label: (N, 1, *S) or None.
    """

    case: str
    fixed: str
    moving: str
    rows: dict[str, list[MetricRow]]
    displacement: Tensor
    warped: Tensor
    warped_label: Tensor | None = None
    extra: dict[str, float] = field(default_factory=dict)
