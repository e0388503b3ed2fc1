"""Learned similarities: SSD and LCC of what a small shared encoder makes of both images."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medreg.errors import CheckpointError, CompositionError, ConfigError
from medreg.io.checkpoint import find, read
from medreg.losses.reduction import masked_mean
from medreg.losses.similarity.base import Similarity
from medreg.losses.similarity.window import box_sum

FRESH = "fresh"  # in place of a run: an encoder at its start
_CONVOLUTIONS: dict[int, type[nn.Conv2d] | type[nn.Conv3d]] = {2: nn.Conv2d, 3: nn.Conv3d}
_SMALL = 1e-7  # of everything but the middle of the kernels at the start; released code


class SimilarityEncoder(nn.Module):
    """One channel from one channel by convolutions 3^D, each with a LeakyReLU, and a sum of their channels.

    It starts next to the identity for intensities of 0 and more: the taps beside the middle of every kernel are
    1e-7 of the usual ones, the middle ones are random shares that sum to 1 over the outputs, the biases about 1e-7, the
    weights of the last sum about 1. Below 0 every layer multiplies by its slope.

    Source: Grzech et al., CVPR 2022, and the released base/base_model.py.

    Args:
        ndim: spatial dimensions, 2 or 3.
        channels: of the convolutions.
        slope: of the LeakyReLUs below 0.
    """

    def __init__(self, ndim: int, *, channels: Sequence[int], slope: float) -> None:
        super().__init__()
        if not channels or min(channels) < 1:
            raise ConfigError(f"similarity.channels is {list(channels)}; name one number a convolution.")
        self.ndim = ndim
        sizes = [1, *channels]
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(sizes):
            layers += [_near_dirac(ndim, inputs, outputs), nn.LeakyReLU(slope)]
        self.layers = nn.Sequential(*layers)
        self.sum = _CONVOLUTIONS[ndim](sizes[-1], 1, kernel_size=1, bias=False)
        with torch.no_grad():
            self.sum.weight.copy_(1 + _SMALL * torch.randn_like(self.sum.weight))

    def forward(self, image: Tensor) -> Tensor:
        """Map (B, 1, *S) to (B, 1, *S); beyond the border every layer sees its border values."""
        encoded: Tensor = self.sum(self.layers(image.to(self.sum.weight.dtype)))
        return encoded.to(image)


class LearnedSimilarity(Similarity):
    """A mean over voxels of a measure z(f, m) of two encoded images, f = enc(F) and m = enc(W).

    Channels of an image are encoded one by one with the same weights, and their values averaged.

    Args:
        ckpt: run folder or checkpoint of a training with model=learned_similarity; "fresh" starts an encoder, which
            is what that training does; None is refused.
        channels: of a fresh encoder, like slope and ndim; those of a run are its own.
        slope: of its LeakyReLUs.
        ndim: spatial dimensions of a fresh encoder.
        weight: factor in the energy.

    Raises:
        ConfigError: no checkpoint named, or no dimension for a fresh encoder.
        CheckpointError: not there, unreadable, or of another measure.
    """

    def __init__(
        self,
        *,
        ckpt: str | None,
        channels: Sequence[int],
        slope: float,
        weight: float,
        ndim: int | None = None,
    ) -> None:
        super().__init__(weight=weight)
        if ckpt is None:
            raise ConfigError(
                "A learned similarity needs a trained encoder: similarity.ckpt=RUN, the folder of a run of "
                "model=learned_similarity (train one with `python train.py model=learned_similarity "
                "data=cardiac_phantom`). ckpt=… is the checkpoint of the model that is evaluated, another thing."
            )
        self.ckpt = str(ckpt)
        self.encoder: SimilarityEncoder | None
        if self.ckpt == FRESH:
            if ndim is None:
                raise ConfigError("similarity.ckpt=fresh needs similarity.ndim, 2 or 3.")
            self.encoder = SimilarityEncoder(ndim, channels=channels, slope=slope)
        else:
            self.encoder = load_encoder(self.ckpt, type(self))

    def plain(self) -> LearnedSimilarity:
        """The measure of the images as they are: what training starts from."""
        other = self.__class__.__new__(self.__class__)
        Similarity.__init__(other, weight=self.weight)
        other.ckpt, other.encoder = self.ckpt, None
        return other

    def compare(self, warped: Tensor, fixed: Tensor, mask: Tensor | None) -> Tensor:
        """Return the (B,) value."""
        return self.value(masked_mean(self.measure(self.encode(warped), self.encode(fixed)), mask))

    def encode(self, image: Tensor) -> Tensor:
        """The encoded image, (B, C, *S) from (B, C, *S).

        Raises:
            CompositionError: images of another dimension than the encoder's.
        """
        if self.encoder is None:
            return image
        if image.ndim - 2 != self.encoder.ndim:
            raise CompositionError(
                f"The encoder of similarity.ckpt={self.ckpt} is for {self.encoder.ndim}-D images, but these are "
                f"{image.ndim - 2}-D; train one with data of their dimension."
            )
        return self.encoder(image.flatten(0, 1).unsqueeze(1)).reshape(image.shape)

    @abstractmethod
    def measure(self, warped: Tensor, fixed: Tensor) -> Tensor:
        """Z of every voxel, (B, C, *S)."""

    @abstractmethod
    def value(self, mean: Tensor) -> Tensor:
        """The dissimilarity (B,) from the mean of z."""


class LearnedSSD(LearnedSimilarity):
    """½ mean (m − f)² of encoded images; times the number of voxels, the energy ½ Σ z of the paper.

    Arguments as `LearnedSimilarity`.
    """

    def measure(self, warped: Tensor, fixed: Tensor) -> Tensor:
        """(m − f)²."""
        return (warped - fixed).square()

    def value(self, mean: Tensor) -> Tensor:
        """Half the mean."""
        return 0.5 * mean


class LearnedLCC(LearnedSimilarity):
    """−mean C²/(V_f V_m + ε) of encoded images, C, V_f and V_m sums over a window.

    Every voxel is centred by the mean of its own window before the products are summed, and beyond the border the
    border values go on: as released, unlike `LNCC`.

    Arguments as `LearnedSimilarity`, and:

    Args:
        window: odd width of the window, voxels.
        eps: ε.
        **options: of `LearnedSimilarity`.

    Raises:
        ConfigError: another window.
    """

    def __init__(self, *, window: int, eps: float, **options: Any) -> None:
        super().__init__(**options)
        if window < 3 or window % 2 == 0:
            raise ConfigError(
                f"similarity.window is {window}; it must be an odd number of voxels, 3 or more."
            )
        self.window, self.eps = window, eps

    def plain(self) -> LearnedLCC:
        """As `LearnedSimilarity.plain`."""
        other = super().plain()
        assert isinstance(other, LearnedLCC)
        other.window, other.eps = self.window, self.eps
        return other

    def measure(self, warped: Tensor, fixed: Tensor) -> Tensor:
        """C²/(V_f V_m + ε)."""
        w, f = (image - self._sums(image) / self.window ** (image.ndim - 2) for image in (warped, fixed))
        cross, of_w, of_f = self._sums(torch.cat((w * f, w * w, f * f), 1)).chunk(3, 1)
        return cross.square() / (of_w * of_f + self.eps)

    def value(self, mean: Tensor) -> Tensor:
        """Minus the mean."""
        return -mean

    def _sums(self, image: Tensor) -> Tensor:
        radius = self.window // 2
        padded = F.pad(image, [radius] * 2 * (image.ndim - 2), mode="replicate")
        sums = box_sum(padded, self.window)
        for axis in range(2, image.ndim):
            sums = sums.narrow(axis, radius, image.shape[axis])
        return sums


def load_encoder(ckpt: str, measure: type[LearnedSimilarity]) -> SimilarityEncoder:
    """Return the encoder of a run of model=learned_similarity, with its best weights, frozen.

    Args:
        ckpt: run folder, or checkpoint file.
        measure: the class that it was trained for.

    Raises:
        CheckpointError: not there, unreadable, or of another model or measure.
    """
    path = Path(ckpt).expanduser()
    file = find(str(path.absolute()), path)
    assert file is not None
    content = read(file)
    config: Any = content.get("medreg", {}).get("config") or {}
    options = dict((config.get("model") or {}).get("similarity") or {})
    if options.get("_target_") != f"{measure.__module__}.{measure.__qualname__}":
        raise CheckpointError(
            f"similarity.ckpt={ckpt} holds {options.get('_target_', 'no learned similarity')}, not {measure.__name__}; "
            "give the folder of a run of model=learned_similarity with the same similarity."
        )
    start = "model.similarity.encoder."
    weights = {
        key.removeprefix(start): value
        for key, value in content["state_dict"].items()
        if key.startswith(start)
    }
    encoder = SimilarityEncoder(int(options["ndim"]), channels=options["channels"], slope=options["slope"])
    encoder.load_state_dict(weights)
    return encoder.requires_grad_(False)


def _near_dirac(ndim: int, inputs: int, outputs: int) -> nn.Module:
    layer = _CONVOLUTIONS[ndim](inputs, outputs, kernel_size=3, padding=1, padding_mode="replicate")
    assert layer.bias is not None
    with torch.no_grad():
        layer.weight.mul_(_SMALL)
        middle = torch.rand(outputs, inputs)
        layer.weight.flatten(2)[..., 3**ndim // 2] = middle / middle.sum(0, keepdim=True)
        layer.bias.copy_(_SMALL * torch.randn(outputs))
    return layer
