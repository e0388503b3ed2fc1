"""Random convolutions: other intensities, the same geometry, as modules g that simulate unseen modalities.

Every sample of a batch has its own weights. Nothing here is learned and nothing takes part in a gradient's
parameters; the image may be differentiated through.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from medreg.errors import ConfigError

_GROUPED = {2: F.conv2d, 3: F.conv3d}


@dataclass(frozen=True)
class Layer:
    """Weights of one convolution, other ones for each of N samples.

    Attributes:
        weight: (N, outputs, inputs, *kernel), odd kernels.
        bias: (N, outputs), or None.
    """

    weight: Tensor
    bias: Tensor | None

    def changed(self, change: Callable[[Tensor], Tensor]) -> Layer:
        """The layer with both tensors changed."""
        return Layer(change(self.weight), None if self.bias is None else change(self.bias))


@dataclass(frozen=True)
class Draw:
    """What chance decided for N samples.

    Attributes:
        layers: convolutions, first to last.
        alpha: (N,) share of the convolved image in the mixture with the input; None mixes nothing.
    """

    layers: tuple[Layer, ...]
    alpha: Tensor | None = None

    def repeat(self, times: int) -> Draw:
        """The same N draws once more for each of `times` images, (times·N)."""
        return self.changed(lambda value: value.repeat(times, *[1] * (value.ndim - 1)))

    def to(self, like: Tensor) -> Draw:
        """The same numbers on the device and in the precision of a tensor."""
        return self.changed(lambda value: value.to(like))

    def changed(self, change: Callable[[Tensor], Tensor]) -> Draw:
        """The draw with every tensor changed."""
        layers = tuple(layer.changed(change) for layer in self.layers)
        return Draw(layers, None if self.alpha is None else change(self.alpha))


def convolve(image: Tensor, layer: Layer) -> Tensor:
    """Each sample by its own weights, stride 1, zeros outside, same size.

    A kernel of one voxel is a matrix product, several times as fast as a grouped convolution.

    Args:
        image: (N, inputs, *S).
        layer: weights of N samples.

    Returns:
        (N, outputs, *S).
    """
    count, outputs = layer.weight.shape[:2]
    kernel = tuple(layer.weight.shape[3:])
    if max(kernel) == 1:
        out = torch.matmul(layer.weight.flatten(2), image.flatten(2)).unflatten(2, image.shape[2:])
    else:
        convolution = _GROUPED[len(kernel)]
        padding = tuple(size // 2 for size in kernel)
        joined = image.reshape(1, -1, *image.shape[2:])
        out = convolution(joined, layer.weight.flatten(0, 1), padding=padding, groups=count)
        out = out.reshape(count, outputs, *image.shape[2:])
    return out if layer.bias is None else out + layer.bias.reshape(count, outputs, *[1] * len(kernel))


class RandomConvolution(ABC):
    """A distribution of modules g: image → image; `draw` throws the dice, `apply` has no chance in it."""

    @abstractmethod
    def draw(self, count: int, *, ndim: int, generator: torch.Generator) -> Draw:
        """Random weights for so many single-channel samples, on the generator's device."""

    @abstractmethod
    def apply(self, image: Tensor, draw: Draw) -> Tensor:
        """g(image) for (N, 1, *S) with the weights of N samples."""

    def __call__(self, image: Tensor, *, generator: torch.Generator) -> Tensor:
        """Return g(image) with new weights for every sample, without a gradient.

        Args:
            image: (N, 1, *S).
            generator: source of chance, on the image's device.
        """
        with torch.no_grad():
            return self.apply(image, self.draw(len(image), ndim=image.ndim - 2, generator=generator))


class Unchanged(RandomConvolution):
    """The identity: the negative control, in which training sees one modality only."""

    def draw(self, count: int, *, ndim: int, generator: torch.Generator) -> Draw:
        """Nothing."""
        return Draw(())

    def apply(self, image: Tensor, draw: Draw) -> Tensor:
        """The image itself."""
        return image


