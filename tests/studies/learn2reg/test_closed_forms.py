"""Values of the evaluation that can be worked out by hand."""

from __future__ import annotations

import math

import learn2reg_tasks as tasks
import numpy as np
import pytest

from medreg.kernels.compile import available
from medreg.metrics.surfel import hd95_mm
from medreg.studies.learn2reg.evaluate import evaluate
from medreg.studies.learn2reg.fields import FieldArray
from medreg.studies.learn2reg.jacobian import CROP, regularity
from medreg.studies.learn2reg.labels import LabelSet, joint_counts, warp_index
from medreg.studies.learn2reg.ndv import non_diffeomorphic_percent

SHAPE = (18, 20, 16)


def field(values, *, single=False):
    return FieldArray(np.asfortranarray(np.moveaxis(np.stack(values), 0, -1)), single)


def zeros():
    return np.zeros(SHAPE)


def grid():
    return tasks.grid(SHAPE)


def one_case(
    root, displacement, *, boxes, mm=(1.0, 1.0, 1.0), points=None, metrics=("dice", "hd95"), offset=(0, 0, 0)
):
    """Evaluate one pair of box-shaped labels; the moving boxes are shifted by `offset`."""
    for name, shift in (("Box_0001_0000", (0, 0, 0)), ("Box_0001_0001", offset)):
        volume = np.zeros(SHAPE, np.uint8)
        for label, box in boxes[0 if name.endswith("0000") else 1].items():
            volume[tuple(slice(low + s, high + s) for (low, high), s in zip(box, shift, strict=True))] = label
        tasks.save(root / "data/imagesTr" / f"{name}.nii.gz", volume, mm)
        tasks.save(root / "data/labelsTr" / f"{name}.nii.gz", volume, mm)
    labels = sorted(boxes[0])
    methods = [
        {"name": m, "metric": m} | ({"labels": labels} if m in ("dice", "hd95") else {}) for m in metrics
    ]
    if points is not None:
        methods.append({"name": "tre", "metric": "tre", "dest": "landmarks"})
        for name, rows in zip(("Box_0001_0000", "Box_0001_0001"), points, strict=True):
            tasks.save_points(root / "data/landmarksTr" / f"{name}.csv", rows)
    tasks.save_field(root / "fields", "disp_0001_0001", np.moveaxis(np.stack(displacement), 0, -1))
    config = tasks.write_config(root, "Box", [("Box_0001_0000", "Box_0001_0001")], methods, shape=SHAPE)
    evaluation = evaluate(root / "fields", root / "data", config)
    assert evaluation.failures == {}
    (case,) = evaluation.metrics.cases.values()
    (ours,) = evaluation.metrics.medreg["cases"].values()
    return case, ours


def test_zero_field(tmp_path):  # B1
    box = {1: ((2, 8), (3, 9), (4, 10))}
    moved = {1: ((3, 9), (3, 9), (4, 10))}
    points = np.array([[4.0, 5, 6]]), np.array([[6.0, 6, 8]])
    case, ours = one_case(
        tmp_path, (zeros(),) * 3, boxes=(box, moved), points=points, metrics=("sdlogj", "dice", "hd95")
    )
    assert case["sdlogj"]["mean"] == 0 == case["num_foldings"]["mean"]
    assert case["dice"]["mean"] == pytest.approx(2 * 180 / 432) == ours["dice_initial"]["mean"]
    assert case["tre"]["mean"] == pytest.approx(3.0) == ours["tre_initial_mm"]["mean"]
    assert (
        ours["sd_log_jacobian"]["mean"] == ours["folding_voxels"]["mean"] == ours["ndv_percent"]["mean"] == 0
    )


def test_shift_that_undoes_the_motion(tmp_path):  # B2
    shift = (3, -2, 1)
    box = {1: ((4, 9), (6, 12), (5, 11))}
    points = np.array([[5.0, 7, 6], [8, 10, 9]])
    displacement = [np.full(SHAPE, float(step)) for step in shift]
    case, ours = one_case(
        tmp_path, displacement, boxes=(box, box), points=(points, points + shift), offset=shift
    )
    assert case["dice"]["mean"] == 1
    assert case["hd95"]["mean"] == 0 == ours["assd_mm"]["mean"]
    assert case["tre"]["mean"] == pytest.approx(0, abs=1e-12)
    assert ours["dice_initial"]["mean"] < 1


