"""Principal components of hearts whose scores move with age as a linear regression says."""

from __future__ import annotations

import torch
from torch import Tensor

from medreg.models.hearts.base import AgeingModel
from medreg.models.hearts.conditions import Covariates
from medreg.models.hearts.pca import HeartPCA


class PCARegression(HeartPCA, AgeingModel):
    """A heart at another age has the scores of now, moved by the difference of the regression on the conditions.

    Scores b are those of the whole heart, argmin ‖x − m − P b‖² + σ²‖b‖²; at the other age they are b + B (ℓ_b − ℓ_a),
    with B fitted to the training hearts. Its options are those of `HeartPCA`.
    """

    def age(self, shape: Tensor, covariates: Covariates, later: Covariates) -> Tensor:
        """Return hearts whose scores have moved."""
        self.check_settled()
        now, then = (self.conditions(told, len(shape))[:, : self._told] for told in (covariates, later))
        moved = (then - now).to(self.regression) @ self.regression[1:]
        return self.decode(self.scores_of_all(shape) + moved)

    def scores_of_all(self, shape: Tensor) -> Tensor:
        """Return the scores (B, K) of whole hearts (B, T, *S)."""
        places = torch.arange(1, self.classes, device=shape.device).view(-1, *[1] * len(self.size))
        normal, right = torch.zeros_like(self.normal), self.normal.new_zeros(len(shape), self.components)
        for frame in range(self.frames):
            modes = self.modes[:, frame].flatten(1).float()
            apart = (shape[:, frame].unsqueeze(1) == places).float() - self.mean[frame]
            apart = apart + apart.sum(1, keepdim=True)  # the share of the background: P_0 = −Σ P_c
            right += (apart.flatten(1) @ modes.T).double()
            total = self.modes[:, frame].float().sum(1).flatten(1)
            normal += (modes @ modes.T + total @ total.T).double()
        ridge = self.variance * torch.eye(self.components, device=normal.device)
        return torch.linalg.solve(normal + ridge, right.T).T
