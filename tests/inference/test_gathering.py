"""What is kept of samples: exact summaries, whoever tells, memory that does not grow, and a state that survives."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from small_run import ROOT, environment

from medreg.inference.gathering import Gatherer, LabelQuestion
from medreg.inference.sampling.draw import Draw
from medreg.inference.sampling.streaming import LabelCounts, Probe

SHAPE = (7, 6, 5)
MEMORY = """
import resource, sys, torch
from medreg.inference.gathering import Gatherer
from medreg.inference.sampling.draw import Draw
from medreg.inference.sampling.streaming import Probe
mask = torch.ones(1, 1, 48, 48, 48)
probe = Probe.at_random(mask, count=500, generator=torch.Generator())
gatherer = Gatherer(pairs=1, spacing_mm=torch.ones(3), probe=probe)
for number in range(int(sys.argv[1])):
    gatherer(Draw.independent(torch.randn(2, 3, 48, 48, 48), number))
assert gatherer.summary() is not None
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def fresh(pairs=1):
    generator = torch.Generator().manual_seed(0)
    label = torch.randint(0, 3, (1, 1, *SHAPE), generator=generator)
    counts = LabelCounts(
        label, {"a": 1, "b": 2}, spacing_mm=torch.tensor([1.0, 2.0, 3.0]), fixed_labels=label
    )
    probe = Probe.at_random(torch.ones(pairs, 1, *SHAPE), count=20, generator=generator)
    return Gatherer(
        pairs=pairs,
        spacing_mm=torch.tensor([1.0, 2.0, 3.0]),
        labels=LabelQuestion(counts, lambda field: field[:1]),
        truth=torch.zeros(pairs, 3, *SHAPE),
        probe=probe,
        keep=2,
    )


def drawn(count, slots=2):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, slots, 3, *SHAPE, generator=generator)


def as_draw(field, number):
    slots = len(field)
    return Draw(number, field, torch.ones(slots, dtype=torch.bool), torch.arange(float(slots)))


@pytest.mark.parametrize("chains_tell", [True, False])
def test_the_summary_is_that_of_all_samples(chains_tell):
    gatherer, samples = fresh(), drawn(9)
    for number, field in enumerate(samples):
        gatherer(as_draw(field, number) if chains_tell else Draw.independent(field, number))
    found, flat = gatherer.summary(), samples.flatten(0, 1)
    torch.testing.assert_close(found.mean[0], flat.mean(0), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found.std()[0], flat.std(0), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found.ranks[0], (flat < 0).sum(0).to(torch.int32))
    assert found.count == 18
    assert len(found.samples) == 2
    assert (found.mixing() is not None) == chains_tell
    length = (flat * torch.tensor([1.0, 2.0, 3.0]).view(3, 1, 1, 1)).square().sum(1).mean((1, 2, 3)).sqrt()
    torch.testing.assert_close(found.numbers.values["length_mm"], length.double(), rtol=1e-5, atol=1e-6)
    low, high = torch.quantile(
        found.numbers.volume_ml[:, 1], torch.tensor([0.025, 0.975], dtype=torch.float64)
    )
    assert found.volumes_ml()["b"] == pytest.approx(
        (float(found.numbers.volume_ml[:, 1].mean()), float(low), float(high))
    )


def test_a_slice_that_stops_ends_whole_samples_but_not_the_others():
    gatherer, samples = fresh(pairs=2), drawn(6, slots=4)
    samples[3:, 1] = torch.nan  # slice 1 of chain 0
    for number, field in enumerate(samples):
        gatherer(Draw.independent(field, number))
    found = gatherer.summary()
    assert gatherer.moments.count == [12, 9]
    assert found.count == 10.5
    assert found.left_out == 3
    assert found.numbers.values["chain"].tolist() == [0, 1, 0, 1, 0, 1, 1, 1, 1]
    assert found.ranks is None  # among unlike numbers of samples


def test_a_state_goes_on_to_the_same_bits():
    samples, whole, first, second = drawn(8), fresh(), fresh(), fresh()
    for number, field in enumerate(samples):
        whole(as_draw(field, number))
        if number < 5:
            first(as_draw(field, number))
    second.load_state(first.state())
    for number in range(5, 8):
        second(as_draw(samples[number], number))
    one, two = whole.summary(), second.summary()
    for name in ("mean", "covariance", "probabilities", "ranks"):
        torch.testing.assert_close(getattr(one, name), getattr(two, name), rtol=0, atol=0)
    assert list(one.trace_rows()) == list(two.trace_rows())
    assert list(one.volume_rows()) == list(two.volume_rows())
    assert one.mixing() == two.mixing()


@pytest.mark.slow
def test_memory_does_not_grow_with_the_samples(tmp_path):
    """Fields are new arrays every time, as those of a model are."""
    peaks = []
    for count in ("10", "150"):
        done = subprocess.run(
            [sys.executable, "-c", MEMORY, count],
            capture_output=True, text=True, env=environment(PYTHONPATH=str(ROOT)), cwd=tmp_path, check=True,
        )  # fmt: skip
        peaks.append(int(done.stdout))
    assert peaks[1] <= 1.1 * peaks[0]
