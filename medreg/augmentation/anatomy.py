"""Whether structures survive a transformation and its way back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from medreg.augmentation.chain import Chain, Parameters
from medreg.errors import require_number, require_whole


@dataclass(frozen=True)
class AnatomyCheck:
    """Rejects what costs structures: their map, sent forward and back and cut at ½, must be the map itself.

    The error of a sample is the share of its voxels that differ. Where it is too large, the ascent is repeated from
    another random start; after the last repetition the sample gets the start itself, and where this fails, too, no
    motion at all. The authors (code of October 2022) judge the batch as a whole, start from where they were, and end
    with a start that nobody has tested; their penalty, 50 times the same error, has no gradient and is left out.

    Chen et al., Enhancing MR Image Segmentation with Realistic Adversarial Data Augmentation, MedIA 2022
    (released code cherise215/advchain ed5cd70).

    Attributes:
        tolerance: largest share of voxels that may differ.
        restarts: most repetitions of the ascent.
    """

    tolerance: float = 5e-4
    restarts: int = 3

    def __post_init__(self) -> None:
        require_number("anatomy.tolerance", self.tolerance, least=0)
        require_whole("anatomy.restarts", self.restarts, 0)

    def error(self, chain: Chain, parameters: Parameters, structures: Tensor) -> Tensor:
        """(N,) share of voxels of structures (N, 1, *S), 0 or 1, that do not come back."""
        with torch.no_grad():
            moved = structures
            for member, phi in zip(*chain.geometric(parameters), strict=True):
                moved = member.apply(moved, phi)
            back = (chain.invert(moved, parameters) >= 0.5).to(structures)
            return (back - structures).square().flatten(1).mean(1)

    def keep(
        self,
        chain: Chain,
        structures: Tensor,
        draw: Callable[[], Parameters],
        climb: Callable[[Parameters], Parameters],
        identity: Parameters,
    ) -> Parameters:
        """Parameters of a chain that pass, sample by sample.

        Args:
            chain: what is tested.
            structures: (N, 1, *S), 0 or 1.
            draw: makes a random start.
            climb: makes an adversary of a start.
            identity: parameters that change nothing.
        """
        start = draw()
        found = climb(start)
        if not chain.moves:
            return found
        good = self._passes(chain, found, structures)
        for _ in range(self.restarts):
            if bool(good.all()):
                return found
            start = draw()
            again = climb(start)
            found = _chosen(good, found, again)
            good = self._passes(chain, found, structures)
        found = _chosen(good, found, start)
        good = self._passes(chain, found, structures)
        still = [b if m.geometric else a for m, a, b in zip(chain.members, found, identity, strict=True)]
        return _chosen(good, found, still)

    def _passes(self, chain: Chain, parameters: Parameters, structures: Tensor) -> Tensor:
        return self.error(chain, parameters, structures) <= self.tolerance


def _chosen(good: Tensor, first: Sequence[Tensor], second: Sequence[Tensor]) -> Parameters:
    """Samples of the first where good (N,), of the second elsewhere."""
    views = [good.reshape(-1, *[1] * (a.ndim - 1)) for a in first]
    return tuple(torch.where(view, a, b) for view, a, b in zip(views, first, second, strict=True))
