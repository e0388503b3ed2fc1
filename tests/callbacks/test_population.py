"""Hearts of all cases are pooled at the end of a test, the same whether or not it was interrupted."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from hearts_by_hand import evaluator, pooling

from medreg.callbacks.population import FOLDER, Population
from medreg.callbacks.results import Results
from medreg.callbacks.tabular import read_rows
from medreg.metrics.hearts.sources import heart_row
from medreg.tasks.results import CaseResult

SPACING = (5.0, 5.0, 8.0)
CASES = [f"h{number:02d}" for number in range(12)]


def heart(seed, sex):
    """A small beating heart: boxes of LV in MYO beside RV, larger in men."""
    generator = np.random.default_rng(seed)
    shape = np.zeros((4, 16, 16, 8), np.uint8)
    size = 5 + int(sex) + int(generator.integers(0, 3))
    at, rough = generator.integers(3, 6, 2), generator.random((16, 16, 8))
    for frame, less in enumerate((0, 1, 2, 1)):
        shape[frame, at[0] : at[0] + size + 2, at[1] : at[1] + size + 2, 1:7] = 2
        shape[frame, at[0] + 1 : at[0] + size + 1 - less, at[1] + 1 : at[1] + size + 1, 2:6] = 1
        shape[frame, : at[0], at[1] : at[1] + size - less, 2:6] = 3
        shape[frame][(shape[frame] == 2) & (rough < 0.1)] = 0
    return torch.from_numpy(shape)


def told(place):
    return {"age_years": 45.0 + 3 * (place % 12), "sex": float(place % 2)}


class Data:
    """Training hearts of a data module, one of them twice."""

    def __init__(self, count=30):
        self.count = count

    def items(self, stage):
        return list(range(self.count)) if stage == "train" else []

    def samples(self, stage):
        assert stage == "train"
        return [self.sample(place % self.count) for place in range(self.count + 1)]

    def sample(self, place):
        return {
            "case": [f"t{place}"], "shape": heart(100 + place, place % 2)[None], "spacing_mm": torch.tensor([SPACING]),
            "covariates": {name: torch.tensor([value]) for name, value in told(place).items()},
        }  # fmt: skip


class Evaluation:
    """A test of hearts in a folder, as the runner drives it."""

    def __init__(self, folder, *, data=None, copies=False):
        self.folder, self.data, self.copies = folder, data or Data(), copies
        self.task = SimpleNamespace(evaluator=evaluator(pooling=pooling(resamples=20, trees=3)), name="net")
        self.begin()

    def begin(self, evaluated="best.ckpt"):
        """Start anew, as after a kill; return the cases that are done."""
        self.results, self.population = Results(), Population()
        self.trainer = SimpleNamespace(
            default_root_dir=str(self.folder), world_size=1, callbacks=[self.population, self.results]
        )
        self.done = self.results.begin(self.folder, {"checkpoint": evaluated}, main=True)
        return self.done

    def score(self, *cases):
        for case in cases:
            place = CASES.index(case)
            real = heart(place, place % 2)
            made = [heart(100 + place if self.copies else 200 + 10 * place + n, place % 2) for n in range(3)]
            measure = self.task.evaluator.measures
            rows = [heart_row("real", 0, told(place), measure(real, SPACING))]
            rows += [
                heart_row("generated", n, told(place), measure(each, SPACING)) for n, each in enumerate(made)
            ]
            result = CaseResult(
                case,
                {"net": self.task.evaluator.completion(real, made[0], SPACING)},
                arrays={"label": real, "generated": made[0], "spacing_mm": torch.tensor(SPACING)},
                tables={"measures": rows},
            )
            for callback in self.trainer.callbacks:
                callback.on_test_batch_end(self.trainer, None, result, {}, place)

    def end(self, *, trained=True):
        self.population.on_all_cases(self.trainer, self.task, self.data, trained=trained)
        return self.pooled()

    def pooled(self):
        rows = [row for row in read_rows(self.folder / "results.csv") if row["case"] == "population"]
        return {(row["structure"], row["metric"]): row["value"] for row in rows}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    found = Evaluation(tmp_path_factory.mktemp("whole"))
    found.score(*CASES)
    found.end()
    return found


def test_rows_of_all_hearts_are_one_more_case(whole):
    rows = read_rows(whole.folder / "results.csv")
    assert {row["case"] for row in rows} == {*CASES, "population"}
    own = [row for row in rows if row["case"] == "population"]
    assert {row["method"] for row in own} == {"net"}
    assert {"w1", "effect_sex", "two_sample_accuracy", "memorisation_ratio"} <= {row["metric"] for row in own}
    assert {row["unit"] for row in own if (row["structure"], row["metric"]) == ("lvedv_ml", "w1")} == {"ml"}


def test_training_hearts_are_measured_once_each(whole):
    table = pd.read_csv(whole.folder / "training_measures.csv")
    assert list(table["case"]) == [f"t{place}" for place in range(30)]
    assert set(table["source"]) == {"real_training"}
    measures = pd.read_csv(whole.folder / "measures.csv")
    assert "real_training" not in set(measures["source"])


@pytest.mark.parametrize("until", [1, 7, 12])
def test_an_interrupted_evaluation_has_the_same_rows(tmp_path, whole, until):
    found = Evaluation(tmp_path)
    found.score(*CASES[:until])
    assert found.begin() == set(CASES[:until])
    found.score(*CASES[until:])
    assert found.end() == whole.pooled()


def test_a_kill_while_the_rows_are_stored_is_made_good(tmp_path, whole):
    found = Evaluation(tmp_path)
    found.score(*CASES)
    found.end()
    store = tmp_path / "store" / "results.jsonl"
    store.write_bytes(store.read_bytes()[:-100])  # cut within the rows of the population
    assert found.begin() == set(CASES)  # nothing is left to score
    assert not found.pooled()
    assert found.end() == whole.pooled()


def test_what_is_there_is_not_made_again(tmp_path):
    found = Evaluation(tmp_path)
    found.score(*CASES)
    before = found.end()
    assert found.begin() == set(CASES)
    found.data = None  # would be asked for training hearts
    assert found.end() == before


def test_another_checkpoint_is_pooled_anew(tmp_path):
    found = Evaluation(tmp_path)
    found.score(*CASES)
    before = found.end()
    assert found.begin("last.ckpt") == set()
    assert not found.pooled()
    found.copies = True
    found.score(*CASES)
    after = found.end()
    assert after[("all", "memorisation_ratio")] == "0.0"
    assert after != before


def test_weights_that_have_not_seen_the_training_hearts_cannot_have_memorised_them(tmp_path):
    found = Evaluation(tmp_path)
    found.score(*CASES)
    metrics = {metric for _, metric in found.end(trained=False)}
    assert "w1" in metrics
    assert not [name for name in metrics if name.startswith("memorisation")]


def test_data_without_training_hearts_are_pooled_by_themselves(tmp_path):
    found = Evaluation(tmp_path, data=Data(0))
    found.score(*CASES)
    metrics = {metric for _, metric in found.end(trained=False)}
    assert "w1" in metrics
    assert "w1_sd_floor" not in metrics
    assert not (tmp_path / "training_measures.csv").exists()


def test_a_task_without_hearts_is_left_alone(tmp_path):
    found = Evaluation(tmp_path)
    assert found.end() == {}


def test_frames_of_a_case_are_kept_before_its_rows(whole):
    files = sorted(file.stem for file in (whole.folder / FOLDER).glob("*.npz"))
    assert files == CASES
