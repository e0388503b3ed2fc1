"""The authors' VR-Net release, imported from a checkout that the user names; nothing of it is part of medreg."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from experiments.performance.inputs import Inputs
from experiments.performance.peers.checkout import Checkout
from experiments.performance.peers.release import importable
from experiments.performance.work import StepMaker, TrainingStep
from medreg.models.vrnet import VRNet

PENALTY = 0.01  # ours: the release has no training code; as our step
CHANNELS = 8  # default of the authors' companion code
_FILES = {"l1": "L1Models", "l2": "L2Models"}
_ENCODER = ("eninput", *(f"ec{number}" for number in range(1, 10)))
_DECODER = (*(f"up{number}" for number in range(1, 5)), *(f"dc{number}" for number in range(1, 10)))


class VRNetRelease(Checkout):
    """Its 3-D networks with one warp and one iteration, its sampler and the smoothness of its files.

    Args:
        folder: checkout of github.com/xi-jia/Learning-a-Model-Driven-Variational-Network-for-Deformable-…

    Raises:
        ConfigError: the folder is not such a checkout.
    """

    name = "VR-Net release"
    marker = "L2Models.py"

    @property
    def version(self) -> str:
        """Of its last change."""
        return "2023"

    def steps(self) -> Mapping[str, StepMaker]:
        """VR-Net with either data term."""
        return {"vrnet": partial(self._step, data_term="l2"), "vrnet l1": partial(self._step, data_term="l1")}

    def network(self, inputs: Inputs, *, data_term: str) -> nn.Module:
        """The untrained network.

        Raises:
            NotImplementedError: images that are not volumes.
        """
        if inputs.size.ndim != 3:
            raise NotImplementedError("the release has 3-D networks only")
        torch.manual_seed(0)
        made: nn.Module = self._code(data_term).vr_unet(2, 3, CHANNELS).to(inputs.device).train()
        return made

    def field(self, network: nn.Module, inputs: Inputs) -> Tensor:
        """Displacement (B, 3, *S) in voxels."""
        with without_cuda(inputs.device):
            return torch.cat(network(inputs.moving, inputs.fixed), dim=1)

    def _code(self, data_term: str) -> Any:
        with importable(self.folder):
            return importlib.import_module(_FILES[data_term])

    def _step(self, inputs: Inputs, *, data_term: str) -> TrainingStep:
        network, code = self.network(inputs, data_term=data_term), self._code(data_term)
        fixed, moving = inputs.fixed, inputs.moving

        def loss() -> Tensor:
            field = self.field(network, inputs)
            with without_cuda(inputs.device):
                warped = code.warp_3D(moving, *field.split(1, dim=1))
            penalty = sum(field.diff(dim=axis).square().mean() for axis in (2, 3, 4)) / 3
            return (warped - fixed).square().mean() + PENALTY * penalty

        return TrainingStep(network, loss, torch.optim.Adam(network.parameters(), lr=1e-4))


def copy_weights(release: Any, ours: VRNet) -> None:
    """Give our network the weights of the release's.

    Raises:
        ValueError: networks of unlike structure.
    """
    theirs = [release.init_block, *release.cnn_blocks]
    mine = [ours.initial, *ours.denoisers]
    for one, other in zip(theirs, mine, strict=True):
        assert isinstance(other, nn.Module)
        layers = [layer for layer in other.modules() if hasattr(layer, "weight")]
        named = [getattr(one, name)[0] for name in (*_ENCODER, *_DECODER)]
        for source, target in zip(named, layers, strict=True):
            target.load_state_dict(source.state_dict())
    for block, coupling in zip(release.ic_blocks, ours.couplings, strict=True):
        coupling.load_state_dict({"parameter": block.param.detach().squeeze()})


@contextmanager
def without_cuda(device: str) -> Iterator[None]:
    """Let the release's fixed calls of `Tensor.cuda` do nothing where the images are on a CPU."""
    moved = torch.Tensor.cuda
    if torch.device(device).type == "cpu":
        torch.Tensor.cuda = lambda image, *_, **__: image  # type: ignore[method-assign]
    try:
        yield
    finally:
        torch.Tensor.cuda = moved  # type: ignore[method-assign]
