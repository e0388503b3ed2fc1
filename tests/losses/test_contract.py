"""Promises that every similarity and regulariser keeps, for all classes and all YAML files found."""

from __future__ import annotations

import importlib
import inspect
import pickle
import pkgutil
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

import medreg.losses.regularisation
import medreg.losses.similarity
from medreg.geometry.transformation import Deformation
from medreg.losses.energy import Energy
from medreg.losses.regularisation.base import Regulariser
from medreg.losses.regularisation.diffusion import Diffusion
from medreg.losses.regularisation.none import NoRegularisation
from medreg.losses.similarity.base import Similarity
from medreg.losses.similarity.ssd import SSD

CONFIGS = Path(__file__).parents[2] / "configs"
SHAPES = [(14, 15), (10, 11, 12)]


# These need a trained run; tests/models/test_mad.py and tests/losses/similarity/test_learned.py hold them to the same
# promises.
LEARNED = {"mad", "learned_ssd", "learned_lcc"}


def yaml_files(group):
    return sorted(path for path in (CONFIGS / group).glob("*.yaml") if path.stem not in LEARNED)


def build(node):
    """The object of a `_target_` node, children first."""
    if not isinstance(node, dict):
        return node
    built = {key: build(value) for key, value in node.items()}
    if "_target_" not in built:
        return built
    module, _, name = built.pop("_target_").rpartition(".")
    return getattr(importlib.import_module(module), name)(**built)


def load(path, *overrides):
    node = OmegaConf.merge(OmegaConf.load(path), OmegaConf.from_dotlist(list(overrides)))
    protocol = OmegaConf.load(path.parents[1] / "protocol" / "exact.yaml")
    config = OmegaConf.create({"protocol": protocol, "node": node})
    return build(OmegaConf.to_container(config, resolve=True)["node"])


def concrete_classes(package, base):
    for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        for _, cls in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if issubclass(cls, base) and not inspect.isabstract(cls) and cls.__module__ == module.name:
                yield cls


def targets(node):
    if not isinstance(node, dict):
        return set()
    return (
        {node["_target_"]} | set().union(*map(targets, node.values()))
        if "_target_" in node
        else set().union(*map(targets, node.values()))
    )


@pytest.mark.parametrize(
    ("group", "package", "base"),
    [
        ("similarity", medreg.losses.similarity, Similarity),
        ("regularisation", medreg.losses.regularisation, Regulariser),
    ],
)
def test_every_class_has_a_yaml_and_every_yaml_a_class(group, package, base):
    classes = {f"{cls.__module__}.{cls.__qualname__}" for cls in concrete_classes(package, base)}
    files = [file for file in (CONFIGS / group).glob("*.yaml") if file.stem != "mad"]  # a class of the models
    named = set().union(*(targets(OmegaConf.to_container(OmegaConf.load(f))) for f in files))
    assert classes == named


@pytest.mark.parametrize("path", yaml_files("similarity"), ids=lambda p: p.stem)
@pytest.mark.parametrize("shape", SHAPES, ids=["2-D", "3-D"])
class TestSimilarity:
    def images(self, shape, channels=1):
        torch.manual_seed(0)
        warped, fixed = torch.rand(2, 2, channels, *shape)
        return warped.requires_grad_(), fixed

    def test_value_and_gradient(self, path, shape):
        loss = load(path)
        warped, fixed = self.images(shape)
        value = loss(warped, fixed)
        (gradient,) = torch.autograd.grad(value.sum(), warped)
        assert value.shape == (2,)
        assert torch.isfinite(gradient).all()
        assert gradient.abs().max() > 0

    def test_lower_for_the_better_match(self, path, shape):
        loss = load(path)
        _, fixed = self.images(shape)
        assert (loss(fixed, fixed) < loss(fixed.roll(3, -1), fixed)).all()

    def test_sample_does_not_depend_on_its_batch(self, path, shape):
        loss = load(path)
        warped, fixed = self.images(shape)
        warped = warped.detach() * torch.tensor([1.0, 0.1]).view(2, *[1] * (warped.ndim - 1))
        together = loss(warped, fixed)
        alone = torch.cat([loss(warped[i : i + 1], fixed[i : i + 1]) for i in range(2)])
        torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)

    def test_several_channels_are_averaged(self, path, shape):
        loss = load(path)
        warped, fixed = self.images(shape, channels=2)
        single = torch.stack([loss(warped[:, c : c + 1], fixed[:, c : c + 1]) for c in range(2)]).mean(0)
        torch.testing.assert_close(loss(warped, fixed), single, rtol=1e-4, atol=1e-6)

    def test_mask_of_ones_changes_nothing(self, path, shape):
        loss = load(path)
        warped, fixed = self.images(shape)
        ones = torch.ones(2, 1, *shape, dtype=torch.uint8)
        torch.testing.assert_close(loss(warped, fixed, mask=ones), loss(warped, fixed), rtol=1e-4, atol=1e-6)

    def test_masked_voxels_have_no_influence(self, path, shape):
        loss = load(path)
        warped, fixed = self.images(shape)
        mask = torch.zeros(2, 1, *shape, dtype=torch.bool)
        mask[..., 3:, 2:] = True
        value = loss(warped, fixed, mask=mask)
        (gradient,) = torch.autograd.grad(value.sum(), warped)
        assert gradient[~mask].abs().max() == 0
        assert gradient[mask].abs().max() > 0
        spoilt = torch.where(mask, warped, float("nan")), torch.where(mask, fixed, 1e3)
        torch.testing.assert_close(loss(*spoilt, mask=mask), value)

    def test_empty_mask_and_flat_images_are_finite(self, path, shape):
        loss = load(path)
        warped, fixed = self.images(shape)
        flat = torch.zeros_like(fixed, requires_grad=True)
        for image, mask in ((warped, torch.zeros(2, 1, *shape)), (flat, None)):
            value = loss(image, flat.detach() if mask is None else fixed, mask=mask)
            (gradient,) = torch.autograd.grad(value.sum(), image)
            assert torch.isfinite(value).all()
            assert torch.isfinite(gradient).all()

    def test_half_precision_inputs_are_summed_in_float32(self, path, shape):
        loss = load(path)
        warped, fixed = self.images(shape)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            value = loss(warped, fixed)
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, loss(warped, fixed))
        assert loss(warped.bfloat16(), fixed.bfloat16()).dtype == torch.float32


