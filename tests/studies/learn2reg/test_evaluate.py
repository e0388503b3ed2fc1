"""Evaluation of a whole folder: failures, resuming, memory, what is written."""

from __future__ import annotations

import json
import shutil
import weakref

import learn2reg_tasks as tasks
import numpy as np
import pandas as pd
import pytest

from medreg.errors import ConfigError, DatasetNotFound
from medreg.studies.learn2reg import evaluate as module
from medreg.studies.learn2reg.corrected import hardest_share, worst_share
from medreg.studies.learn2reg.evaluate import evaluate
from medreg.studies.learn2reg.fields import FieldSource


@pytest.fixture
def task(tmp_path):
    return tasks.paired(tmp_path)


def run(task, output=None, **options):
    return evaluate(task.fields, task.data, task.config, output=output, **options)


def spoil(task):
    """A truncated, a missing and a NaN field; the fourth is sound."""
    truncated = task.fields / "disp_0001_0001.nii.gz"
    truncated.write_bytes(truncated.read_bytes()[:5000])
    (task.fields / "disp_0002_0002.npz").unlink()
    (task.fields / "disp_0002_0002.nii.gz").unlink()
    field = tasks.waves(1.0).astype(np.float32)
    field[5, 5, 5] = np.nan
    tasks.save_field(task.fields, "disp_0003_0003", field)


@pytest.mark.parametrize("workers", [1, 3])
def test_bad_fields_are_reported_and_the_rest_is_scored(task, tmp_path, workers):
    whole = run(task).metrics.cases["0004_0000<--0004_0001"]
    spoil(task)
    found = run(task, tmp_path / "out" / "metrics.json", workers=workers)
    assert [case[:4] for case in found.failures] == ["0001", "0002", "0003"]
    reasons = list(found.failures.values())
    for reason, word in zip(reasons, ("truncated", "No field disp_0002_0002 or", "NaN"), strict=True):
        assert word in reason
    assert dict(found.metrics.cases) == {"0004_0000<--0004_0001": whole}
    content = json.loads((tmp_path / "out" / "metrics.json").read_text(encoding="utf-8"))
    assert [entry["reason"] for entry in content["medreg"]["failures"]] == reasons
    assert content["aggregates"]["DSC"]["mean"] == pytest.approx(whole["DSC"]["mean"])


def test_the_table_holds_official_and_corrected_values(task, tmp_path):
    found = run(task, tmp_path / "metrics.json", method="ours")
    table = pd.read_csv(tmp_path / "metrics.csv")
    assert len(table) == len(found.table())
    assert set(table.method) == {"ours"}
    official = table[(table.source == "official") & (table.case == "0001_0000<--0001_0001")]
    assert official[official.metric == "DSC"].label.tolist()[1:] == [1, 2, 3, 4, 5]
    assert official[official.metric == "TRE_lm"].item.tolist() == list(range(-1, 24))
    ours = table[table.source == "medreg"]
    assert {
        "sd_log_jacobian",
        "folding_voxels",
        "ndv_percent",
        "dice",
        "hd95_mm",
        "assd_mm",
        "tre_kp_linear_mm",
    } <= set(ours.metric)


def counted(monkeypatch):
    calls = []
    original = module.official_values
    monkeypatch.setattr(
        module, "official_values", lambda case: calls.append(case.pair.case) or original(case)
    )
    return calls


def test_a_repeated_command_does_only_what_is_missing(task, tmp_path, monkeypatch):
    calls = counted(monkeypatch)
    output = tmp_path / "metrics.json"
    first = run(task, output)
    assert len(calls) == 4
    assert run(task, output).reused == 4
    assert len(calls) == 4
    tasks.save_field(task.fields, "disp_0001_0001", tasks.waves(0.5))  # one field has changed
    second = run(task, output)
    assert second.reused == 3
    assert calls[4:] == ["0001_0000<--0001_0001"]
    assert second.metrics.cases["0001_0000<--0001_0001"] != first.metrics.cases["0001_0000<--0001_0001"]
    assert run(task, output, resume=False).reused == 0
    labels = task.data / "labelsTr" / "Paired_0002_0000.nii.gz"
    tasks.save(labels, tasks.label_map((1, 2)), tasks.FIXED_MM)  # the truth of another has changed
    assert run(task, output).reused == 3


def test_an_interrupted_run_goes_on_where_it_stopped(task, tmp_path, monkeypatch):
    output, seen = tmp_path / "metrics.json", []

    def interrupt(line):
        seen.append(line)
        if len(seen) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(task, output, progress=interrupt)
    stored = len((tmp_path / "metrics.cases.jsonl").read_text(encoding="utf-8").splitlines())
    assert 2 <= stored <= 4
    assert not output.exists()
    calls = counted(monkeypatch)
    assert run(task, output).reused == stored
    assert len(calls) == 4 - stored
    assert output.exists()


def test_a_stored_result_that_was_cut_short_is_made_again(task, tmp_path):
    output = tmp_path / "metrics.json"
    wanted = run(task, output).metrics.cases
    store = tmp_path / "metrics.cases.jsonl"
    store.write_bytes(store.read_bytes()[:-100])  # as a kill or a full disk leaves it
    found = run(task, output)
    assert found.reused == 3
    assert json.dumps(found.metrics.cases) == json.dumps(wanted)


