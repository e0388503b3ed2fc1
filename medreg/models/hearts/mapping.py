"""What a network of hearts is told of conditions: a small network makes a vector of them."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from medreg.errors import require_whole

EPSILON = 1e-5  # of the mean square (released code, networks.py PixelNorm)


class PixelNorm(nn.Module):
    """v / sqrt(mean_j v_j² + 1e-5), the mean over features (CHeart, released code, networks.py).

    The length of a vector is lost: of conditions in standard units, someone 0.5 SD above the mean in all of them and
    someone 2 SD above give the same answer. So it is off before the first layer unless it is asked for.
    """

    def forward(self, vector: Tensor) -> Tensor:
        """Return vectors (B, F) of root mean square 1."""
        return vector * torch.rsqrt(vector.square().mean(1, keepdim=True) + EPSILON)


class Mapping(nn.Sequential):
    """Linear layers with ReLU and PixelNorm between them and PixelNorm at the end.

    z_c = PN(W_n a_(n−1) + b_n), a_i = PN(relu(W_i a_(i−1) + b_i)), a_0 = c or PN(c)
    (Qiao et al., TMI 2023, CHeart; released code, networks.py MLP, whose weight normalisation is never applied).

    Args:
        inputs: numbers of the conditions.
        outputs: k, numbers of the embedding.
        hidden: numbers of each layer between.
        layers: linear layers, at least 2.
        input_norm: whether conditions pass a PixelNorm first (released).
    """

    def __init__(self, inputs: int, outputs: int, *, hidden: int, layers: int, input_norm: bool) -> None:
        require_whole("model.mapping_layers", layers, 2)
        parts: list[nn.Module] = [PixelNorm()] if input_norm else []
        widths = [inputs, *[hidden] * (layers - 1)]
        for before, after in pairwise(widths):
            parts += [nn.Linear(before, after), nn.ReLU(), PixelNorm()]
        super().__init__(*parts, nn.Linear(hidden, outputs), PixelNorm())
