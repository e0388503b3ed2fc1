"""uniGradICON's worker against a package of the same signatures: the real one downloads weights, which tests do not.

The signatures are those of uniGradICON 1.0.6 (`get_unigradicon`, `preprocess`) and icon_registration (`register_pair`);
ITK is real, from the environment of elastix (`MEDREG_ENV_ELASTIX=…`).
"""

from __future__ import annotations

import json
import subprocess

import numpy as np
import pytest
from oriented_pair import arrays, oriented_affine, write_pair
from tool_worker import ask, check

from medreg.baselines.process import Worker
from medreg.config.command import BENCHMARK
from medreg.config.instantiate import build
from medreg.errors import MissingExtra

PACKAGE = """
import json, os
import itk
import numpy as np

class Network:
    def __init__(self):
        self.updates = 0
    def state_dict(self):
        return {"updates": self.updates}
    def load_state_dict(self, state):
        self.updates = state["updates"]

def note(**facts):
    with open(os.environ["FAKE_LOG"], "a") as stream:
        stream.write(json.dumps(facts) + "\\n")

def get_unigradicon(loss_fn=None, apply_intensity_conservation_loss=False, weights_location=None,
                    dice_loss_weight=0.0, loss_function_masking=False):
    note(weights_below=os.getcwd())
    return Network()

def preprocess(image, modality="ct", mask=None, ct_window=None, quantile_range=None):
    assert modality in ("ct", "mri")
    image = itk.cast_image_filter(image, ttype=(type(image), itk.Image[itk.F, 3]))
    if mask is not None:
        image = itk.multiply_image_filter(image, itk.cast_image_filter(mask, ttype=(type(mask), itk.Image[itk.F, 3])))
    note(zeros=int((itk.array_from_image(image) == 0).sum()))
    return image
"""
WRAPPER = """
import os
import itk
import numpy as np
from unigradicon import note

def register_pair(model, image_A, image_B, finetune_steps=None, return_artifacts=False, lr=0.00002):
    assert isinstance(image_A, itk.Image) and isinstance(image_B, itk.Image)
    note(updates_before=model.updates)
    model.updates += finetune_steps or 0  # the package leaves the network as it was optimised
    field = itk.image_from_array(np.load(os.environ["FAKE_FIELD"]), is_vector=True)
    field.SetSpacing(image_B.GetSpacing())
    field.SetOrigin(image_B.GetOrigin())
    field.SetDirection(image_B.GetDirection())
    one = itk.DisplacementFieldTransform[(itk.D, 3)].New()
    one.SetDisplacementField(field)
    both = itk.CompositeTransform[itk.D, 3].New()
    both.PrependTransform(one)
    return both, both
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """The stand-in on the path of the worker; its transform is the known motion of the oriented pair."""
    tool = build(BENCHMARK.compose(["method=[elastix]"]).methods["elastix"])
    try:
        python = tool.command()[0]
        tool.version()
    except MissingExtra as error:
        pytest.skip(str(error).splitlines()[0])
    if subprocess.run([python, "-c", "import itk, torch"], capture_output=True, check=False).returncode:
        pytest.skip(f"{python} has no itk with torch")
    folder = tmp_path / "packages"
    for name, text in (("unigradicon", PACKAGE), ("icon_registration", "")):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(text)
    (folder / "icon_registration" / "itk_wrapper.py").write_text(WRAPPER)
    facts = folder / "unigradicon-1.0.6.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: unigradicon\nVersion: 1.0.6\n")
    turned = np.einsum("ij,jxyz->xyzi", np.diag([-1.0, -1.0, 1.0]) @ oriented_affine()[:3, :3], arrays()[2])
    np.save(tmp_path / "known.npy", np.ascontiguousarray(np.swapaxes(turned, 0, 2)))
    monkeypatch.setenv("MEDREG_ENV_UNIGRADICON", python)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setenv("FAKE_FIELD", str(tmp_path / "known.npy"))
    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "facts.jsonl"))
    return python, tmp_path / "facts.jsonl"


def read(log) -> list[dict]:
    return [json.loads(line) for line in log.read_text().splitlines()]


@pytest.mark.slow
def test_its_transform_comes_back_as_voxels(package, tmp_path):
    python, log = package
    field, own = ask("unigradicon", tmp_path, masks=True)
    np.testing.assert_allclose(field, arrays()[2], atol=1e-4)
    check("unigradicon", field, own)
    facts = read(log)
    prefix = subprocess.run(
        [python, "-c", "import sys; print(sys.prefix)"], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert facts[0]["weights_below"] == prefix  # not a new folder for every worker
    assert min(fact["zeros"] for fact in facts if "zeros" in fact) > 0.4 * arrays()[0].size  # masks blank
    assert [fact["updates_before"] for fact in facts if "updates_before" in fact] == [0]


@pytest.mark.slow
def test_one_pair_does_not_see_what_the_last_one_taught(package, tmp_path):
    _, log = package
    cfg = BENCHMARK.compose(["method=[unigradicon]", "methods.unigradicon.settings.finetune_steps=5"])
    tool = build(cfg.methods["unigradicon"])
    fixed, moving = write_pair(tmp_path)
    request = {"fixed": str(fixed), "moving": str(moving), "field": str(tmp_path / "field.npy")}
    request |= {"warm_up": False, "settings": tool.request()}
    with Worker(tool.command(), log=tmp_path / "log", variables=tool.variables()) as worker:
        worker.hello()
        for _ in range(2):
            assert "convention" in worker.ask(request, timeout_s=300)
    assert [fact["updates_before"] for fact in read(log) if "updates_before" in fact] == [0, 0]