def test_no_points_names_every_folder(task):
    shutil.rmtree(task.data / "keypointsTr")
    with pytest.raises(DatasetNotFound, match="TRE_kp needs points") as caught:
        run(task)
    for folder in ("keypointsTr", "keypoints01Tr", "keypoints00000001Tr"):
        assert folder in str(caught.value)


def test_a_field_that_vanishes_meanwhile_fails_its_pair(task):
    source = FieldSource(task.fields)
    (task.fields / source.entries()[0].name).unlink()
    found = evaluate(source, task.data, task.config)
    (reason,) = found.failures.values()
    assert "No such file" in reason
    assert len(found.metrics.cases) == len(found.config.pairs) - 1


def test_points_missing_for_one_pair_fail_that_pair(task):
    (task.data / "landmarksTr" / "Paired_0002_0001.csv").unlink()
    ((case, reason),) = run(task).failures.items()
    assert case.startswith("0002")
    assert "TRE_lm: no points of this pair" in reason


def test_no_label_maps_at_all(task):
    shutil.rmtree(task.data / "labelsTr")
    with pytest.raises(DatasetNotFound, match="needs label maps"):
        run(task)


def test_truth_of_another_shape_fails_its_case(task):
    tasks.save(task.data / "labelsTr" / "Paired_0001_0000.nii.gz", np.ones((4, 4, 4), np.uint8))
    tasks.save(task.data / "masksTr" / "Paired_0002_0000.nii.gz", np.ones((4, 4, 4), np.uint8))
    tasks.save_points(task.data / "landmarksTr" / "Paired_0003_0000.csv", np.ones((3, 3)))
    reasons = list(run(task).failures.values())
    assert ["is not the" in reason for reason in reasons] == [True, True, False]
    assert "corresponding points" in reasons[2]


def test_moving_image_on_another_grid(tmp_path):
    task = tasks.same_modality(tmp_path)
    tasks.save(
        task.data / "labelsTr" / "Same_0002_0000.nii.gz", tasks.label_map((1, 2, 3), shape=(25, 28, 22))
    )
    (found,) = [v for c, v in run(task).metrics.medreg["cases"].items() if c == "0001_0000<--0002_0000"]
    assert found["dice"]["mean"] > 0
    assert "dice_initial" not in found  # voxel by voxel, grids of two shapes cannot be compared


@pytest.mark.parametrize("workers", [1, 2])
def test_no_more_fields_in_memory_than_workers(tmp_path, monkeypatch, workers):  # D3
    task = tasks.paired(tmp_path)
    pairs = [(f"Paired_{n:04d}_0000", f"Paired_{n:04d}_0001") for n in range(1, 20)]
    for fixed, moving in pairs[4:]:
        for name, source in ((fixed, "Paired_0001_0000"), (moving, "Paired_0001_0001")):
            for folder, suffix in (("imagesTr", "nii.gz"), ("labelsTr", "nii.gz")):
                shutil.copy(
                    task.data / folder / f"{source}.{suffix}", task.data / folder / f"{name}.{suffix}"
                )
        short = f"disp_{fixed[7:11]}_{fixed[7:11]}.nii.gz"
        shutil.copy(task.fields / "disp_0001_0001.nii.gz", task.fields / short)
    (
        task.data / "labelsTr" / "Paired_0007_0001.nii.gz"
    ).unlink()  # failures must not keep their field, either
    (task.data / "labelsTr" / "Paired_0008_0001.nii.gz").unlink()
    config = tasks.write_config(tmp_path, "Paired", pairs, tasks.LABELLED)
    alive, most = weakref.WeakSet(), []
    original = FieldSource.read

    def read(self, entry, shape):
        found = original(self, entry, shape)
        alive.add(found)
        most.append(len(alive))
        return found

    monkeypatch.setattr(FieldSource, "read", read)
    found = evaluate(task.fields, task.data, config, workers=workers)
    assert len(found.metrics.cases) == 17
    assert max(most) <= workers


def test_run_times_of_a_benchmark_are_taken_along(task):
    (task.fields.parent / "runtime.csv").write_text(
        "case,seconds\n0001_0000<--0001_0001,2.5\n", encoding="utf-8"
    )
    assert run(task).metrics.medreg["runtime"] == {
        "0001_0000<--0001_0001": {"case": "0001_0000<--0001_0001", "seconds": "2.5"}
    }


def test_options_out_of_range(task):
    with pytest.raises(ConfigError, match="workers"):
        run(task, workers=0)
    with pytest.raises(ConfigError, match="thirty"):
        run(task, thirty="2023")


def test_worst_and_hardest_shares():
    values = [0.9, 0.1, 0.5, 0.7, 0.3, float("nan"), 0.2, 0.8, 0.6, 0.4, 1.0]
    assert worst_share(values, higher_is_better=True) == pytest.approx((0.1 + 0.2 + 0.3) / 3)
    assert worst_share(values, higher_is_better=False) == pytest.approx((1.0 + 0.9 + 0.8) / 3)
    initial = list(range(10))
    final = [float(10 * value) for value in range(10)]
    assert hardest_share(final, initial, higher_is_better=True) == pytest.approx(10)
    assert hardest_share(final, initial, higher_is_better=False) == pytest.approx(80)
    assert np.isnan(hardest_share([], [], higher_is_better=True))
