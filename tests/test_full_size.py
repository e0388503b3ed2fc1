"""The full-size experiments, which need data and a GPU to be run, take their first steps at their full size here."""

from __future__ import annotations

import data_fixtures as made
import numpy as np
import pandas as pd
import pytest
from small_run import trained

pytestmark = pytest.mark.slow


def acdc(root):
    for number in range(1, 6):
        made.acdc_patient(root, f"patient{number:03d}", (216, 256, 9), ed=1, es=2, frames=2)
    return [f"data.dataset.root={root}", *shares("data.split.published=false")]


def ukbb(root):
    affine = made.oblique((1.8, 1.8, 10.0))
    for number in range(5):
        for phase, radius in (("ED", 6), ("ES", 4)):
            image, label = made.heart((208, 186, 10), radius=radius, codes=(1, 2, 3), seed=number)
            made.write(root / f"100000{number}" / f"sa_{phase}.nii.gz", image, affine)
            made.write(root / f"100000{number}" / f"label_sa_{phase}.nii.gz", label, affine)
    return [f"data.dataset.root={root}", *shares()]


def oasis(root):
    names = [f"OASIS_OAS1_{number:04d}_MR1" for number in range(1, 7)]
    for number, name in enumerate(names):
        image, label = (
            array[:, :, 2:3] for array in made.brain((160, 192, 5), seed=number, labels=(2, 1, 5, 3))
        )
        made.write(root / name / "slice_norm.nii.gz", image, made.LIA)
        made.write(root / name / "slice_seg24.nii.gz", label.astype(np.float32), made.LIA)
    (root / "subjects.txt").write_text("\n".join(names) + "\n")
    three_levels = ["task.schedule.steps=[1,1,1]", "task.schedule.freeze=1", "trainer.max_steps=3"]
    return [f"data.dataset.root={root}", "trainer.val_check_interval=3", *three_levels, *shares()]


def ixi(root):
    made.ixi(root)
    return ["data=ixi", f"data.dataset.root={root}", "trainer.max_steps=1", "data.loader.repeat=8", *shares()]


def shares(*more):
    return ["data.split.val=0.4", "data.split.test=0.2", *more]


EXPERIMENTS = {
    "gradirn_acdc": acdc,
    "gradirn_ukbb": ukbb,
    "midir_acdc": acdc,
    "vrnet_acdc": acdc,
    "vrnet_ukbb": ukbb,
    "vrnet_volumes": acdc,
    "csain_oasis": oasis,
    "mad_3d": ixi,
}


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_first_steps_at_full_size(experiment, tmp_path):
    data = EXPERIMENTS[experiment](tmp_path / "data")
    words = ["mode=fit", f"experiment={experiment}", "trainer=cpu", "trainer.precision=32-true", *data]
    if not any("max_steps" in word for word in data):
        words += ["trainer.max_epochs=1", "trainer.check_val_every_n_epoch=1"]
    folder = trained(tmp_path, [*words, "trainer.limit_train_batches=4", "trainer.limit_val_batches=1"])
    history = pd.read_csv(folder / "history.csv").set_index("name")["value"]
    assert np.isfinite(history["train/loss"])
    assert (folder / "checkpoints" / "last.ckpt").is_file()
