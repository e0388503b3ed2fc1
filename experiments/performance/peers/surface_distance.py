"""surface-distance: the area-weighted HD95 of Learn2Reg, one call a structure."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from experiments.performance.inputs import Inputs
from experiments.performance.peers.scipy import numpy_determinant
from experiments.performance.work import Agreement, Contender, Evaluate, Maker, Work


class SurfaceDistance(Contender):
    """Its loop over structures as the evaluation of Learn2Reg has it."""

    name = "surface-distance"
    distribution = "surface-distance"
    module = "surface_distance"

    def operators(self) -> Mapping[str, Maker]:
        """HD95 over surface elements."""
        return {"hd95_area": _hd95_area}

    def evaluation(self, inputs: Inputs) -> Evaluate:
        """Dice, HD95 and average distance in a loop over structures, the rest with NumPy and SciPy."""
        return _evaluation(inputs)


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


def _evaluation(inputs: Inputs) -> Evaluate:
    import surface_distance
    from scipy import ndimage

    labels, field = inputs.fixed_labels[0, 0].numpy(), inputs.displacement[0].numpy()

    def run() -> dict[str, float]:
        warped = ndimage.map_coordinates(labels, np.indices(labels.shape) + field, order=0)
        values = []
        for code in range(1, inputs.labels + 1):
            one, other = labels == code, warped == code
            found = surface_distance.compute_surface_distances(one, other, (1.0,) * labels.ndim)
            values.append(
                [
                    surface_distance.compute_dice_coefficient(one, other),
                    surface_distance.compute_robust_hausdorff(found, 95.0),
                    np.mean(surface_distance.compute_average_surface_distance(found)),
                ]
            )
        folds = 100 * (numpy_determinant(field) <= 0).mean()
        means = np.nanmean(np.array(values, dtype=float), 0).tolist()
        return {
            **dict(zip(("dice", "hd95_mm", "assd_mm"), means, strict=True)),
            "folding_percent": float(folds),
        }

    return run
