"""One brain against itself warped by known smooth fields: ours and other programs, with the error of the field.

Fixed is the brain warped by exp(v), v smooth noise of two scales, with another contrast (gamma), a bias field and
noise; moving is the brain with noise of its own. Writes one row a case and method.

    python scripts/compare_brain_warps.py T1.nii.gz LABELS.nii.gz OUT.csv --methods identity experiment=greedy_brain \
        greedy sitk_demons --sizes small medium large --seed 1 [--every 2]

A method is `identity`, the name of a file in configs/method (in the environment that it names), or a composition
of medreg: overrides separated by semicolons that begin with `experiment=` or `model=`.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from omegaconf import OmegaConf

from medreg.baselines.conversion import to_voxels
from medreg.baselines.process import Failure, Worker
from medreg.config.compose import compose
from medreg.config.instantiate import build
from medreg.config.paths import config_dir
from medreg.data.phantoms.brain_shapes import smooth_noise
from medreg.geometry.svf import exponential
from medreg.geometry.warp import warp, warp_labels
from medreg.kernels.allocator import keep_freed_memory
from medreg.metrics.deformation import determinant, folding_percent

# standard deviations of the velocity, mm: of its coarse part (40 mm) and its fine part (16 mm)
SIZES = {"small": (1.5, 0.75), "medium": (3.0, 1.5), "large": (6.0, 2.0)}
SPACINGS_MM = (40.0, 16.0)
NOISE, GAMMA, BIAS = 0.02, 0.8, 0.15  # of intensities in [0, 1]
SMALLEST = 50  # voxels of a structure that counts
COLUMNS = (
    "method",
    "size",
    "seed",
    "every",
    "dice",
    "sd_log_j",
    "folds_percent",
    "error_mean",
    "error_95",
    "cpu_s",
    "wall_s",
)


def pair(image: np.ndarray, labels: np.ndarray, size: str, seed: int) -> dict[str, torch.Tensor]:
    """Fixed and moving image and labels, (1, 1, *S), and the true displacement (1, 3, *S) in voxels."""
    generator = np.random.default_rng([seed, list(SIZES).index(size)])
    every = 224 / max(image.shape)  # mm a voxel: the fields of a reduced image are the same in mm
    axes = [every * (np.arange(n) - (n - 1) / 2) for n in image.shape]
    velocity = sum(
        sd / every * np.stack([smooth_noise(axes, spacing, generator) for _ in axes])
        for sd, spacing in zip(SIZES[size], SPACINGS_MM, strict=True)
    )
    truth = exponential(torch.from_numpy(velocity).float()[None], steps=7)
    whole, seg = torch.from_numpy(image)[None, None], torch.from_numpy(labels)[None, None]
    bias = torch.from_numpy(np.exp(BIAS * smooth_noise(axes, 60.0, generator))).float()
    noise = [NOISE * torch.from_numpy(generator.standard_normal(image.shape)).float() for _ in range(2)]
    fixed = warp(whole, truth).clamp_min(0) ** GAMMA * bias + noise[0]
    return {
        "fixed": fixed.clamp(0, 1.5), "moving": (whole + noise[1]).clamp(0, 1.5), "truth": truth,
        "fixed_labels": warp_labels(seg, truth), "moving_labels": seg,
    }  # fmt: skip


def score(found: torch.Tensor, case: dict[str, torch.Tensor]) -> dict[str, float]:
    """Dice over structures, regularity and error of a displacement, the last two where there is a label."""
    ours, theirs = warp_labels(case["moving_labels"], found), case["fixed_labels"]
    codes = [c for c in case["moving_labels"].unique().tolist() if c and (theirs == c).sum() >= SMALLEST]
    dice = [
        2 * ((ours == c) & (theirs == c)).sum() / ((ours == c).sum() + (theirs == c).sum()) for c in codes
    ]
    det, inside = determinant(found), theirs[:, 0] > 0
    error = (found - case["truth"]).square().sum(1).sqrt()[inside]
    return {
        "dice": float(np.mean(dice)),
        "sd_log_j": float(det.reshape(inside.shape)[inside].clamp_min(1e-9).log().std()),
        "folds_percent": float(folding_percent(det)),
        "error_mean": float(error.mean()),
        "error_95": float(np.percentile(error.numpy(), 95)),
    }


def ours(
    overrides: list[str], cases: list[dict[str, torch.Tensor]]
) -> list[tuple[torch.Tensor, float, float]]:
    """Displacements of a composition, with its CPU and wall seconds."""
    keep_freed_memory()  # as `medreg register` does
    model, answers = build(compose([*overrides, "logger=none"]).model), []
    first = cases[0]
    model(
        first["fixed"][..., :32, :32, :32], first["moving"][..., :32, :32, :32]
    )  # compile outside the clock
    for case in cases:
        cpu, wall = time.process_time(), time.perf_counter()
        with torch.no_grad():
            found = model(case["fixed"], case["moving"], spacing_mm=torch.ones(1, 3)).displacement
        answers.append((found, time.process_time() - cpu, time.perf_counter() - wall))
    return answers


def theirs(
    name: str, cases: list[dict[str, torch.Tensor]], threads: int
) -> list[tuple[torch.Tensor, float, float]]:
    """Displacements of another program; a case that fails ends the comparison with its reason."""
    node = OmegaConf.load(config_dir() / "method" / f"{name}.yaml")
    settings = OmegaConf.to_container(OmegaConf.merge(node, {"threads": threads}), resolve=True)
    tool, answers = build(settings), []
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        with Worker(tool.command(), log=place / "log.txt", variables=tool.variables()) as worker:
            worker.hello()
            for case in cases:
                for key in ("fixed", "moving"):
                    nib.save(nib.Nifti1Image(case[key][0, 0].numpy(), np.eye(4)), place / f"{key}.nii")
                request = {
                    "fixed": str(place / "fixed.nii"), "moving": str(place / "moving.nii"), "warm_up": False,
                    "field": str(place / "field.npy"), "settings": tool.request(),
                }  # fmt: skip
                reply = worker.ask(request, timeout_s=900)
                if isinstance(reply, Failure):
                    raise SystemExit(f"{name}: {reply.reason}")
                shape = tuple(case["fixed"].shape[2:])
                field = to_voxels(
                    np.load(place / "field.npy"), reply["convention"], affine=np.eye(4), moving_shape=shape
                )
                answers.append(
                    (torch.from_numpy(field).float()[None], reply["cpu_seconds"], reply["seconds"])
                )
    return answers


def still(cases: list[dict[str, torch.Tensor]]) -> list[tuple[torch.Tensor, float, float]]:
    """No registration."""
    return [(torch.zeros_like(case["truth"]), 0.0, 0.0) for case in cases]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("image", type=Path)
    parser.add_argument("labels", type=Path)
    parser.add_argument("table", type=Path)
    parser.add_argument("--methods", nargs="+", required=True)
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), choices=list(SIZES))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--every", type=int, default=1, help="take every n-th voxel")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    step = (slice(None, None, args.every),) * 3
    image = np.ascontiguousarray(np.asarray(nib.load(args.image).dataobj, dtype=np.float32)[step])
    labels = np.ascontiguousarray(np.asarray(nib.load(args.labels).dataobj).astype(np.int16)[step])
    cases = [pair(image, labels, size, args.seed) for size in args.sizes]
    args.table.parent.mkdir(parents=True, exist_ok=True)
    fresh = not args.table.exists()
    with args.table.open("a", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        if fresh:
            writer.writeheader()
        for method in args.methods:
            if method == "identity":
                answers = still(cases)
            elif "=" in method:
                answers = ours(method.split(";"), cases)
            else:
                answers = theirs(method, cases, args.threads)
            for size, case, (found, cpu, wall) in zip(args.sizes, cases, answers, strict=True):
                row = {
                    "method": method,
                    "size": size,
                    "seed": args.seed,
                    "every": args.every,
                    **score(found, case),
                }
                row |= {"cpu_s": cpu, "wall_s": wall}
                writer.writerow({k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()})
                stream.flush()
                print(
                    *(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in row.items()),
                    flush=True,
                )
    return 0


if __name__ == "__main__":
    sys.exit(main())
