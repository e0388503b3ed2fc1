"""NumPy and SciPy as people write the operators by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.performance.inputs import Inputs
from experiments.performance.work import Agreement, Contender, Maker, Work

FloatArray = NDArray[np.floating[Any]]


class Scipy(Contender):
    """One image at a time, without gradients."""

    name = "SciPy"
    distribution = "scipy"
    module = "scipy"

    def operators(self) -> Mapping[str, Maker]:
        """Warp, Jacobian determinant, Dice and HD95."""
        return {"warp": _warp, "jacobian": _jacobian, "dice": _dice, "hd95": _hd95}


def _warp(inputs: Inputs) -> Work:
    from scipy import ndimage

    images, fields = inputs.moving[:, 0].cpu().numpy(), inputs.displacement.cpu().numpy()
    lattice = np.indices(inputs.size.shape, dtype=np.float32)

    def run() -> FloatArray:
        pairs = zip(images, fields, strict=True)
        warped = [
            ndimage.map_coordinates(image, lattice + field, order=1, mode="nearest") for image, field in pairs
        ]
        return np.stack(warped)[:, None]

    return Work(run, agreement=Agreement(1e-3))


def numpy_determinant(field: FloatArray) -> FloatArray:
    """Jacobian determinant (*S) of a displacement (D, *S) in voxels, by `numpy.gradient` and `numpy.linalg`."""
    matrices = np.stack([np.stack(np.gradient(component), -1) for component in field], -2)
    return np.linalg.det(matrices + np.eye(len(field), dtype=field.dtype))


def _jacobian(inputs: Inputs) -> Work:
    fields = inputs.displacement.cpu().numpy()
    return Work(lambda: np.stack([numpy_determinant(field) for field in fields]), agreement=Agreement(1e-3))


def _dice(inputs: Inputs) -> Work:
    fixed, warped = inputs.fixed_labels.cpu().numpy(), inputs.warped_labels.cpu().numpy()

    def run() -> list[float]:
        scores = []
        for code in range(1, inputs.labels + 1):
            one, other = fixed == code, warped == code
            scores.append(2 * (one & other).sum() / max(one.sum() + other.sum(), 1))
        return scores

    return Work(run)


def _hd95(inputs: Inputs) -> Work:
    from scipy import ndimage

    fixed = np.pad(inputs.fixed_labels[0, 0].cpu().numpy(), 1)
    warped = np.pad(inputs.warped_labels[0, 0].cpu().numpy(), 1)

    def one(code: int) -> float:
        first, second = fixed == code, warped == code
        if not (first.any() and second.any()):
            return float("nan")
        edges = [mask & ~ndimage.binary_erosion(mask) for mask in (first, second)]
        to_first, to_second = (ndimage.distance_transform_edt(~edge) for edge in edges)
        directed = (to_second[edges[0]], to_first[edges[1]])
        return max(float(np.percentile(distances, 95)) for distances in directed)

    return Work(lambda: [one(code) for code in range(1, inputs.labels + 1)], agreement=Agreement(1e-4))
