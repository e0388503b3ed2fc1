"""Projected gradient ascent on the parameters of a chain."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from medreg.augmentation.member import Member
from medreg.errors import CompositionError, require_choice, require_whole

Parameters = tuple[Tensor, ...]


@dataclass(frozen=True)
class Ascent:
    """φ ← Π(φ + α_i g), g the gradient of D in the parameters of all members at once, one step of each per pass.

    A member under power iteration takes another step: the gradient is that close to the identity (`Member.nearby`),
    and φ becomes its direction at full length (virtual adversarial training, Miyato et al. 2018).

    A sample whose gradient is not finite keeps its parameters.

    Attributes:
        steps: number of steps; 0 changes nothing.
        decay: "root" is α/√(i + 1) (2021), "constant" is α (2023).
        projection: onto the bounds after "every" step, or after the "last" only, as released; then parameters are
            out of bounds between several steps.
    """

    steps: int
    decay: Literal["constant", "root"]
    projection: Literal["every", "last"]

    def __post_init__(self) -> None:
        require_whole("steps", self.steps, 0)
        require_choice("decay", self.decay, ("constant", "root"))
        require_choice("projection", self.projection, ("every", "last"))

    def climb(
        self,
        members: Sequence[Member],
        start: Parameters,
        divergence: Callable[[Parameters], Tensor],
        *,
        sizes: Sequence[float],
        power: Sequence[bool],
    ) -> Parameters:
        """Parameters of a larger divergence.

        Args:
            members: of the chain.
            start: φ of every member, (N, …) each.
            divergence: (N,) D from parameters.
            sizes: α of every member.
            power: whether a member iterates by power.

        Raises:
            CompositionError: D does not depend on φ in a way that can be differentiated.
        """
        found = start
        for step in range(self.steps):
            gradients = self._gradients(members, found, divergence, power)
            shrink = (step + 1) ** 0.5 if self.decay == "root" else 1.0
            project = self.projection == "every" or step + 1 == self.steps
            found = tuple(
                _moved(*each, project=project)
                for each in zip(
                    members, found, gradients, [size / shrink for size in sizes], power, strict=True
                )
            )
        return found

    def _gradients(
        self,
        members: Sequence[Member],
        parameters: Parameters,
        divergence: Callable[[Parameters], Tensor],
        power: Sequence[bool],
    ) -> list[Tensor | None]:
        with torch.enable_grad():
            leaves = [
                (member.nearby(phi) if small else phi).detach().clone().requires_grad_()
                for member, phi, small in zip(members, parameters, power, strict=True)
            ]
            total = divergence(tuple(leaves)).sum()
            if not total.requires_grad:
                raise CompositionError(
                    "The scores of the network do not depend on the images in a way that can be differentiated; "
                    "give a network (or a hook `scores`) that returns scores before softmax with their gradient, "
                    "or steps=0 for random chains."
                )
            # only φ: weights get no gradient, hooks of an optimiser or of DDP do not run
            return list(torch.autograd.grad(total, leaves, allow_unused=True))


def _moved(
    member: Member, phi: Tensor, gradient: Tensor | None, size: float, power: bool, *, project: bool
) -> Tensor:
    if gradient is None:
        return phi
    with torch.no_grad():
        moved = member.probe(phi, gradient) if power else member.ascend(phi, gradient, step=size)
        moved = member.project(moved) if project else moved
        finite = gradient.reshape(len(gradient), -1).isfinite().all(1).reshape(-1, *[1] * (phi.ndim - 1))
        return torch.where(finite, moved, phi)
