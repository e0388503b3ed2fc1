"""The loop keeps what it should, stops chains one by one, and goes on as if nothing had happened."""

from __future__ import annotations

import re
import runpy
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import torch
from jittered_energy import JitteredEnergy

from medreg.errors import CheckpointError, CompositionError, ConfigError, NumericalError
from medreg.geometry.svf import StationaryVelocity
from medreg.inference.level import full_images
from medreg.inference.objective import EnergyFunction, PairEnergy
from medreg.inference.sampling.hamiltonian import SGHMC
from medreg.inference.sampling.langevin import SGLD
from medreg.inference.sampling.noise import Noise
from medreg.inference.sampling.plan import Plan
from medreg.inference.sampling.run import ChainsStopped, sample
from medreg.inference.sampling.safety import Safety
from medreg.inference.sampling.starts import from_identity
from medreg.inference.sampling.streaming import LabelCounts, Moments, Probe
from medreg.inference.state_file import StateFile
from medreg.losses.energy import Energy
from medreg.losses.regularisation.diffusion import Diffusion
from medreg.losses.similarity.ssd import SSD

ROOT = Path(__file__).resolve().parents[3]
SAMPLERS = [SGLD(0.1), SGLD(0.1, update="released"), SGHMC(0.4, friction=0.5)]
NAMES = ["sgld", "released", "sghmc"]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


class Bowl(EnergyFunction):
    """½ |z|², with a trap: whatever `spoil` does to the energies (S,) of z at its n-th evaluation."""

    def __init__(self, spoil=None):
        self.spoil, self.count = spoil, -1

    def __call__(self, z):
        self.count += 1
        energies = 0.5 * z.square().flatten(1).sum(1)
        return energies if self.spoil is None else self.spoil(energies, z, self.count)


class Heard:
    """A listener that writes down everything."""

    def __init__(self):
        self.transitions, self.alive, self.fields = [], [], []

    def __call__(self, draw):
        self.transitions.append(draw.transition)
        self.alive.append(draw.alive.tolist())
        self.fields.append(draw.field.clone())

    def state(self):
        return {"transitions": self.transitions, "alive": self.alive, "fields": list(self.fields)}

    def load_state(self, state):
        self.transitions, self.alive = list(state["transitions"]), list(state["alive"])
        self.fields = list(state["fields"])


def test_burn_in_and_thinning():
    heard, seen = Heard(), []
    outcome = sample(
        Bowl(),
        torch.zeros(3, 2),
        SGLD(0.1),
        plan=Plan(burn_in=4, transitions=11, thin=3),
        generator=seeded(),
        listeners=[heard],
        progress=lambda told: seen.append((told.transition, told.total)),
    )
    assert heard.transitions == [7, 10, 13]
    assert outcome.kept.tolist() == [3, 3, 3]
    assert outcome.transitions == 15
    assert seen == [(number, 15) for number in range(16)]
    assert Plan(burn_in=100_000, transitions=1_000_000, thin=4000).samples(chains=2) == 500


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"burn_in": 0, "transitions": 99, "thin": 100}, "No sample is left.*99 // 100 = 0"),
        ({"burn_in": -1, "transitions": 99, "thin": 1}, "burn_in"),
        ({"burn_in": 0, "transitions": 0, "thin": 1}, "transitions"),
        ({"burn_in": 0, "transitions": 10, "thin": 0}, "thin"),
        ({"burn_in": 0, "transitions": 10.5, "thin": 1}, "transitions"),
    ],
)
def test_plans_that_keep_nothing_are_refused(settings, words):
    with pytest.raises(ConfigError, match=words):
        Plan(**settings)


