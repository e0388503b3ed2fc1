"""Instance optimisation on ten real hippocampi, each registered to the one so many places before it in the list.

The moving image is brought to the fixed grid through the affines; images are clipped at the 99.5 percentile and
scaled to [0, 1]. Dice is the mean over head and tail, then over pairs; folds are over the whole crop, SD log J over
the labelled region; seconds are medians. Offset 1 is the table of experiments/optimisation, settings were chosen on
other offsets.

    python scripts/compare_hippocampi.py SAMPLES/hippocampus 1 experiment=optimise_hippocampus [override ...]
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from scipy.ndimage import affine_transform

from medreg.config.compose import compose
from medreg.config.instantiate import build
from medreg.geometry.warp import warp_labels
from medreg.metrics.deformation import determinant, folding_percent
from medreg.metrics.overlap import dice

LABELS = {"head": 1, "tail": 2}


def crop(file: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image in [0, 1], labels and affine."""
    image = nib.load(file)
    array = np.asarray(image.dataobj, dtype=np.float32)
    high = np.percentile(array, 99.5)
    labels = np.asarray(nib.load(file.with_name(file.name.replace(".nii", "_seg.nii"))).dataobj)
    return np.clip(array, 0, high) / high, labels.astype(np.int16), image.affine


def main(folder: str, offset: str, *overrides: str) -> None:
    """Register every pair and print one row."""
    torch.set_num_threads(1)
    model = build(compose([*overrides, "logger=none"]).model)
    files = sorted(file for file in Path(folder).glob("hippocampus_*.nii.gz") if "_seg" not in file.name)
    crops, rows = [crop(file) for file in files], []
    for number, (fixed, fixed_labels, affine) in enumerate(crops):
        moving, moving_labels, other = crops[(number + int(offset)) % len(crops)]
        to_moving = np.linalg.inv(other) @ affine
        arrays = [fixed, fixed_labels]
        for array, order in ((moving, 1), (moving_labels, 0)):
            arrays.append(
                affine_transform(
                    array, to_moving[:3, :3], to_moving[:3, 3], output_shape=fixed.shape, order=order
                )
            )
        f, fl, m, ml = (torch.from_numpy(np.ascontiguousarray(a))[None, None] for a in arrays)
        if number == 0:
            model(f, m, spacing_mm=torch.ones(1, 3))  # compile outside the clock
        cpu, wall = time.process_time(), time.perf_counter()
        field = model(f, m, spacing_mm=torch.ones(1, 3)).displacement
        seconds = (time.process_time() - cpu, time.perf_counter() - wall)
        det = determinant(field)
        inside = det.reshape(fl.shape)[fl > 0]
        score = np.mean(list(dice(fl, warp_labels(ml, field), LABELS).values()))
        rows.append([score, float(inside.clamp_min(1e-9).log().std()), float(folding_percent(det)), *seconds])
    table = np.array(rows)
    print(
        f"offset {offset}: Dice {table[:, 0].mean():.4f} ± {table[:, 0].std(ddof=1):.3f}  "
        f"SD log J {table[:, 1].mean():.3f}  "
        f"folds {table[:, 2].mean():.4f} %  CPU {np.median(table[:, 3]):.3f} s  wall {np.median(table[:, 4]):.3f} s"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
