"""Options of a preset that the registration asked for would never look at: refused, so that nobody trusts them."""

from __future__ import annotations

from collections.abc import Sequence

from medreg.errors import ConfigError

AFFINE = ("affine", "finest_voxels.affine")  # options of the affine stage
MODEL = ("model", "finest_voxels.model")


def check_used(
    overrides: Sequence[str],
    *,
    preset_asked: bool,
    mode_asked: bool,
    by_run: bool,
    refined: bool,
    affine: bool,
    own_model: bool,
) -> None:
    """Refuse what was asked of a preset in vain.

    Args:
        overrides: `KEY=VALUE` of `--set`.
        preset_asked: whether a preset was named.
        mode_asked: whether slices or volume was asked for.
        by_run: whether a trained run registers.
        refined: whether the preset refines the answer of a run.
        affine: whether the affine stage runs.
        own_model: whether a model in memory takes the place of the preset's.

    Raises:
        ConfigError: naming the option, and what would make use of it.
    """
    if by_run and mode_asked:
        raise ConfigError("--slices and --volume do not apply to --ckpt: a run registers as it was trained.")
    if by_run and not refined and (overrides or preset_asked):
        given = f"--set {overrides[0]}" if overrides else "--preset"
        raise ConfigError(
            f"{given} changes the optimisation of a preset, which --ckpt alone does not use; add --refine, or leave "
            "it out."
        )
    unused = (
        {**dict.fromkeys(AFFINE, "the affine stage does not run here (--affine runs it)")}
        if not affine
        else {}
    )
    if by_run:
        unused = dict.fromkeys(
            (*AFFINE, "initialise", "use_affine"), "--ckpt places the images as in its training"
        )
    if own_model:
        unused |= dict.fromkeys(MODEL, "the model given takes the place of the preset's")
    for text in overrides:
        key = text.split("=", 1)[0]
        for name, reason in unused.items():
            if key == name or key.startswith(f"{name}."):
                raise ConfigError(f"--set {text} has no effect: {reason}. Leave it out.")
