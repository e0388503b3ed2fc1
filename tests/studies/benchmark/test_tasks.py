"""The benchmarks of OASIS and of lung CT from beginning to end: on small phantoms, and on the real lungs coarsened."""

from __future__ import annotations

import importlib.util
import io
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from medreg.config.command import BENCHMARK
from medreg.studies.benchmark import job as jobs

LEVELS = (
    "model.levels=[{shrink: 4, sigma: 1.0, iterations: 30, learning_rate: 0.2},"
    "{shrink: 2, sigma: 0.5, iterations: 15, learning_rate: 0.2}]"
)
PHANTOM = (
    "data=brain_phantom",
    "data.dataset.prepare.subjects=2",
    "data.dataset.prepare.validation_subjects=2",
    "data.dataset.prepare.size=[32,36,32]",
    "data.dataset.prepare.spacing_mm=[5.0,5.0,5.0]",
    "data.dataset.prepare.template_spacing_mm=4.0",
)


def means(page: Path, metric: str) -> pd.Series:
    results = pd.read_csv(page.parent / "results.csv")
    return results[results["metric"] == metric].groupby("method")["value"].mean()


def listed(*words: str) -> str:
    """Words as a list of quoted strings for the command line."""
    return "[" + ",".join(f"'{word}'" for word in words) + "]"


def run(words: list[str], out: Path) -> Path:
    cfg = BENCHMARK.compose([*words, f"out={out}", "threads=1", "pictures=1"])
    return jobs.run_benchmark(cfg, console=Console(file=io.StringIO(), width=200))


@pytest.mark.slow
def test_oasis_on_a_phantom_in_its_layout(tmp_path):
    generate = listed(*PHANTOM, f"data.dataset.root={tmp_path / 'phantom'}")
    model = (
        "model=optimise",
        "similarity=lncc",
        "regularisation=diffusion",
        "regularisation.weight=0.05",
        LEVELS,
    )
    page = run(
        [
            "benchmark=learn2reg_oasis",
            "data.root=null",
            "data.task=PhantomBrain",
            f"data.generate={generate}",
            "data.prepare.mask=given",
            "method=[identity,optimise]",
            f"methods.optimise.overrides={listed(*model)}",
        ],
        tmp_path / "out",
    )
    dice = means(page, "dice")
    assert dice["optimise"] > dice["identity"] + 0.02
    config = json.loads((page.parent / "evaluation_config.json").read_text())
    assert config["evaluation_methods"][1]["labels"] == list(range(1, 36))


@pytest.fixture(scope="module")
def coarse_lungs(shared_data, tmp_path_factory) -> Path:
    """The real pair with every third voxel."""
    file = Path(__file__).resolve().parents[3] / "scripts" / "arrange_samples.py"
    spec = importlib.util.spec_from_file_location("arrange_samples", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    task = Path(module.arrange_lung(shared_data, tmp_path_factory.mktemp("lung")))
    for path in (*task.glob("imagesTr/*.nii.gz"), *task.glob("masksTr/*.nii.gz")):
        image = nib.load(path)
        thin = np.ascontiguousarray(np.asarray(image.dataobj)[::3, ::3, ::3])
        nib.Nifti1Image(thin, image.affine @ np.diag([3.0, 3.0, 3.0, 1.0])).to_filename(path)
    for path in task.glob("landmarksTr/*.csv"):
        np.savetxt(path, np.loadtxt(path, delimiter=",") / 3, delimiter=",", fmt="%.5f")
    (descriptor,) = task.glob("*_dataset.json")
    content = json.loads(descriptor.read_text())
    content.pop("tensorImageShape", None)
    descriptor.write_text(json.dumps(content))
    return task


@pytest.mark.slow
@pytest.mark.data
def test_lungs_are_registered_inside_their_masks(coarse_lungs, tmp_path):
    page = run(
        [
            "benchmark=lung_ct",
            f"data.root={coarse_lungs}",
            "method=[identity,optimise,sitk_demons]",
            f"methods.optimise.overrides={listed('experiment=optimise_lung', LEVELS)}",
            "methods.sitk_demons.settings.levels=[{shrink: 2, sigma: 4.0, iterations: 20}]",
        ],
        tmp_path / "out",
    )
    tre = means(page, "tre_mm")
    assert tre["identity"] == pytest.approx(7.274, abs=0.01)  # tests/test_lung_ct.py has it by hand
    assert tre["optimise"] < 5.5  # coarse images, few updates: 4.7
    assert tre["sitk_demons"] < tre["identity"]
    assert "TRE" in (page.parent / "tables" / "tables.md").read_text()
