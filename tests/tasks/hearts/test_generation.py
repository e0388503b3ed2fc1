"""Training of CHeart: the loss falls, a resumed run is the same run, what is asked of a case reaches its result."""

from __future__ import annotations

from typing import ClassVar

import pytest
import pytorch_lightning as pl
import torch
from beating_hearts import BeatingHearts, CountingEvaluator, heart_batch, scaled_conditions, small_cheart

from medreg.errors import CompositionError, NumericalError
from medreg.losses.generative.cheart import CHeartLoss
from medreg.models.hearts.condition import Category
from medreg.models.hearts.conditions import Conditions
from medreg.tasks.hearts.generation import GenerationTask
from medreg.tasks.hearts.sequence_case import SequenceEvaluation

pytestmark = pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many workers")
LOSS = {
    "beta": 0.01,
    "frame_weights": "none",
    "class_weights": None,
    "kl_reduction": "mean",
    "beta_warmup_epochs": 0,
    "frames_per_step": 3,
    "displacement_weight": 0.01,
}


def task_of(model=None, *, samples=2, completion_samples=2, completion="mean", **loss):
    evaluation = SequenceEvaluation(
        CountingEvaluator(), samples=samples, completion_samples=completion_samples, completion=completion
    )
    return GenerationTask(
        model or small_cheart(),
        CHeartLoss(**{**LOSS, **loss}),
        evaluation=evaluation,
        optimiser=lambda parameters: torch.optim.Adam(parameters, lr=5e-3),
        name="cheart",
        seed=3,
    )


def trainer_of(folder, *callbacks, epochs=1, **options):
    return pl.Trainer(
        default_root_dir=folder,
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=list(callbacks),
        log_every_n_steps=1,
        num_sanity_val_steps=0,
        **options,
    )


def weights(task):
    return torch.cat([value.flatten().float() for value in task.state_dict().values()])


def test_the_loss_falls_and_what_is_logged(tmp_path):
    task, trainer = task_of(), trainer_of(tmp_path, epochs=6)
    trainer.fit(task, BeatingHearts())
    found = trainer.callback_metrics
    assert {f"{part}/{name}" for part in ("train", "val") for name in ("loss", "ce", "kl")} <= set(found)
    assert float(found["train/ce"]) < 0.6  # ln 4 = 1.386 before it has learned
    assert float(found["val/loss"]) == pytest.approx(
        float(found["val/ce"]) + 0.01 * float(found["val/kl"]), rel=1e-4
    )
    assert 0 <= float(found["val/active_dimensions"]) <= 6
    assert float(task.model.conditions.low[0]) < 50 < 75 < float(task.model.conditions.high[0])


class Kept(pl.Callback):
    """Keeps the results of a test."""

    def __init__(self):
        self.results = []

    def on_test_batch_end(self, trainer, task, outputs, batch, index, dataloader_idx=0):
        self.results.append(outputs)


def test_a_case_is_completed_sampled_and_generated(tmp_path):
    kept = Kept()
    trainer_of(tmp_path, kept).test(task_of(), BeatingHearts(), verbose=False)
    result = kept.results[0]
    assert list(result.rows) == ["cheart", "cheart samples", "cheart generated"]
    found = {row.metric: row for row in result.rows["cheart"]}
    assert set(found) == {"dice", "time_s", "peak_memory_mib", "code_kl", "equivalent_beta"}
    assert found["code_kl"].value > 0
    assert found["code_kl"].unit == "nat"
    assert found["equivalent_beta"].value == pytest.approx(0.01 * 6 * 16 * 16 * 8 / 6)  # β T |S| / z
    table = result.tables["measures"]
    assert [row["source"] for row in table] == [
        "real", "completed", "completed_sample", "completed_sample", "generated", "generated",
    ]  # fmt: skip
    assert [row["sample"] for row in table] == [0, 0, 0, 1, 0, 1]
    truth = heart_batch(1, seed=200)
    assert table[0]["age_years"] == pytest.approx(float(truth["covariates"]["age_years"][0]))
    assert table[0]["lvedv_ml"] == float((truth["shape"][0, 0] == 1).sum())
    assert {"label", "completed", "generated", "spacing_mm", "affine"} <= set(result.arrays)
    assert result.arrays["generated"].shape == result.arrays["label"].shape == truth["shape"].shape[1:]
    assert result.arrays["completed"].dtype == torch.uint8


def scored(model=None, **options):
    """The result of one case, as an evaluation in any order finds it."""
    task = task_of(model, **options)
    task.model.eval()
    return task.evaluation(
        task.model, heart_batch(1, seed=9), name="m", device=torch.device("cpu"), seed=options.get("seed", 3)
    )


