"""The operators that are measured, and the least that a machine must do for each."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from experiments.performance.inputs import Inputs
from medreg.geometry.bspline import control_grid_shape

_FLOAT = 4  # bytes
_CODE = 2  # bytes of a label


@dataclass(frozen=True)
class Floor:
    """What one call must move and compute at least: every input read once, every result written once."""

    bytes: float
    flops: float


@dataclass(frozen=True)
class Operator:
    """One row of the table.

    Attributes:
        title: in words.
        floor: of the forward pass.
        both: of forward and backward together: the inputs are read twice, gradients are written.
    """

    title: str
    floor: Callable[[Inputs], Floor]
    both: Callable[[Inputs], Floor]


def _floats(values: float, flops: float) -> Floor:
    return Floor(_FLOAT * values, flops)


def _corners(inputs: Inputs) -> int:
    return int(2**inputs.size.ndim)


def _warp(inputs: Inputs) -> Floor:
    n, d = inputs.size.voxels, inputs.size.ndim
    return _floats((d + 2) * n, 3 * _corners(inputs) * n)


def _warp_both(inputs: Inputs) -> Floor:
    n, d = inputs.size.voxels, inputs.size.ndim
    return _floats((d + 2) * n + (2 * d + 2) * n, (3 + 3 * d) * _corners(inputs) * n)


def _exponential(inputs: Inputs) -> Floor:
    n, d, s = inputs.size.voxels, inputs.size.ndim, inputs.squarings
    return _floats(2 * d * n * s, 3 * d * _corners(inputs) * n * s)


def _exponential_both(inputs: Inputs) -> Floor:
    n, d, s = inputs.size.voxels, inputs.size.ndim, inputs.squarings
    return _floats(5 * d * n * s, 9 * d * _corners(inputs) * n * s)


def _ffd(inputs: Inputs) -> Floor:
    n, d = inputs.size.voxels, inputs.size.ndim
    return _floats(d * (n + _control_points(inputs)), 8 * d * n * (1 + 1 / inputs.stride))


def _ffd_both(inputs: Inputs) -> Floor:
    one = _ffd(inputs)
    return Floor(2 * one.bytes, 2 * one.flops)


def _control_points(inputs: Inputs) -> int:
    return inputs.size.batch * math.prod(control_grid_shape(inputs.size.shape, inputs.stride))


def _jacobian(inputs: Inputs) -> Floor:
    n, d = inputs.size.voxels, inputs.size.ndim
    return _floats((d + 1) * n, 8 * d * d / 2 * n)


def _jacobian_both(inputs: Inputs) -> Floor:
    n, d = inputs.size.voxels, inputs.size.ndim
    return _floats((d + 1) * n + (2 * d + 1) * n, 20 * d * d / 2 * n)


def _lncc(inputs: Inputs) -> Floor:
    n, d = inputs.size.voxels, inputs.size.ndim
    return _floats(2 * n, (5 * 2 * d + 12) * n)


def _lncc_both(inputs: Inputs) -> Floor:
    n, d = inputs.size.voxels, inputs.size.ndim
    return _floats(5 * n, (8 * 2 * d + 24) * n)


def _mi(inputs: Inputs) -> Floor:
    n = inputs.size.voxels
    return _floats(2 * n, 4 * 4 * 2 * n)  # four weights of an intensity are enough for a Parzen window


def _mi_both(inputs: Inputs) -> Floor:
    n = inputs.size.voxels
    return _floats(5 * n, 4 * 4 * 4 * n)


def _penalty(flops: float) -> Callable[[Inputs], Floor]:
    def floor(inputs: Inputs) -> Floor:
        n, d = inputs.size.voxels, inputs.size.ndim
        return _floats(d * n, flops * d * d * n)

    return floor


def _penalty_both(flops: float) -> Callable[[Inputs], Floor]:
    def floor(inputs: Inputs) -> Floor:
        n, d = inputs.size.voxels, inputs.size.ndim
        return _floats(3 * d * n, flops * d * d * n)

    return floor


def _labels(inputs: Inputs) -> Floor:
    return Floor(2 * _CODE * math.prod(inputs.size.shape), 0.0)


OPERATORS: Mapping[str, Operator] = MappingProxyType(
    {
        "warp": Operator("warp, 1 channel", _warp, _warp_both),
        "exponential": Operator("exponential, 7 squarings", _exponential, _exponential_both),
        "ffd": Operator("FFD, stride 8", _ffd, _ffd_both),
        "jacobian": Operator("Jacobian determinant", _jacobian, _jacobian_both),
        "lncc": Operator("LNCC, window 9", _lncc, _lncc_both),
        "mi": Operator("MI, 32 bins", _mi, _mi_both),
        "bending": Operator("bending energy", _penalty(4.0), _penalty_both(10.0)),
        "diffusion": Operator("diffusion", _penalty(3.0), _penalty_both(7.0)),
        "dice": Operator("Dice, 35 labels", _labels, _labels),
        "hd95": Operator("HD95, 35 labels", _labels, _labels),
        "hd95_area": Operator("HD95 by area, 35 labels", _labels, _labels),
    }
)