def test_a_chain_that_is_not_finite_is_stopped_and_the_others_go_on():
    def spoil(energies, z, count):
        return energies * torch.tensor([1.0, torch.nan if count >= 5 else 1.0, 1.0])

    heard, alone = Heard(), Heard()
    plan = Plan(burn_in=0, transitions=9, thin=1)
    outcome = sample(
        Bowl(spoil),
        torch.zeros(3, 2),
        SGHMC(0.4, friction=1.0),
        plan=plan,
        generator=seeded(),
        listeners=[heard],
    )
    assert outcome.kept.tolist() == [9, 4, 9]
    (stop,) = outcome.stops
    assert (stop.slot, stop.transition) == (1, 5)
    assert "energy became nan" in stop.reason
    assert heard.alive[3] == [True, True, True]
    assert heard.alive[4] == [True, False, True]
    assert torch.equal(outcome.z[1], outcome.z[0])  # its place is taken
    # Nothing of it reached the others
    sample(
        Bowl(), torch.zeros(3, 2), SGHMC(0.4, friction=1.0), plan=plan, generator=seeded(), listeners=[alone]
    )
    for mine, theirs in zip(heard.fields, alone.fields, strict=True):
        assert torch.equal(mine[[0, 2]], theirs[[0, 2]])


def test_the_place_of_a_stopped_chain_is_taken_within_its_pair():
    seen = []

    class Told(Bowl):
        def __call__(self, z):
            seen.append(z.detach().clone())
            return super().__call__(z)

    def spoil(energies, z, count):
        factors = torch.ones(4)
        factors[1] = torch.nan if count >= 3 else 1.0  # the first chain of the second pair,
        factors[3] = torch.nan if count >= 6 else 1.0  # then the second
        return energies * factors

    start = torch.randn(4, 2, generator=seeded())
    plan = Plan(burn_in=0, transitions=8, thin=1)
    outcome = sample(Told(spoil), start, SGLD(0.1), plan=plan, generator=seeded(), pairs=2)
    assert outcome.kept.tolist() == [8, 2, 8, 5]
    assert torch.equal(seen[5][1], seen[5][3])
    assert torch.equal(seen[8][[1, 3]], start[[1, 3]])
    with pytest.raises(ConfigError, match="3 starts for 2 pairs"):
        sample(Bowl(), start[:3], SGLD(0.1), plan=plan, generator=seeded(), pairs=2)


def test_a_state_that_is_not_finite_never_reaches_the_energy():
    class Cliff(EnergyFunction):
        def __call__(self, z):
            assert torch.isfinite(z).all()
            return 1e38 * z.sum(1)

    with pytest.raises(ChainsStopped, match=r"after 1 transitions.*state.*not finite"):
        sample(
            Cliff(),
            torch.zeros(1, 2),
            SGLD(100.0),
            plan=Plan(burn_in=0, transitions=50, thin=1),
            generator=seeded(),
        )


def test_a_chain_that_runs_away_is_stopped():
    def steep(energies, z, count):
        return energies * torch.tensor([1.0, 60.0])  # the second is beyond the stable step

    heard = Heard()
    outcome = sample(
        Bowl(steep),
        torch.full((2, 5), 0.1),
        SGLD(0.1),
        plan=Plan(burn_in=0, transitions=60, thin=2),
        generator=seeded(),
        listeners=[heard],
        safety=Safety(energy_rise=20.0),
    )
    (stop,) = outcome.stops
    assert stop.slot == 1
    assert "energy rose" in stop.reason
    assert outcome.kept[0] == 30
    assert outcome.kept[1] == sum(alive[1] for alive in heard.alive) < 30


def fold(z):
    """A displacement (S, 2, 6, 5) of z (S, 1): the fourth column lands z voxels to the left."""
    field = torch.zeros(len(z), 2, 6, 5)
    field[:, 0, 3] = -z
    return field


