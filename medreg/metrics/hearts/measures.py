"""Clinical measures of a heart from its label maps over the cycle.

Definitions of the code released with Qiao et al., STACOM 2022 (AgeHeart, calculate_clinical_features.py), which are
those of Qiao et al., TMI 2023 (CHeart): ED is frame 0, ES where the left ventricle of the same sequence is smallest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medreg.errors import ConfigError, DataError
from medreg.metrics.overlap import voxel_counts

FloatArray = NDArray[np.float64]
STRUCTURES: Final = (
    "LV",
    "MYO",
    "RV",
)  # blood pool, myocardium of the left, blood pool of the right ventricle
PHASES: Final = ("cycle", "edes")
DENSITY: Final = 1.05  # g/mL of myocardium, released code
HEART_RATE: Final = 60.0  # 1/min of everybody, released code: LVCO is 0.06 times LVSV and no patient's output
# name → unit
MEASURES: Final[Mapping[str, str]] = {
    "lvedv_ml": "ml", "lvesv_ml": "ml", "lvm_g": "g", "lvesm_g": "g", "rvedv_ml": "ml", "rvesv_ml": "ml",
    "lvsv_ml": "ml", "rvsv_ml": "ml", "lvef_percent": "%", "rvef_percent": "%", "lvco_l_min": "l/min",
    "rvco_l_min": "l/min",
}  # fmt: skip
FURTHER: Final[Mapping[str, str]] = {
    "es_frame": "1",  # the frame that counted as ES
    "largest_frame": "1",  # of the left ventricle
    "wrap_ml": "ml",  # |V(T − 1) − V(0)| of the left ventricle, by which the cycle does not close; NaN of ED and ES
    "septal_angle_deg": "°",  # direction from left to right ventricle at ED, in the plane of the short axis
}


@dataclass(frozen=True)
class Curves:
    """Sizes over the cycle, (T,) each; NaN of a structure that the data do not have.

    Attributes:
        lv: left ventricle, mL.
        myo: myocardium, g.
        rv: right ventricle, mL.
    """

    lv: FloatArray
    myo: FloatArray
    rv: FloatArray

    def frames(self, phases: str = "cycle") -> tuple[int, int]:
        """Return the frames of ES and of the largest left ventricle.

        Args:
            phases: "cycle": ES is the frame of the smallest left ventricle, the first of several; "edes": the last.

        Raises:
            ConfigError: other phases.
        """
        if phases not in PHASES:
            raise ConfigError(f"phases={phases!r} of the evaluator is not one of {', '.join(PHASES)}.")
        if np.isnan(self.lv).any():
            return len(self.lv) - 1, 0
        return int(self.lv.argmin()) if phases == "cycle" else len(self.lv) - 1, int(self.lv.argmax())

    @property
    def beats(self) -> bool:
        """Whether there is a left ventricle, without which no frame is ED or ES."""
        return bool(self.lv.max() > 0)

    def by_structure(self) -> dict[str, FloatArray]:
        """Return the curves that there are, by the name of the structure."""
        every = dict(zip(STRUCTURES, (self.lv, self.myo, self.rv), strict=True))
        return {name: curve for name, curve in every.items() if not np.isnan(curve).any()}


def as_shape(shape: Tensor | NDArray[np.uint8]) -> Tensor:
    """Return a heart as a (T, X, Y, Z) uint8 tensor on the CPU.

    Raises:
        DataError: it has another number of axes.
    """
    found = torch.as_tensor(shape).detach().to("cpu", torch.uint8)
    if found.ndim != 4:
        raise DataError(f"A heart has the axes time, X, Y and Z, not the shape {tuple(found.shape)}.")
    return found.contiguous()


def curves_of(
    shape: Tensor | NDArray[np.uint8], spacing_mm: Sequence[float], places: Mapping[str, int]
) -> Curves:
    """Return sizes over the cycle.

    Args:
        shape: (T, X, Y, Z) uint8, places of the structures from 1.
        spacing_mm: along X, Y and Z.
        places: structure → place, those of `STRUCTURES` that there are.
    """
    found = as_shape(shape)
    voxel_ml = math.prod(float(mm) for mm in spacing_mm) / 1000.0
    counts = voxel_counts(found, max([*places.values(), int(found.max())])).numpy() * voxel_ml
    unknown = np.full(len(found), math.nan)
    lv, myo, rv = (counts[:, places[name] - 1] if name in places else unknown for name in STRUCTURES)
    return Curves(lv, DENSITY * myo, rv)


def measures_of(curves: Curves, phases: str = "cycle") -> dict[str, float]:
    """Return the measures of `MEASURES`, and `es_frame`, `largest_frame` and `wrap_ml`.

    An ejection fraction of a heart without a ventricle at ED is NaN, and so are the frames of one without a left
    ventricle at all.

    Args:
        curves: sizes over the cycle.
        phases: see `Curves.frames`.
    """
    es, largest = curves.frames(phases)
    values = {
        "lvedv_ml": curves.lv[0], "lvesv_ml": curves.lv[es], "lvm_g": curves.myo[0], "lvesm_g": curves.myo[es],
        "rvedv_ml": curves.rv[0], "rvesv_ml": curves.rv[es],
    }  # fmt: skip
    found = {name: float(value) for name, value in values.items()}
    for side in ("lv", "rv"):
        found[f"{side}sv_ml"] = found[f"{side}edv_ml"] - found[f"{side}esv_ml"]
        full = found[f"{side}edv_ml"]
        found[f"{side}ef_percent"] = 100.0 * found[f"{side}sv_ml"] / full if full else math.nan
        found[f"{side}co_l_min"] = found[f"{side}sv_ml"] * HEART_RATE / 1000.0
    ordered = {name: found[name] for name in MEASURES}
    wrap = abs(float(curves.lv[-1] - curves.lv[0])) if phases == "cycle" else math.nan
    shown = (float(es), float(largest)) if curves.beats else (math.nan, math.nan)
    return {**ordered, "es_frame": shown[0], "largest_frame": shown[1], "wrap_ml": wrap}


def septal_angle_deg(
    shape: Tensor | NDArray[np.uint8], spacing_mm: Sequence[float], places: Mapping[str, int]
) -> float:
    """Return the direction from the left to the right ventricle at ED, degrees from X towards Y, −180 to 180.

    NaN where one of the two is missing.
    """
    first = as_shape(shape)[0].numpy()
    centres = []
    for name in ("LV", "RV"):
        there = (first == places[name]).sum(axis=2) if name in places else np.zeros(first.shape[:2])
        if not there.any():
            return math.nan
        centres.append([float((there.sum(1 - axis) * np.arange(there.shape[axis])).sum() / there.sum())
                        for axis in (0, 1)])  # fmt: skip
    across = [(right - left) * float(mm) for left, right, mm in zip(*centres, spacing_mm[:2], strict=True)]
    return math.degrees(math.atan2(across[1], across[0]))
