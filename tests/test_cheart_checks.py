"""CHeart learns a population of hearts: what must hold of completion and of generation, on a training of some minutes.

Numbers of the long trainings are those of experiments/cheart.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from small_run import run, run_folder

from medreg.metrics.hearts.sources import TABLE

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]
EPOCHS = 40
TRAINED = (
    "experiment=cheart_laptop", "logger=none", "report=false", "pictures=0", "metrics.surface=false",
    "metrics.surface_of_samples=false", "task.evaluation.completion_samples=0",
)  # fmt: skip
VOLUMES = ("lvedv_ml", "lvesv_ml", "lvm_g", "rvedv_ml")


class Run:
    """Tables of a finished run."""

    def __init__(self, folder):
        self.folder = folder
        self.results = pd.read_csv(folder / "results.csv")
        self.measures = pd.read_csv(folder / f"{TABLE}.csv", dtype={"case": str})

    def cases(self, metric, structure="mean", method=None):
        """Values of a metric over cases, of the completion by the mean code."""
        own = self.results[(self.results["metric"] == metric) & (self.results["structure"] == structure)]
        return own[own["method"] == (method or own["method"].iloc[0])].set_index("case")["value"]

    def pooled(self, metric, structure="all"):
        """A number of all hearts together."""
        rows = self.results[self.results["case"] == "population"].set_index(["metric", "structure"])["value"]
        return float(rows.loc[(metric, structure)])

    def of(self, source):
        return self.measures[self.measures["source"] == source]


@pytest.fixture(scope="module")
def finished(tmp_path_factory, hearts_cache):
    """Start a run of a model on the population, once; return its tables."""
    known = {}

    def make(*words):
        if words not in known:
            folder = tmp_path_factory.mktemp("run")
            code, output = run(folder, [*TRAINED, *words, f"paths.cache={hearts_cache}"])
            assert code == 0, output[-3000:]
            known[words] = Run(run_folder(folder))
        return known[words]

    return make


@pytest.fixture(scope="module")
def hearts_cache(tmp_path_factory):
    """The hearts, written once for all runs."""
    return tmp_path_factory.mktemp("hearts")


@pytest.fixture(scope="module")
def cheart(finished):
    return finished("model=cheart", f"trainer.max_epochs={EPOCHS}")


def test_8_the_loss_falls_and_the_code_is_used(cheart):
    history = pd.read_csv(cheart.folder / "history.csv")
    ce = history[history["name"] == "train/ce"]["value"].to_numpy()
    assert ce[9] < 0.12
    assert ce[-5:].mean() < 0.06
    means = [part.mean() for part in np.array_split(ce, len(ce) // 5)]
    assert sum(np.diff(means) > 0) <= 1
    assert 0.1 < history[history["name"] == "train/kl"]["value"].iloc[-1] < 3


@pytest.mark.parametrize("model", ["copy_ed", "mean_shape"])
def test_9_completion_is_better_than_repeating_a_heart(cheart, finished, model):
    other = finished(f"model={model}")
    for structure in ("LV", "MYO", "RV"):
        assert cheart.cases("dice", structure).mean() > other.cases("dice", structure).mean()


def test_10_ed_and_es_fall_into_the_right_frames(cheart):
    assert cheart.cases("largest_first_percent", "all").mean() >= 90
    assert cheart.cases("es_frame_percent", "all").mean() >= 95


def test_11_the_error_of_es_is_small_but_not_less_than_it_can_be(cheart):
    assert 4 <= cheart.cases("measure_error", "lvesv_ml").mean() <= 8


def test_12_generated_hearts_beat_as_real_ones_do(cheart):
    assert cheart.pooled("modelled_largest_first_percent") >= 90
    assert cheart.pooled("modelled_es_frame_percent") >= 90
    assert cheart.pooled("incomplete_percent") == 0


def test_13_sex(cheart):
    assert 60 <= cheart.pooled("difference_sex_percent", "lvedv_ml") <= 140
    for measure in ("lvedv_ml", "lvm_g", "rvedv_ml"):
        assert cheart.pooled("effect_sex_low", measure) > 0
        assert cheart.pooled("effect_sex", measure) < cheart.pooled("difference_sex", measure)


def test_14_age(cheart):
    for measure in ("lvedv_ml", "rvedv_ml"):
        assert cheart.pooled("effect_age_high", measure) < 0
        assert 40 <= cheart.pooled("effect_age_percent", measure) <= 160
    assert abs(cheart.pooled("control_percent", "lvm_g_by_age_female")) < 10


def test_15_weight_pressure_and_height(cheart):
    for measure in ("lvedv_ml", "lvm_g"):
        for condition in ("weight", "sbp"):
            assert cheart.pooled(f"effect_{condition}_low", measure) > 0
            assert cheart.pooled(f"effect_{condition}_percent", measure) >= 30
        assert cheart.pooled("effect_height", measure) > 0
    assert abs(cheart.pooled("control_percent", "rvedv_ml_by_sbp")) < 3


def test_16_distributions(cheart):
    for measure in VOLUMES:
        assert cheart.pooled("w1_sd", measure) < 0.25
        assert 0.7 <= cheart.pooled("sd_ratio", measure) <= 1.3


def test_17_without_recurrence_the_heart_stands_still(finished):
    still = finished("model=cheart", "model.cell=none", "trainer.max_epochs=3")
    assert still.of("generated")["lvef_percent"].abs().max() == 0


def test_18_the_cycle_closes(cheart):
    assert cheart.pooled("wrap_ratio") <= 1.8  # 1.5 after the long training, experiments/cheart


def test_what_is_asked_for_is_what_comes(cheart):
    for measure in ("lvedv_ml", "lvm_g", "rvedv_ml"):
        assert cheart.pooled("controllability", measure) >= 0.8
    assert cheart.pooled("two_sample_accuracy") <= 0.8


def test_no_training_heart_is_given_back(cheart):
    assert cheart.pooled("memorisation_against_held_out") > 0.9
    assert cheart.pooled("memorisation_copies_percent") <= 5


@pytest.fixture(scope="module")
def model(cheart):
    """The trained model, and the hearts of the test."""
    import yaml

    from medreg.config.instantiate import build

    config = yaml.safe_load((cheart.folder / "config.yaml").read_text())
    task, data = build(config["task"]), build(config["data"])
    state = torch.load(cheart.folder / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    task.load_state_dict(state)
    samples = data.samples("test")
    return task.eval(), [samples[place] for place in range(len(samples))]


def measured(task, item, told, shape):
    found = task.evaluator.measures(shape, item["spacing_mm"][0].tolist())
    return {"case": item["case"][0], "sex": float(item["covariates"]["sex"][0]), **told, **found}


def test_19_a_heart_made_older_is_the_same_heart(model):
    task, items = model
    rows = []
    with torch.no_grad():
        for item in items[:60]:
            for group, years in enumerate((47.5, 53.5, 58.5, 63.5, 68.5, 73.5, 79.0)):
                told = {**item["covariates"], "age_years": torch.tensor([years])}
                shape = task.model.complete(item["shape"][:, 0], told)[0]
                rows.append(measured(task, item, {"group": group}, shape))
    hearts = pd.DataFrame(rows)
    # Which way the mean goes with age alone is not settled after so short a training (once it rose by 1.7 mL).
    wide = hearts.pivot(index="case", columns="group", values="lvedv_ml")
    sexes = hearts.groupby("case")["sex"].first()
    for chosen in (wide.index, sexes.index[sexes == 0], sexes.index[sexes == 1]):
        assert wide.loc[chosen, 0].corr(wide.loc[chosen, 6]) >= 0.8
    turn = hearts.pivot(index="case", columns="group", values="septal_angle_deg")
    assert ((turn[6] - turn[0] + 180) % 360 - 180).abs().median() < 10


def test_20_with_the_conditions_of_others_the_sexes_do_not_differ(model):
    task, items = model
    generator, chance = torch.Generator().manual_seed(1), np.random.default_rng(1)
    rows = []
    with torch.no_grad():
        for repeat in range(10):
            others = chance.permutation(len(items))
            for item, other in zip(items, others, strict=True):
                for kind, told in (("own", item), ("other", items[other])):
                    shape = task.model.generate(told["covariates"], generator=generator)[0]
                    rows.append(measured(task, item, {"kind": kind, "repeat": repeat}, shape))
    means = pd.DataFrame(rows).groupby(["kind", "sex"])["lvedv_ml"].mean()
    own, other = (means[kind][1.0] - means[kind][0.0] for kind in ("own", "other"))
    assert own > 10
    assert abs(other) < 0.2 * own