def test_folds_stop_a_chain_and_what_was_sampled_is_kept():
    # The energy pushes the second chain to 3, where a column crosses its neighbours
    class Pull(EnergyFunction):
        def __call__(self, z):
            return 50 * (z[:, 0] - torch.tensor([0.0, 3.0])).square()

    moments = Moments(pairs=1)
    settings = {
        "plan": Plan(burn_in=0, transitions=40, thin=2),
        "field": fold,
        "safety": Safety(fold_percent=0.1),
    }
    outcome = sample(
        Pull(), torch.zeros(2, 1), SGLD(0.001), generator=seeded(1), listeners=[moments], **settings
    )
    (stop,) = outcome.stops
    assert stop.slot == 1
    percent = float(re.search(r"^([\d.]+) % of its voxels fold", stop.reason)[1])
    assert percent == pytest.approx(100 * 5 / 30, abs=0.1)  # one line of five voxels of thirty
    assert outcome.kept.tolist()[0] == 20
    assert 0 < outcome.kept[1] < 20
    assert moments.count == [int(outcome.kept.sum())]

    with pytest.raises(ChainsStopped, match=r"All 1 chains were stopped.*fold.*samples were kept") as caught:
        sample(Shifted(), torch.zeros(1, 1), SGLD(0.001), generator=seeded(), **settings)
    assert isinstance(caught.value, NumericalError)
    assert int(caught.value.outcome.kept) > 0
    assert caught.value.outcome.transitions == caught.value.outcome.stops[0].transition


class Shifted(EnergyFunction):
    """½ 100 |z − 3|²."""

    def __call__(self, z):
        return 50 * (z[:, 0] - 3).square()


def test_folds_between_kept_samples_are_found_where_wanted():
    plan = Plan(burn_in=0, transitions=60, thin=60)
    with pytest.raises(ChainsStopped) as caught:
        sample(
            Shifted(),
            torch.zeros(1, 1),
            SGLD(0.001),
            plan=plan,
            generator=seeded(),
            field=fold,
            safety=Safety(fold_percent=0.1, every=5),
        )
    assert caught.value.outcome.transitions < 60
    assert caught.value.outcome.transitions % 5 == 0


def test_impossible_requests_are_refused_before_any_work():
    energy = Bowl()
    plan = Plan(burn_in=0, transitions=1, thin=1)
    with pytest.raises(CompositionError, match="fold_percent"):
        sample(
            energy,
            torch.zeros(1, 2),
            SGLD(0.1),
            plan=plan,
            generator=seeded(),
            safety=Safety(fold_percent=0.1),
        )
    with pytest.raises(ConfigError, match="chain"):
        sample(energy, torch.zeros(0, 2), SGLD(0.1), plan=plan, generator=seeded())
    for bad in ({"fold_percent": -1}, {"energy_rise": 0.0}, {"every": -2}):
        with pytest.raises(ConfigError):
            Safety(**bad)
    assert energy.count == -1


@pytest.mark.parametrize("sampler", SAMPLERS, ids=NAMES)
def test_a_batch_is_its_chains_one_by_one(sampler):
    start = torch.randn(4, 2, 3, generator=seeded(9))
    energy = Bowl()
    together = sampler.begin(start, Noise([seeded(number) for number in range(4)]))
    alone = [sampler.begin(start[n : n + 1], Noise([seeded(n)])) for n in range(4)]
    for _ in range(20):
        batch = together.step(energy)
        single = [chain.step(energy) for chain in alone]
        assert torch.equal(batch.sample, torch.cat([each.sample for each in single]))
        assert torch.equal(batch.energies, torch.cat([each.energies for each in single]))


@pytest.mark.parametrize("sampler", SAMPLERS, ids=NAMES)
def test_same_seed_same_bits(sampler):
    def run(seed):
        heard = Heard()
        plan = Plan(burn_in=3, transitions=20, thin=2)
        sample(
            JitteredEnergy(2),
            torch.zeros(2, 2, 4),
            sampler,
            plan=plan,
            generator=seeded(seed),
            listeners=[heard],
        )
        return torch.stack(heard.fields)

    assert torch.equal(run(0), run(0))
    assert not torch.equal(run(0), run(1))


class Interrupted(Exception):
    pass


def listeners(heard):
    labels = torch.zeros(1, 1, 6, 5, dtype=torch.uint8)
    labels[..., 2:4, 1:3] = 7
    return [
        heard,
        Moments(),
        LabelCounts(labels, {"myocardium": 7}, spacing_mm=torch.ones(2), fixed_labels=labels),
        Probe.at_random(labels, count=3, generator=seeded()),
    ]


