"""Learned similarities: where they start, what a similarity promises, and what is refused."""

from __future__ import annotations

import pytest
import torch

from medreg.config.compose import compose
from medreg.config.instantiate import build
from medreg.errors import CheckpointError, CompositionError, ConfigError
from medreg.losses.similarity.learned import LearnedLCC, LearnedSSD, SimilarityEncoder, load_encoder
from medreg.losses.similarity.ssd import SSD

SHAPES = [(14, 11), (9, 10, 7)]
FRESH = {"ckpt": "fresh", "channels": [4, 8, 8], "slope": 0.2, "weight": 1.0}


def measure(kind, ndim, **options):
    torch.manual_seed(0)
    return kind(ndim=ndim, **FRESH, **({"window": 3, "eps": 1e-5} if kind is LearnedLCC else {}), **options)


def images(shape, batch=2, channels=1, dtype=torch.float32):
    generator = torch.Generator().manual_seed(1)
    return torch.rand(2, batch, channels, *shape, generator=generator, dtype=dtype).unbind(0)


def tiny_run(folder, kind=LearnedSSD, ndim=2):
    """Write a checkpoint as a training would, of an encoder that is not at its start."""
    similarity = measure(kind, ndim)
    torch.nn.init.normal_(similarity.encoder.sum.weight)
    node = {"_target_": f"{kind.__module__}.{kind.__qualname__}", "ndim": ndim, **FRESH}
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    state = {f"model.similarity.{name}": value for name, value in similarity.state_dict().items()}
    config = {"model": {"_target_": "m", "similarity": node}}
    content = {"state_dict": state, "medreg": {"config": config, "overrides": []}}
    torch.save(content, folder / "checkpoints" / "best.ckpt")
    return similarity


def window_sums(image, half=1):
    """Σ over the window with border values beyond the border, by shifted copies."""
    padded = torch.nn.functional.pad(image, [half] * 2 * (image.ndim - 2), mode="replicate")
    for axis in range(2, image.ndim):
        padded = sum(padded.narrow(axis, k, image.shape[axis]) for k in range(2 * half + 1))
    return padded


@pytest.mark.parametrize("shape", SHAPES)
def test_encoder_starts_next_to_the_identity(shape):
    torch.manual_seed(0)
    encoder = SimilarityEncoder(len(shape), channels=[4, 8, 8], slope=0.2)
    image, _ = images(shape)
    torch.testing.assert_close(encoder(image), image, rtol=0, atol=1e-5)
    kernels = [layer.weight for layer in encoder.layers if hasattr(layer, "weight")]
    assert [tuple(kernel.shape) for kernel in kernels] == [
        (4, 1, *[3] * len(shape)), (8, 4, *[3] * len(shape)), (8, 8, *[3] * len(shape)),
    ]  # fmt: skip
    middle = 3 ** len(shape) // 2
    for kernel in kernels:
        flat = kernel.detach().flatten(2)
        torch.testing.assert_close(flat[..., middle].sum(0), torch.ones(flat.shape[1]))
        flat[..., middle] = 0
        assert 0 < float(flat.abs().max()) < 1e-6
    assert encoder.sum.bias is None


@pytest.mark.parametrize("shape", SHAPES)
def test_learned_ssd_starts_as_half_the_ssd(shape):
    warped, fixed = images(shape)
    found = measure(LearnedSSD, len(shape))(warped, fixed)
    torch.testing.assert_close(found, 0.5 * SSD(weight=1.0)(warped, fixed), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_learned_lcc_starts_as_the_local_correlation(shape):
    warped, fixed = images(shape, dtype=torch.float64)
    count = 3 ** len(shape)
    w, f = (image - window_sums(image) / count for image in (warped, fixed))
    z = window_sums(w * f).square() / (window_sums(w * w) * window_sums(f * f) + 1e-5)
    expected = -z.flatten(1).mean(1)
    torch.testing.assert_close(measure(LearnedLCC, len(shape))(warped, fixed), expected, rtol=1e-4, atol=0)
    plain = measure(LearnedLCC, len(shape)).plain()
    torch.testing.assert_close(plain(warped, fixed), expected, rtol=1e-10, atol=0)


@pytest.mark.parametrize("kind", [LearnedSSD, LearnedLCC])
@pytest.mark.parametrize("shape", SHAPES)
def test_promises_of_a_similarity(kind, shape):
    similarity = measure(kind, len(shape))
    warped, fixed = images(shape, channels=2)
    together = similarity(warped, fixed)
    alone = torch.cat([similarity(warped[k : k + 1], fixed[k : k + 1]) for k in range(2)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-6)
    each = torch.stack([similarity(warped[:, c : c + 1], fixed[:, c : c + 1]) for c in range(2)]).mean(0)
    torch.testing.assert_close(together, each, rtol=1e-4, atol=1e-6)
    assert (similarity(fixed, fixed) < together).all()
    mask = torch.zeros(2, 1, *shape)
    mask[..., 2:] = 1
    spoilt = torch.where(mask.bool(), warped, float("nan"))
    torch.testing.assert_close(similarity(spoilt, fixed, mask=mask), similarity(warped, fixed, mask=mask))
    flat = torch.zeros_like(fixed, requires_grad=True)
    (gradient,) = torch.autograd.grad(similarity(flat, fixed).sum(), flat)
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("kind", [LearnedSSD, LearnedLCC])
def test_derivatives_in_image_and_encoder(kind):
    similarity = measure(kind, 2).double()
    torch.nn.init.normal_(similarity.encoder.layers[0].weight)
    warped, fixed = images((5, 4), batch=1, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: similarity(x, fixed), (warped.requires_grad_(),), atol=1e-5)
    similarity(warped, fixed).sum().backward()
    weights = [p for p in similarity.encoder.parameters() if p.ndim > 1]  # a bias shifts both images alike
    assert all(float(weight.grad.abs().max()) > 0 for weight in weights)


def test_a_trained_encoder_is_used_and_frozen(tmp_path):
    trained = tiny_run(tmp_path)
    similarity = build(compose(["similarity=learned_ssd", f"similarity.ckpt={tmp_path}"]).similarity)
    warped, fixed = images((8, 9))
    torch.testing.assert_close(similarity(warped, fixed), trained(warped, fixed))
    assert not any(parameter.requires_grad for parameter in similarity.parameters())
    assert not torch.allclose(similarity.plain()(warped, fixed), similarity(warped, fixed))


def test_what_does_not_fit_is_refused(tmp_path):
    tiny_run(tmp_path)
    with pytest.raises(ConfigError, match=r"similarity\.ckpt=RUN"):
        build(compose(["similarity=learned_lcc"]).similarity)
    with pytest.raises(ConfigError, match=r"similarity\.ndim"):
        build(compose(["similarity=learned_lcc", "similarity.ckpt=fresh"]).similarity)
    with pytest.raises(CheckpointError, match="LearnedLCC"):
        load_encoder(str(tmp_path), LearnedLCC)
    with pytest.raises(CompositionError, match="2-D images"):
        measure(LearnedSSD, 2)(*images((4, 4, 4)))
    with pytest.raises(ConfigError, match=r"similarity\.window"):
        LearnedLCC(window=4, eps=1e-5, ndim=2, **FRESH)
    with pytest.raises(ConfigError, match=r"similarity\.channels"):
        SimilarityEncoder(2, channels=[], slope=0.2)
