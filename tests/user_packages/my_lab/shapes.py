"""A generative model of label maps with a kind of work of its own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from medreg.metrics.overlap import label_index
from medreg.metrics.rows import MetricRow, rows_with_mean
from medreg.metrics.runtime import RuntimeMeter
from medreg.tasks.base import Batch, Task
from medreg.tasks.results import CaseResult, case_arrays, cost_rows


class LinearShapes(nn.Module):
    """Principal components of one-hot label maps, found by training.

    Args:
        size: S of the label maps, voxels.
        classes: structures and the background.
        components: of the code.
    """

    def __init__(self, size: Sequence[int], *, classes: int, components: int) -> None:
        super().__init__()
        self.shape, numbers = (classes, *size), classes * math.prod(size)
        self.encode = nn.Linear(numbers, components)
        self.decode = nn.Linear(components, numbers)

    def forward(self, maps: Tensor) -> Tensor:
        """Return the scores of the reconstruction, (B, L + 1, *S), of one-hot maps of that shape."""
        return self.generate(self.encode(maps.flatten(1)))

    def generate(self, code: Tensor) -> Tensor:
        """Return the scores of maps with the given codes (B, components)."""
        return self.decode(code).unflatten(1, self.shape)


class Misplaced:
    """Score a reconstruction by the share of each structure's voxels that it misses.

    Args:
        labels: code by structure; the task tells those of the data.
    """

    def __init__(self, labels: Mapping[str, int]) -> None:
        self.labels = dict(labels)

    def __call__(self, truth: Tensor, found: Tensor) -> list[MetricRow]:
        """Rows of one case; both maps (N, 1, *S) hold places of structures, 0 is background."""
        missed = {}
        for place, name in enumerate(self.labels, start=1):
            inside = truth == place
            missed[name] = 100 * float((found[inside] != place).float().mean()) if inside.any() else math.nan
        return list(rows_with_mean("misplaced_percent", missed))


class ShapeTask(Task):
    """Train a model to say label maps again, and draw new ones."""

    requires: ClassVar[frozenset[str]] = frozenset({"label", "case"})
    sections = (*Task.sections, "my_lab.sections.shapes")

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Return the loss of one batch."""
        loss, _ = self._reconstruct(batch)
        self.check_finite(loss, batch)
        self.train_means.add({"loss": loss}, size=len(batch["label"]))
        return loss

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Accumulate the loss of one case."""
        self.add_validation(loss=self._reconstruct(batch)[0])

    def test_step(self, batch: Batch, batch_index: int) -> CaseResult:  # type: ignore[override]
        """Score one case, and keep its maps with a new one."""
        with RuntimeMeter(self.device) as meter:
            _, scores = self._reconstruct(batch)
        truth, found = self._places(batch), scores.argmax(dim=1, keepdim=True)
        code = torch.randn(len(truth), self.model.encode.out_features)
        new = self.model.generate(code).argmax(dim=1)
        arrays = {"label": truth[:, 0], "reconstruction": found[:, 0], "generated": new}
        return CaseResult(
            case=batch["case"][0],
            rows={self.name: [*self.evaluator(truth, found), *cost_rows(meter.usage)]},
            arrays=case_arrays(batch, arrays),
        )

    def _places(self, batch: Batch) -> Tensor:
        return label_index(batch["label"], list(self.evaluator.labels.values()))

    def _reconstruct(self, batch: Batch) -> tuple[Tensor, Tensor]:
        places = self._places(batch)[:, 0].long()
        maps: Any = one_hot(places, len(self.evaluator.labels) + 1).movedim(-1, 1).float()
        scores = self.model(maps)
        return cross_entropy(scores, places), scores