def test_affine_field_has_no_spread():  # B3
    matrix = np.array([[0.2, -0.1, 0.05], [0.03, -0.15, 0.1], [-0.2, 0.07, 0.1]])
    found = regularity(field(np.einsum("ab,bxyz->axyz", matrix, grid())))
    assert found.shifted == pytest.approx(0, abs=1e-12)
    assert found.plain == pytest.approx(0, abs=1e-12)


def test_sine_along_one_axis():  # B4
    amplitude, period = 1.7, 9.0
    wave = amplitude * np.sin(2 * np.pi * grid()[0] / period)
    det = 1 + amplitude * np.sin(2 * np.pi / period) * np.cos(2 * np.pi * np.arange(SHAPE[0]) / period)
    inner = det[CROP:-CROP]
    found = regularity(field((wave, zeros(), zeros())))
    assert found.shifted == pytest.approx(np.log(inner + 3).std(), abs=1e-12)
    assert found.plain == pytest.approx(np.log(np.clip(inner, 1e-9, None)).std(), abs=1e-12)
    assert found.folding_percent == pytest.approx(100 * (inner <= 0).mean())


def test_mirrored_axis_folds_everywhere(tmp_path):  # B5
    mirror = -2 * (grid()[0] - 8.5)
    box = {1: ((2, 8), (3, 9), (4, 10))}
    case, ours = one_case(tmp_path, (mirror, zeros(), zeros()), boxes=(box, box), metrics=("sdlogj",))
    cropped = np.prod([size - 2 * CROP for size in SHAPE])
    assert case["num_foldings"]["mean"] == 0
    assert ours["folding_voxels"]["mean"] == cropped
    assert ours["folding_percent"]["mean"] == 100
    # Six times the volume of each tetrahedron is 1, negative: ten of them, two for each double one, over twelve.
    assert ours["ndv_percent"]["mean"] == pytest.approx(100 * (8 + 2 * 2) / 12)


def test_determinant_below_minus_three_is_clipped():  # B6
    half = SHAPE[0] // 2
    fold = np.where(grid()[0] < half, 0.0, -5.0 * (grid()[0] - half))  # det J = −4 in the second half
    det = np.gradient(np.arange(SHAPE[0]) + fold[:, 0, 0])[CROP:-CROP]
    assert (det + 3 < 1e-9).any()
    found = regularity(field((fold, zeros(), zeros())))
    assert found.shifted == pytest.approx(np.log(np.clip(det + 3, 1e-9, 1e9)).std(), abs=1e-12)


def test_error_in_moving_millimetres(tmp_path):  # B7
    box = {1: ((2, 8), (3, 9), (4, 10))}
    points = np.array([[5.0, 5, 5]]), np.array([[4.0, 4, 4]])
    case, _ = one_case(
        tmp_path, (zeros(),) * 3, boxes=(box, box), points=points, mm=(1.0, 2.0, 3.0), metrics=("dice",)
    )
    assert case["tre"]["detailed"] == pytest.approx([math.sqrt(14)])


def test_apart_and_nested_boxes(tmp_path):  # B8
    slab = ((2, 12), (3, 13))
    boxes = {1: ((1, 3), *slab), 2: ((10, 16), (13, 19), (2, 8))}
    others = {1: ((8, 10), *slab), 2: ((12, 14), (15, 17), (4, 6))}
    case, ours = one_case(tmp_path, (zeros(),) * 3, boxes=(boxes, others), mm=(2.0, 1.0, 1.0))
    assert case["dice"]["detailed"] == pytest.approx([0, 2 * 8 / (216 + 8)])
    # Slabs 7 voxels apart: 7. A cube of edge 2 in the middle of one of edge 6: of the surface of the outer,
    # 150 + 60/√2 + √3 = 194.2, the faces (150) are up to √6 away, 36 elements of the edges 2√2, the other
    # 24 (up to 192.4, more than 95 %) 3, the corners 2√3.
    assert case["hd95"]["detailed"] == pytest.approx([7, 3])
    assert ours["hd95_mm"]["detailed"][0] == pytest.approx(14)  # 2 mm voxels along that axis


