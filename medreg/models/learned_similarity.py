"""Registration by variational inference under a similarity that can be learned."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from medreg.geometry.precision import outside_inference_mode
from medreg.geometry.sobolev import SobolevFilter
from medreg.geometry.transformation import Transformation
from medreg.inference.level import LevelImages, full_images
from medreg.inference.posterior import PosteriorEnergy
from medreg.inference.registration import Registration, check_pair
from medreg.inference.sampling.draw import Listener
from medreg.inference.variational_pairs import Parts, VariationalFit, VariationalPosterior
from medreg.losses.likelihood.potential import Potential
from medreg.losses.prior.base import Prior
from medreg.losses.similarity.learned import LearnedSimilarity
from medreg.models.sampling import SamplingModel


class SimilarityRegistration(SamplingModel):
    """q(z | F, M) fitted to exp(−N·w·D(F, M∘φ) − ½ w_reg ‖Dv‖²) of every pair, D a learned similarity.

    What is trained is the encoder of D, see `SimilarityLearningTask`; the fit itself has no parameters that outlive a
    pair. The displacement is that of the mean of q, the samples are draws from q.

    Source: Grzech et al., A variational Bayesian method for similarity learning in non-rigid image registration,
    CVPR 2022, and its released code.

    Args:
        ndim: spatial dimensions, 2 or 3.
        similarity: D, with its weight w.
        transformation: map from θ to displacement.
        prior: of the velocity, with w_reg.
        smoothing: from z to θ, or None.
        fit: of q.
        jitter: largest noise of φ while q is fitted, voxels.
        samples: K in evaluation.
        seed: of the fits and the samples in evaluation.
    """

    def __init__(
        self,
        ndim: int,
        *,
        similarity: LearnedSimilarity,
        transformation: Transformation,
        prior: Prior,
        smoothing: SobolevFilter | None,
        fit: VariationalFit,
        jitter: float,
        samples: int,
        seed: int,
    ) -> None:
        super().__init__(samples=samples, seed=seed)
        self.ndim, self.similarity, self.transformation = ndim, similarity, transformation
        self.prior, self.smoothing, self.variational, self.jitter = prior, smoothing, fit, jitter

    def posterior(
        self, images: LevelImages, *, seed: int, similarity: LearnedSimilarity | None = None
    ) -> PosteriorEnergy:
        """The energy of pairs, by default under the similarity of the model."""
        return PosteriorEnergy(
            Potential(similarity=similarity or self.similarity),
            self.prior,
            self.transformation,
            images,
            smoothing=self.smoothing,
            jitter=self.jitter,
            generator=torch.Generator(images.fixed.device).manual_seed(seed),
        )

    def fitted(
        self, energy: PosteriorEnergy, *, seed: int, earlier: Sequence[Parts | None] = ()
    ) -> VariationalPosterior:
        """The q of every pair; the encoder is a constant meanwhile."""
        with frozen(self.similarity):
            return self.variational.fit(energy, seed=seed, earlier=earlier)

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
        similarity: LearnedSimilarity | None = None,
    ) -> Registration:
        """Fit q to every pair from the start, under another similarity where one is given.

        Raises:
            DataError: an image without contrast, or an empty mask.
            NumericalError: the energy is not finite.
        """
        check_pair(fixed, moving, ndim=self.ndim)

        def solve(*tensors: Tensor | None) -> Registration:
            images = full_images(*tensors)  # type: ignore[arg-type]
            energy = self.posterior(images, seed=self.seed, similarity=similarity)
            fit = self.fitted(energy, seed=self.seed)
            generator = torch.Generator(images.fixed.device).manual_seed(self.seed)

            def one(k: int) -> Tensor:
                return energy.deformation(fit.sample(generator)).displacement

            with torch.no_grad():
                deformation = energy.deformation(fit.mean)
            return Registration(
                deformation.displacement,
                deformation.regularised,
                energy.parameters(fit.mean),
                samples=self.draw(one, draws, listeners),
            )

        return outside_inference_mode(solve, fixed, moving, spacing_mm, fixed_mask, moving_mask)


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Keep the parameters of a module out of every graph within the block."""
    before = [parameter.requires_grad for parameter in module.parameters()]
    module.requires_grad_(False)
    try:
        yield
    finally:
        for parameter, needed in zip(module.parameters(), before, strict=True):
            parameter.requires_grad_(needed)
