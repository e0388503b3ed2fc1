"""The middle plane of a case's answers as arrays for the figures."""

from __future__ import annotations

from torch import Tensor

from medreg.geometry.derivatives import jacobian_determinant
from medreg.geometry.warp import warp
from medreg.metrics.gradient_energy import gradient_energy
from medreg.models.chosen_smoothness import ChosenSmoothness, require_conditional
from medreg.runs.trained import TrainedRun
from medreg.studies.smoothness.maps_figure import FieldPlane
from medreg.studies.smoothness.problem import Batch
from medreg.studies.smoothness.two_regions import MapAnswer


def uniform_answers(run: TrainedRun, batch: Batch, weights: list[float]) -> list[MapAnswer]:
    """Register a case at several λ, the same everywhere.

    Raises:
        CompositionError: the model takes no λ.
    """
    require_conditional(run.model)
    found = []
    for smoothness in weights:
        field = run.displacement(batch, smoothness=ChosenSmoothness(smoothness))
        found.append(
            MapAnswer(
                f"λ = {smoothness:g}",
                field.new_full((field.shape[0], 1, *field.shape[2:]), smoothness),
                field,
            )
        )
    return found


def field_plane(batch: Batch, answer: MapAnswer) -> FieldPlane:
    """Return the middle slice of a stack, or the middle plane of a volume across its last axis."""
    field = answer.displacement
    warped, det = warp(batch["moving_image"], field), jacobian_determinant(field)
    if det.ndim == field.ndim - 1:
        det = det.unsqueeze(1)

    def plane(values: Tensor) -> Tensor:
        middle = values[len(values) // 2]
        return middle if middle.ndim == 3 else middle[..., middle.shape[-1] // 2]

    return FieldPlane(
        name=answer.name,
        warped=plane(warped)[0].numpy(),
        displacement=plane(field)[:2].numpy(),
        jacobian=plane(det)[0].numpy(),
        energy=plane(gradient_energy(field))[0].numpy(),
        smoothness=plane(answer.smoothness)[0].numpy(),
    )