def test_what_is_drawn_follows_from_the_case():
    first, again = scored(), scored()
    assert first.tables == again.tables
    assert torch.equal(first.arrays["generated"], again.arrays["generated"])


def test_released_headline_is_one_draw():
    mean, drawn = scored(), scored(completion="sample")
    assert not torch.equal(mean.arrays["completed"], drawn.arrays["completed"])
    assert torch.equal(drawn.arrays["completed"], scored(completion="sample").arrays["completed"])


def test_an_auto_encoder_is_only_asked_to_complete():
    result = scored(small_cheart(sampled=False))
    assert list(result.rows) == ["m"]
    assert {row["source"] for row in result.tables["measures"]} == {"real", "completed"}


def test_a_model_that_cannot_complete_is_only_asked_to_generate():
    model = small_cheart()
    model.completes = False
    assert list(scored(model).rows) == ["m generated"]


def test_a_step_depends_on_seed_and_number_alone():
    batch, found = heart_batch(4), []
    for index in (0, 0, 1):
        task = task_of()
        found.append(float(task.training_step(batch, index).detach()))
    assert found[0] == found[1] != found[2]


class Stop(pl.Callback):
    """Ends a training after an epoch and writes where it stands."""

    def __init__(self, path, epoch):
        self.path, self.epoch = path, epoch

    def on_train_epoch_end(self, trainer, task):
        if trainer.current_epoch == self.epoch:
            trainer.save_checkpoint(self.path)
            trainer.should_stop = True


def test_resumed_training_is_the_same_to_the_bit(tmp_path):
    whole = task_of()
    trainer_of(tmp_path, epochs=3).fit(whole, BeatingHearts(batches=2))
    file = tmp_path / "last.ckpt"
    trainer_of(tmp_path, Stop(file, 0), epochs=3).fit(task_of(), BeatingHearts(batches=2))
    resumed = task_of(small_cheart(seed=5))
    trainer_of(tmp_path, epochs=3).fit(resumed, BeatingHearts(batches=2), ckpt_path=file)
    assert torch.equal(weights(whole), weights(resumed))


@pytest.mark.parametrize("precision", ["bf16-mixed", "32-true"])
def test_saved_memory_and_half_precision_train(tmp_path, precision):
    task = task_of(small_cheart(checkpoint=True))
    trainer = trainer_of(tmp_path, epochs=2, precision=precision)
    trainer.fit(task, BeatingHearts(batches=2))
    assert torch.isfinite(weights(task)[~weights(task).isnan()]).sum() > 0
    assert 0 < float(trainer.callback_metrics["train/loss"]) < 1.5


def test_displacement_logs_its_roughness(tmp_path):
    task, trainer = task_of(small_cheart(decoder="displacement")), trainer_of(tmp_path)
    trainer.fit(task, BeatingHearts(batches=1))
    assert float(trainer.callback_metrics["train/roughness"]) > 0


def test_auto_encoder_logs_no_divergence(tmp_path):
    task, trainer = task_of(small_cheart(sampled=False), beta=0.0), trainer_of(tmp_path)
    trainer.fit(task, BeatingHearts(batches=1))
    assert "train/kl" not in trainer.callback_metrics
    assert "val/active_dimensions" not in trainer.callback_metrics
    torch.testing.assert_close(trainer.callback_metrics["val/loss"], trainer.callback_metrics["val/ce"])


def test_loss_that_is_not_finite_names_the_hearts():
    task, batch = task_of(), heart_batch(2)
    with torch.no_grad():
        task.model.encoder.mean.bias[0] = torch.nan
    with pytest.raises(NumericalError, match="s0_1"):
        task.training_step(batch, 0)


def test_a_condition_that_the_data_do_not_tell_is_named(tmp_path):
    conditions = scaled_conditions()
    conditions.conditions["heart_rate"] = conditions.conditions["height_cm"]
    task = task_of()
    task.model.conditions = conditions
    with pytest.raises(CompositionError, match="heart_rate"):
        trainer_of(tmp_path).fit(task, BeatingHearts(batches=1))


def test_a_category_with_other_values_is_refused(tmp_path):
    class Grouped(BeatingHearts):
        categories: ClassVar[dict] = {"group": ("NOR", "DCM")}

        def training_covariates(self):
            return {"group": torch.zeros(8)}

    task = task_of(small_cheart(conditions=Conditions(group=Category(["DCM", "NOR"]))))
    with pytest.raises(CompositionError, match="group"):
        trainer_of(tmp_path).fit(task, Grouped(batches=1))
