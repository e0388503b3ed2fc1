"""How improbable true label maps are under the scores of a sequence of frames."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from medreg.errors import DataError, require_choice
from medreg.losses.generative.class_entropy import class_entropy

FrameWeights = Literal["none", "systole"]
SYSTOLE = (
    0.15,
    0.65,
)  # of the cycle: frames 3 to 13 of 20 (CHeart, released train_GenCVAE_Seq.py, loss name "sw")
SYSTOLIC_WEIGHT = 2.0  # the same source


def frame_weights(kind: FrameWeights, frames: Tensor, count: int) -> Tensor:
    """Return the weights ω_t of some frames, (F,) float32.

    Args:
        kind: "none": 1; "systole": 2 from 15 to 65 % of the cycle, 1 elsewhere.
        frames: (F,) places in the cycle from 0.
        count: T, frames of the cycle.
    """
    require_choice("loss.frame_weights", kind, ("none", "systole"))
    weights = torch.ones(len(frames), device=frames.device)
    if kind == "systole":
        first, last = (math.floor(share * count + 0.5) for share in SYSTOLE)
        weights[(frames >= first) & (frames <= last)] = SYSTOLIC_WEIGHT
    return weights


def sequence_cross_entropy(
    scores: Tensor, shape: Tensor, *, weights: Tensor, class_weights: Sequence[float] | None = None
) -> Tensor:
    """Return Σ_t ω_t CE_t / Σ_t ω_t, CE_t the mean over hearts and voxels of frame t, in nats.

    With class weights w, CE_t is Σ w_y CE / Σ w_y, as in torch and in the released code.

    Args:
        scores: (B, F, C, *S) before the softmax, any floating type.
        shape: (B, F, *S) uint8, the true classes.
        weights: (F,) ω_t.
        class_weights: w, C numbers; None: 1 each.

    Raises:
        DataError: arrays that do not belong together.
    """
    if scores.shape[:2] + scores.shape[3:] != shape.shape:
        raise DataError(
            f"Scores {list(scores.shape)} and classes {list(shape.shape)} do not belong together; give (B, F, C, *S) "
            "and (B, F, *S)."
        )
    given = None if class_weights is None or len(set(class_weights)) == 1 else tuple(class_weights)
    if given is not None and len(given) != scores.shape[2]:
        raise DataError(
            f"loss.class_weights has {len(given)} numbers for {scores.shape[2]} classes; give one a class, the "
            "background first."
        )
    share = weights.to(scores.device, torch.float32)
    share = share / share.sum()
    if len(set(weights.tolist())) == 1 and given is None:
        return class_entropy(scores.flatten(0, 1), shape.flatten(0, 1), None)
    each = [class_entropy(scores[:, t], shape[:, t], given) for t in range(scores.shape[1])]
    return (torch.stack(each) * share).sum()
