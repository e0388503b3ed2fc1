"""Accuracy and smoothness of finished runs at several λ, on the test (or validation) pairs of their own data.

    python scripts/compare_smoothness.py RUN … [--split val] [--lambdas 0 0.1 …] [-o rows.csv]

Conditional models are run at every λ, and those that take maps also with two λ in two regions; models of one λ once,
under the λ that they were trained at. Columns: Dice over the structures (mean over pairs), E = mean of the squared
first differences of the displacement, its mean over the two regions eroded by 3 voxels, SD of the Jacobian
determinant, folds (% of voxels). One row a run and λ; one row is the unregistered state.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from omegaconf import OmegaConf
from scipy.ndimage import binary_erosion
from torch import Tensor

from medreg.config.instantiate import build
from medreg.geometry.warp import warp_labels
from medreg.losses.regularisation.diffusion import diffusion_density
from medreg.metrics.deformation import determinant, folding_percent
from medreg.metrics.overlap import dice
from medreg.models.conditional import ConditionalModel, Regions
from medreg.runs.trained import TrainedRun

LAMBDAS = [0.0, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0]
LOW, HIGH = 0.05, 1.0  # of the maps of two regions
CENTRAL = (2, 4)  # deep grey matter and CSF spaces are region B, all else with the background A
MARGIN = 3  # voxels


def central(batch: dict[str, Any], groups: list[list[int]]) -> Tensor:
    """Region B, (N, 1, X, Y) bool."""
    numbers = Regions.of(groups, labels=[]).number(batch["fixed_label"])
    return torch.isin(numbers, torch.tensor(CENTRAL))


def left_half(batch: dict[str, Any]) -> Tensor:
    """The first half of the first axis, whatever lies there."""
    inside = torch.zeros_like(batch["fixed_label"], dtype=torch.bool)
    inside[:, :, : inside.shape[2] // 2] = True
    return inside


def eroded(region: Tensor) -> Tensor:
    """The voxels at least MARGIN from the other region; the border of the image does not count as one."""
    masks = [binary_erosion(mask[0].numpy(), iterations=MARGIN, border_value=1) for mask in region]
    return torch.from_numpy(np.stack(masks))[:, None]


def measures(
    batch: dict[str, Any], field: Tensor, labels: dict[str, int], inner: list[Tensor]
) -> list[float]:
    """Dice, E, E of every mask, SD of det J, folds of one case."""
    moving = batch["moving_label"]
    scores = dice(batch["fixed_label"], warp_labels(moving, field), labels, moving_labels=moving)
    density = diffusion_density(field)
    jacobian = determinant(field)
    regional = [float(density[mask].mean()) for mask in inner]
    folds = float(folding_percent(jacobian).mean())
    return [
        float(np.nanmean(list(scores.values()))),
        float(density.mean()),
        *regional,
        float(jacobian.std()),
        folds,
    ]


def settings(model: Any, config: dict[str, Any], lambdas: list[float]) -> Iterator[tuple[str, float, float]]:
    """(map, λ outside, λ inside) of every row of a run."""
    if not isinstance(model, ConditionalModel):
        weights = config["task"].get("draws") or config["task"].get("weights", {})
        yield "uniform", weights.get("low", float("nan")), weights.get("high", float("nan"))
        return
    yield from (("uniform", value, value) for value in lambdas)
    if model.takes_maps:
        for name in ("central", "half"):
            for outside, inside in ((LOW, LOW), (HIGH, LOW), (LOW, HIGH)):
                yield name, outside, inside


def field_of(model: Any, batch: dict[str, Any], region: Tensor, outside: float, inside: float) -> Tensor:
    """Displacement at λ = `outside`, but `inside` within the region."""
    images = batch["fixed_image"], batch["moving_image"]
    if not isinstance(model, ConditionalModel):
        return model(*images).displacement
    if outside == inside:
        return model(*images, smoothness=torch.full((len(images[0]),), outside)).displacement
    return model(*images, smoothness=torch.where(region, inside, outside)).displacement


@torch.no_grad()
def rows_of(run: Path, split: str, lambdas: list[float]) -> Iterator[dict[str, Any]]:
    """One row for every λ of a run."""
    trained = TrainedRun.open(run)
    model, config = trained.model, trained.config
    data = build(OmegaConf.create(config["data"]))
    data.prepare_data()
    data.setup()
    loader = data.val_dataloader() if split == "val" else data.test_dataloader()
    batches, labels = list(loader), dict(data.labels)
    objective = config["task"].get("objective", {})
    name = "csain" if getattr(model, "takes_maps", False) else config["model"]["_target_"].split(".")[-2]
    name = "cin" if name == "csain" and not model.takes_maps else name
    about = {
        "model": name,
        "seed": config["seed"],
        "objective": str(objective.get("_target_", "")).split(".")[-1].lower(),
        "scale": objective.get("scale"),
        "power": objective.get("power"),
        "epochs": config["trainer"]["max_epochs"],
        "parameters": sum(p.numel() for p in model.parameters()),
    }
    for kind, outside, inside in settings(model, config, lambdas):
        found = []
        for batch in batches:
            region = left_half(batch) if kind == "half" else central(batch, config["task"]["regions"])
            inner = [eroded(~region), eroded(region)]
            field = field_of(model, batch, region, outside, inside)
            found.append(measures(batch, field, labels, inner))
        yield about | {"map": kind, "lambda": outside, "lambda_inside": inside} | named(found)
    nothing = torch.zeros(1, config["data"]["ndim"], *batches[0]["fixed_image"].shape[2:])
    still = [
        measures(b, nothing.expand(len(b["fixed_image"]), -1, -1, -1), labels, [eroded(left_half(b))] * 2)
        for b in batches
    ]
    yield {"model": "unregistered", "seed": config["seed"], "map": "uniform"} | named(still)


def named(found: list[list[float]]) -> dict[str, float]:
    """Means over pairs by column."""
    names = ("dice", "energy", "energy_outside", "energy_inside", "sd_jacobian", "folds_percent")
    return dict(zip(names, np.nanmean(np.array(found), axis=0).round(6).tolist(), strict=True))


def main() -> None:
    """Evaluate the runs and print or write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path, help="finished run folders")
    parser.add_argument("--split", choices=("val", "test"), default="test")
    parser.add_argument("--lambdas", nargs="+", type=float, default=LAMBDAS)
    parser.add_argument("-o", "--output", type=Path, help="CSV file")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    rows = [row for run in chosen.runs for row in rows_of(run, chosen.split, chosen.lambdas)]
    table = pd.DataFrame(rows).drop_duplicates()
    table = table.sort_values(["model", "seed", "map", "lambda"], kind="stable")
    if chosen.output:
        table.to_csv(chosen.output, index=False)
    print(table.to_string(index=False))


if __name__ == "__main__":
    main()