@pytest.mark.parametrize("path", yaml_files("regularisation"), ids=lambda p: p.stem)
@pytest.mark.parametrize("shape", SHAPES, ids=["2-D", "3-D"])
class TestRegulariser:
    def field(self, shape):
        torch.manual_seed(0)
        return torch.randn(2, len(shape), *shape, requires_grad=True)

    def test_value_density_and_gradient(self, path, shape):
        regulariser = load(path)
        field = self.field(shape)
        spacing = torch.rand(2, len(shape)) + 0.5
        value = regulariser(field, spacing_mm=spacing)
        density = regulariser.density(field, spacing_mm=spacing)
        assert density.shape == (2, 1, *shape)
        assert density.min() >= 0
        torch.testing.assert_close(value, regulariser.weight * density.flatten(1).mean(1))
        if isinstance(regulariser, NoRegularisation):
            assert value.tolist() == [0.0, 0.0]
        else:
            (gradient,) = torch.autograd.grad(value.sum(), field)
            assert torch.isfinite(gradient).all()
            assert gradient.abs().max() > 0

    def test_translation_costs_nothing(self, path, shape):
        still = torch.full((1, len(shape), *shape), 2.5)
        assert load(path)(still).item() == 0.0

    def test_sample_does_not_depend_on_its_batch(self, path, shape):
        regulariser = load(path)
        field = self.field(shape).detach()
        spacing = torch.rand(2, len(shape)) + 0.5
        together = regulariser(field, spacing_mm=spacing)
        alone = [regulariser(field[i : i + 1], spacing_mm=spacing[i]) for i in range(2)]
        torch.testing.assert_close(together, torch.cat(alone))

    def test_weight_override(self, path, shape):
        default, changed = load(path), load(path, "weight=0.05")
        field = self.field(shape)
        assert changed.weight == 0.05
        torch.testing.assert_close(changed(field), default(field, weight=0.05))

    def test_half_precision_fields_are_summed_in_float32(self, path, shape):
        assert load(path)(self.field(shape).bfloat16()).dtype == torch.float32


def everything():
    return [*yaml_files("similarity"), *yaml_files("regularisation")]


@pytest.mark.parametrize("path", everything(), ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_survives_pickle_and_state_dict_and_prints_its_settings(path):
    module = load(path)
    copy = pickle.loads(pickle.dumps(module))
    copy.load_state_dict(module.state_dict())
    assert repr(copy) == repr(module)
    assert f"weight={module.weight}" in module.extra_repr()
    assert module.state_dict() == {}


@pytest.mark.parametrize("path", everything(), ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_fits_into_the_energy(path):
    part = load(path)
    similarity = part if isinstance(part, Similarity) else SSD(weight=1.0)
    regularisation = part if isinstance(part, Regulariser) else Diffusion(weight=0.1)
    torch.manual_seed(0)
    fixed, moving = torch.rand(2, 2, 1, 12, 12)
    u = (0.3 + 0.2 * torch.randn(2, 2, 12, 12)).requires_grad_()
    masks = {
        "fixed_mask": torch.ones(2, 1, 12, 12, dtype=torch.uint8),
        "moving_mask": torch.ones(2, 1, 12, 12),
    }
    value = Energy(similarity, regularisation)(fixed, moving, Deformation(u, u), **masks)
    (gradient,) = torch.autograd.grad(value.total, u)
    assert torch.isfinite(gradient).all()
    assert gradient.abs().max() > 0
