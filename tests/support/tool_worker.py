"""Ask a tool's worker for a field of the oriented pair, and compare with the tool's own warped image."""

from __future__ import annotations

import nibabel as nib
import numpy as np
from oriented_pair import arrays, oriented_affine, pulled, write_pair

from medreg.baselines.conversion import to_voxels
from medreg.baselines.process import Failure, Worker
from medreg.config.command import BENCHMARK
from medreg.config.instantiate import build


def write_masks(folder, request: dict[str, str]) -> dict[str, str]:
    """Masks of the middle of the oriented pair."""
    mask = np.zeros(arrays()[0].shape, np.uint8)
    mask[6:-6, 8:-8, 6:-6] = 1
    files = {f"{side}_mask": str(folder / f"{side}_mask.nii") for side in ("fixed", "moving")}
    for file in files.values():
        nib.Nifti1Image(mask, oriented_affine()).to_filename(file)
    return request | files


def ask(method: str, tmp_path, *options: str, masks: bool = False):
    """Run a method on the oriented pair; return its field in voxels and its own warped image."""
    cfg = BENCHMARK.compose([f"method=[{method}]", "threads=1", *options])
    tool = build(cfg.methods[method])
    fixed, moving = write_pair(tmp_path)
    request = {"fixed": str(fixed), "moving": str(moving), "field": str(tmp_path / "field.npy")}
    request |= {"warped": str(tmp_path / "warped.npy"), "warm_up": False, "settings": tool.request()}
    if masks:
        assert tool.masks
        request = write_masks(tmp_path, request)
    tool.version()
    with Worker(tool.command(), log=tmp_path / "log", variables=tool.variables()) as worker:
        worker.hello()
        reply = worker.ask(request, timeout_s=300)
    assert not isinstance(reply, Failure), (reply, (tmp_path / "log").read_text()[-2000:])
    assert reply["seconds"] > 0
    assert reply["peak_memory_mib"] > 1
    field = to_voxels(
        np.load(request["field"]),
        reply["convention"],
        affine=oriented_affine(),
        moving_shape=arrays()[1].shape,
    )
    own = tmp_path / "warped.npy"
    return field, np.load(own) if own.is_file() else None


def check(method: str, field: np.ndarray, own: np.ndarray | None) -> None:
    fixed, moving, _ = arrays()
    ours = pulled(moving, field)
    inside = tuple(slice(3, -3) for _ in range(3))
    before, after = np.abs(fixed - moving)[inside].mean(), np.abs(fixed - ours)[inside].mean()
    assert after < 0.7 * before, f"{method}: {before:.4f} → {after:.4f}"
    if own is not None:
        assert own.shape == ours.shape
        # Tools differ in interpolation (elastix: cubic) and at the border, not in where they sample.
        assert np.abs(own - ours)[inside].mean() < 0.05 * before, method
