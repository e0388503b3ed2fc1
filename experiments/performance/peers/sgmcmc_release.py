"""The authors' release of registration by SG-MCMC, imported from a checkout that the user names; no part of medreg."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from experiments.performance.inputs import Inputs
from experiments.performance.peers.checkout import Checkout
from experiments.performance.peers.sgmcmc_import import load_release
from experiments.performance.work import Inference, InferenceMaker

CHAINS = 2  # configs/experiment3 of the release, as all settings below
SIGMA, FACTOR = 0.5, 0.1  # of the variational distribution at the start, voxels
_SILENT = ("save_fixed_im", "save_fixed_mask", "save_moving_im", "save_moving_mask")
_NEVER = 10**9


class SGMCMCRelease(Checkout):
    """Its trainer's own VI iteration and Langevin transition, in the settings of configs/experiment3/config.json.

    The trainer is made without its constructor, which asks for the device cuda:0, a data loader of UK Biobank files
    and TensorBoard. Its writer, table of metrics and NIfTI files are replaced by nothing, which only makes it
    faster. "lean" leaves out what it computes in every VI iteration for its logs alone as well: the determinants
    of the Jacobian and the largest updates.

    Args:
        folder: checkout of github.com/dgrzech/ir-sgmcmc.

    Raises:
        ConfigError: the folder is not such a checkout.
    """

    name = "ir-sgmcmc release"
    marker = "trainer/trainer.py"
    holds = "_SGLD_transition"

    @property
    def version(self) -> str:
        """Of its last change."""
        return "2022"

    def inference(self) -> Mapping[str, InferenceMaker]:
        """A VI iteration with a mirrored pair, and a transition of two chains."""
        return {
            "vi": partial(self._iteration, lean=False),
            "vi lean": partial(self._iteration, lean=True),
            "transition": self._transition,
        }

    def trainer(self, inputs: Inputs) -> Released:
        """Its trainer on the images of the inputs, all voxels in the mask.

        Raises:
            NotImplementedError: images that are not cubes.
        """
        if inputs.size.ndim != 3 or len(set(inputs.size.shape)) > 1:
            raise NotImplementedError("the release has cubic volumes only")
        torch.manual_seed(0)
        return Released(self.folder, inputs)

    def _iteration(self, inputs: Inputs, *, lean: bool) -> Inference:
        released = self.trainer(inputs)
        return Inference(partial(released.iterate, lean=lean))

    def _transition(self, inputs: Inputs) -> Inference:
        released = self.trainer(inputs)
        return Inference(released.transition)


class Released:
    """A trainer of the release with its images, its mixture begun as it begins it, ready to iterate.

    Args:
        folder: the checkout.
        inputs: images; the axes of the volume are the release's as they stand.
    """

    def __init__(self, folder: Path, inputs: Inputs) -> None:
        config, self.code = load_release(folder, inputs.size.shape)
        mask = torch.ones_like(inputs.fixed, dtype=torch.bool)
        self.fixed, self.moving = ({"im": image, "mask": mask} for image in (inputs.fixed, inputs.moving))
        shape = (1, 3, *inputs.size.shape)
        self.q = {
            "mu": torch.zeros(shape),
            "log_var": torch.full(shape, 2 * math.log(SIGMA)),
            "u": torch.full(shape, FACTOR),
        }
        self.own: Any = object.__new__(self.code.Trainer)
        _furnish(self.own, config)
        self._begin(self.own)

    def _begin(self, own: Any) -> None:
        own._Trainer__Sobolev_gradients_init()
        own._init_optimizers()
        own._Trainer__GMM_init(self.fixed, self.moving, self.q)
        own._Trainer__init_optimizer_q_v(self.q)
        own._Trainer__init_optimizer_q_v = lambda q: None  # an iteration at a time, with one optimiser
        self.chains = [
            {name: value.expand(CHAINS, *value.shape[1:]) for name, value in images.items()}
            for images in (self.fixed, self.moving)
        ]
        own._Trainer__SGLD_init(self.q)

    @property
    def losses(self) -> Any:
        """Its modules of the likelihood, the prior and the entropy."""
        return self.own.losses

    def iterate(self, *, lean: bool) -> None:
        """One iteration of VI."""
        with self._replaced(lean=lean):
            self.own._run_VI(self.fixed, self.moving, self.q)

    def transition(self) -> None:
        """One transition of two chains."""
        self.own._SGLD_transition(*self.chains, self.losses["data"]["loss"], self.losses["reg"]["loss"])

    def terms(self, latent: Tensor, *, adapt: bool) -> dict[str, Tensor]:
        """Its terms of one sample (1, 3, *S) without noise: data, reg and reg_loc_prior.

        Args:
            latent: unsmoothed velocity, voxels.
            adapt: whether the mixture makes the step that it makes in an iteration.
        """
        own, losses = self.own, self.losses
        step = own._step_GMM
        if not adapt:
            own._step_GMM = lambda *_: None
        parts = (losses["data"]["loss"], losses["reg"]["loss"], losses["entropy"])
        try:
            with self._replaced(lean=True), self.without_jitter():
                found: dict[str, Tensor] = own._Trainer__calc_sample_loss_VI(
                    *parts, self.fixed, self.moving, self.q, latent
                )[0]
        finally:
            own._step_GMM = step
        return found

    @contextmanager
    def without_jitter(self) -> Iterator[None]:
        """Without the uniform noise of the transformation."""
        before, self.own.add_noise_uniform = self.own.add_noise_uniform, False
        try:
            yield
        finally:
            self.own.add_noise_uniform = before

    @contextmanager
    def _replaced(self, *, lean: bool) -> Iterator[None]:
        """Without its files and, if lean, what it computes for its logs."""
        nothing = torch.zeros(())
        changes: dict[str, Callable[..., Any]] = {name: lambda *_: None for name in _SILENT}
        if lean:
            changes["calc_no_non_diffeomorphic_voxels"] = lambda *_: (nothing, nothing)
            changes["max_field_update"] = lambda *_: (nothing, nothing)
        before = {name: getattr(self.code, name) for name in changes}
        vars(self.code).update(changes)
        try:
            yield
        finally:
            vars(self.code).update(before)


def _furnish(own: Any, config: Any) -> None:
    """What the constructors of the trainer would have set, for a CPU."""
    own.config, own.device, own.losses = config, "cpu", config.init_losses()
    own.transformation_module, own.registration_module = config.init_transformation_and_registration_modules()
    own.diff_op = own.losses["reg"]["loss"].diff_op
    noise = config["trainer"]["uniform_noise"]
    own.Sobolev_grad = config["Sobolev_grad"]["enabled"]
    own.add_noise_uniform, own.alpha = noise["enabled"], noise["magnitude"]
    own.virutal_decimation = config["virtual_decimation"]
    own.no_chains, own.MCMC_init = CHAINS, "VI"
    own.metrics = own.writer = _Nothing()
    own.save_dirs = own.im_spacing = None
    # One iteration a call, and never the last one, which would evaluate labels.
    own.start_iter_VI, own.no_iters_VI, own.log_period_VI = 1, _NeverLast(1), _NEVER


class _Nothing:
    """Stands for its table of metrics and its TensorBoard writer."""

    def update(self, *_: Any) -> None:
        """Keep nothing."""

    def set_step(self, *_: Any) -> None:
        """Count nothing."""


class _NeverLast(int):
    """A number of iterations that no iteration is equal to."""

    def __eq__(self, other: object) -> bool:
        return False

    __hash__ = int.__hash__
