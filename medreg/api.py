"""medreg from Python: register two images, or apply a displacement field, in one call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medreg.models.base import RegistrationModel
    from medreg.registering.pair import Source
    from medreg.registering.result import RegistrationResult


def register(
    fixed: Source,
    moving: Source,
    *,
    preset: str | None = None,
    ckpt: str | Path | None = None,
    model: RegistrationModel | None = None,
    output: str | Path | None = None,
    fixed_labels: Source | None = None,
    moving_labels: Source | None = None,
    fixed_mask: Source | None = None,
    moving_mask: Source | None = None,
    fixed_points: str | Path | NDArray[Any] | None = None,
    moving_points: str | Path | NDArray[Any] | None = None,
    label_names: Mapping[str, int] | None = None,
    mode: str | None = None,
    initialise: str | None = None,
    affine: bool | None = None,
    refine: bool = False,
    surface: bool = True,
    overrides: Sequence[str] = (),
    device: str = "cpu",
    progress: Callable[[str, float], None] | None = None,
) -> RegistrationResult:
    """Register a moving image to a fixed image.

    Without `preset`, `ckpt` or `model` the settings are chosen by looking at the pair; `result.reason` says
    why. The same input gives the same output.

    Args:
        fixed: file, `medreg.io.image.Volume`, or array (X, Y[, Z]) of 1 mm voxels.
        moving: likewise; its grid may differ, its header says where it lies.
        preset: name of a preset (`medreg register --help` lists them) or a YAML file.
        ckpt: run folder or checkpoint of a trained model.
        model: a registration model in memory, used with the normalisation of the preset.
        output: folder to write `warped.nii.gz`, `displacement.nii.gz`, `metrics.json` to.
        fixed_labels: label map of the fixed image, for Dice and surface distances.
        moving_labels: label map of the moving image.
        fixed_mask: where the fixed image may be compared.
        moving_mask: where the moving image may be compared.
        fixed_points: landmarks, 0-based voxels of the fixed image, for the TRE.
        moving_points: the same places in voxels of the moving image.
        label_names: structure name → label code; default every code.
        mode: "slices" registers each slice by itself, "volume" in 3-D; default by the preset.
        initialise: "world" trusts the headers, "centre" or "mass" shift centres onto each other; default by
            the preset.
        affine: whether an affine registration comes first; default by the preset.
        refine: improve the answer of `ckpt` or `model` by the optimisation of the preset.
        surface: whether to compute surface distances, the slowest metric.
        overrides: changes to the preset, such as `model.similarity.window=7`.
        device: "cpu", "cuda", …
        progress: called with the stage under way and the fraction of it that is done.

    Returns:
        The warped image, the transformation, and metrics before and after; `.save(folder)` writes them.

    Raises:
        MedregError: input that cannot be registered, with what to do about it.
    """
    from medreg.registering.pair import load_pair
    from medreg.registering.run import Plan, run

    pair = load_pair(
        fixed,
        moving,
        fixed_labels=fixed_labels,
        moving_labels=moving_labels,
        fixed_mask=fixed_mask,
        moving_mask=moving_mask,
        fixed_points=fixed_points,
        moving_points=moving_points,
    )
    plan = Plan(preset, ckpt, model, mode, initialise, affine, refine, tuple(overrides), device)
    result = run(pair, plan, label_codes=label_names, surface=surface, progress=progress)
    if output is not None:
        result.save(output)
    return result
