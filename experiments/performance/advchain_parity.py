"""Whether our chain, with the switches of the released code, is that of the AdvChain release."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from experiments.performance.inputs import Inputs
from experiments.performance.parity import Difference
from experiments.performance.peers.advchain_release import AdvChainRelease, infinity
from experiments.performance.peers.advchain_step import Segmenting
from experiments.performance.work import Contender
from medreg.augmentation.affine import AffineMap
from medreg.augmentation.bias import BiasField
from medreg.augmentation.chain import Chain, Parameters
from medreg.augmentation.intensity import Intensity
from medreg.augmentation.morph import Morph
from medreg.augmentation.noise import Noise
from medreg.losses.segmentation.consistency import Consistency

_NOTE = (
    "ours with form sphere, in_place, coordinates normalised, clamp, contour_unmasked and a clean reference"
)
_DIVERGENCES = {
    "kl": Consistency(divergence="kl", contour_unmasked=True),
    "mse": Consistency(divergence="mse", contour_unmasked=True, mse_released=True),
}


def differences(releases: Sequence[Contender], small: Inputs) -> list[Difference]:
    """Contender, quantity, relative difference and note, for the release that has a chain.

    Args:
        releases: adapters of the checkouts that were given.
        small: square images to compare on.
    """
    return [
        row
        for release in releases
        if isinstance(release, AdvChainRelease)
        for row in _compare(release, small)
    ]


def _compare(release: AdvChainRelease, small: Inputs) -> Iterator[Difference]:
    pairs: dict[str, tuple[Tensor, Tensor]] = {}
    turned: dict[str, float] = {}
    for divergence in _DIVERGENCES:
        with infinity():
            pairs |= _values(release, small, divergence)
            turned[divergence] = _turned(release, small, divergence)
    for name, (mine, other) in pairs.items():
        # at kinks of linear interpolation rounding decides a voxel: mean size, not the largest
        apart = float((mine - other).abs().sum() / other.abs().sum())
        yield release.name, f"{name}_difference", apart, _NOTE
    for name, value in turned.items():
        yield release.name, f"direction_of_ascent_of_{name}_difference", value, _NOTE


def _values(release: AdvChainRelease, small: Inputs, divergence: str) -> dict[str, tuple[Tensor, Tensor]]:
    """Images, scores brought back and divergence, ours and theirs."""
    ours, solver, chain = _both(release, small, divergence)
    mine = ours.values(chain, ours_of(solver))
    # puts the network into train mode for its pass; ours is in it from the start
    apart, changed, _, returned = solver.calc_adv_consistency_loss(ours.images, ours.network, ours.clean)
    return {
        "image": (mine["image"].detach(), changed.detach()),
        "scores": (mine["returned"].detach(), returned.detach()),
        f"divergence_{divergence}": (mine["divergence"].mean().detach(), apart.detach()),
    }


def _turned(release: AdvChainRelease, small: Inputs, divergence: str) -> float:
    """1 − cosine of our and their gradients in the parameters of a member, in eval mode; that of the worst member."""
    ours, solver, chain = _both(release, small, divergence)
    ours.network.eval()
    leaves = tuple(phi.requires_grad_() for phi in ours_of(solver))
    mine = torch.autograd.grad(ours.values(chain, leaves)["divergence"].mean(), leaves)
    solver.train()
    changed = solver.forward(ours.images.clone())
    returned = solver.predict_backward(ours.network(changed))
    mask = solver.predict_backward(solver.predict_forward(torch.ones_like(ours.clean)))
    mask[mask != 0] = 1
    solver.loss_fn(pred=returned, reference=ours.clean, mask=mask).backward()
    theirs = _in_our_order(member.param.grad for member in solver.chain_of_transforms)
    return max(
        float(1 - torch.cosine_similarity(one.flatten(1), other.flatten(1)).mean())
        for one, other in zip(mine, theirs, strict=True)
    )


def _both(release: AdvChainRelease, small: Inputs, divergence: str) -> tuple[_Ours, Any, Chain]:
    network, images = Segmenting.of(small).network, small.fixed
    solver = release.solver(release.members(small), divergence=divergence)
    torch.manual_seed(1)
    solver.init_random_transformation()
    clean = solver.get_init_output(network, images)
    return _Ours(network, images, clean, _DIVERGENCES[divergence]), solver, our_chain()


class _Ours:
    """What our parts make of parameters."""

    def __init__(self, network: Any, images: Tensor, clean: Tensor, consistency: Consistency) -> None:
        self.network, self.images, self.clean, self.consistency = network, images, clean, consistency

    def values(self, chain: Chain, parameters: Parameters) -> dict[str, Tensor]:
        """The transformed image, the scores brought back, and their divergence (N,) from those of the clean image."""
        image = Intensity("clamp").keep(chain.apply(self.images, parameters), self.images)
        back = chain.invert(self.network(image), parameters)
        mask = chain.mask(back, parameters)
        return {
            "image": image,
            "returned": back,
            "divergence": self.consistency.per_sample(self.clean, back, mask),
        }


def our_chain() -> Chain:
    """The members of `AdvChainRelease.members` in the same order, with the defects of their numbers."""
    return Chain(
        (
            Noise.release(),
            BiasField.release(spacing=0.25, shift="never"),
            Morph.release(stride=8, in_place=True),
            AffineMap.release(rotation_deg=15.0, coordinates="normalised"),
        )
    )


def ours_of(solver: Any) -> Parameters:
    """Our parameters for those of the release's members."""
    return _in_our_order(member.param for member in solver.chain_of_transforms)


def _in_our_order(values: Iterable[Tensor]) -> Parameters:
    """Noise, bias, morph and affine in the release's order; its components count axes in the opposite one."""
    noise, bias, morph, affine = (value.detach().clone() for value in values)
    signs = affine.new_tensor([-1.0, 1.0, 1.0, 1.0, 1.0])
    return noise, bias, morph.flip(1), affine[:, [0, 2, 1, 4, 3]] * signs
