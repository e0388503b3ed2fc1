"""Pictures for simulated pairs: textured and flat structures, and noise that a likelihood knows or does not know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medreg.errors import ConfigError

Array = NDArray[np.float64]
LEAST_SHARE = 0.005  # of the image that every structure shows
MOST_DRAWS = 100  # of their places


@dataclass(frozen=True)
class ImageOptions:
    """The moving image: ellipsoids on a background, every second one textured, with little to see in the others.

    Attributes:
        structures: ellipsoids, labelled 1, 2, … in the order in which they are painted.
        radius: least and most semi-axis, as a share of the image.
        edge_voxels: over which a structure fades into the background.
        texture: standard deviation of the grey values inside a textured structure; structures differ by about 0.3.
        grain_voxels: standard deviation of the Gaussian that makes the texture smooth.
        flat: share of that texture in the other structures.
        background: share of that texture outside all structures.
    """

    structures: int
    radius: Sequence[float]
    edge_voxels: float
    texture: float
    grain_voxels: float
    flat: float
    background: float

    def __post_init__(self) -> None:
        positive = min(self.structures, self.edge_voxels, self.grain_voxels, *self.radius)
        if positive <= 0 or len(self.radius) != 2 or min(self.texture, self.flat, self.background) < 0:
            raise ConfigError(
                "data.dataset.prepare.image needs at least one structure, two positive numbers as radius, positive "
                "edge_voxels and grain_voxels, and texture, flat and background that are not negative."
            )


def picture(
    shape: Sequence[int], options: ImageOptions, generator: np.random.Generator
) -> tuple[Array, NDArray[np.uint8]]:
    """Draw a moving image, grey values about 0 to 1, and its label map, both (*S)."""
    distances, labels = _structures(shape, options, generator)
    image, shown = np.full(shape, 0.2), np.full(shape, options.background)
    greys = 0.35 + 0.6 * generator.permutation(options.structures) / max(1, options.structures - 1)
    for code, (grey, distance) in enumerate(zip(greys, distances, strict=True), start=1):
        weight = 1 / (1 + np.exp(np.clip(4 * distance / options.edge_voxels, -50, 50)))
        image += weight * (grey - image)
        shown += weight * ((1.0 if code % 2 else options.flat) - shown)
    grain = smooth(generator.standard_normal(shape), options.grain_voxels)
    return image + options.texture * shown * grain, labels


def smooth(noise: Array, width_voxels: float) -> Array:
    """White noise smoothed by a Gaussian and brought back to unit variance over the image."""
    field = ndimage.gaussian_filter(noise, width_voxels, mode="wrap")
    return np.asarray((field - field.mean()) / field.std())


def _structures(
    shape: Sequence[int], options: ImageOptions, generator: np.random.Generator
) -> tuple[list[Array], NDArray[np.uint8]]:
    """Distances to the ellipsoids and the label map, drawn again until none is hidden behind later ones."""
    points = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij")).astype(np.float64)
    for _ in range(MOST_DRAWS):
        distances = [_distance(points, shape, options.radius, generator) for _ in range(options.structures)]
        labels = np.zeros(shape, dtype=np.uint8)
        for code, distance in enumerate(distances, start=1):
            labels[distance <= 0] = code
        counts = np.bincount(labels.ravel(), minlength=options.structures + 1)[1:]
        if counts.min() >= LEAST_SHARE * labels.size:
            break
    return distances, labels


def _distance(
    points: Array, shape: Sequence[int], radius: Sequence[float], generator: np.random.Generator
) -> Array:
    """About the distance to a random ellipsoid in voxels, negative inside."""
    sizes, dims = np.array(shape, dtype=float), len(shape)
    centre = (sizes * generator.uniform(0.28, 0.72, dims)).reshape(-1, *[1] * dims)
    semi = sizes * generator.uniform(min(radius), max(radius), dims)
    k = np.sqrt(np.square((points - centre) / semi.reshape(-1, *[1] * dims)).sum(0))
    return np.asarray((k - 1) * semi.min())


class Noise(Protocol):
    """What stands between the warped moving image and the fixed one."""

    def apply(self, image: Array, generator: np.random.Generator) -> Array:
        """Return the fixed image (*S) for the warped moving one (*S)."""


@dataclass(frozen=True)
class WhiteNoise:
    """Independent Gaussian noise, that of a sum of squared differences with this σ.

    Attributes:
        sigma: standard deviation in grey values.
    """

    sigma: float

    def __post_init__(self) -> None:
        if self.sigma < 0:
            raise ConfigError(f"data.dataset.prepare.noise.sigma is {self.sigma}; it must not be negative.")

    def apply(self, image: Array, generator: np.random.Generator) -> Array:
        """Return the image with noise."""
        return image + self.sigma * generator.standard_normal(image.shape)


@dataclass(frozen=True)
class CorrelatedNoise:
    """Noise that no likelihood of independent Gaussian residuals expects, on an image whose brightness drifts.

    Attributes:
        sigma: standard deviation in grey values.
        width_voxels: standard deviation of the Gaussian that correlates neighbours.
        freedom: degrees of freedom of Student's t, more than 2; small ones give outliers.
        bias: standard deviation of the logarithm of a smooth factor of the image.
        bias_voxels: standard deviation of the Gaussian that makes it smooth.
    """

    sigma: float
    width_voxels: float
    freedom: float
    bias: float
    bias_voxels: float

    def __post_init__(self) -> None:
        if min(self.sigma, self.width_voxels, self.bias) < 0 or self.freedom <= 2 or self.bias_voxels <= 0:
            raise ConfigError(
                "data.dataset.prepare.noise needs sigma, width_voxels and bias of at least 0, freedom above 2 and a "
                "positive bias_voxels."
            )

    def apply(self, image: Array, generator: np.random.Generator) -> Array:
        """Return the image with drift and noise."""
        drift = np.exp(self.bias * smooth(generator.standard_normal(image.shape), self.bias_voxels))
        grains = smooth(generator.standard_normal(image.shape), self.width_voxels)
        # A common scale of neighbours keeps both the tails and the correlation.
        scale = np.sqrt(self.freedom / generator.chisquare(self.freedom, image.shape))
        scale = ndimage.grey_dilation(scale, size=1 + 2 * round(self.width_voxels))
        noise = grains * scale
        return image * drift + self.sigma * noise / noise.std()
