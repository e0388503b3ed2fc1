"""Instance optimisation on fifteen real ES→ED slice pairs, cut exactly as for the other tools in the comparison.

Three slices a patient, at a quarter, the middle and three quarters of those where every structure has more than 20
pixels; 128×128 crops centred on the myocardium of the ED slice; intensities as stored. Dice is the mean over the three
structures, then over slices; folds and SD log J are over the whole crop.

    python scripts/compare_cardiac_slices.py SAMPLES/acdc [override ...]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from medreg.config.compose import compose
from medreg.config.instantiate import build
from medreg.geometry.warp import warp_labels
from medreg.io.image import read_image, read_labels
from medreg.metrics.deformation import determinant, folding_percent, sd_log_jacobian
from medreg.metrics.overlap import dice

LABELS = {"RV": 1, "MYO": 2, "LV": 3}
SIZE = 128


def pairs(folder: Path) -> Iterator[tuple[str, list[torch.Tensor]]]:
    """Yield patient and [fixed, moving, fixed labels, moving labels], each (1, 1, 128, 128)."""
    for file in sorted(folder.glob("patient*_ed.nii.gz")):
        name = file.name.split("_")[0]
        images = [read_image(folder / f"{name}_{phase}.nii.gz").array for phase in ("ed", "es")]
        labels = [read_labels(folder / f"{name}_{phase}_gt.nii.gz").array for phase in ("ed", "es")]
        whole = [
            z
            for z in range(labels[0].shape[2])
            if all((label[:, :, z] == code).sum() > 20 for label in labels for code in LABELS.values())
        ]
        for z in sorted({whole[len(whole) * k // 4] for k in (1, 2, 3)}):
            centre = np.argwhere(labels[0][:, :, z] == LABELS["MYO"]).mean(0).round().astype(int)
            starts = [
                int(np.clip(c - SIZE // 2, 0, max(n - SIZE, 0)))
                for c, n in zip(centre, images[0].shape, strict=False)
            ]
            window = (*(slice(s, s + SIZE) for s in starts), z)
            yield (
                name,
                [torch.as_tensor(np.ascontiguousarray(a[window]))[None, None] for a in (*images, *labels)],
            )


def main(folder: str, *overrides: str) -> None:
    """Register every pair and print a table."""
    torch.set_num_threads(1)
    options = ["experiment=optimise_cardiac", "regularisation.weight=1.0", "logger=none", *overrides]
    model = build(compose(options).model)
    rows: dict[str, list[list[float]]] = {}
    for name, (fixed, moving, fixed_label, moving_label) in pairs(Path(folder)):
        started = time.process_time()
        field = model(fixed.float(), moving.float(), spacing_mm=torch.ones(1, 2)).displacement
        seconds = time.process_time() - started
        before = np.mean(list(dice(fixed_label, moving_label, LABELS).values()))
        after = np.mean(list(dice(fixed_label, warp_labels(moving_label, field), LABELS).values()))
        det = determinant(field)
        row = [before, after, folding_percent(det).item(), sd_log_jacobian(det).item(), seconds]
        rows.setdefault(name, []).append([float(value) for value in row])
    print(f"{'':<12}{'before':>8}{'Dice':>8}{'folds %':>9}{'SD log J':>10}{'CPU s':>7}")
    every = [row for found in rows.values() for row in found]
    for name, found in [*rows.items(), ("mean", every)]:
        before, after, folds, spread, seconds = np.mean(found, axis=0)
        print(f"{name:<12}{before:>8.3f}{after:>8.4f}{folds:>9.4f}{spread:>10.3f}{seconds:>7.2f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
