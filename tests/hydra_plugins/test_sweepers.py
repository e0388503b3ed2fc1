"""Sweepers without runs: what is composed, what is asked, what a failed or killed trial leaves behind."""

from __future__ import annotations

import copy
import functools
import math

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import OmegaConf

from hydra_plugins.medreg_sweepers._jobs import Ended
from hydra_plugins.medreg_sweepers._space import space_of
from hydra_plugins.medreg_sweepers.grid import GridSweeper
from hydra_plugins.medreg_sweepers.search import SearchSweeper, counted, direction_of
from medreg.config.paths import config_dir
from medreg.config.remembering import RememberingLoader
from medreg.config.resolvers import register
from medreg.errors import ConfigError
from medreg.runs.sweep import jobs_of


class Killed(BaseException):
    """Stands for kill -9: nothing after it is run."""


@pytest.fixture(scope="module")
def loader():
    register()
    outer = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(config_dir()), version_base="1.3", job_name="train"):
        yield GlobalHydra.instance().hydra.config_loader
    GlobalHydra.instance().clear()
    if outer is not None:
        GlobalHydra.instance().initialize(outer)


@functools.cache
def composed(loader, words):
    return loader.load_configuration("train", list(words), RunMode.MULTIRUN)


@functools.cache
def remembering(loader):
    return RememberingLoader(loader)


def master(loader, tmp_path, *words):
    whole = copy.deepcopy(composed(loader, words))
    whole.hydra.sweep.dir = str(tmp_path)
    return whole


def ready(sweeper, loader, tmp_path, words, answer=None):
    """Give a sweeper what Hydra would, and a job that answers at once in place of a launcher."""
    sweeper.config, sweeper.loader = master(loader, tmp_path, *words), remembering(loader)
    if answer is not None:
        sweeper.run = lambda jobs: [
            Ended(tuple(job), answer(dict(w.split("=", 1) for w in job))) for job in jobs
        ]
    return sweeper


def search(
    loader, tmp_path, words, answer, *, n_trials=6, n_jobs=1, sampler="bayes", pruner=None, directions=None
):
    import optuna

    samplers = {
        "bayes": lambda seed: optuna.samplers.TPESampler(seed=seed, n_startup_trials=3, constant_liar=True),
        "random": lambda seed: optuna.samplers.RandomSampler(seed=seed),
    }
    made = SearchSweeper(
        sampler=samplers[sampler],
        pruner=pruner,
        n_trials=n_trials,
        n_jobs=n_jobs,
        seed=1,
        directions=directions,
    )
    ready(made, loader, tmp_path, words, answer).run_all(list(words))
    return trials_of(tmp_path)


def trials_of(tmp_path):
    import optuna

    from hydra_plugins.medreg_sweepers.search import STUDY, storage_of

    (folder,) = tmp_path.glob("sweep_*")
    return counted(optuna.load_study(study_name=STUDY, storage=storage_of(folder)))


WEIGHT = "regularisation.weight=tag(log,interval(0.001,1))"


def dice(options):
    """An objective with its best at a weight of 0.1."""
    return 1 - abs(math.log10(float(options["regularisation.weight"])) + 1)


def test_remembered_composition_equals_hydras(loader, tmp_path):
    own = RememberingLoader(loader)
    whole = master(loader, tmp_path, "model=identity", "seed=1,2")
    for words in (["model=identity", "seed=7"], ["model=identity", "seed=8", "+note.more=[1,2]", "~debug"],
                  ["model=gradirn", "seed=8", "similarity=lncc", "tags=[a]"]):  # fmt: skip
        ours, theirs = own.load_sweep_config(whole, words), loader.load_sweep_config(whole, words)
        assert OmegaConf.to_container(ours, resolve=False) == OmegaConf.to_container(theirs, resolve=False)


def test_remembered_composition_is_not_changed_by_a_job(loader, tmp_path):
    own, whole = RememberingLoader(loader), master(loader, tmp_path, "seed=1,2")
    first = own.load_sweep_config(whole, ["model=identity", "seed=1", "+extra=1"])
    second = own.load_sweep_config(whole, ["model=identity", "seed=2"])
    assert (first.seed, second.seed, "extra" in second) == (1, 2, False)


def test_grid_is_the_product_in_order(loader, tmp_path):
    words = ["model=identity,greedy", "seed=1,2", "tags=[a,b]"]
    jobs = ready(GridSweeper(at_most=None, seed=1), loader, tmp_path, words).jobs(words)
    assert [job[:2] for job in jobs] == [
        ["model=identity", "seed=1"], ["model=identity", "seed=2"],
        ["model=greedy", "seed=1"], ["model=greedy", "seed=2"],
    ]  # fmt: skip


def test_part_of_a_grid_is_the_same_every_time(loader, tmp_path):
    words = ["model=identity", "seed=range(0,50)"]
    draws = [ready(GridSweeper(at_most=5, seed=3), loader, tmp_path, words).jobs(words) for _ in range(2)]
    assert draws[0] == draws[1]
    assert len({job[1] for job in draws[0]}) == 5