@pytest.mark.parametrize("sampler", SAMPLERS, ids=NAMES)
def test_an_interrupted_sampling_goes_on_bit_by_bit(sampler, tmp_path):
    def run(keep=None, stop_at=None):
        def progress(told):
            if told.transition == stop_at:
                raise Interrupted

        heard = Heard()
        everybody = listeners(heard)
        outcome = sample(
            JitteredEnergy(2),
            torch.zeros(2, 2, 6, 5),
            sampler,
            plan=Plan(burn_in=5, transitions=30, thin=3),
            generator=seeded(),
            listeners=everybody,
            keep=keep,
            progress=progress,
        )
        return outcome, heard, everybody

    file = StateFile(tmp_path / "sampling.state", every_s=0)
    for place in (2, 17, 33):  # in the burn-in, in the middle, before the last
        with pytest.raises(Interrupted):
            run(file, place)
    outcome, heard, gathered = run(file)
    expected, reference, wanted = run()
    assert heard.transitions == reference.transitions
    assert torch.equal(torch.stack(heard.fields), torch.stack(reference.fields))
    assert torch.equal(outcome.z, expected.z)
    for mine, theirs in zip(gathered, wanted, strict=True):
        assert_equal(mine.state(), theirs.state())
    # A finished sampling is answered from its file
    again, answered, _ = run(file, stop_at=0)
    assert torch.equal(again.z, expected.z)
    assert answered.transitions == reference.transitions
    file.remove()
    assert file.read(made_by={}) is None


def assert_equal(one, two):
    """Equality of nested states, bit by bit."""
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, two)
    elif isinstance(one, dict):
        assert one.keys() == two.keys()
        for key in one:
            assert_equal(one[key], two[key])
    elif isinstance(one, list):
        assert len(one) == len(two)
        for first, second in zip(one, two, strict=True):
            assert_equal(first, second)
    else:
        assert one == two


def test_the_state_of_another_sampling_is_refused(tmp_path):
    file = StateFile(tmp_path / "a.state", every_s=0)

    def run(tau, chains=1):
        plan = Plan(burn_in=0, transitions=2, thin=1)
        sample(Bowl(), torch.zeros(chains, 2), SGLD(tau), plan=plan, generator=seeded(), keep=file)

    run(0.1)
    with pytest.raises(CheckpointError, match=r"a\.state belongs to another.*step_size"):
        run(0.2)
    with pytest.raises(CheckpointError, match="shape"):
        run(0.1, chains=2)
    content = torch.load(file.path)
    del content["state_dict"]["done"]  # as another version might have written it
    torch.save(content, file.path)
    with pytest.raises(CheckpointError, match=r"a\.state does not fit this inference"):
        run(0.1)
    file.path.write_bytes(file.path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"a\.state"):
        run(0.1)
    with pytest.raises(ConfigError, match="every"):
        StateFile(tmp_path / "b.state", every_s=-1)


def test_a_state_file_that_cannot_be_written(tmp_path, monkeypatch, caplog):
    def run(path, made_until=None):
        seen = []
        plan = Plan(burn_in=0, transitions=4, thin=1)
        file = StateFile(path, every_s=0)
        sample(
            Bowl(),
            torch.zeros(1, 2),
            SGLD(0.1),
            plan=plan,
            generator=seeded(),
            keep=file,
            progress=lambda told: (seen.append(told.transition), full(told.transition == made_until)),
        )
        return seen

    def full(now):
        if now:
            monkeypatch.setattr("torch.save", no_space)

    def no_space(*args, **settings):
        raise OSError(28, "No space left on device")

    # A wrong place is known before any work; a disk that fills up later does not cost the samples
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        run(tmp_path / "file" / "a.state")
    assert run(tmp_path / "a.state", made_until=2) == [0, 1, 2, 3, 4]
    assert "a.state cannot be written" in caplog.text


