"""Random and adversarial chains for registration: one motion of both images of a pair, an appearance for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from medreg.augmentation.adversary import AdvChain
from medreg.augmentation.batch.unchanged import Unchanged
from medreg.augmentation.chain import Chain, Parameters
from medreg.augmentation.chance import Chance
from medreg.augmentation.consistency_term import ConsistencyTerm
from medreg.augmentation.member import SAME, lowest
from medreg.augmentation.pair_motion import PairMotion
from medreg.augmentation.quiet import chance_repeated, statistics_kept
from medreg.augmentation.training import TrainingAugmentation
from medreg.errors import CompositionError, DataError

Batch = Mapping[str, Any]
PairEnergies = Callable[[dict[str, Any], dict[str, Any]], Tensor]
FIXED, MOVING = "fixed_image", "moving_image"


@dataclass(frozen=True)
class PairAugmentation:
    """Transforms pairs (F, M) so that a correspondence stays to be found, at random or against the network.

    One motion T is drawn a pair, and an appearance a for each of its images. The network sees a_F(F ∘ T) and
    a_M(M ∘ T), members in the order of the chain; its field is judged on F ∘ T and M ∘ T, whose appearance is clean.
    Where φ maps F to M, T⁻¹ ∘ φ ∘ T maps F ∘ T to M ∘ T. The adversary ascends the energy in the parameters of T, a_F
    and a_M at once. For registration this is ours; for segmentation Chen et al., MedIA 2022.

    Attributes:
        term: when it acts, its weight beside the energy of the pairs as they are, and the adversary, whose
            consistency, reference and region play no part.
    """

    term: ConsistencyTerm

    @property
    def adversary(self) -> AdvChain:
        """Members, law of the chain, steps and seed."""
        return self.term.adversary

    def weight(self, epoch: int) -> float:
        """λ in an epoch (from 0); 0 where the chain does not act yet."""
        return self.term.weight_at(epoch)

    def __call__(
        self, batch: Batch, energies: PairEnergies, *, step: int, module: nn.Module
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what the network sees and what its field is judged on; no gradient leads to the chain.

        Args:
            batch: N pairs, see the batch contract. Label maps, masks and key points move with the images.
            energies: (N,) from the two, differentiable in their images.
            step: number from which, with the adversary's seed and the process, everything random follows.
            module: whose buffers and chance stand still while the adversary asks for energies.

        Raises:
            DataError: a fixed and a moving image of different shapes.
        """
        fixed = batch[FIXED]
        if fixed.shape != batch[MOVING].shape:
            raise DataError(
                f"Augmentation moves both images of a pair by one map, but they have shapes {tuple(fixed.shape)} and "
                f"{tuple(batch[MOVING].shape)}; bring them to one grid, or use augmentation=none."
            )
        chance = Chance(self.adversary.seed, step)
        chain, order = self.adversary.drawn(chance)
        with torch.autocast(fixed.device.type, enabled=False), statistics_kept(module):
            start = draw_for_pairs(chain, batch, generator=chance.of_parameters(fixed.device))

            def quiet(parameters: Parameters) -> Tensor:
                with chance_repeated(chance.of_dropout(), fixed.device):
                    return energies(*self.transformed(batch, chain, parameters))

            parameters = self.adversary.climb(order, start, quiet)
            with torch.no_grad():
                return self.transformed(batch, chain, parameters)

    def transformed(
        self, batch: Batch, chain: Chain, parameters: Parameters
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Both batches for parameters as `draw_for_pairs` makes them."""
        clean = both(batch)
        seen = compared = clean
        floor = lowest(clean) if self.adversary.ignore_background else None
        for member, phi in zip(chain.members, parameters, strict=True):
            if not member.geometric:
                changed = member.apply(seen, phi)
                seen = changed if floor is None else torch.where((seen - floor).abs() < SAME, seen, changed)
                continue
            same = seen is compared
            channels = (
                _side_by_side(seen) if same else torch.cat(list(map(_side_by_side, (seen, compared))), 1)
            )
            parts = member.apply(channels, phi).split(clean.shape[1], 1)
            seen, compared = torch.cat(parts[:2]), torch.cat(parts[-2:])
            compared = seen if same else compared
        seen = self.adversary.intensity.keep(seen, clean)
        rest = PairMotion(*chain.geometric(parameters)).batch(batch)
        return {**rest, **_images(seen)}, {**rest, **_images(compared)}


def draw_for_pairs(chain: Chain, batch: Batch, *, generator: torch.Generator) -> Parameters:
    """Random parameters: N of members that move voxels, 2N (fixed before moving) of those that do not."""
    images = both(batch)
    count = len(batch[FIXED])
    with torch.no_grad():
        return tuple(
            member.draw(images[:count] if member.geometric else images, generator=generator)
            for member in chain.members
        )


def both(batch: Batch) -> Tensor:
    """(2N, C, *S) the fixed images of N pairs, then the moving ones."""
    return torch.cat((batch[FIXED], batch[MOVING]))


def _side_by_side(images: Tensor) -> Tensor:
    """(N, 2C, *S) of (2N, C, *S): a motion is made once for both images of a pair."""
    return torch.cat(images.chunk(2), 1)


def _images(images: Tensor) -> dict[str, Tensor]:
    fixed, moving = images.chunk(2)
    return {FIXED: fixed, MOVING: moving}


def pair_augmentation(augmentation: TrainingAugmentation | None) -> PairAugmentation | None:
    """The part of an augmentation that registration can use, None where it does nothing.

    The random change of labelled images that most options bring too is left out: a chain moves pairs already.

    Raises:
        CompositionError: nothing but such a change.
    """
    if augmentation is None:
        return None
    if augmentation.consistency is not None:
        return PairAugmentation(augmentation.consistency)
    if isinstance(augmentation.batch, Unchanged):
        return None
    raise CompositionError(
        "This augmentation is a random change of labelled images, which registration has no use for; take "
        "augmentation=random_chain, augmentation=advchain or a single member of it, or augmentation=none."
    )
