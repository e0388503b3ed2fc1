"""Decoding by motion: frame 0 is decoded, the others are frame 0 moved."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from medreg.geometry.warp import warp
from medreg.losses.regularisation.diffusion import diffusion_density
from medreg.models.hearts.decoder import FrameDecoder

AXES = 3


class MotionDecoder(nn.Module):
    """Scores of frame 0, and of frame t those of frame 0 warped by a displacement that is decoded from v_t.

    The displacements, in voxels and pull direction, come from a decoder of the same shape and a k3 convolution to three
    channels (CHeart's first release, networks.py, GenCVAE_Seq_dsp_con, arch=condisp). Scores are warped, linearly.

    Args:
        width: of the code.
        classes: L + 1.
        size: S, voxels.
        n_up: transposed convolutions.
        filters: nf.
        norm: as in `FrameDecoder`.
        recompute: as in `FrameDecoder`.
        moved_first: whether what is told as frame t is frame 0 moved by the code v_(t+1), frame 0 too (released).
    """

    def __init__(
        self,
        width: int,
        *,
        classes: int,
        size: Sequence[int],
        n_up: int,
        filters: int,
        norm: str,
        recompute: bool,
        moved_first: bool,
    ) -> None:
        super().__init__()
        self.moved_first = moved_first
        self.still = FrameDecoder(
            width, outputs=classes, size=size, n_up=n_up, filters=filters, norm=norm, recompute=recompute
        )
        self.motion = FrameDecoder(
            width, outputs=classes, size=size, n_up=n_up, filters=filters, norm=norm, recompute=recompute
        )
        self.last = nn.Conv3d(classes, AXES, 3, padding=1)

    def forward(self, first: Tensor, codes: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Decode frames.

        Args:
            first: (B, width), v_0.
            codes: (B, F, width), of the frames.
            frames: (F,) which they are.

        Returns:
            Scores (B, F, L + 1, *S), and the mean over frames and voxels of the squared first differences of the
            displacements, in voxels, which are 0 for a frame that is not moved.
        """
        start = self.still(first.unsqueeze(1))[:, 0]
        moved = torch.ones_like(frames, dtype=torch.bool) if self.moved_first else frames > 0
        scores = list(start.unsqueeze(1).expand(-1, len(frames), *start.shape[1:]).unbind(1))
        places = moved.nonzero()[:, 0]
        if not len(places):
            return torch.stack(scores, 1), start.new_zeros(())
        decoded = self.motion(codes[:, places.to(codes.device)])
        fields = self.last(decoded.flatten(0, 1)).float().unflatten(0, decoded.shape[:2])
        roughness = torch.stack([diffusion_density(field).mean() for field in fields.unbind(1)]).sum()
        for place, field in zip(places.tolist(), fields.unbind(1), strict=True):
            scores[place] = warp(
                start.float().contiguous(), field.contiguous(), mode="linear", padding="border"
            )
        return torch.stack([each.float() for each in scores], 1), roughness / len(frames)
