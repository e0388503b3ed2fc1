"""MAD: a learned distance between images of any modality, and its use as a similarity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from medreg.augmentation.appearance import Scaling
from medreg.augmentation.random_convolution import RandomConvolution
from medreg.errors import CheckpointError, CompositionError, ConfigError, DataError
from medreg.io.checkpoint import apply_weights, find, read
from medreg.losses.similarity.base import Similarity
from medreg.models.blocks.conv import channels_last, convolution
from medreg.models.blocks.frame import framed

_GROUPS = 8  # of every group normalisation (ours)
_SLOPE = 0.2  # of every LeakyReLU (ours)


class DistanceNetwork(nn.Module):
    """How far two images of the same anatomy are from alignment, D(F, M) ≥ 0, whatever their contrasts.

    Early fusion: both images together go through stages of two convolutions 3ⁿ, of which the first halves the grid,
    each followed by group normalisation and LeakyReLU(0.2); then two linear layers and a softplus. The answer is the
    root mean square displacement of the aligning affine map, in half-extents of the frame.

    Sideri-Lampretsa et al., MAD: Modality Agnostic Distance Measure for Image Registration, arXiv 2309.02875: the idea
    is the paper's, architecture and target are ours (no code was released and the text could not be read).

    Args:
        ndim: spatial dimensions, 2 or 3.
        size: N, voxels of the frame along every axis.
        channels: number in every stage, multiples of 8; each stage halves the frame.
        hidden: outputs of the first linear layer.
        scaling: low, high, foreground: how images are brought to [0, 1]; see `Scaling`.
    """

    requires: ClassVar[frozenset[str]] = frozenset()
    trainable: ClassVar[bool] = True

    def __init__(
        self, ndim: int, *, size: int, channels: Sequence[int], hidden: int, scaling: Mapping[str, float]
    ) -> None:
        super().__init__()
        if size % 2 ** len(channels) or any(number % _GROUPS for number in channels):
            raise ConfigError(
                f"model.size={size} must be divisible by 2 to the power of the {len(channels)} stages, and "
                f"model.channels={list(channels)} by {_GROUPS}."
            )
        self.ndim, self.size, self.scaling = ndim, size, Scaling(**scaling)
        sizes = [2, *channels]
        self.stages = nn.Sequential(
            *(_stage(ndim, sizes[i], sizes[i + 1]) for i in range(len(channels))),
        )
        features = channels[-1] * (size // 2 ** len(channels)) ** ndim
        self.head = nn.Sequential(
            nn.Flatten(), nn.Linear(features, hidden), nn.LeakyReLU(_SLOPE), nn.Linear(hidden, 1)
        )

    def forward(self, fixed: Tensor, moving: Tensor) -> Tensor:
        """Return D(F, M), (B,), for images (B, 1, N, …) scaled to [0, 1]."""
        pair = channels_last(torch.cat((fixed, moving), dim=1))
        return nn.functional.softplus(self.head(self.stages(pair).contiguous())[:, 0])

    def symmetric(self, fixed: Tensor, moving: Tensor) -> Tensor:
        """½ (D(F, M) + D(M, F)), (B,)."""
        both = self(torch.cat((fixed, moving)), torch.cat((moving, fixed)))
        return (both[: len(fixed)] + both[len(fixed) :]) / 2

    def monitored(self) -> dict[str, Tensor]:
        """Nothing beside the loss."""
        return {}


class MAD(Similarity):
    """A trained distance as dissimilarity: D_sym(F, W) in half-extents of the longest axis of the image.

    With `tta_k` > 0 both images are seen through so many pairs of random convolutions, always the same ones, and the
    mean is returned: real images move into the distribution of training, and the landscape becomes smoother.
    Everything, resampling to the network's frame and scaling of intensities included, is differentiable; the weights
    of the network are constants. A mask blanks what lies outside it in both images.

    The network looks at the whole image: its gradient is that of one number for the pose of the anatomy. Trained on
    affine misalignment, it says little about local deformation. Voxels are taken as isotropic, the background as
    darkest.

    Args:
        ckpt: run folder or checkpoint of a training with model=mad.
        tta_k: pairs of random convolutions; 0 shows the images as they are.
        convolution: their distribution, that of training.
        seed: seed of these convolutions.
        weight: factor in the energy.

    Raises:
        ConfigError: no checkpoint named.
        CheckpointError: not there, unreadable, or of another model.
    """

    def __init__(
        self, *, ckpt: str | None, tta_k: int, convolution: RandomConvolution, seed: int, weight: float
    ) -> None:
        super().__init__(weight=weight)
        if ckpt is None:
            raise ConfigError(
                "similarity=mad needs a trained distance: similarity.ckpt=RUN, the folder of a run of model=mad (train "
                "one with `python train.py model=mad data=brain_phantom`). ckpt=… is the checkpoint of the model that "
                "is evaluated, another thing."
            )
        self.ckpt = str(ckpt)
        self.network = load_distance(self.ckpt)
        self._views = Views(convolution, tta_k, seed) if tta_k > 0 else None

    def compare(self, warped: Tensor, fixed: Tensor, mask: Tensor | None) -> Tensor:
        """Return the (B,) distance, its mean over channels."""
        self._check(warped, fixed)
        single = (image.flatten(0, 1).unsqueeze(1) for image in (fixed, warped))
        return measured(self.network, *single, views=self._views).reshape(fixed.shape[:2]).mean(1)

    def _check(self, warped: Tensor, fixed: Tensor) -> None:
        ndim = fixed.ndim - 2
        if ndim != self.network.ndim:
            raise CompositionError(
                f"The distance in similarity.ckpt={self.ckpt} was trained on {self.network.ndim}-D images, but these "
                f"are {ndim}-D; give the run of a {ndim}-D training (experiment=mad_{ndim}d)."
            )
        for name, image in (("warped moving", warped), ("fixed", fixed)):
            if not bool(torch.isfinite(image.detach()).all()):
                raise DataError(
                    f"The {name} image has values that are not finite, so its distance is undefined; mend the file, or "
                    "give a mask that leaves them out."
                )


@dataclass(frozen=True)
class Views:
    """Random convolutions through which a pair is seen at test, the same ones at every call.

    Attributes:
        convolution: their distribution, that of training.
        count: k, how many for each image of a pair.
        seed: seed of their weights.
    """

    convolution: RandomConvolution
    count: int
    seed: int

    def __call__(self, image: Tensor, inside: Tensor, *, scaling: Scaling, stream: int) -> Tensor:
        """Return (B·k, 1, *N), the k views of the first image first, background 0.

        Args:
            image: (B, 1, *N) in [0, 1].
            inside: (B, 1, *N) foreground.
            scaling: to [0, 1] after the convolution.
            stream: number of the image within a pair; both get different weights.
        """
        generator = torch.Generator().manual_seed(2 * self.seed + stream)
        draw = self.convolution.draw(self.count, ndim=image.ndim - 2, generator=generator)
        many, within = image.repeat_interleave(self.count, 0), inside.repeat_interleave(self.count, 0)
        out = self.convolution.apply(many, draw.repeat(len(image)).to(image))
        return scaling(out, within).masked_fill(~within, 0.0)


def measured(network: DistanceNetwork, fixed: Tensor, moving: Tensor, *, views: Views | None) -> Tensor:
    """Symmetric distance of images of any size and range, the mean over views, differentiable in both images.

    Args:
        network: trained.
        fixed: (B, 1, *S).
        moving: (B, 1, *S).
        views: random convolutions; None shows the images as they are.

    Returns:
        (B,), half-extents of the longest axis.
    """
    shown = []
    for stream, image in enumerate((fixed, moving)):
        image = framed(image, network.size)
        inside = network.scaling.inside(image)
        image = network.scaling(image, inside)
        if views is not None:
            image = views(image, inside, scaling=network.scaling, stream=stream)
        shown.append(image)
    precision = next(network.parameters()).dtype
    found = network.symmetric(*(image.to(precision) for image in shown))
    return found.to(fixed).reshape(len(fixed), -1).mean(1)


def load_distance(ckpt: str) -> DistanceNetwork:
    """Return the network of a run of model=mad, with its best weights, frozen.

    Args:
        ckpt: run folder, or checkpoint file.

    Raises:
        CheckpointError: not there, unreadable, or of another model.
    """
    path = Path(ckpt).expanduser()
    file = find(str(path.absolute()), path)
    assert file is not None
    content = read(file)
    config: Any = content.get("medreg", {}).get("config") or {}
    options = dict(config.get("model") or {})
    target = options.pop("_target_", "no model")
    if target != f"{DistanceNetwork.__module__}.{DistanceNetwork.__qualname__}":
        raise CheckpointError(
            f"similarity.ckpt={ckpt} holds {target}, not a trained distance; give the folder of a run of model=mad."
        )
    network = DistanceNetwork(**options)
    apply_weights(network, file, content=content)
    return network.requires_grad_(False)  # nothing in it behaves differently in training


def _stage(ndim: int, inputs: int, outputs: int) -> nn.Sequential:
    """Two convolutions, the first of stride 2, each with group normalisation and LeakyReLU."""
    parts: list[nn.Module] = []
    for first, stride in ((inputs, 2), (outputs, 1)):
        parts += [
            convolution(ndim, first, outputs, stride=stride),
            nn.GroupNorm(_GROUPS, outputs),
            nn.LeakyReLU(_SLOPE),
        ]
    return nn.Sequential(*parts)