@dataclass(frozen=True)
class RandConv(RandomConvolution):
    """One linear convolution mixed with the image: α g(x) + (1 − α) x, weights N(0, 1/(kⁿ C)).

    Xu et al., Robust and Generalizable Visual Representation Learning via Random Convolutions, ICLR 2021 (released
    code, `rand_conv.py`); there one set of weights serves a batch, here every sample has its own.

    Attributes:
        kernels: sizes from which each call takes one.
        mixing: α ~ U(0, 1); otherwise α = 1.
        unchanged: probability with which a sample stays as it is, α = 0.
    """

    kernels: Sequence[int]
    mixing: bool
    unchanged: float

    def __post_init__(self) -> None:
        check_kernels(self.kernels)

    def draw(self, count: int, *, ndim: int, generator: torch.Generator) -> Draw:
        """Kernel size of the call, and weights and α of the samples."""
        size = self.kernels[choose(1, len(self.kernels), generator=generator)[0]]
        weight = normal((count, 1, 1, *[size] * ndim), generator) / size ** (ndim / 2)
        alpha = uniform((count,), generator) if self.mixing else torch.ones(count, device=generator.device)
        kept = uniform((count,), generator) < self.unchanged
        return Draw((Layer(weight, None),), alpha.masked_fill(kept, 0.0))

    def apply(self, image: Tensor, draw: Draw) -> Tensor:
        """α g(x) + (1 − α) x."""
        return mixed(stacked(image, draw.layers, slope=1.0), image, draw.alpha)


@dataclass(frozen=True)
class GIN(RandomConvolution):
    """A shallow random network mixed with the image and brought back to its norm ‖x‖.

    Ouyang et al., Causality-inspired Single-source Domain Generalization for Medical Image Segmentation, IEEE TMI 2022
    (released code, `imagefilter.py`): weights and biases N(0, 1), a kernel size for each layer, LeakyReLU between.

    Attributes:
        layers: number of convolutions.
        channels: number in hidden layers.
        kernels: sizes from which each layer takes one at each call.
        slope: that of the LeakyReLU below 0.
    """

    layers: int
    channels: int
    kernels: Sequence[int]
    slope: float

    def __post_init__(self) -> None:
        check_kernels(self.kernels)

    def draw(self, count: int, *, ndim: int, generator: torch.Generator) -> Draw:
        """Kernel sizes of the call, and weights, biases and α of the samples."""
        picks = choose(self.layers, len(self.kernels), generator=generator)
        shapes = zip(widths(1, self.channels, self.layers), picks, strict=True)
        layers = [
            Layer(
                normal((count, outputs, inputs, *[self.kernels[pick]] * ndim), generator),
                normal((count, outputs), generator),
            )
            for (inputs, outputs), pick in shapes
        ]
        return Draw(tuple(layers), uniform((count,), generator))

    def apply(self, image: Tensor, draw: Draw) -> Tensor:
        """The mixture, scaled to the Frobenius norm of the image."""
        out = mixed(stacked(image, draw.layers, slope=self.slope), image, draw.alpha)
        norms = [value.flatten(1).norm(dim=1).reshape(-1, *[1] * (image.ndim - 1)) for value in (image, out)]
        return out * norms[0] / (norms[1] + 1e-5)  # ε of the release


@dataclass(frozen=True)
class CAR(RandomConvolution):
    """Random remapping of intensities by kernels of one voxel, rescaled to [0, 1] per image.

    Contrast augmentation of the registration method CAR (released code, `contrast_aug.py`): weights U(−1, 1), biases
    N(0, 1), LeakyReLU between, the image repeated to three channels.

    Attributes:
        layers: number of convolutions.
        channels: number in hidden layers.
        slope: that of the LeakyReLU below 0.
    """

    layers: int
    channels: int
    slope: float

    def draw(self, count: int, *, ndim: int, generator: torch.Generator) -> Draw:
        """Weights and biases of the samples."""
        layers = [
            Layer(
                2 * uniform((count, outputs, inputs, *[1] * ndim), generator) - 1,
                normal((count, outputs), generator),
            )
            for inputs, outputs in widths(3, self.channels, self.layers)
        ]
        return Draw(tuple(layers))

    def apply(self, image: Tensor, draw: Draw) -> Tensor:
        """The remapped image between its own minimum and maximum."""
        out = stacked(image.expand(-1, 3, *image.shape[2:]), draw.layers, slope=self.slope)
        axes = tuple(range(1, image.ndim))
        low, high = out.amin(axes, keepdim=True), out.amax(axes, keepdim=True)
        return (out - low) / (high - low).clamp_min(1e-8)


