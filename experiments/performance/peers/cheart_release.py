"""The authors' CHeart release, imported from a checkout that the user names; nothing of it is part of medreg."""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from experiments.performance.inputs import Inputs
from experiments.performance.peers.checkout import Checkout, stand_ins
from experiments.performance.peers.heart_step import BETA, CODE, Hearts
from experiments.performance.peers.release import importable
from experiments.performance.work import StepMaker, TrainingStep
from medreg.models.hearts.condition import age_group

# Never released, imported by its modules, and not used by what runs here.
_ABSENT = {"image_utils": ("onehot2label", "label2onehot"), "transformer": ("warp",)}
_OWN = ("networks", "utils")  # modules of the checkout whose names others may have
_CLASSES, _CONDITIONS, _FILTERS = 4, 5, 4


class CHeartRelease(Checkout):
    """Its network with the wiring of the paper's figure (EnDe, before, LSTM cell), and the loss of its training script.

    As it stands it does not run: modules that it imports were never released, it makes its states on a GPU, and the
    script unpacks a displacement that the network no longer returns. Here the missing modules are empty ones, the
    states are made on the device of the hearts, and its loss function, taken out of the script, is
    handed nothing in place of the displacement, which its default does not look at. Nothing else is changed.

    Args:
        folder: checkout of github.com/MengyunQ/CHeart.

    Raises:
        ConfigError: the folder is not such a checkout.
    """

    name = "CHeart release"
    marker = "networks.py"
    holds = "class GenCVAE_Seq("

    @property
    def version(self) -> str:
        """Of its last commit."""
        return "b8e5fe7"

    def steps(self) -> Mapping[str, StepMaker]:
        """CHeart."""
        return {"cheart": self._step}

    def network(self, inputs: Inputs) -> Any:
        """The untrained network for hearts of the size of the inputs.

        Raises:
            NotImplementedError: a grid that is not as wide as it is deep.
        """
        width, depth, length = inputs.size.shape
        if width != depth:
            raise NotImplementedError("its grid is as wide as it is deep")
        torch.manual_seed(0)
        made = self._module().GenCVAE_Seq(
            img_size=width, z_dim=CODE, nf=_FILTERS, depth=length, label_num=_CLASSES, condition=_CONDITIONS,
            args=_options(),
        )  # fmt: skip
        return made.to(inputs.device).train()

    def terms(self, network: nn.Module, hearts: Hearts) -> Callable[[], tuple[Tensor, Tensor, Tensor]]:
        """Return what gives loss, cross-entropy and divergence of hearts."""
        segmentation, people = their_batch(hearts)
        judge, options = self._loss(hearts.shape.device), _options()

        def found() -> tuple[Tensor, Tensor, Tensor]:
            with states_on(hearts.shape.device):
                scores, mean, log_variance = network(segmentation, *people, options)
            answer: tuple[Tensor, Tensor, Tensor] = judge(
                scores, segmentation, mean, log_variance, None, beta=BETA, args=options
            )
            return answer

        return found

    def _step(self, inputs: Inputs) -> TrainingStep:
        network = self.network(inputs)
        terms = self.terms(network, Hearts.of(inputs))
        return TrainingStep(network, lambda: terms()[0], torch.optim.Adam(network.parameters(), lr=5e-4))

    def _module(self) -> ModuleType:
        held = {name: sys.modules.pop(name) for name in _OWN if name in sys.modules}
        try:
            with importable(self.folder), stand_ins(_ABSENT, None), stand_ins({}, None):
                return importlib.import_module("networks")
        finally:
            for name in _OWN:
                sys.modules.pop(name, None)
            sys.modules.update(held)

    def _loss(self, device: torch.device) -> Callable[..., Any]:
        """The loss function of the training script, without the rest of it."""
        file = self.folder / "train_GenCVAE_Seq.py"
        tree = ast.parse(file.read_text(encoding="utf-8"))
        tree.body = [node for node in tree.body if getattr(node, "name", "") == "VAECELoss"]
        names: dict[str, Any] = {"torch": torch, "F": F, "device": device}
        exec(compile(tree, str(file), "exec"), names)  # code of the checkout, as an import would run it
        found: Callable[..., Any] = names["VAECELoss"]
        return found


def their_batch(hearts: Hearts) -> tuple[Tensor, list[Tensor]]:
    """Return one-hot frames (B, T, 4, Z, X, Y) and the conditions, (B, 1) each, in its axes and its units."""
    turned = hearts.shape.permute(0, 1, 4, 2, 3).long()
    one_hot = F.one_hot(turned, _CLASSES).movedim(-1, 2).float().contiguous()
    people = {**hearts.covariates, "age_years": age_group(hearts.covariates["age_years"])}
    return one_hot, [values.unsqueeze(1) for values in people.values()]


@contextmanager
def states_on(device: torch.device) -> Iterator[None]:
    """Let what the release puts on a GPU lie where the hearts are."""
    if device.type == "cuda":
        yield
        return
    kept = Tensor.cuda
    Tensor.cuda = lambda tensor, *_, **__: tensor.to(device)  # type: ignore[method-assign]
    try:
        yield
    finally:
        Tensor.cuda = kept  # type: ignore[method-assign]


def _options() -> SimpleNamespace:
    return SimpleNamespace(
        mapping="EnDe", mapping_number=CODE, lstmpos="before", model="lstmcell", visuallatent=False, z_dim=CODE,
        condition=_CONDITIONS, loss="CE", l2u=0.01,
    )  # fmt: skip
