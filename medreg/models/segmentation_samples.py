"""Segmentation networks that answer with several score maps: one network, dropout, an ensemble, the engine.

`objective` is what training minimises, in nats an image; `draws` are what predictive probabilities are averaged over.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from medreg.errors import ConfigError
from medreg.inference.comparators.dropout_module import dropout_draws, dropout_layers
from medreg.inference.comparators.ensemble import ensemble_draws
from medreg.inference.variational.module import VariationalModule

LogLikelihood = Callable[[Tensor], Tensor]  # scores (B, L + 1, *S) → Σ_voxels ln p, (B,)


class SampledSegmentation(nn.Module, ABC):
    """A network of scores (B, 1, *S) → (B, L + 1, *S) with a predictive distribution; called, it gives one answer."""

    def objective(self, image: Tensor, likelihood: LogLikelihood, *, size: int) -> Tensor:
        """Minus the log-likelihood of an image, in the mean over the batch, and what else is minimised.

        Args:
            image: (B, 1, *S).
            likelihood: of scores.
            size: images of the whole data set, over which a prior counts once.
        """
        return -likelihood(self(image)).mean()

    @abstractmethod
    def draws(self, image: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """Scores of several draws, (K, B, L + 1, *S); K may differ from `count` where it is no choice.

        Args:
            image: (B, 1, *S).
            count: how many are wanted.
            generator: of everything random in them, on the device of the image.
        """


class SingleSegmentation(SampledSegmentation):
    """One network, one answer.

    Args:
        network: (B, 1, *S) → (B, L + 1, *S).
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        """Scores."""
        found: Tensor = self.network(image)
        return found

    def draws(self, image: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """The one answer, (1, B, L + 1, *S)."""
        return self(image)[None]


class DropoutSegmentation(SingleSegmentation):
    """MC dropout: the dropout layers of the network stay on (Gal and Ghahramani, ICML 2016).

    Args:
        network: with dropout layers.

    Raises:
        CompositionError: without any.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__(network)
        dropout_layers(network)

    def draws(self, image: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """Answers under `count` masks."""
        return dropout_draws(self.network, image, draws=count, generator=generator)


class EnsembleSegmentation(SampledSegmentation):
    """A deep ensemble (Lakshminarayanan et al., NeurIPS 2017), whose members are trained side by side on one loader.

    The losses are added, so that no member knows of another; they differ in their initialisation.

    Args:
        network: copied, and initialised anew by `reset_parameters` of its layers.
        members: M.

    Raises:
        ConfigError: fewer than two members.
    """

    def __init__(self, network: nn.Module, members: int) -> None:
        super().__init__()
        if members < 2:
            raise ConfigError(f"model.members is {members}; an ensemble has two or more.")
        self.members = nn.ModuleList([network, *(_anew(network) for _ in range(members - 1))])

    def forward(self, image: Tensor) -> Tensor:
        """Logarithms of the mean probabilities, which are scores of the ensemble."""
        scores = torch.stack([member(image) for member in self.members])
        found: Tensor = scores.log_softmax(2).logsumexp(0)
        return found

    def objective(self, image: Tensor, likelihood: LogLikelihood, *, size: int) -> Tensor:
        """The sum of what each member minimises."""
        return torch.stack([-likelihood(member(image)).mean() for member in self.members]).sum()

    def draws(self, image: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """Answers of the members."""
        return ensemble_draws(list(self.members), image)


class VariationalSegmentation(SampledSegmentation):
    """A network some of whose parameters have a variational posterior of the engine; the others are trained as usual.

    Args:
        network: without batch normalisation, whose statistics would stay as they are.
        **options: of `medreg.inference.variational.module.VariationalModule`, such as `random` and `rank`.
    """

    def __init__(self, network: nn.Module, **options: Any) -> None:
        super().__init__()
        self.posterior = VariationalModule(network, **options)

    def forward(self, image: Tensor) -> Tensor:
        """Scores at the mean of the posterior."""
        found: Tensor = self.posterior.evaluate(self.posterior.distribution.mean[None], image)[0]
        return found

    def objective(self, image: Tensor, likelihood: LogLikelihood, *, size: int) -> Tensor:
        """Minus the bound, an image."""

        def of_output(output: Tensor, targets: Any) -> Tensor:
            return likelihood(output)

        return self.posterior.loss(image, None, of_output, size=size) / size

    def draws(self, image: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """Answers of `count` independent draws of the parameters."""
        with torch.no_grad():
            vectors = self.posterior.distribution.detached().sample(count, generator)
            found: Tensor = self.posterior.evaluate(vectors, image)
        return found


def _anew(network: nn.Module) -> nn.Module:
    found = copy.deepcopy(network)
    for part in found.modules():
        reset = getattr(part, "reset_parameters", None)
        if callable(reset):
            reset()
    return found
