"""Summaries made while chains run are those of all samples, and their memory does not grow."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch

from medreg.errors import CompositionError, DataError
from medreg.geometry.warp import warp_labels
from medreg.inference.sampling.draw import Draw
from medreg.inference.sampling.streaming import Chunks, LabelCounts, Moments, Probe, Ranks, read_chunks
from medreg.metrics.overlap import dice

ROOT = Path(__file__).resolve().parents[3]
CHAINS, PAIRS = 2, 2


def draws(count=12, *, shape=(2, 6, 5), seed=0, scale=1.0, offset=0.0, dead=None):
    """Kept samples of two chains of two pairs; chain `dead[0]` of the batch stops after `dead[1]` of them."""
    generator = torch.Generator().manual_seed(seed)
    for number in range(count):
        alive = torch.ones(CHAINS * PAIRS, dtype=torch.bool)
        if dead is not None and number >= dead[1]:
            alive[dead[0]] = False
        fields = offset + scale * torch.randn(CHAINS * PAIRS, *shape, generator=generator)
        fields[~alive] = torch.nan  # must not be read
        yield Draw(10 * number, fields, alive, fields.flatten(1).sum(1))


def pooled(samples, pair):
    """All samples of a pair (n, ...)."""
    return torch.stack([field for draw in samples for slot, field in draw.slots() if slot % PAIRS == pair])


def told(listener, samples):
    for draw in samples:
        listener(draw)
    return listener


@pytest.mark.parametrize("shape", [(2, 6, 5), (3, 4, 3, 5)])
@pytest.mark.parametrize("dead", [None, (3, 4)])
def test_moments(shape, dead):
    samples = list(draws(shape=shape, dead=dead))
    moments = told(Moments(pairs=PAIRS), samples)
    assert moments.count == [24, 24 if dead is None else 16]
    for pair in range(PAIRS):
        values = pooled(samples, pair).double().numpy()
        np.testing.assert_allclose(moments.mean()[pair], values.mean(0), atol=1e-6)
        np.testing.assert_allclose(moments.std()[pair], values.std(0, ddof=1), rtol=1e-5)
        flat = values.reshape(len(values), shape[0], -1)
        for voxel in range(flat.shape[-1]):
            law = np.cov(flat[..., voxel].T)
            found = moments.covariance()[pair].reshape(shape[0], shape[0], -1)[..., voxel]
            np.testing.assert_allclose(found, law, atol=1e-5)
    first = moments.std()
    assert torch.equal(first, moments.std())  # asking changes nothing


def test_moments_far_from_zero_in_single_precision():
    samples = list(draws(4000, shape=(2, 3, 2), scale=0.01, offset=40.0))
    moments = told(Moments(pairs=PAIRS), samples)
    values = pooled(samples, 0).double().numpy()
    np.testing.assert_allclose(moments.std()[0], values.std(0, ddof=1), rtol=1e-5)
    np.testing.assert_allclose(moments.mean()[0], values.mean(0), atol=4e-6)  # one unit in the last place
    # Sums of squares would be lost altogether
    single = pooled(samples, 0)
    naive = (single.square().mean(0) - single.mean(0).square()).clamp_min(0).sqrt()
    assert (naive - torch.from_numpy(values.std(0, ddof=1)).float()).abs().max() > 0.002


def test_merged_moments_are_those_of_all():
    samples = list(draws(15))
    one, two, empty = (Moments(pairs=PAIRS) for _ in range(3))
    told(one, samples[:4])
    told(two, samples[4:])
    one.merge(empty)
    one.merge(two)
    empty.merge(one)
    whole = told(Moments(pairs=PAIRS), samples)
    for merged in (one, empty):
        assert merged.count == whole.count
        torch.testing.assert_close(merged.mean(), whole.mean())
        torch.testing.assert_close(merged.covariance(), whole.covariance())
    with pytest.raises(CompositionError, match="pairs"):
        one.merge(Moments(pairs=3))


def test_moments_of_too_few_samples():
    moments = Moments(pairs=PAIRS)
    with pytest.raises(CompositionError, match="0 samples"):
        moments.mean()
    moments.add(0, torch.zeros(2, 3))
    with pytest.raises(CompositionError, match="0 samples"):
        moments.mean()
    moments.add(1, torch.zeros(2, 3))
    with pytest.raises(CompositionError, match="1 samples were gathered and 2"):
        moments.std()


def label_maps(shape):
    generator = torch.Generator().manual_seed(5)
    return torch.tensor([0, 3, 2000, 9])[torch.randint(4, (PAIRS, 1, *shape), generator=generator)]


@pytest.mark.parametrize("shape", [(6, 5), (4, 3, 5)])
def test_label_counts(shape):
    labels = {"lesion": 2000, "organ": 3}
    moving, fixed = label_maps(shape), label_maps(shape).flip(2)
    spacing = torch.tensor([1.5, 2.0, 3.0][: len(shape)])
    samples = list(draws(shape=(len(shape), *shape), dead=(1, 5)))
    listener = told(LabelCounts(moving, labels, spacing_mm=spacing, fixed_labels=fixed), samples)
    millilitre = float(spacing.prod()) / (1000 if len(shape) == 3 else 100)
    assert listener.unit == ("mL" if len(shape) == 3 else "cm²")
    for pair in range(PAIRS):
        fields = pooled(samples, pair)
        warped = torch.cat([warp_labels(moving[pair : pair + 1], field[None]) for field in fields])
        for place, code in enumerate(labels.values()):
            share = (warped[:, 0] == code).float().mean(0)
            torch.testing.assert_close(listener.probabilities()[pair, place], share)
            sizes = (warped == code).flatten(1).sum(1) * millilitre
            torch.testing.assert_close(listener.sizes(pair)[:, place], sizes.double(), rtol=1e-6, atol=0)
        expected = [
            list(
                dice(
                    fixed[pair : pair + 1], each[None], labels, moving_labels=moving[pair : pair + 1]
                ).values()
            )
            for each in warped
        ]
        np.testing.assert_allclose(listener.dice(pair), expected)
        low, high = np.quantile(listener.sizes(pair), [0.05, 0.95], axis=0)
        np.testing.assert_allclose(listener.interval(0.9, pair), np.stack([low, high], 1))
        assert set(listener.slots(pair).tolist()) == {pair, pair + PAIRS}


def test_label_counts_say_what_is_missing():
    listener = LabelCounts(label_maps((6, 5)), {"organ": 3}, spacing_mm=torch.ones(2))
    with pytest.raises(CompositionError, match="no sample"):
        listener.probabilities()
    with pytest.raises(CompositionError, match="samples"):
        listener.interval(0.9)
    with pytest.raises(CompositionError, match="fixed_labels"):
        listener.dice()
    with pytest.raises(DataError, match="pairs"):
        LabelCounts(
            label_maps((6, 5)),
            {},
            spacing_mm=torch.ones(2),
            fixed_labels=torch.zeros(1, 1, 6, 5, dtype=torch.int64),
        )


def test_ranks_of_the_truth_are_uniform():
    samples = list(draws(9, shape=(2, 60, 50)))  # 18 samples of each pair
    truth = torch.randn(PAIRS, 2, 60, 50, generator=torch.Generator().manual_seed(77))
    ranks = told(Ranks(truth), samples)
    assert ranks.count == [18, 18]
    assert torch.equal(ranks.below[0], (pooled(samples, 0) < truth[0]).sum(0).int())
    counts = torch.bincount(ranks.below.flatten(), minlength=19)
    assert len(counts) == 19
    expected = ranks.below.numel() / 19
    assert (
        float(((counts - expected) ** 2 / expected).sum()) < 42.3
    )  # 99.9 % of χ² with 18 degrees of freedom


def test_probe():
    samples = list(draws(dead=(2, 5)))
    mask = torch.zeros(PAIRS, 1, 6, 5)
    mask[0, 0, 1:3] = 1
    mask[1, 0, :, 2:] = 1
    probe = told(Probe.at_random(mask, count=7, generator=torch.Generator().manual_seed(0)), samples)
    assert probe.positions.shape == (PAIRS, 7)
    for pair in range(PAIRS):
        assert len(set(probe.positions[pair].tolist())) == 7
        assert mask[pair].flatten()[probe.positions[pair]].all()
    first, second = probe.series(0)  # slots 0 and 2; the latter was stopped
    assert (len(first), len(second)) == (12, 5)
    wanted = torch.stack([draw.field[0].flatten(1)[:, probe.positions[0]] for draw in samples])
    assert torch.equal(first, wanted)
    assert probe.chains(0).shape == (1, 12, 2, 7)
    assert probe.chains(1).shape == (2, 12, 2, 7)
    assert probe.samples(0).shape == (17, 2, 7)
    energies = torch.stack([draw.energies[1] for draw in samples]).double()
    assert torch.equal(probe.scalar("energy", 1)[0], energies)
    assert probe.transitions(0)[1].tolist() == [0, 10, 20, 30, 40]
    with pytest.raises(CompositionError, match="have energy"):
        probe.scalar("data")
    fewer = Probe.at_random(mask, count=500, generator=torch.Generator().manual_seed(0))
    assert fewer.positions.shape == (PAIRS, 10)  # the smaller mask has no more
    with pytest.raises(DataError, match="empty"):
        Probe.at_random(torch.zeros(1, 1, 6, 5), count=5, generator=torch.Generator())
    with pytest.raises(CompositionError, match="No sample"):
        Probe(torch.zeros(1, 1, dtype=torch.int64)).chains()


def test_chunks(tmp_path):
    samples = list(draws(5, dead=(1, 2), scale=4))
    (tmp_path / "sample-000099.npz").write_bytes(b"of a sampling before")
    told(Chunks(tmp_path), samples)
    read = list(read_chunks(tmp_path))
    expected = [(draw.transition, slot, field) for draw in samples for slot, field in draw.slots()]
    assert len(read) == len(expected) == 4 * 5 - 3
    for chunk, (transition, slot, field) in zip(read, expected, strict=True):
        assert (chunk.transition, chunk.slot) == (transition, slot)
        torch.testing.assert_close(chunk.displacement, field, rtol=2**-11, atol=1e-7)
    # One that goes on drops what came after its state, and misses what is gone
    again = Chunks(tmp_path)
    again.load_state({"count": 3})
    assert len(list(tmp_path.iterdir())) == 3
    with pytest.raises(DataError, match="3 of the 4"):
        again.load_state({"count": 4})
    (tmp_path / "sample-000001.npz").write_bytes(b"PK damaged")
    with pytest.raises(DataError, match="sample-000001"):
        list(again)


SCRIPT = """
import resource, sys
import torch
from medreg.inference.objective import EnergyFunction
from medreg.inference.sampling.langevin import SGLD
from medreg.inference.sampling.plan import Plan
from medreg.inference.sampling.run import sample
from medreg.inference.sampling.streaming import Chunks, LabelCounts, Moments, Probe, Ranks

