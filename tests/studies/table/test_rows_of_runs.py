"""A row whose model is made of the trained runs of another row."""

from __future__ import annotations

import pytest

from medreg.errors import ConfigError
from medreg.studies.table.places import find
from medreg.studies.table.plan import make_plan

TABLE = """\
title: Made of runs
common: [data=cardiac_phantom]
rows:
  net: {overrides: [model=voxelmorph, optimiser.lr=1e-3], seeds: [1, 2, 3], shown: false}
  ensemble: {of: net, into: model.runs, overrides: [model=ensemble]}
  moved: {of: net, into: model.run, overrides: [model=equivariance]}
columns: {dice: }
scales: {smoke: {overrides: [trainer.max_epochs=1]}}
"""


@pytest.fixture
def plan_of(experiments):
    def make(text):
        experiments.write(text)
        return make_plan(find(["paper/two"], experiments.root / "experiments")[0], "smoke")

    return make


def test_a_list_takes_the_runs_of_all_seeds_and_an_option_that_of_its_own(plan_of):
    plan = plan_of(TABLE)
    folders = [str(one.folder) for one in plan.requests(["net"])]
    assert len(set(folders)) == 3
    (ensemble,), (moved,) = plan.requests(["ensemble"]), plan.requests(["moved"])
    assert "model.runs=[" + ",".join(f"'{folder}'" for folder in folders) + "]" in ensemble.overrides
    assert f"model.run='{folders[0]}'" in moved.overrides
    assert ensemble.source is None
    assert moved.source is None


def test_options_of_the_trained_row_do_not_hold_but_those_of_the_table_do(plan_of):
    words = plan_of(TABLE).requests(["ensemble"])[0].overrides
    assert {"model=ensemble", "data=cardiac_phantom", "trainer.max_epochs=1"} <= set(words)
    assert not any("optimiser" in word or word == "model=voxelmorph" for word in words)


def test_what_it_is_made_of_decides_the_folder_and_comes_first(plan_of):
    plan = plan_of(TABLE)
    before = plan.requests(["ensemble"])[0].folder
    after = plan_of(TABLE.replace("1e-3", "1e-2")).requests(["ensemble"])[0].folder
    assert before != after
    assert plan.waves(["ensemble"]) == [["net"], ["ensemble"]]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("of: net, into: model.runs", "into: model.runs", "of: ROW"),
        ("into: model.runs", "into: model.rnus", "has no option model.rnus"),
    ],
)
def test_mistakes(plan_of, old, new, says):
    with pytest.raises(ConfigError, match=says):
        plan_of(TABLE.replace(old, new)).requests(["ensemble"])


CHAIN = """\
title: Trained further
common: [data=cardiac_phantom]
rows:
  tested: {of: further, overrides: [mode=test]}
  further: {of: start, into: init, overrides: [model=voxelmorph, optimiser.lr=1e-4]}
  start: {overrides: [model=voxelmorph]}
columns: {dice: }
seeds: [1, 2]
scales: {smoke: {}}
"""


def test_training_goes_on_from_a_row_and_is_tested_by_another(plan_of):
    plan = plan_of(CHAIN)
    assert plan.waves() == [["start"], ["further"], ["tested"]]
    assert plan.waves(["tested"]) == [["start"], ["further"], ["tested"]]
    start, further, tested = (plan.requests([name])[1] for name in ("start", "further", "tested"))
    assert f"init='{start.folder}'" in further.overrides
    assert further.seed == start.seed == 2
    assert f"ckpt='{further.folder}'" in tested.overrides
    assert tested.source == further.folder


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("start: {overrides", "start: {of: further, into: init, overrides", "cannot need itself"),
        ("of: further,", "of: tested,", "cannot need itself"),
        ("of: start, into: init,", "of: start,", "further trains nothing itself"),
    ],
)
def test_circles_and_tests_of_tests(plan_of, old, new, says):
    with pytest.raises(ConfigError, match=says):
        plan_of(CHAIN.replace(old, new)).waves()
