"""The authors' AdvChain release, imported from a checkout that the user names; nothing of it is part of medreg."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from experiments.performance.inputs import Inputs
from experiments.performance.peers.advchain_step import Segmenting, one_pass
from experiments.performance.peers.checkout import Checkout, stand_ins
from experiments.performance.peers.release import importable
from experiments.performance.work import StepMaker, TrainingStep

# Imported by its modules, and not used by what runs here.
_ABSENT = {"cv2": ("magnitude",), "SimpleITK": (), "matplotlib": (), "matplotlib.pyplot": ()}
ORDER = ("noise", "bias", "morph", "affine")


class AdvChainRelease(Checkout):
    """Its chain of four members and its solver at the settings of its experiment, around our network and loss.

    NumPy's `Inf`, which NumPy 2 took away, is lent to it while it runs.

    Args:
        folder: checkout of github.com/cherise215/advchain.

    Raises:
        ConfigError: the folder is not such a checkout.
    """

    name = "AdvChain release"
    marker = "advchain/augmentor/adv_compose_solver.py"

    @property
    def version(self) -> str:
        """Of its last change."""
        return "2023"

    def steps(self) -> Mapping[str, StepMaker]:
        """A supervised step with its consistency."""
        return {"advchain": self._step}

    def members(self, inputs: Inputs) -> list[Any]:
        """Noise, bias, morph and affine of its experiment for images of the size of the inputs.

        Raises:
            NotImplementedError: volumes, of which its contour loss has no second axis.
        """
        if inputs.size.ndim != 2:
            raise NotImplementedError("measured in 2-D only")
        height, width = inputs.size.shape
        size = (inputs.size.batch, 1, height, width)
        place = {"use_gpu": False, "device": torch.device(inputs.device)}
        code = self._code()
        settings: dict[Any, dict[str, Any]] = {
            code.AdvNoise: {"epsilon": 1, "xi": 1e-6},
            code.AdvBias: {
                "epsilon": 0.3, "control_point_spacing": [height // 4, width // 4], "downscale": 2,
                "interpolation_order": 3, "init_mode": "random", "space": "log",
            },
            code.AdvMorph: {"epsilon": 1.5, "vector_size": [height // 8, width // 8]},
            code.AdvAffine: {
                "rot": 15.0 / 180, "scale_x": 0.2, "scale_y": 0.2, "shift_x": 0.1, "shift_y": 0.1,
            },
        }  # fmt: skip
        return [kind(config_dict={**one, "data_size": size}, **place) for kind, one in settings.items()]

    def solver(self, members: Sequence[Any], *, divergence: str = "mse") -> Any:
        """What ascends and compares, with its contour term."""
        return self._code().ComposeAdversarialTransformSolver(
            chain_of_transforms=list(members),
            divergence_types=[divergence, "contour"],
            divergence_weights=[1.0, 0.5],
            use_gpu=False,
            if_norm_image=True,
        )

    def _code(self) -> Any:
        with importable(self.folder), stand_ins(_ABSENT, None):
            return importlib.import_module("advchain.augmentor")

    def _step(self, inputs: Inputs) -> TrainingStep:
        segmenting = Segmenting.of(inputs)
        solver = self.solver(self.members(inputs))

        def consistency(network: Any, images: Tensor) -> Tensor:
            with infinity():
                found: Tensor = solver.adversarial_training(
                    data=images, model=network, n_iter=1, lazy_load=False, step_sizes=1.0
                )
            return found

        return one_pass(segmenting, consistency)


@contextmanager
def infinity() -> Iterator[None]:
    """Let the release write `np.Inf`."""
    had = "Inf" in vars(np)
    if not had:
        vars(np)["Inf"] = np.inf
    try:
        yield
    finally:
        if not had:
            del vars(np)["Inf"]
