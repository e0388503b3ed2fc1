"""Several registration models as one: their answers are the samples, their mean is the answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from medreg.errors import ConfigError
from medreg.inference.registration import Registration, check_pair
from medreg.inference.sampling.draw import Draw, Listener
from medreg.models.base import RegistrationModel
from medreg.models.sampling import SamplingModel


class Ensemble(SamplingModel):
    """The mean of its members' displacements, with these as samples, one a member.

    Lakshminarayanan et al., Simple and Scalable Predictive Uncertainty Estimation using Deep Ensembles, NeurIPS 2017:
    members that differ by nothing but their seed. There is nothing random in it, and nothing to train.

    Args:
        members: the models, 2 at least; they are frozen and kept in evaluation mode.

    Raises:
        ConfigError: fewer than two members.
    """

    trainable: ClassVar[bool] = False

    def __init__(self, members: Sequence[RegistrationModel]) -> None:
        if len(members) < 2:
            raise ConfigError(
                f"model=ensemble has {len(members)} members; name two trained runs at least, model.runs=[RUN,RUN]."
            )
        super().__init__(samples=len(members), seed=0)
        self.members = nn.ModuleList(member.requires_grad_(False) for member in members)
        self.train(False)

    def train(self, mode: bool = True) -> Ensemble:
        """Stay in evaluation mode: the members are trained already."""
        return super().train(False)

    def forward(
        self,
        fixed: Tensor,
        moving: Tensor,
        *,
        spacing_mm: Tensor | None = None,
        fixed_mask: Tensor | None = None,
        moving_mask: Tensor | None = None,
        draws: int | None = None,
        listeners: Sequence[Listener] = (),
    ) -> Registration:
        """Ask every member once; `draws` = 0 leaves the samples out, another number means nothing here."""
        check_pair(fixed, moving)
        mean: Tensor | None = None
        kept: list[Tensor] = []
        for k, member in enumerate(self.members):
            answer: Registration = member(
                fixed, moving, spacing_mm=spacing_mm, fixed_mask=fixed_mask, moving_mask=moving_mask
            )
            share = answer.displacement / len(self.members)
            mean = share if mean is None else mean + share
            for listener in listeners:
                listener(Draw.independent(answer.displacement, k))
            if not listeners and draws != 0:
                kept.append(answer.displacement)
        assert mean is not None
        samples = torch.stack(kept) if kept else None
        return Registration(displacement=mean, regularised=mean, parameters=mean, samples=samples)
