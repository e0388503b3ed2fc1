"""One operator of one package, ready to be run, differentiated and compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from experiments.performance.inputs import Inputs


@dataclass(frozen=True)
class Agreement:
    """How near a contender's value must come to ours, so that nobody times another operator.

    Attributes:
        tolerance: largest difference, as a share of our largest magnitude.
        factor: by which our value is multiplied first.
        margin: voxels left out at every border.
        reason: known difference of the definitions, in words.
    """

    tolerance: float = 1e-4
    factor: float = 1.0
    margin: int = 0
    reason: str = ""


@dataclass(frozen=True)
class Work:
    """One operator on given inputs.

    Attributes:
        forward: runs it and returns its result.
        leaves: tensors whose gradients the backward pass fills; none: the package has no backward pass.
        cotangent: gradient that enters the backward pass; None for a scalar result.
        value: turns the result into what is compared, in our layout.
        agreement: with our value.
    """

    forward: Callable[[], Any]
    leaves: tuple[Tensor, ...] = ()
    cotangent: Tensor | None = None
    value: Callable[[Any], Any] = lambda result: result
    agreement: Agreement = Agreement()

    def only_forward(self) -> None:
        """Run without a graph."""
        with torch.no_grad():
            self.forward()

    def with_backward(self) -> None:
        """Run and fill the gradients of the leaves."""
        for leaf in self.leaves:
            leaf.requires_grad_(True)
            leaf.grad = None
        self.forward().backward(self.cotangent)
        for leaf in self.leaves:
            leaf.requires_grad_(False)

    def compared(self) -> NDArray[np.float64]:
        """Return the value that is compared."""
        with torch.no_grad():
            result = self.value(self.forward())
        return np.asarray(result.cpu() if isinstance(result, Tensor) else result, dtype=np.float64)


@dataclass(frozen=True)
class TrainingStep:
    """One step of training, ready to be repeated.

    Attributes:
        network: what is trained.
        loss: makes the forward pass and returns the scalar loss.
        optimiser: of the network's parameters.
        precision: of the operations that autocast knows; float32 for all.
    """

    network: nn.Module
    loss: Callable[[], Tensor]
    optimiser: torch.optim.Optimizer
    precision: torch.dtype = torch.float32

    @property
    def parameters(self) -> int:
        """Number of trained values."""
        return sum(p.numel() for p in self.network.parameters() if p.requires_grad)

    def run(self) -> None:
        """Forward, loss, backward, optimiser."""
        self.optimiser.zero_grad()
        device = next(self.network.parameters()).device.type
        with torch.autocast(device, self.precision, enabled=self.precision != torch.float32):
            loss = self.loss()
        loss.backward()
        self.optimiser.step()

    def gradients(self) -> list[Tensor]:
        """Gradients of one backward pass, in the order of the parameters."""
        self.optimiser.zero_grad()
        self.loss().backward()
        return [p.grad.clone() for p in self.network.parameters() if p.grad is not None]


@dataclass(frozen=True)
class Inference:
    """A piece of inference, ready to be repeated.

    Attributes:
        run: does it.
        figures: what the last run has reached, such as a divergence from the truth.
    """

    run: Callable[[], object]
    figures: Callable[[], Mapping[str, float]] = dict


Maker = Callable[[Inputs], Work]
StepMaker = Callable[[Inputs], TrainingStep]
InferenceMaker = Callable[[Inputs], Inference]
Evaluate = Callable[[], Mapping[str, float]]


class Contender:
    """A package and the operators that it has.

    Attributes:
        name: in tables.
        distribution: on the package index, for the version.
        module: to import.
        limits: operator → voxels beyond which a call takes half a minute and is left out.
    """

    name: ClassVar[str]
    distribution: ClassVar[str]
    module: ClassVar[str]
    limits: ClassVar[Mapping[str, int]] = MappingProxyType({})

    @property
    def missing(self) -> str | None:
        """Why it cannot take part here, or None."""
        return None if find_spec(self.module) else f"{self.distribution} is not installed"

    @property
    def version(self) -> str:
        """As the package index knows it."""
        return metadata.version(self.distribution)

    def operators(self) -> Mapping[str, Maker]:
        """Return the operators it has, by the names of `performance.operators`."""
        return {}

    def steps(self) -> Mapping[str, StepMaker]:
        """Return the training steps it has, by the names of `performance.steps_section`."""
        return {}

    def inference(self) -> Mapping[str, InferenceMaker]:
        """Return the pieces of inference it has, by the names of `performance.posterior_section`."""
        return {}

    def evaluation(self, inputs: Inputs) -> Evaluate | None:
        """Return the evaluation of a pair, fixed labels against themselves under the displacement, or None."""
        return None


def difference(
    ours: NDArray[np.float64], theirs: NDArray[np.float64], agreement: Agreement, *, ndim: int
) -> float:
    """Largest |theirs − factor·ours| over the largest |factor·ours|; infinite if shapes or missing values differ.

    Args:
        ours: our value.
        theirs: the contender's.
        agreement: factor, and the border that is left out.
        ndim: number of trailing axes that have such a border, if the value has that many.
    """
    if ours.shape != theirs.shape:
        return float("inf")
    if agreement.margin and ours.ndim >= ndim:
        inner: Any = (slice(agreement.margin, -agreement.margin),) * ndim
        ours, theirs = ours[(..., *inner)], theirs[(..., *inner)]
    expected = agreement.factor * ours
    known = np.isfinite(expected)
    if (known != np.isfinite(theirs)).any():
        return float("inf")
    scale = float(np.abs(expected[known]).max(initial=0.0))
    return float(np.abs(theirs - expected)[known].max(initial=0.0)) / (scale or 1.0)
