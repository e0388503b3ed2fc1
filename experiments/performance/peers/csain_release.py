"""The authors' CSAIN release, imported from a checkout that the user names; nothing of it is part of medreg."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from experiments.performance.inputs import Inputs
from experiments.performance.peers.checkout import Checkout
from experiments.performance.peers.csain_step import REGIONS, SCALE, START_CHANNELS, region_weights, regions
from experiments.performance.peers.release import importable
from experiments.performance.work import StepMaker, TrainingStep
from medreg.models.blocks.conditioning import SpatiallyAdaptive
from medreg.models.blocks.laplacian import LaplacianPyramid, Level, ResidualBlock

_LEVELS = ("CSAIN_disp_lvl1", "CSAIN_disp_lvl2", "CSAIN_disp_lvl3")


class CSAINRelease(Checkout):
    """Its three levels, trained together on the loss of the finest, as its train.py does after 3000 steps.

    Its number of channels is fixed in the conditioning and its network plots at every step; both are replaced
    while it runs here.

    Args:
        folder: checkout of
            github.com/Yinsong0510/Conditional-Deformable-Image-Registration-with-Spatially-variant-…

    Raises:
        ConfigError: the folder is not such a checkout.
    """

    name = "CSAIN release"
    marker = "network.py"
    holds = "CSAIN_disp_lvl1"

    @property
    def version(self) -> str:
        """Of its last change."""
        return "2023"

    def steps(self) -> Mapping[str, StepMaker]:
        """CSAIN."""
        return {"csain": partial(self._step)}

    def network(self, inputs: Inputs) -> Any:
        """The untrained network of three levels.

        Raises:
            NotImplementedError: volumes.
        """
        if inputs.size.ndim != 2:
            raise NotImplementedError("the release has 2-D networks only")
        code = self._code()
        code.CSAIN.__init__.__defaults__ = (2 * START_CHANNELS, 4 * START_CHANNELS)
        torch.manual_seed(0)
        model: Any = None
        with on_device(inputs.device):
            for number, name in enumerate(_LEVELS, start=1):
                shape = tuple(side // 2 ** (3 - number) for side in inputs.size.shape)
                below = {f"model_lvl{number - 1}": model} if number > 1 else {}
                model = getattr(code, name)(2, 2, START_CHANNELS, is_train=True, imgshape=shape, **below)
        return model.to(inputs.device).train()

    def field(self, network: Any, inputs: Inputs) -> Tensor:
        """Displacement (B, 2, *S) in voxels, components in the order of the axes."""
        unit = self._forward(network, inputs)[0]
        half = torch.tensor([(side - 1) / 2 for side in inputs.size.shape], device=unit.device)
        return unit.flip(1) * half.view(1, 2, 1, 1)

    def _code(self) -> Any:
        with importable(self.folder), without_torchvision():
            code = importlib.import_module("network")
        code.plt = SimpleNamespace(imshow=lambda *_, **__: None, show=lambda: None)  # type: ignore[attr-defined]
        return code

    def _forward(self, network: Any, inputs: Inputs) -> Any:
        labels = regions(inputs).float() / (REGIONS - 1)
        with on_device(inputs.device):
            return network(inputs.moving, inputs.fixed, labels, region_weights(inputs))

    def _step(self, inputs: Inputs) -> TrainingStep:
        network, code = self.network(inputs), self._code()
        with on_device(inputs.device):
            similarity = code.multi_resolution_NCC(win=7, scale=3)
        extent = torch.tensor([side - 1.0 for side in reversed(inputs.size.shape)], device=inputs.device)

        def loss() -> Tensor:
            unit, warped, fixed, *_, weights = self._forward(network, inputs)
            penalty = code.spatially_variant_reg(unit * extent.view(1, 2, 1, 1), weights)
            total: Tensor = similarity(warped, fixed) + SCALE * penalty
            return total

        return TrainingStep(network, loss, torch.optim.Adam(network.parameters(), lr=1e-4))


def copy_weights(release: Any, ours: LaplacianPyramid) -> None:
    """Give our pyramid the weights of the release's; its components count axes in the opposite order."""
    with torch.no_grad():
        levels = [release.model_lvl2.model_lvl1, release.model_lvl2, release]
        for number, (theirs, level) in enumerate(zip(levels, ours.levels, strict=True)):
            assert isinstance(level, Level)
            _copy_level(theirs, level, has_field=number > 0)


def _copy_level(theirs: Any, level: Level, *, has_field: bool) -> None:
    encoder = theirs.input_encoder_lvl1
    first = encoder[0].weight
    if has_field:
        first = torch.cat((first[:, :2], first[:, 2:].flip(1)), dim=1)
    conditioning = level.conditioning
    assert isinstance(conditioning, SpatiallyAdaptive)
    blocks = [theirs.resblock_group_lvl1[k] for k in range(0, 2 * len(level.blocks), 2)]
    norms = [norm for block in blocks for norm in (block.ai1, block.ai2)]
    modulations = [part[0].weight for norm in norms for part in (norm.gamma_gen, norm.beta_gen)]
    pairs = [
        (first, level.encoder[0]),
        (encoder[2].weight, level.encoder[2]),
        (theirs.down_conv.weight, level.down),
        (theirs.reg_encoder[0].weight, conditioning.encoder[0]),
        (torch.cat(modulations), conditioning.modulations),
        (theirs.up.weight, level.up),
        (theirs.output_lvl1[0].weight, level.head[0]),
        (theirs.output_lvl1[2].weight.flip(0), level.head[2]),
    ]
    for block, mine in zip(blocks, level.blocks, strict=True):
        assert isinstance(mine, ResidualBlock)
        pairs += [(block.conv1.weight, mine.first), (block.conv2.weight, mine.second)]
    for weight, layer in pairs:
        target = layer.weight
        assert isinstance(target, Tensor)
        if target.shape != weight.shape:
            raise ValueError(f"parameters of shapes {tuple(weight.shape)} and {tuple(target.shape)}")
        target.copy_(weight)


@contextmanager
def on_device(device: str) -> Iterator[None]:
    """Let the release's fixed calls of `cuda` do nothing where the images are on a CPU."""
    moved = torch.Tensor.cuda, nn.Module.cuda
    if torch.device(device).type == "cpu":
        torch.Tensor.cuda = lambda image, *_, **__: image  # type: ignore[method-assign]
        nn.Module.cuda = lambda module, *_, **__: module  # type: ignore[method-assign]
    try:
        yield
    finally:
        torch.Tensor.cuda, nn.Module.cuda = moved  # type: ignore[method-assign]


@contextmanager
def without_torchvision() -> Iterator[None]:
    """Let the release import torchvision, whose only use, a blur, it makes and never applies."""
    stand_in = ModuleType("torchvision")
    stand_in.transforms = ModuleType("torchvision.transforms")  # type: ignore[attr-defined]
    stand_in.transforms.GaussianBlur = lambda *_: None
    names = {"torchvision": stand_in, "torchvision.transforms": stand_in.transforms}
    missing = {name: module for name, module in names.items() if name not in sys.modules}
    sys.modules.update(missing)
    try:
        yield
    finally:
        for name in missing:
            del sys.modules[name]
