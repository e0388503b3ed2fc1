"""Bayesian registration: the posterior of the deformation of every pair, by VI or SG-MCMC."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from medreg.errors import CompositionError, ConfigError
from medreg.geometry.precision import outside_inference_mode
from medreg.geometry.sobolev import SobolevFilter
from medreg.geometry.transformation import Transformation
from medreg.geometry.warp import Padding
from medreg.inference.level import LevelImages, full_images
from medreg.inference.posterior import On, PosteriorEnergy, check_settings
from medreg.inference.posterior_inference import Inferred, Kept, PosteriorInference
from medreg.inference.progress import Callback, Progress
from medreg.inference.registration import Registration, check_pair
from medreg.inference.sampling.draw import Listener
from medreg.inference.sampling.moments import Moments
from medreg.inference.variational_pairs import VariationalPosterior
from medreg.io.digest import digest_of, digest_of_array
from medreg.losses.likelihood.base import Likelihood
from medreg.losses.prior.base import Prior
from medreg.models.solver import Solver


class BayesianRegistration(Solver):
    """p(z | F, M) ∝ p(F | M ∘ φ_θ) p(θ), θ = A z, explored for every pair by itself; nothing is learned.

    The answer is the transformation of the variational mean, or the mean displacement of the chains; samples go to
    listeners one by one and are not kept.

    Args:
        likelihood: p(F | M ∘ φ).
        prior: p(θ).
        transformation: from θ to displacement, a field on a grid.
        inference: VI, or chains.
        smoothing: A, the root of a Sobolev filter; None for none.
        jitter: noise of φ while fitting and sampling, voxels, see `PosteriorEnergy`.
        prior_on: what the prior sees, "field" or "parameters".
        start: a model with the same transformation, at whose answer the variational fit begins; None: at the identity.
            The posterior is the same.
        seed: of all noise; the same seed gives the same bits on a CPU.
        padding: value outside the moving image: border or zeros.

    References:
        Grzech et al., Uncertainty quantification in non-rigid image registration via stochastic gradient Markov
        chain Monte Carlo, MELBA 2021:016.
    """

    def __init__(
        self,
        likelihood: Likelihood,
        prior: Prior,
        transformation: Transformation,
        *,
        inference: PosteriorInference,
        smoothing: SobolevFilter | None,
        jitter: float,
        prior_on: On,
        seed: int,
        start: Solver | None = None,
        padding: Padding = "border",
    ) -> None:
        super().__init__()
        if isinstance(seed, bool) or not isinstance(seed, int):
            raise ConfigError(f"model.seed is {seed!r}; give a whole number.")
        check_settings(jitter, padding, prior_on)
        self.likelihood, self.prior, self.transformation = likelihood, prior, transformation
        self.smoothing, self.inference, self.start = smoothing or None, inference, start or None
        self.jitter, self.prior_on, self.seed, self.padding = jitter, prior_on, seed, padding

    @property
    def effort(self) -> tuple[int, ...]:
        """Iterations of the fit, and of drawing or sampling."""
        return self.inference.effort

    def forward(
        self,
        fixed: Tensor,
        moving: Tensor,
        *,
        spacing_mm: Tensor | None = None,
        fixed_mask: Tensor | None = None,
        moving_mask: Tensor | None = None,
        initial: Tensor | None = None,
        callback: Callback | None = None,
        listeners: Sequence[Listener] = (),
        keep: Kept | None = None,
    ) -> Registration:
        """Explore the posterior of each pair of the batch.

        Args:
            fixed: (B, C, *S).
            moving: (B, C, *S).
            spacing_mm: (B, D) or (D,) mm.
            fixed_mask: (B, 1, *S) where to compare.
            moving_mask: (B, 1, *S) where to compare, on the moving image.
            initial: (B, D, *S) displacement to begin with, voxels; the posterior is that of what comes after it.
            callback: told about every iteration; level 0 is the variational fit, 1 drawing or sampling.
            listeners: told of samples of the displacement (chains·B, D, *S), voxels.
            keep: where the state is kept, so that the same call goes on after a `kill -9`.

        Raises:
            DataError: an empty mask, or a constant image.
            NumericalError: the fit became NaN, or no chain gave a sample.
        """
        check_pair(fixed, moving)

        def solve(*tensors: Tensor | None) -> Registration:
            images = full_images(*tensors)  # type: ignore[arg-type]
            return self.explore(images, callback, listeners, keep)

        return outside_inference_mode(solve, fixed, moving, spacing_mm, fixed_mask, moving_mask, initial)

    def solve(self, images: LevelImages, callback: Callback | None) -> Registration:
        """Explore, telling no listener."""
        return self.explore(images, callback, (), None)

    def energy(self, images: LevelImages) -> PosteriorEnergy:
        """U of pairs of images, the public object that anything else can minimise, sample or approximate."""
        return PosteriorEnergy(
            self.likelihood,
            self.prior,
            self.transformation,
            images,
            smoothing=self.smoothing,
            jitter=self.jitter,
            prior_on=self.prior_on,
            padding=self.padding,
            generator=torch.Generator(images.fixed.device).manual_seed(self.seed),
        )

    def explore(
        self,
        images: LevelImages,
        callback: Callback | None,
        listeners: Sequence[Listener],
        keep: Kept | None,
    ) -> Registration:
        """Run the inference on the pairs of a batch."""
        energy = self.energy(images)
        keep = None if keep is None else keep.of(self._fingerprint(images))
        self._begin(energy)
        moments = Moments(pairs=energy.pairs)

        def tell(stage: int, iteration: int, z: Tensor, energies: Tensor) -> None:
            if callback is not None:
                callback(Progress(stage, iteration, energies.detach(), z.detach()))

        found = self.inference.run(
            energy, seed=self.seed, listeners=(moments, *listeners), keep=keep, tell=tell
        )
        return self._answer(energy, found, moments)

    def _fingerprint(self, images: LevelImages) -> str:
        """What a state belongs to beside the settings of the inference: the images and the model."""
        arrays = {
            name: None if each is None else digest_of_array(each.detach().cpu().numpy())
            for name, each in vars(images).items()
        }
        return digest_of({"images": arrays, "model": str(self), "smoothing": str(self.smoothing)})

    def _begin(self, energy: PosteriorEnergy) -> None:
        """Let fits begin at the answer of the model for it, where there is one."""
        if self.start is None:
            return
        theta = self.start.solve(energy.images, None).parameters
        if theta.shape != energy.shape:
            raise CompositionError(
                f"The start of the fit has parameters of shape {tuple(theta.shape)}, the posterior has "
                f"{tuple(energy.shape)}; give it the transformation of the model, "
                "start.transformation=${transformation}."
            )
        energy.begin_at(theta)

    @torch.no_grad()
    def _answer(self, energy: PosteriorEnergy, found: Inferred, moments: Moments) -> Registration:
        point = found.point
        if (
            point is None
        ):  # chains have no single θ of their own: that of the fit they may have begun from stands for it
            point = energy.beginning() if found.fit is None else found.fit.mean
        deformation, parameters = energy.deformation(point), energy.parameters(point)
        account = found.account
        displacement, regularised = deformation.displacement, deformation.regularised
        if found.point is None:
            sampled = [pair for pair, count in enumerate(moments.count) if count]
            displacement = displacement.clone()
            displacement[sampled] = moments.mean_of(sampled)
            regularised = displacement
            account = replace(account, notes=(*account.notes, *_without_samples(moments.count, found.fit)))
        return Registration(displacement, regularised, parameters, sampling=account)

    def extra_repr(self) -> str:
        """Settings for printing."""
        return f"jitter={self.jitter}, prior_on={self.prior_on}, seed={self.seed}"


def _without_samples(counts: Sequence[int], fit: VariationalPosterior | None) -> list[str]:
    """Sentences about pairs of a batch whose chains gave no sample."""
    stands = "the identity" if fit is None else "the mean of the variational fit"
    lost = [str(pair) for pair, count in enumerate(counts) if not count]
    if not lost:
        return []
    return [
        f"slice {', '.join(lost)} has no sample, since its chains were stopped before the first; {stands} stands"
    ]