def test_grid_remembers_every_job_with_its_folder(loader, tmp_path):
    words = ["model=identity", "seed=1,2"]
    ready(GridSweeper(at_most=None, seed=1), loader, tmp_path, words, answer=lambda options: 0.5).run_all(
        words
    )
    (folder,) = tmp_path.glob("sweep_*")
    jobs = jobs_of(folder)
    assert [job.overrides for job in jobs] == [("model=identity", "seed=1"), ("model=identity", "seed=2")]
    assert len({job.folder for job in jobs}) == 2
    assert all(job.folder.parent == tmp_path for job in jobs)


def test_space_in_hydras_notation(loader):
    words = [
        WEIGHT,
        "a=interval(1,3)",
        "b=range(1,8,3)",
        "c=choice(x,y)",
        "d=1,2.5",
        "seed=1,2",
        "e=[1,2]",
        "f=int(interval(1,9))",
    ]
    found = space_of(OverridesParser.create(config_loader=loader).parse_overrides(words))
    assert found.fixed == ("e=[1,2]",)
    assert found.seeds == ("1", "2")
    weight, b = found.varied["regularisation.weight"], found.varied["b"]
    assert (weight.low, weight.high, weight.log) == (0.001, 1.0, True)
    assert (b.low, b.high, b.step) == (1, 7, 3)
    assert found.varied["c"].choices == ("x", "y")
    assert found.varied["d"].choices == ("1", "2.5")
    assert found.jobs({"c": "x"}) == [["e=[1,2]", "c=x", "seed=1"], ["e=[1,2]", "c=x", "seed=2"]]


def test_the_last_of_two_values_counts(loader):
    overrides = OverridesParser.create(config_loader=loader).parse_overrides(
        ["a=1", "b=2", "a=choice(3,4)", "b=5"]
    )
    found = space_of(overrides)
    assert found.fixed == ("b=5",)
    assert found.varied["a"].choices == ("3", "4")


def test_nothing_to_search_is_told(loader):
    with pytest.raises(ConfigError, match="an option that varies"):
        space_of(OverridesParser.create(config_loader=loader).parse_overrides(["seed=1,2"]))


@pytest.mark.parametrize("sampler", ["bayes", "random"])
def test_search_finds_the_better_half(loader, tmp_path, sampler):
    trials = search(loader, tmp_path, ["model=identity", WEIGHT], dice, n_trials=20, sampler=sampler)
    assert len(trials) == 20
    best = max(trials, key=lambda one: one.value)
    assert 0.05 < best.params["regularisation.weight"] < 0.2


def test_a_trial_is_the_mean_over_seeds(loader, tmp_path):
    trials = search(
        loader, tmp_path, ["model=identity", WEIGHT, "seed=1,2,3"], lambda o: float(o["seed"]), n_trials=2
    )
    assert [one.value for one in trials] == [2.0, 2.0]


def test_failed_and_unmeasured_trials_end_no_search(loader, tmp_path):
    answers = iter([0.5, math.nan, None, 0.7, "oops", 0.9])
    trials = search(loader, tmp_path, ["model=identity", WEIGHT], lambda options: next(answers))
    assert [one.state.name for one in trials] == ["COMPLETE", "FAIL", "FAIL", "COMPLETE", "FAIL", "COMPLETE"]


def test_several_objectives(loader, tmp_path):
    words = ["model=identity", WEIGHT, "objective=[dice,folding_percent]"]
    trials = search(
        loader, tmp_path, words, lambda o: [dice(o), float(o["regularisation.weight"])], n_trials=5
    )
    assert all(len(one.values) == 2 for one in trials)
    assert (direction_of("dice"), direction_of("folding_percent")) == ("maximize", "minimize")


def test_an_objective_without_direction_is_refused(loader, tmp_path):
    with pytest.raises(ConfigError, match="neither better nor worse"):
        search(loader, tmp_path, ["model=identity", WEIGHT, "objective=something"], dice)
    assert (
        len(
            search(
                loader,
                tmp_path,
                ["model=identity", WEIGHT, "objective=something"],
                dice,
                directions=["maximize"],
            )
        )
        == 6
    )


@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.parametrize("killed_at", [1, 3, 4])
def test_killed_and_continued_ends_as_undisturbed(loader, tmp_path, n_jobs, killed_at):
    words, asked = ["model=identity", WEIGHT], []

    def dying(options):
        asked.append(options)
        if len(asked) == killed_at:
            raise Killed
        return dice(options)

    with pytest.raises(Killed):
        search(loader, tmp_path / "killed", words, dying, n_jobs=n_jobs, n_trials=8)
    continued = search(loader, tmp_path / "killed", words, dice, n_jobs=n_jobs, n_trials=8)
    whole = search(loader, tmp_path / "whole", words, dice, n_jobs=n_jobs, n_trials=8)
    assert sorted(one.value for one in continued) == sorted(one.value for one in whole)


def test_more_trials_go_on_from_those_there(loader, tmp_path):
    words = ["model=identity", WEIGHT]
    first = search(loader, tmp_path, words, dice, n_trials=3)
    more = search(loader, tmp_path, words, dice, n_trials=5)
    assert [one.value for one in more[:3]] == [one.value for one in first]
    assert len(more) == 5


def test_several_seeds_and_a_pruner_do_not_go_together(loader, tmp_path):
    import optuna

    words = ["model=identity", WEIGHT, "seed=1,2"]
    with pytest.raises(ConfigError, match="several seeds cannot be pruned"):
        search(loader, tmp_path, words, dice, pruner=optuna.pruners.MedianPruner())
