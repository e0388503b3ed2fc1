"""deepali: losses and B-splines."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor

from experiments.performance.inputs import Inputs
from experiments.performance.work import Agreement, Contender, Maker, Work


class Deepali(Contender):
    """deepali's functional forms, with a spacing of one where it would differentiate in normalised coordinates."""

    name = "deepali"
    distribution = "hf-deepali"
    module = "deepali"
    limits = MappingProxyType({"lncc": 1_000_000})

    def operators(self) -> Mapping[str, Maker]:
        """FFD, losses and the Jacobian determinant."""
        return {"ffd": _ffd, "lncc": _lncc, "mi": _mi, "bending": _bending, "jacobian": _jacobian}


def _ffd(inputs: Inputs) -> Work:
    from deepali.core import bspline

    ndim, stride, shape = inputs.size.ndim, [inputs.stride] * inputs.size.ndim, inputs.size.shape
    grid = bspline.cubic_bspline_control_point_grid_size(shape, inputs.stride)
    points = inputs.control_points
    padding = [
        n for have, want in zip(points.shape[:1:-1], list(grid)[::-1], strict=True) for n in (0, want - have)
    ]
    points = torch.nn.functional.pad(points, padding).contiguous()
    kernel = bspline.cubic_bspline_interpolation_weights(stride=stride, dtype=torch.float32)
    assert ndim == len(padding) // 2

    def run() -> Tensor:
        size = torch.Size(shape[::-1])
        return bspline.evaluate_cubic_bspline(points, stride=stride, size=size, kernel=kernel)

    return Work(run, (points,), inputs.cotangent)


def _lncc(inputs: Inputs) -> Work:
    from deepali.losses import functional

    warped = inputs.moving
    reason = "products are centred by the mean around their own voxel: another definition"
    return Work(
        lambda: functional.lcc_loss(warped, inputs.fixed, kernel_size=inputs.window),
        (warped,),
        agreement=Agreement(float("inf"), reason=reason),
    )


def _mi(inputs: Inputs) -> Work:
    from deepali.losses import functional

    warped = inputs.moving
    return Work(
        lambda: functional.mi_loss(warped, inputs.fixed, num_bins=inputs.bins, vmin=0.0, vmax=1.0),
        (warped,),
        agreement=Agreement(1e-2),
    )


def _bending(inputs: Inputs) -> Work:
    from deepali.losses import functional

    field = inputs.displacement
    return Work(
        lambda: functional.bending_loss(field, mode="central", spacing=1.0),
        (field,),
        agreement=Agreement(float("inf"), reason="central differences twice: wider stencils"),
    )


def _jacobian(inputs: Inputs) -> Work:
    from deepali.core import flow

    field = inputs.displacement.flip(1).contiguous()  # its first component belongs to the last axis
    return Work(
        lambda: flow.jacobian_det(field, mode="central", spacing=1.0),
        (field,),
        inputs.cotangent[:, :1].contiguous(),
        value=lambda determinant: determinant[:, 0],
        agreement=Agreement(1e-3, margin=1, reason="other differences at the border"),
    )
