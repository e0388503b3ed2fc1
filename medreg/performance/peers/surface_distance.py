"""surface-distance: the area-weighted HD95 of Learn2Reg, one call a structure."""

from __future__ import annotations

from collections.abc import Mapping

from medreg.performance.inputs import Inputs
from medreg.performance.work import Agreement, Contender, Maker, Work


class SurfaceDistance(Contender):
    """Its loop over structures as the evaluation of Learn2Reg has it."""

    name = "surface-distance"
    distribution = "surface-distance"
    module = "surface_distance"

    def operators(self) -> Mapping[str, Maker]:
        """HD95 over surface elements."""
        return {"hd95_area": _hd95_area}


def _hd95_area(inputs: Inputs) -> Work:
    import surface_distance

    fixed = inputs.fixed_labels[0, 0].cpu().numpy()
    warped = inputs.warped_labels[0, 0].cpu().numpy()
    spacing = (1.0,) * inputs.size.ndim

    def run() -> list[float]:
        values = []
        for code in range(1, inputs.labels + 1):
            found = surface_distance.compute_surface_distances(fixed == code, warped == code, spacing)
            values.append(float(surface_distance.compute_robust_hausdorff(found, 95.0)))
        return values

    return Work(run, agreement=Agreement(1e-6))
