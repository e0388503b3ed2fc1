"""Known affine motions of one kind and a given size: starts of registrations, and lines through a landscape."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from medreg.errors import ConfigError
from medreg.geometry.affine_distance import affine_distance
from medreg.geometry.affine_pose import PoseRange, pose_matrix, turns_of

_CANDIDATES = 200  # directions tried for each joint motion: far bins are hit only by some
_HALVINGS = 30  # of the interval in which the size of a joint motion is sought


class Family(ABC):
    """Motions of one kind, in bins of their magnitude.

    Args:
        edges: of the bins, rising.
        line: magnitudes at which landscapes are evaluated, from negative to positive; empty for none.
    """

    unit: str = ""

    def __init__(self, *, edges: Sequence[float], line: Sequence[float]) -> None:
        if len(edges) < 2 or list(edges) != sorted(set(edges)):
            raise ConfigError(
                f"families.*.edges must rise and hold two values or more, they are {list(edges)}."
            )
        self.edges = tuple(float(edge) for edge in edges)
        self.line = tuple(float(value) for value in line)

    @property
    def bins(self) -> list[tuple[float, float]]:
        """(low, high) of every bin."""
        return list(zip(self.edges[:-1], self.edges[1:], strict=True))

    @abstractmethod
    def draw(self, bounds: tuple[float, float], *, count: int, half: Tensor, seed: int) -> Tensor:
        """Random poses whose magnitude is uniform in a bin, signs and directions random.

        Args:
            bounds: low and high of the bin, in the unit of the family.
            count: how many.
            half: half-extents (D,) of the images, in the unit of residuals.
            seed: of the draws.

        Returns:
            (count, P), see `pose_matrix`.
        """

    def along(self, values: Tensor, *, ndim: int) -> Tensor:
        """Poses (V, P) with these magnitudes along the family's line through the identity.

        Raises:
            ConfigError: the family has no line.
        """
        raise ConfigError(f"{type(self).__name__} motions have no line; set its `line` to [].")


class _OneKind(Family):
    """Motions that fill one part of a pose; the magnitude is that part's length."""

    factor = 1.0  # radians, half-extents, … in a unit of the family

    @abstractmethod
    def place(self, ndim: int) -> slice:
        """Entries of the pose."""

    def draw(self, bounds: tuple[float, float], *, count: int, half: Tensor, seed: int) -> Tensor:
        """Random directions of a random length."""
        generator = torch.Generator().manual_seed(seed)
        ndim = len(half)
        size = self.factor * (bounds[0] + (bounds[1] - bounds[0]) * torch.rand(count, 1, generator=generator))
        where = self.place(ndim)
        pose = torch.zeros(count, ndim * (ndim + 1))
        pose[:, where] = size * self.directions(count, where.stop - where.start, generator)
        return pose

    def directions(self, count: int, width: int, generator: torch.Generator) -> Tensor:
        """(count, width) of length 1."""
        return torch.nn.functional.normalize(torch.randn(count, width, generator=generator))

    def along(self, values: Tensor, *, ndim: int) -> Tensor:
        """The first entry of the kind varies."""
        pose = torch.zeros(len(values), ndim * (ndim + 1))
        pose[:, self.place(ndim).start] = self.factor * values
        return pose


class Rotation(_OneKind):
    """Turns about the image centre, degrees; in 3-D about a random axis, landscapes about the first."""

    unit = "degrees"
    factor = math.pi / 180

    def place(self, ndim: int) -> slice:
        """The angles."""
        return slice(0, turns_of(ndim))


class Translation(_OneKind):
    """Shifts in a random direction, half-extents of the image; landscapes along the first axis."""

    unit = "half-extents"

    def place(self, ndim: int) -> slice:
        """The shifts."""
        return slice(turns_of(ndim), turns_of(ndim) + ndim)


class Scale(_OneKind):
    """Logarithms of scale, the same magnitude on every axis; landscapes with equal signs."""

    unit = "log-scale"

    def place(self, ndim: int) -> slice:
        """The log-scales."""
        return slice(turns_of(ndim) + ndim, turns_of(ndim) + 2 * ndim)

    def directions(self, count: int, width: int, generator: torch.Generator) -> Tensor:
        """Random signs."""
        return 2.0 * torch.randint(0, 2, (count, width), generator=generator) - 1

    def along(self, values: Tensor, *, ndim: int) -> Tensor:
        """All axes grow or shrink together."""
        pose = torch.zeros(len(values), ndim * (ndim + 1))
        pose[:, self.place(ndim)] = values.unsqueeze(1)
        return pose


class Shear(_OneKind):
    """Entries of the unit upper-triangular shear, in a random direction; landscapes of the first."""

    unit = "shear"

    def place(self, ndim: int) -> slice:
        """The shears."""
        return slice(turns_of(ndim) + 2 * ndim, ndim * (ndim + 1))


class Joint(Family):
    """All kinds at once, binned by root mean square displacement.

    Args:
        edges: of the bins, in the unit of residuals.
        ranges: no entry of a pose is larger.
        line: none; it must be empty.
    """

    unit = "RMS displacement"

    def __init__(self, *, edges: Sequence[float], ranges: PoseRange, line: Sequence[float] = ()) -> None:
        super().__init__(edges=edges, line=line)
        self.ranges = ranges

    def draw(self, bounds: tuple[float, float], *, count: int, half: Tensor, seed: int) -> Tensor:
        """Random directions in the box, as far along each as the displacement asks for.

        Raises:
            ConfigError: the box holds too few motions so large.
        """
        generator = torch.Generator().manual_seed(seed)
        ndim = len(half)
        limits = self.ranges.vector(ndim, like=torch.zeros(1))
        ways = 2 * torch.rand(_CANDIDATES * count, len(limits), generator=generator) - 1
        longest = limits * ways / ways.abs().amax(1, keepdim=True)
        wanted = bounds[0] + (bounds[1] - bounds[0]) * torch.rand(len(ways), generator=generator)
        reachable = affine_distance(pose_matrix(longest, half), half) >= wanted
        if int(reachable.sum()) < count:
            raise ConfigError(
                f"families.joint: only {int(reachable.sum())} of {len(ways)} random motions reach "
                f"{bounds[0]:g} to {bounds[1]:g}; leave out this bin or widen families.joint.ranges."
            )
        return _shortened(longest[reachable][:count], wanted[reachable][:count], half)


def _shortened(poses: Tensor, wanted: Tensor, half: Tensor) -> Tensor:
    """Each pose scaled down until it displaces by what is wanted, by bisection."""
    low, high = torch.zeros_like(wanted), torch.ones_like(wanted)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        far = affine_distance(pose_matrix(middle.unsqueeze(1) * poses, half), half) > wanted
        low, high = torch.where(far, low, middle), torch.where(far, middle, high)
    return low.unsqueeze(1) * poses
