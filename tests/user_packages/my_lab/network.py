"""A segmentation network."""

from __future__ import annotations

from torch import Tensor, nn


class ThreeLayers(nn.Sequential):
    """From images (B, 1, *S) to scores of the classes (B, L + 1, *S), 2-D or 3-D.

    Args:
        ndim: 2 or 3.
        classes: structures and the background.
        channels: of the hidden layers.
    """

    def __init__(self, ndim: int, *, classes: int, channels: int) -> None:
        convolution = {2: nn.Conv2d, 3: nn.Conv3d}[ndim]
        super().__init__(
            convolution(1, channels, 5, padding=2),
            nn.LeakyReLU(),
            convolution(channels, channels, 5, padding=2),
            nn.LeakyReLU(),
            convolution(channels, classes, 1),
        )

    def forward(self, image: Tensor) -> Tensor:
        """Return the scores."""
        return super().forward(image)