def test_registration_energies_are_sampled():
    generator = seeded(3)
    fixed = torch.rand(2, 1, 12, 10, generator=generator)
    images = full_images(fixed, fixed.roll(1, 2), spacing_mm=torch.tensor([1.5, 2.0]))
    pairs = PairEnergy(
        Energy(SSD(weight=1.0), Diffusion(weight=1.0)),
        StationaryVelocity(4),
        images,
        data_weight=500,
        weight=500,
    )
    energy = pairs.chains(3)
    labels = (fixed > 0.5).to(torch.uint8)
    moments = Moments(pairs=2)
    counts = LabelCounts(labels, {"bright": 1}, spacing_mm=images.spacing_mm, fixed_labels=labels)
    probe = Probe.at_random(labels, count=20, generator=generator)
    outcome = sample(
        energy,
        from_identity(pairs.identity(), chains=3).z,
        SGHMC(0.02, friction=5.0),
        plan=Plan(burn_in=10, transitions=40, thin=10),
        generator=generator,
        pairs=2,
        variance=torch.ones(pairs.shape),
        field=lambda z: energy.deformation(z).displacement,
        listeners=[moments, counts, probe],
        scalars=lambda z: dict(zip(("data", "prior"), energy.parts(z), strict=True)),
        safety=Safety(fold_percent=50, energy_rise=1e6),
    )
    assert outcome.kept.tolist() == [4] * 6
    assert moments.mean().shape == (2, 2, 12, 10)
    assert counts.sizes(1).shape == (12, 1)
    assert probe.chains(1).shape == (3, 4, 2, 20)
    parts = 500 * probe.scalar("data") + probe.scalar("prior")
    torch.testing.assert_close(parts, probe.scalar("energy"), rtol=1e-5, atol=0)


SCRIPT = """
import sys, time
import torch
from jittered_energy import JitteredEnergy
from medreg.inference.sampling.hamiltonian import SGHMC
from medreg.inference.sampling.plan import Plan
from medreg.inference.sampling.run import sample
from medreg.inference.sampling.streaming import Chunks, Moments, Probe
from medreg.inference.state_file import StateFile

folder, slow = sys.argv[1], sys.argv[2] == "slow"
moments, probe = Moments(), Probe(torch.arange(4)[None])
outcome = sample(
    JitteredEnergy(2), torch.zeros(2, 2, 6, 5), SGHMC(0.4, friction=0.5),
    plan=Plan(burn_in=5, transitions=60, thin=2), generator=torch.Generator().manual_seed(0),
    listeners=[moments, probe, Chunks(folder + "/samples")], keep=StateFile(folder + "/state", every_s=0),
    progress=lambda told: time.sleep(0.05 if slow and told.transition > 20 else 0),
)
torch.save([outcome.z, moments.state(), probe.state()], folder + "/answer")
"""


@pytest.mark.slow
def test_killed_in_the_middle(tmp_path, monkeypatch):
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))
    environment = {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests' / 'support'}", "OMP_NUM_THREADS": "1", "PATH": ""}

    def start(folder, pace):
        folder.mkdir(exist_ok=True)
        return subprocess.Popen([sys.executable, script, str(folder), pace], env=environment)

    straight, killed = tmp_path / "straight", tmp_path / "killed"
    straight.mkdir()
    monkeypatch.setattr(sys, "argv", [str(script), str(straight), "fast"])
    runpy.run_path(str(script))
    victim = start(killed, "slow")
    while len(list(killed.glob("samples/sample-*.npz"))) < 12:
        assert victim.poll() is None
        time.sleep(0.01)
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    assert not (killed / "answer").exists()
    assert start(killed, "fast").wait() == 0
    answers = [torch.load(folder / "answer") for folder in (straight, killed)]
    assert_equal(*answers)
    files = [sorted(path.name for path in folder.glob("samples/*")) for folder in (straight, killed)]
    assert files[0] == files[1]
    assert len(files[0]) == 30
    for name in files[0]:
        assert (straight / "samples" / name).read_bytes() == (killed / "samples" / name).read_bytes()