@dataclass(frozen=True)
class Stack(RandomConvolution):
    """Several non-linear random layers: the contrast may change in a way that is not monotone, anatomy stays.

    Ours: weights N(0, 1/(kⁿ C)), biases N(0, b²), LeakyReLU between. One linear layer can only rescale or
    invert a contrast, while T1 → T2 is not monotone; stacks of kernels of three voxels destroy thin anatomy, so only
    the first layer may have them.

    Attributes:
        layers: number of convolutions.
        channels: number in hidden layers.
        wide: probability with which the first kernel of a sample has three voxels along each axis instead of one.
        bias: standard deviation b of the biases.
        slope: that of the LeakyReLU below 0.
    """

    layers: int
    channels: int
    wide: float
    bias: float
    slope: float

    def draw(self, count: int, *, ndim: int, generator: torch.Generator) -> Draw:
        """Weights and biases of the samples."""
        drawn = []
        for number, (inputs, outputs) in enumerate(widths(1, self.channels, self.layers)):
            weight = normal((count, outputs, inputs, *[1] * ndim), generator) / inputs**0.5
            if number == 0 and self.wide > 0:
                weight = self._widened(weight, generator)
            drawn.append(Layer(weight, self.bias * normal((count, outputs), generator)))
        return Draw(tuple(drawn))

    def apply(self, image: Tensor, draw: Draw) -> Tensor:
        """The output of the last layer, of any range."""
        return stacked(image, draw.layers, slope=self.slope)

    def _widened(self, weight: Tensor, generator: torch.Generator) -> Tensor:
        """Kernels of three voxels for some of the samples; the others keep theirs, with zeros around it."""
        count, ndim = weight.shape[0], weight.ndim - 3
        chosen = uniform((count,), generator) < self.wide
        if not bool(chosen.any()):
            return weight
        large = normal((*weight.shape[:3], *[3] * ndim), generator) / (3**ndim * weight.shape[2]) ** 0.5
        return torch.where(chosen.reshape(-1, *[1] * (ndim + 2)), large, F.pad(weight, [1] * (2 * ndim)))


def stacked(image: Tensor, layers: Sequence[Layer], *, slope: float) -> Tensor:
    """Convolutions with LeakyReLU(slope) between them and none at the end."""
    for number, layer in enumerate(layers):
        image = convolve(image if number == 0 else F.leaky_relu(image, slope), layer)
    return image


def mixed(new: Tensor, old: Tensor, alpha: Tensor | None) -> Tensor:
    """α·new + (1 − α)·old for (N, C, *S) and α (N,)."""
    if alpha is None:
        return new
    share = alpha.reshape(-1, *[1] * (new.ndim - 1))
    return share * new + (1 - share) * old


def widths(inputs: int, channels: int, layers: int) -> list[tuple[int, int]]:
    """Input and output channels of every layer; the last one has one output."""
    sizes = [inputs, *[channels] * (layers - 1), 1]
    return list(pairwise(sizes))


def normal(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Standard normal numbers on the generator's device."""
    return torch.randn(tuple(shape), generator=generator, device=generator.device)


def uniform(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Numbers from [0, 1) on the generator's device."""
    return torch.rand(tuple(shape), generator=generator, device=generator.device)


def choose(count: int, options: int, *, generator: torch.Generator) -> list[int]:
    """Return `count` indices below `options`, each equally likely."""
    return torch.randint(options, (count,), generator=generator, device=generator.device).tolist()


def check_kernels(kernels: Sequence[int]) -> None:
    """Refuse kernels without a centre.

    Raises:
        ConfigError: an even or empty choice.
    """
    if not kernels or any(size < 1 or size % 2 == 0 for size in kernels):
        raise ConfigError(
            f"augmentation.convolution.kernels is {list(kernels)}; give odd sizes such as [1, 3]."
        )
