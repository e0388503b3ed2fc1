"""CHeart as a whole: shapes for any number of frames, size of the network, its options, what it answers."""

from __future__ import annotations

import itertools

import pytest
import torch
from beating_hearts import FRAMES, SIZE, heart_batch, people, plain_conditions, small_cheart
from torch import nn

from medreg.errors import CompositionError, ConfigError
from medreg.models.hearts.conditions import Conditions

PAPER = {
    "size": (128, 128, 64),
    "n_down": 4,
    "filters": 4,
    "latent": 32,
    "mapped": 32,
    "mapping_layers": 8,
    "mapping_hidden": 64,
}


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


def test_parameters_of_the_published_network():
    assert count(small_cheart(frames=20, **PAPER)) == 1_214_060


@pytest.mark.slow
def test_full_grid():
    """Acceptance: T = 20, two hearts, 128 × 128 × 64 voxels."""
    model, batch = small_cheart(frames=20, **PAPER), heart_batch(2, frames=20, size=(128, 128, 64))
    with torch.no_grad():
        output = model(batch["shape"], batch["covariates"])
    assert output.scores.shape == (2, 20, 4, 128, 128, 64)
    assert output.mean.shape == output.log_variance.shape == (2, 32)


@pytest.mark.parametrize("frames", [2, 10, 20, 50])
def test_any_number_of_frames(frames):
    model, batch = small_cheart(frames=frames), heart_batch(2, frames=frames)
    output = model(batch["shape"], batch["covariates"])
    assert output.scores.shape == (2, frames, 4, *SIZE)
    assert output.mean.shape == output.log_variance.shape == (2, 6)
    assert output.frames.tolist() == list(range(frames))


@pytest.mark.parametrize(("n_down", "size"), [(1, (6, 4, 2)), (2, (8, 12, 4)), (4, (16, 16, 16))])
def test_any_depth(n_down, size):
    model, batch = small_cheart(n_down=n_down, size=size), heart_batch(2, size=size)
    assert model(batch["shape"], batch["covariates"]).scores.shape == (2, FRAMES, 4, *size)


OPTIONS = {
    "mapping_in": ["both", "encoder", "temporal", "none"],
    "cond_position": ["before", "after"],
    "cell": ["lstmcell", "grucell", "lstm", "gru", "none"],
    "first_frame": ["code", "recurrence"],
    "decoder": ["voxel", "displacement", "displacement_released"],
    "norm": ["batch", "per_frame", "group"],
    "sampled": [True, False],
    "checkpoint": [True, False],
}


@pytest.mark.parametrize(("name", "value"), [(n, v) for n, values in OPTIONS.items() for v in values])
def test_every_option_trains_all_of_its_parameters(name, value):
    model, batch = small_cheart(**{name: value}), heart_batch(3)
    output = model(batch["shape"], batch["covariates"], generator=torch.Generator().manual_seed(0))
    assert output.scores.shape == (3, FRAMES, 4, *SIZE)
    whole = output.scores.square().mean() + (output.log_variance.square().mean() if model.sampled else 0.0)
    whole = whole if output.penalty is None else whole + output.penalty
    whole.backward()
    idle = {"encoder.log_variance"} if not model.sampled else set()
    still = [
        key
        for key, parameter in model.named_parameters()
        if (parameter.grad is None or not parameter.grad.abs().sum() > 0)
        and not any(key.startswith(i) for i in idle)
    ]
    if (name, value) == ("mapping_in", "none"):
        assert model.mapping is None
    assert still == []


@pytest.mark.parametrize(
    ("mapping_in", "cond_position"), list(itertools.product(OPTIONS["mapping_in"], OPTIONS["cond_position"]))
)
def test_who_is_told_what(mapping_in, cond_position):
    """Widths of the layers: 5 plain conditions, an embedding of 5 + 2 = 7, a code of 6."""
    model = small_cheart(mapping_in=mapping_in, cond_position=cond_position, mapped=7)
    encoder = 7 if mapping_in in ("both", "encoder") else 5
    temporal = 7 if mapping_in in ("both", "temporal") else 5
    assert model.encoder.first.in_channels == 4 + encoder
    assert model.recurrence.steps.input_size == 6 + (temporal if cond_position == "before" else 0)
    assert model.decoder.linear.in_features == 6 + temporal


def test_code_of_frame_0_is_latent_and_conditions():
    model, batch = small_cheart(), heart_batch(2)
    latent = torch.randn(2, 6)
    codes = model.codes(latent, batch["covariates"], torch.arange(3))
    told = model.told(batch["covariates"], 2)[1]
    assert torch.equal(codes[:, 0], torch.cat([latent, told], 1))
    model = small_cheart(cond_position="after")
    codes = model.codes(latent, batch["covariates"], torch.arange(3))
    told = model.told(batch["covariates"], 2)[1]
    assert all(torch.equal(codes[:, frame, 6:], told) for frame in range(3))
    assert torch.equal(codes[:, 0, :6], latent)