class Bowl(EnergyFunction):
    def __call__(self, z):
        return 0.5 * z.square().flatten(1).sum(1)

shape, draws = (20, 24, 28), int(sys.argv[1])
labels = torch.randint(4, (1, 1, *shape)).to(torch.uint8)
sample(
    Bowl(), torch.zeros(2, 3, *shape), SGLD(0.1), plan=Plan(burn_in=5, transitions=draws, thin=1),
    generator=torch.Generator().manual_seed(0),
    listeners=[
        Moments(), Ranks(torch.zeros(1, 3, *shape)),
        LabelCounts(labels, {"a": 1, "b": 2, "c": 3}, spacing_mm=torch.ones(3), fixed_labels=labels),
        Probe.at_random(torch.ones(1, 1, *shape), count=500, generator=torch.Generator()),
    ],
)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_samples(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))
    environment = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PATH": "", "MALLOC_ARENA_MAX": "1"}

    def peak(draws):
        done = subprocess.run(
            [sys.executable, script, str(draws)], env=environment, capture_output=True, text=True, check=True
        )
        return int(done.stdout) / 1024  # MiB

    few, many = peak(5), peak(250)  # of two chains each
    assert many <= 1.1 * few
    # 490 samples more would be 75 MiB; the probe keeps 500 voxels of each
    assert many - few < 15
