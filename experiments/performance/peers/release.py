"""The authors' GraDIRN release, imported from a checkout that the user names; nothing of it is part of medreg."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from experiments.performance.inputs import Inputs
from experiments.performance.peers.checkout import Checkout
from experiments.performance.work import StepMaker, TrainingStep

LEVELS, REPEATS = 3, 3
PENALTY = 0.01  # conf/train/loss/mse.yaml of the release


class Release(Checkout):
    """Its network in the settings of its configuration files, with its losses and its warp.

    Args:
        folder: checkout of github.com/qiuhuaqi/GraDIRN.

    Raises:
        ConfigError: the folder is not such a checkout.
    """

    name = "GraDIRN release"
    marker = "core/networks.py"

    @property
    def version(self) -> str:
        """Commit of the checkout, where it is known."""
        head = self.folder / ".git" / "HEAD"
        return head.read_text().strip()[:12] if head.is_file() else "2022"

    def steps(self) -> Mapping[str, StepMaker]:
        """GraDIRN."""
        return {"gradirn": self._step}

    def network(self, inputs: Inputs) -> Any:
        """The untrained network for images of the size of the inputs."""
        with importable(self.folder):
            from core.networks import GraDIRN
        torch.manual_seed(0)
        return GraDIRN(
            inputs.size.ndim,
            list(inputs.size.shape),
            num_blocks=[1] * LEVELS,
            num_repeat=[REPEATS] * LEVELS,
            tau_config=SimpleNamespace(init=0.5, requires_grad=True, train_scale=10.0),
            regulariser_config=SimpleNamespace(
                ndim=inputs.size.ndim, num_layers=5, num_channels=32, input_images="explicit"
            ),
        )

    def _step(self, inputs: Inputs) -> TrainingStep:
        network = self.network(inputs).to(inputs.device).train()
        with importable(self.folder):
            from core.losses import diffusion_loss
            from core.transformations import warp_fn
            from core.utils import create_img_pyramid
        fixed, moving = inputs.fixed, inputs.moving

        def loss() -> Tensor:
            fields = network(create_img_pyramid(fixed, LEVELS), create_img_pyramid(moving, LEVELS))
            warped = warp_fn(moving, fields[-1], getattr(network, f"grid_lvl{LEVELS - 1}"))
            return F.mse_loss(fixed, warped) + PENALTY * diffusion_loss(fields[-1])

        return TrainingStep(network, loss, torch.optim.Adam(network.parameters(), lr=1e-4))


@contextmanager
def importable(folder: Path) -> Iterator[None]:
    """Let `import core…` find the checkout, and nothing else of it."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
