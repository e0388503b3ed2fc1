"""Augmentation and learning without labels: groups of segmentation, which a run folder may name."""

from __future__ import annotations

import pytest
from omegaconf import OmegaConf

from medreg.config.compose import compose
from medreg.config.instantiate import build
from medreg.errors import CompositionError, ConfigError
from medreg.runs.trust import check_configuration

SEGMENTATION = ("model=unet_16", "data=acdc_segmentation")


def plain(*options):
    return OmegaConf.to_container(compose([*SEGMENTATION, *options]), resolve=True)


def test_segmentation_has_neither_by_default():
    found = plain()
    assert found["task"]["augmentation"]["batch"]["_target_"].endswith("Unchanged")
    assert found["task"]["augmentation"]["consistency"] is None
    assert found["task"]["semi"] is found["task"]["ema"] is None
    assert found["data"]["unlabelled_batch_size"] == 0


def test_registration_does_not_learn_from_images_without_labels():
    with pytest.raises(ConfigError, match="this kind of task has no such part"):
        compose(["semi=mean_teacher"])


@pytest.mark.parametrize("augmentation", ["advchain", "advchain_release", "random_chain", "vat", "mixup"])
@pytest.mark.parametrize("semi", ["none", "consistency", "mean_teacher"])
def test_a_run_folder_may_name_them_and_they_build(augmentation, semi):
    options = (f"augmentation={augmentation}", f"semi={semi}", "model.width=1", "data.loader.batch_size=6")
    check_configuration(plain(*options), "a run")
    config = compose([*SEGMENTATION, *options])
    if (augmentation, semi) == ("mixup", "consistency"):
        with pytest.raises(CompositionError, match="semi=consistency needs an augmentation"):
            build(config.task)
        return
    task = build(config.task)
    assert (task.semi is None) == (semi == "none")
    assert config.data.unlabelled_batch_size == (0 if semi == "none" else 6)


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("augmentation.batch", {"_target_": "medreg.baselines.process.Worker", "command": ["true"]}),
        ("augmentation.consistency.adversary.scores", {"_target_": "os.system", "command": "true"}),
        ("semi.consistency", {"_target_": "monai.transforms.LoadImage", "reader": "os.system"}),
    ],
)
def test_a_strangers_options_build_nothing(where, value):
    config = OmegaConf.create(plain("augmentation=advchain", "semi=consistency"))
    OmegaConf.update(config, where, value, merge=False)
    with pytest.raises(ConfigError, match="is refused"):
        check_configuration(OmegaConf.to_container(config), "a run")


@pytest.mark.parametrize("option", ["augmentation=advchain", "semi=mean_teacher", "task.ema=0.9"])
def test_a_likelihood_takes_no_other_loss(option):
    options = ["model=unet_single", "data=acdc_segmentation", option]
    with pytest.raises(CompositionError, match="maximises a likelihood of labels"):
        build(compose(options).task)
    assert build(compose([*options[:2], "augmentation=standard"]).task).augmentation.consistency is None


def test_volumes_have_the_numbers_of_volumes():
    options = ["model=unet_16", "data=acdc_segmentation_volume", "augmentation=advchain", "semi=consistency"]
    task = build(compose([*options, "model.width=1"]).task)
    _, bias, morph, affine = task.augmentation.consistency.adversary.members
    assert (bias.downscale, tuple(morph.stride), affine.rotation_deg) == (4, (16, 16, 2), 10.0)
    assert task.semi.term.adversary.members == task.augmentation.consistency.adversary.members
