"""The groups of a posterior can be built, and their numbers are those of the paper."""

from __future__ import annotations

import pytest
import torch
from omegaconf import OmegaConf

from medreg.config.compose import compose
from medreg.config.instantiate import build
from medreg.config.paths import config_dir
from medreg.geometry.svf import StationaryVelocity
from medreg.inference.level import full_images
from medreg.inference.posterior import PosteriorEnergy


def group(name, option, **overrides):
    """One option of a group beside the similarity and the regularisation that it may refer to."""
    read = lambda *parts: OmegaConf.load(config_dir().joinpath(*parts))  # noqa: E731
    config = OmegaConf.create(
        {
            "similarity": read("similarity", "lncc.yaml"),
            "regularisation": read("regularisation", "bending.yaml"),
            "protocol": read("protocol", "exact.yaml"),
            "chosen": read(name, f"{option}.yaml"),
        }
    )
    config = OmegaConf.merge(config, {"chosen": overrides})
    return build(config.chosen)


def options(name):
    return sorted(file.stem for file in (config_dir() / name).glob("*.yaml"))


@pytest.mark.parametrize("transformation", ["svf", "svffd", "ffd", "dense", "affine"])
def test_any_transformation_can_stand_in_a_posterior(transformation):
    """No option of one transformation is forced on another."""
    model = build(compose(["model=bayes", "data=simulated_pairs", f"transformation={transformation}"]).model)
    assert type(model.transformation).__module__.startswith("medreg.geometry.")


def test_what_there_is():
    assert options("likelihood") == ["gaussian", "mixture_lcc", "mixture_ssd", "similarity"]
    assert options("prior") == ["fixed", "gamma", "lognormal", "regulariser", "student"]
    assert options("smoothing") == ["none", "sobolev"]


@pytest.mark.parametrize("likelihood", options("likelihood"))
@pytest.mark.parametrize("prior", options("prior"))
def test_every_likelihood_goes_with_every_prior(likelihood, prior):
    images = torch.rand(2, 1, 1, 9, 8, 7, generator=torch.Generator().manual_seed(0))
    energy = PosteriorEnergy(
        group("likelihood", likelihood),
        group("prior", prior),
        StationaryVelocity(3),
        full_images(*images),
        smoothing=group("smoothing", "sobolev"),
    )
    energy.adaptive = True
    z = 0.1 * torch.randn(energy.shape, generator=torch.Generator().manual_seed(1))
    for _ in range(2):
        value, gradient = energy.value_and_gradient(z)
    assert value.isfinite().all()
    assert gradient.isfinite().all()
    assert gradient.abs().max() > 0


def test_no_smoothing_is_none():
    theta = torch.rand(1, 6)  # parameters without a grid
    smoothing = group("smoothing", "none")
    assert smoothing(theta) is theta
    assert smoothing.latent(theta) is theta


def test_released_forms_are_switches():
    assert group("smoothing", "sobolev", form="released", boundary="replicate").form == "released"
    assert group("prior", "lognormal", loc_prior_on="energy_released").loc_prior_on == "energy_released"
    released = group("likelihood", "mixture_lcc", decimation={"residual": "squared_released"})
    assert released.decimation.residual == "squared_released"
    assert group("likelihood", "mixture_ssd", decimation=None).decimation is None


@pytest.mark.parametrize("inference", ["sgld", "sghmc", "vi"])
def test_what_is_correct_is_the_default(inference):
    """Four places where the released code does something else, each a switch; both in the file and in the object."""
    found = compose(["model=bayes", "prior=lognormal", f"inference={inference}"])
    model = build(found.model)
    if inference == "sgld":
        assert found.inference.sampler["update"] == model.inference.sampler.update == "sgld"  # noise is kept
    assert found.smoothing.form == model.smoothing.form == "root"  # noise by S^½, drift by S
    assert found.smoothing.boundary == model.smoothing.boundary == "mirror"
    measured = found.likelihood.decimation.residual
    assert measured == model.likelihood.decimation.residual == "normalised"  # not its square
    assert found.prior.loc_prior_on == model.prior.loc_prior_on == "loc"  # not the log energy
    assert "prior_on=field" in repr(model)


def test_every_released_form_by_its_option():
    options = ["inference.sampler.update=released", "smoothing.form=released", "smoothing.boundary=replicate"]
    options += ["likelihood.decimation.residual=squared_released", "prior.loc_prior_on=energy_released"]
    model = build(compose(["model=bayes", "prior=lognormal", "inference=sgld", *options]).model)
    assert model.inference.sampler.update == "released"
    assert (model.smoothing.form, model.smoothing.boundary) == ("released", "replicate")
    assert model.likelihood.decimation.residual == "squared_released"
    assert model.prior.loc_prior_on == "energy_released"


@pytest.mark.parametrize("likelihood", ["gaussian", "mixture_ssd"])
def test_decimation_of_every_likelihood_is_the_correct_one(likelihood):
    assert group("likelihood", likelihood).decimation.residual == "normalised"


def test_numbers_of_the_paper():
    mixture = group("likelihood", "mixture_lcc")
    assert (mixture.components, mixture.scale_prior, mixture.dirichlet) == (4, (0.0, 2.3), 0.5)
    assert (mixture.rate.learning_rate, mixture.rate.decay, mixture.warm_up) == (0.2, 0.001, 25)
    prior = group("prior", "lognormal")
    assert (prior.weight, prior.log_scale_prior, prior.rate.learning_rate) == (1.4, (2.8, 5.0), 0.01)
    smoothing = group("smoothing", "sobolev")
    assert (smoothing.half_width, smoothing.strength, smoothing.form) == (3, 0.5, "root")