def test_lost_label_counts_zero_and_infinite_and_the_diagonal_in_our_means(tmp_path):  # A2
    boxes = {1: ((2, 6), (3, 9), (4, 10)), 2: ((10, 14), (3, 9), (4, 10))}
    away = np.where(grid()[0] >= 9, 100.0, 0.0)
    case, ours = one_case(tmp_path, (away, zeros(), zeros()), boxes=(boxes, boxes))
    assert case["dice"]["detailed"] == [1, 0]
    assert case["hd95"]["detailed"] == [0, math.inf]
    assert math.isinf(case["hd95"]["mean"])
    assert ours["lost_labels"]["mean"] == 1
    diagonal = math.hypot(*SHAPE)
    for metric in ("hd95_mm", "assd_mm"):
        assert ours[metric]["detailed"] == pytest.approx([0, diagonal])
        assert ours[metric]["mean"] == pytest.approx(diagonal / 2)


def test_validity_is_that_of_the_unrounded_position():  # 4.1
    index = np.ones(SHAPE, np.uint8, order="F")
    push = zeros()
    push[0], push[-1], push[5], push[6] = -0.01, 0.01, 0.5, -0.5
    index[6], index[5] = 2, 3
    warped = warp_index(index, field((push, zeros(), zeros())), outside=0)
    assert (warped[0] == 0).all()
    assert (warped[-1] == 0).all()
    assert (warped[5] == 2).all()  # 5.5 is rounded up
    assert (warped[6] == 2).all()  # so is 5.5 from the other side


def test_labels_that_no_integer_or_no_id_matches_are_background():
    labels = LabelSet.of((3, 7), (300, 3))
    assert labels.ids == (3, 7, 300)
    voxels = np.array([[[0, 3, 7, 300, 4, -1, 3.5, np.nan]]])
    assert labels.index(voxels).tolist() == [[[0, 1, 2, 3, 0, 0, 0, 0]]]
    whole = np.array([[[0, 3, 7, 300, 70000, -1]]], dtype=np.int32)
    assert labels.index(whole).tolist() == [[[0, 1, 2, 3, 0, 0]]]
    assert LabelSet.of((-2, 5)).index(np.array([[[-2, 5, 0]]])).tolist() == [[[1, 2, 0]]]


def test_joint_counts_of_slabs():
    rng = np.random.default_rng(0)
    first, second = (np.asfortranarray(rng.integers(0, 4, (90, 80, 30)), dtype=np.uint8) for _ in range(2))
    wanted = np.array([[((first == i) & (second == j)).sum() for j in range(4)] for i in range(4)])
    np.testing.assert_array_equal(joint_counts(first, second, 3), wanted)


@pytest.mark.skipif(not available(), reason="numba is not installed")
@pytest.mark.parametrize("single", [False, True])
def test_compiled_determinants_equal_the_formula(single, monkeypatch):
    values = np.asfortranarray(tasks.waves(3.0).astype(np.float32))
    mask = np.asfortranarray(tasks.grid()[0] > 7)
    displacement = FieldArray(values, single)
    fast = regularity(displacement, mask=mask), non_diffeomorphic_percent(displacement, mask=mask)
    whole = non_diffeomorphic_percent(displacement)
    monkeypatch.setenv("MEDREG_KERNELS", "off")
    slow = regularity(displacement, mask=mask), non_diffeomorphic_percent(displacement, mask=mask)
    assert fast[0].shifted == pytest.approx(slow[0].shifted, rel=1e-12)
    assert fast[0].plain == pytest.approx(slow[0].plain, rel=1e-9)
    assert fast[0].folds == slow[0].folds > 0
    assert fast[1] == pytest.approx(slow[1], rel=1e-12)
    assert whole == pytest.approx(non_diffeomorphic_percent(displacement), rel=1e-12)
    assert slow[1] > 0


TIES = {  # shape, voxels of both masks and the value of the official code, where float32 areas give another
    (2, 6, 5): (
        "000000100000000000000000000100000001000000000000000010000001",
        "001000000000000000000000000000100000000101000000000000000100",
        3.0,
    ),
    (8, 4, 2): (
        "0100000000100000000000000100000000000001100000000000000000000000",
        "0000000000001000001100000000000010000100001001011100000000000100",
        math.sqrt(5),
    ),
}


@pytest.mark.parametrize("shape", TIES)
def test_ties_at_95_per_cent_of_the_area_fall_as_in_the_official_code(shape):
    *voxels, wanted = TIES[shape]
    first, second = (np.array([int(bit) for bit in bits]).reshape(shape) == 1 for bits in voxels)
    assert hd95_mm(first, second, spacing_mm=(1.0, 1.0, 1.0)) == pytest.approx(wanted, abs=1e-12)
