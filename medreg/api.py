"""medreg from Python: register two images, apply a displacement field, segment an image, make hearts: one call each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medreg.generating.asked import Given
    from medreg.generating.result import Hearts
    from medreg.generating.run import GenerationRun
    from medreg.generating.source import Sources
    from medreg.io.image import Volume
    from medreg.models.base import RegistrationModel
    from medreg.registering.pair import Source
    from medreg.registering.posterior import Posterior
    from medreg.registering.result import RegistrationResult
    from medreg.registering.smoothness import Smoothness
    from medreg.segmenting.result import Segmentation
    from medreg.segmenting.run import SegmentationRun


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
    refine: bool | None = None,
    surface: bool = True,
    overrides: Sequence[str] = (),
    device: str = "cpu",
    smoothness: Smoothness | None = None,
    posterior: Posterior | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> RegistrationResult:
    """Register a moving image to a fixed image and measure the pair before and after.

    Without `preset`, `ckpt` or `model` the settings are chosen by looking at the pair; `result.reason` says why.

    Args:
        fixed: file, image of nibabel, SimpleITK or MONAI, `Volume`, or array (X, Y[, Z]) of 1 mm voxels.
        moving: likewise; its grid may differ, its header says where it lies.
        preset: name of a preset (`medreg register --help` names them) or a YAML file.
        ckpt: run folder or checkpoint of a trained model.
        model: a registration model in memory, with the normalisation of the preset.
        output: folder to write the results to, see `RegistrationResult.save`.
        fixed_labels: label map of the fixed image, for Dice and surface distances.
        moving_labels: label map of the moving image.
        fixed_mask: where the fixed image may be compared.
        moving_mask: where the moving image may be compared.
        fixed_points: landmarks, 0-based voxels of the fixed image, for the TRE.
        moving_points: the same places in voxels of the moving image.
        label_names: structure name → label code; default every code.
        mode: "slices" registers each slice by itself, "volume" in 3-D; default by the preset.
        initialise: "auto" chooses by looking, "world" trusts the headers, "centre" or "mass" put centres together.
        affine: whether an affine registration comes first; default by the preset.
        refine: True improves the answer of `ckpt` by the preset, False not even as the run does; None as the run.
        surface: whether to compute surface distances, the slowest metric.
        overrides: changes to the preset, such as `model.similarity.window=7`.
        device: "cpu", "cuda", …
        smoothness: λ of a conditional `ckpt`: a number, a map on the fixed grid, by label of `fixed_labels`, or a file.
        posterior: how the uncertainty is found: "vi", "sgld", "sghmc", True by `ckpt` or `model`; `PosteriorRequest`.
        progress: called with the stage under way and the fraction of it that is done.

    Raises:
        MedregError: input that cannot be registered, with what to do about it.
    """
    from medreg.registering.pair import load_pair
    from medreg.registering.posterior import wanted
    from medreg.registering.run import Plan, run
    from medreg.registering.smoothness import asked

    request, sampled, options = asked(smoothness), wanted(posterior), tuple(overrides)
    images, labels = _placed(fixed, moving, "image"), _placed(fixed_labels, moving_labels, "labels")
    masks, points = _placed(fixed_mask, moving_mask, "mask"), (fixed_points, moving_points)
    alone = (request.made, sampled.kind is not None)
    pair = load_pair(*images, labels=labels, masks=masks, points=points, labels_alone=alone)
    plan = Plan(preset, ckpt, model, mode, initialise, affine, refine, options, device, request, sampled)
    result = run(pair, plan, label_codes=label_names, surface=surface, progress=progress)
    return _saved(result, output)


def segment(
    image: Source,
    run: str | Path | SegmentationRun,
    *,
    ckpt: str = "best",
    labels: Source | None = None,
    frame: int | None = None,
    probabilities: bool = False,
    output: str | Path | None = None,
    overwrite: bool = False,
    device: str = "cpu",
) -> Segmentation:
    """Segment an image with a trained run, slice by slice or in 3-D as the run works.

    The image is prepared as in the run's training, and the answer is brought back to its voxels: probabilities are
    interpolated linearly, then the most probable class is taken. Beyond the crop of the run all is background.

    Args:
        image: file, image of nibabel, SimpleITK or MONAI, `Volume`, or array (X, Y[, Z]) of 1 mm voxels.
        run: run folder or checkpoint, or an opened `SegmentationRun`, which spares opening it for every image.
        ckpt: "best" or "last" of a run folder.
        labels: true labels on the grid of the image, for Dice, surface distances and errors of volumes.
        frame: 0-based index along the fourth axis of a file with several frames.
        probabilities: whether to keep the probability of every class.
        output: NIfTI file to write.
        overwrite: whether `output` may be there already.
        device: "cpu", "cuda", …; of an opened run its own.

    Raises:
        MedregError: a run that does not segment, or an image that does not fit it, with what to do about it.
    """
    from medreg.segmenting.image import frames_of, index_of_frame
    from medreg.segmenting.result import check_output
    from medreg.segmenting.run import SegmentationRun

    if frame is not None:
        frame = index_of_frame(frame)
    (chosen,) = frames_of(image, frame)
    opened = run if isinstance(run, SegmentationRun) else SegmentationRun.open(run, ckpt=ckpt, device=device)
    if output is not None:
        read = [file for file in (image, labels) if isinstance(file, str | Path)]
        kept = tuple(opened.labels) if probabilities else ()
        check_output(output, inputs=read, overwrite=overwrite, structures=kept)
    found = opened.segment(image, labels=labels, frame=chosen, probabilities=probabilities)
    if output is not None:
        found.save(output, overwrite=overwrite)
    return found


def generate(
    run: str | Path | GenerationRun,
    conditions: Given | None = None,
    *,
    n: int = 1,
    seed: int = 1,
    output: str | Path | None = None,
    mesh: bool = False,
    overwrite: bool = False,
    ckpt: str = "best",
    device: str = "cpu",
) -> Hearts:
    """Make beating hearts of new people with a trained run.

    Args:
        run: run folder or checkpoint, or an opened `GenerationRun`.
        conditions: of the people, by name (`age_years`) or short (`age`): `{"age": 60, "sex": "F", "height": 165}`.
        n: how many; n = 20 begins with the hearts of n = 10.
        seed: of the draws; the same seed gives the same hearts.
        output: folder to write what `medreg generate` writes.
        mesh: whether to write surfaces there, too.
        overwrite: whether results may be there already.
        ckpt: "best" or "last" of a run folder.
        device: "cpu", "cuda", …; of an opened run its own.

    Raises:
        MedregError: a run that makes no hearts, or an impossible condition, with what to do about it.
    """
    from medreg.generating.drawn import plan_generation

    opened = _hearts_run(run, ckpt, device)
    return _made(plan_generation(opened, conditions or {}, n=n, seed=seed), output, mesh, overwrite)


def complete(
    first: Source,
    run: str | Path | GenerationRun,
    conditions: Given | None = None,
    *,
    samples: int = 0,
    seed: int = 1,
    labels: Mapping[str, int] | None = None,
    frame: int | None = None,
    grid: str = "file",
    output: str | Path | None = None,
    mesh: bool = False,
    overwrite: bool = False,
    ckpt: str = "best",
    device: str = "cpu",
) -> Hearts:
    """Make the whole cycle of a heart from its end-diastole (ED); the first heart is that of the mean code.

    Args:
        first: label map of ED: file, image of nibabel, SimpleITK or MONAI, `Volume`, or array of 1 mm voxels.
        run: run folder or checkpoint, or an opened `GenerationRun`.
        conditions: of the person, as in `generate`.
        samples: cycles that are drawn beside it.
        seed: of the draws.
        labels: structure → code of the label map; default the run's.
        frame: of a file with several, which is ED.
        grid: of the results: "file", or "model" (where the heart lies).
        output: folder to write what `medreg complete` writes.
        mesh: whether to write surfaces there, too.
        overwrite: whether results may be there already.
        ckpt: "best" or "last" of a run folder.
        device: "cpu", "cuda", …; of an opened run its own.

    Raises:
        MedregError: a run that completes no hearts, or a heart that does not fit it, with what to do about it.
    """
    from medreg.generating.completing import plan_completion

    opened = _hearts_run(run, ckpt, device)
    where: dict[str, Any] = {"labels": labels, "frame": frame, "grid": grid}
    plan = plan_completion(opened, first, conditions or {}, samples=samples, seed=seed, **where)
    return _made(plan, output, mesh, overwrite)


def age(
    heart: Sources,
    run: str | Path | GenerationRun,
    conditions: Given | None = None,
    *,
    from_age: float,
    to_age: float,
    steps: int = 6,
    labels: Mapping[str, int] | None = None,
    grid: str = "file",
    output: str | Path | None = None,
    mesh: bool = False,
    overwrite: bool = False,
    ckpt: str = "best",
    device: str = "cpu",
) -> Hearts:
    """Make a heart older or younger; the first of the hearts is the given one as the model makes it.

    Args:
        heart: label map of ED and ES (X, Y, Z, 2), of a cycle from ED, or a list of two; for CHeart ED is enough.
        run: run folder or checkpoint, or an opened `GenerationRun`.
        conditions: of the person beside the age, as in `generate`.
        from_age: of the person now, years.
        to_age: the last one, years.
        steps: number of hearts, with both ends.
        labels: structure → code of the label map; default the run's.
        grid: of the results: "file", or "model" (where the heart lies).
        output: folder to write what `medreg age` writes.
        mesh: whether to write surfaces there, too.
        overwrite: whether results may be there already.
        ckpt: "best" or "last" of a run folder.
        device: "cpu", "cuda", …; of an opened run its own.

    Raises:
        MedregError: a run that ages no hearts, or a heart that does not fit it, with what to do about it.
    """
    from medreg.generating.ageing import plan_ageing

    opened = _hearts_run(run, ckpt, device)
    ages = (from_age, to_age, steps)
    plan = plan_ageing(opened, heart, conditions or {}, ages=ages, labels=labels, grid=grid)
    return _made(plan, output, mesh, overwrite)


def warp_image(
    field: str | Path, image: Source, *, reference: Source | None = None, output: str | Path | None = None
) -> Volume:
    """Warp a moving image into fixed space with a displacement field, by linear interpolation.

    Args:
        field: ITK field (ours, SimpleITK, ANTs, Slicer), NiftyReg or SPM field; Learn2Reg field or transform of ITK
            (.h5, .tfm, .mat, .txt, .xfm), which need `reference`.
        image: the moving image.
        reference: the fixed image; the result takes its grid. Default: the grid of the field.
        output: NIfTI file to write.

    Raises:
        MedregError: files that cannot be read or do not belong together.
    """
    from medreg.io.image import write_image
    from medreg.io.objects import placed
    from medreg.registering.pair import as_image

    warped = _warped(field, as_image(placed(image, "moving image"), "moving"), reference, nearest=False)
    if output is not None:
        write_image(output, warped.array, warped.affine)
    return warped


def warp_labels(
    field: str | Path, labels: Source, *, reference: Source | None = None, output: str | Path | None = None
) -> Volume:
    """Warp a moving label map into fixed space, by nearest neighbour; otherwise as `warp_image`."""
    from medreg.io.image import write_labels
    from medreg.io.objects import placed
    from medreg.registering.pair import as_labels

    warped = _warped(field, as_labels(placed(labels, "label map")), reference, nearest=True)
    if output is not None:
        write_labels(output, warped.array, warped.affine)
    return warped


def warp_points(
    field: str | Path,
    points: str | Path | NDArray[Any],
    *,
    space: str = "voxel",
    reference: Source | None = None,
    moving: Source | None = None,
    output: str | Path | None = None,
) -> NDArray[Any]:
    """Move points from fixed to moving space, x → x + d(x).

    The same field that warps a moving *image* into fixed space moves *points* the other way; to bring points
    from moving to fixed space use the inverse field (`medreg register --inverse`).

    Args:
        field: as for `warp_image`.
        points: CSV or (N, D) array of points in fixed space.
        space: unit and frame of the points in and out: "voxel", "ras" or "lps" (mm).
        reference: the fixed image, for voxels; default the grid of the field.
        moving: the moving image, in whose voxels the result is given; default the fixed grid.
        output: CSV file to write.

    Returns:
        (N, D) points in moving space.

    Raises:
        MedregError: files that cannot be read or do not belong together.
    """
    from medreg.io.objects import placed
    from medreg.registering.applying import move_points

    reference, moving = placed(reference, "reference"), placed(moving, "moving image")
    return move_points(field, points, space=space, reference=reference, moving=moving, output=output)


def _hearts_run(run: Any, ckpt: str, device: str) -> GenerationRun:
    from medreg.generating.run import GenerationRun

    return run if isinstance(run, GenerationRun) else GenerationRun.open(run, ckpt=ckpt, device=device)


def _made(plan: Any, output: str | Path | None, mesh: bool, overwrite: bool) -> Hearts:
    """Make what is planned and write it where a folder was named, which is looked at before."""
    from medreg.generating.result import Hearts
    from medreg.generating.writing import check_output, write

    place = None if output is None else check_output(plan, output, mesh=mesh, overwrite=overwrite)
    found = Hearts.of(plan)
    if place is not None:
        write(plan, found.made, place, mesh=mesh)
    return found


def _saved(result: RegistrationResult, output: str | Path | None) -> RegistrationResult:
    """Write a result where a folder was named, and return it."""
    if output is not None:
        result.save(output)
    return result


def _placed(fixed: Any, moving: Any, what: str) -> tuple[Any, Any]:
    """Return objects of other libraries as volumes; anything else as it is."""
    from medreg.io.objects import placed

    return placed(fixed, f"fixed {what}"), placed(moving, f"moving {what}")


def _warped(field: str | Path, volume: Volume, reference: Source | None, *, nearest: bool) -> Volume:
    from medreg.io.field import read_displacement
    from medreg.io.objects import placed
    from medreg.registering.applying import warp_volume, world_field
    from medreg.registering.pair import as_image

    reference = placed(reference, "reference")
    fixed = None if reference is None else as_image(reference, "reference")
    found = world_field(read_displacement(field, reference=fixed), fixed=fixed, moving=volume)
    return warp_volume(found, volume, reference=fixed, nearest=nearest)
