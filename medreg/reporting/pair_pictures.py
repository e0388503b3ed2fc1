"""Pictures of registered pairs in a report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from medreg.reporting.case_pictures import cases_section
from medreg.reporting.figures import overview
from medreg.reporting.page import Section
from medreg.reporting.results import RunFolder
from medreg.reporting.views import Array, axis_codes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NEEDS = ("fixed", "moving", "warped", "displacement", "spacing_mm")
PERHAPS = ("fixed_label", "moving_label", "warped_label", "jacobian")
HINT = (
    "Slices are shown in stored order, volumes with the patient’s right on the left. The grid is regular on the "
    "moving image and drawn where the warped image shows it. Jacobian determinant: below 1 the fixed image is mapped "
    "to a smaller region of the moving image, above 1 to a larger one; yellow marks folds."
)


def cases(run: RunFolder) -> Iterator[Section]:
    """The chosen pairs of a run."""
    shown = "fixed, moving and warped image, differences, grid and Jacobian"
    yield from cases_section(run, draw, needs=NEEDS, shown=shown, hint=HINT)


def draw(arrays: Mapping[str, Array], title: str, labels: Mapping[int, str]) -> Figure:
    """Draw the overview of a pair as it is stored in `cases/<case>.npz`.

    Volumes use the optional array `affine` (4, 4) for the orientation; slices are shown in stored order.
    """
    volume = arrays["displacement"].shape[-4:] == (3, *arrays["fixed"].shape[-3:])  # no stack of three slices
    return overview(
        arrays["fixed"],
        arrays["moving"],
        arrays["warped"],
        arrays["displacement"],
        spacing_mm=arrays["spacing_mm"],
        title=title,
        orientation=axis_codes(arrays["affine"]) if volume and "affine" in arrays else None,
        label_names=labels,
        focus=True,
        **{name: arrays[name] for name in PERHAPS if name in arrays},  # type: ignore[arg-type]
    )