def test_some_frames_are_those_of_all():
    model, batch = small_cheart().eval(), heart_batch(2)
    with torch.no_grad():
        whole = model(batch["shape"], batch["covariates"]).scores
        some = model(batch["shape"], batch["covariates"], frames=torch.tensor([1, 4]))
    assert some.frames.tolist() == [1, 4]
    torch.testing.assert_close(some.scores, whole[:, [1, 4]], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("decoder", OPTIONS["decoder"])
def test_answers_a_few_frames_at_a_time_are_the_same(decoder):
    batch = heart_batch(2)
    whole = small_cheart(decoder=decoder).eval().complete(batch["shape"][:, 0], batch["covariates"])
    parts = small_cheart(decoder=decoder, frames_at_once=4).eval()
    assert torch.equal(parts.complete(batch["shape"][:, 0], batch["covariates"]), whole)
    assert whole.shape == (2, FRAMES, *SIZE)
    assert whole.dtype == torch.uint8


def test_only_the_first_frame_is_looked_at():
    model, batch = small_cheart().eval(), heart_batch(2)
    other = batch["shape"].clone()
    other[:, 1:] = 0
    found = [model(shape, batch["covariates"]).mean for shape in (batch["shape"], other)]
    assert torch.equal(*found)


def test_displacement_moves_the_first_frame():
    model, batch = small_cheart(decoder="displacement"), heart_batch(2)
    nn.init.zeros_(model.decoder.last.weight)
    nn.init.zeros_(model.decoder.last.bias)
    output = model(batch["shape"], batch["covariates"])
    for frame in range(FRAMES):
        torch.testing.assert_close(output.scores[:, frame], output.scores[:, 0], rtol=1e-4, atol=1e-5)
    assert float(output.penalty.detach()) == 0.0
    nn.init.constant_(model.decoder.last.bias, 1.0)  # one voxel along every axis: still no roughness
    moved = model(batch["shape"], batch["covariates"])
    torch.testing.assert_close(
        moved.scores[:, 2, :, :-1, :-1, :-1], moved.scores[:, 0, :, 1:, 1:, 1:], rtol=1e-4, atol=1e-5
    )
    assert float(moved.penalty.detach()) == 0.0
    assert (
        float(small_cheart(decoder="displacement")(batch["shape"], batch["covariates"]).penalty.detach())
        > 0.0
    )


def test_released_displacement_moves_frame_0_by_the_next_code():
    batch = heart_batch(2)
    with torch.no_grad():
        ahead = (
            small_cheart(decoder="displacement_released").eval()(batch["shape"], batch["covariates"]).scores
        )
        plain = small_cheart(decoder="displacement").eval()(batch["shape"], batch["covariates"]).scores
    torch.testing.assert_close(ahead[:, :-1], plain[:, 1:], rtol=1e-4, atol=1e-5)


def test_chance_is_that_of_the_generator():
    model, batch = small_cheart().eval(), heart_batch(2)

    def drawn(seed):
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            output = model(batch["shape"], batch["covariates"], generator=generator).scores
        return output, model.generate(batch["covariates"], generator=generator)

    first, again, other = drawn(0), drawn(0), drawn(1)
    assert all(torch.equal(one, two) for one, two in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])


def test_without_conditions():
    model = small_cheart(conditions=Conditions()).eval()
    assert model.requires == frozenset()
    assert model.mapping is None
    batch = heart_batch(2)
    assert model.complete(batch["shape"][:, 0], {}).shape == (2, FRAMES, *SIZE)
    generator = torch.Generator().manual_seed(0)
    assert model.generate({}, generator=generator).shape == (1, FRAMES, *SIZE)
    assert model.generate(people(3), generator=generator).shape == (3, FRAMES, *SIZE)
    assert count(small_cheart(conditions=plain_conditions())) > count(model)


def test_a_plain_auto_encoder_has_one_answer_and_generates_nothing():
    model, batch = small_cheart(sampled=False).eval(), heart_batch(1)
    generator = torch.Generator().manual_seed(0)
    found = [
        model.complete(batch["shape"][:, 0], batch["covariates"], generator=g) for g in (None, generator)
    ]
    assert torch.equal(*found)
    assert model(batch["shape"], batch["covariates"]).log_variance is None
    assert not model.generates
    with pytest.raises(CompositionError, match=r"model\.sampled"):
        model.generate(batch["covariates"], generator=generator)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_mixed_precision(dtype):
    model, batch = small_cheart(checkpoint=True), heart_batch(3)
    exact = model(batch["shape"], batch["covariates"]).scores.detach()
    with torch.autocast("cpu", dtype=dtype):
        output = model(batch["shape"], batch["covariates"])
    assert output.scores.dtype == dtype
    output.scores.float().square().mean().backward()
    assert all(
        torch.isfinite(parameter.grad).all() for parameter in model.parameters() if parameter.grad is not None
    )
    assert float((output.scores.detach().float() - exact).abs().mean()) < 0.05


def test_wrong_grid_is_told():
    with pytest.raises(CompositionError, match=r"data\.grid"):
        small_cheart().complete(torch.zeros(1, 8, 8, 8, dtype=torch.uint8), people(1))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mapping_in", "decoder"),
        ("cond_position", "within"),
        ("decoder", "mesh"),
        ("latent", 0),
        ("frames_at_once", 0),
        ("first_frame", "zero"),
    ],
)
def test_options_that_do_not_exist_are_told(name, value):
    with pytest.raises(ConfigError, match=rf"model\.{name}"):
        small_cheart(**{name: value})
