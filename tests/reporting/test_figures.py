from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from medreg.reporting.figures import overview
from medreg.reporting.plots import box_plots, training_curves
from medreg.reporting.style import to_png

NUMBERS = ("fixed", "moving", "warped", "displacement")


def panel(figure, title):
    return next(axis for axis in figure.axes if axis.get_title() == title)


def draw(arrays, **options):
    labels = {name: array for name, array in arrays.items() if name.endswith("_label")}
    images = [arrays[name] for name in NUMBERS]
    return overview(*images, spacing_mm=arrays["spacing_mm"], **labels, **options)


def line_distances(figure):
    """Mean distance between neighbouring grid lines along the middle row of the grid panel, in pixels."""
    lines = panel(figure, "Grid of moving, warped").collections[-1]  # columns
    places = [path.vertices[:, 0].mean() for path in lines.get_paths() if len(path.vertices)]
    return np.diff(sorted(places)).mean()


def test_grid_lines_lie_where_the_warped_image_shows_them():
    """u = x − c doubles the sampled region: the warped image, and the grid painted on it, shrink by two."""
    shape = (41, 41)
    grid = np.indices(shape) - 20.0
    image = np.random.default_rng(0).normal(size=shape)
    plain = overview(image, image, image, 0 * grid, spacing_mm=(1, 1))
    shrunk = overview(image, image, image, grid, spacing_mm=(1, 1))
    assert line_distances(shrunk) == pytest.approx(line_distances(plain) / 2, rel=0.1)


def test_difference_panels_share_one_symmetric_scale(case):
    figure = draw(case())
    limits = [panel(figure, f"Fixed − {name}").images[0].get_clim() for name in ("moving", "warped")]
    assert limits[0] == limits[1]
    assert limits[0][0] == -limits[0][1]
    np.testing.assert_allclose(panel(figure, "Fixed − warped").images[0].get_array(), 0, atol=1e-9)


def test_images_of_other_scanners_have_their_own_grey_range(case):
    arrays = case()
    arrays["moving"], arrays["warped"] = 1000 * arrays["moving"], 1000 * arrays["warped"]
    left = np.asarray(panel(draw(arrays), "Fixed − warped").images[0].get_array())
    assert np.abs(left).max() < 0.02


def test_pixels_have_their_true_shape(case):
    figure = draw(case() | {"spacing_mm": np.array([1.0, 3.0])})
    assert panel(figure, "Fixed").get_aspect() == 3.0  # axis 1 runs down, three times as far


def test_folds_are_counted_and_marked(case):
    arrays = case()
    arrays["displacement"] = np.zeros((2, 24, 20))
    arrays["displacement"][0] = -2 * np.arange(24.0)[:, None]  # a reflection: folded everywhere
    axis = panel(draw(arrays), "Jacobian determinant")
    assert axis.texts[0].get_text() == "folds 100.00 %"
    assert len(axis.images) == 2
    assert panel(draw(case()), "Jacobian determinant").texts[0].get_text() == "no folds"


def test_label_contours_and_their_names_are_drawn(case):
    figure = draw(case(), label_names={1: "cavity"})
    assert len(panel(figure, "Fixed").collections) == 2
    assert len(panel(figure, "Warped moving").collections) == 4
    assert [text.get_text() for text in figure.legends[0].get_texts()][:2] == ["cavity", "label 2"]


@pytest.mark.parametrize("shape", [(24, 20), (16, 14, 12)])
def test_without_labels_and_with_undefined_values(case, shape):
    arrays = {name: array for name, array in case(shape).items() if not name.endswith("label")}
    arrays["moving"][:4] = np.nan
    assert to_png(draw(arrays)).startswith(b"\x89PNG")


def test_volume_has_three_rows_and_stack_its_slices(case):
    figure = draw(case((16, 14, 12)), orientation="RAS")
    names = [axis.get_ylabel() for axis in figure.axes if axis.get_ylabel()]
    assert [name.split()[0] for name in names] == ["axial", "coronal", "sagittal"]
    stack = {name: np.stack([array] * 5) for name, array in case().items() if name != "spacing_mm"}
    figure = draw(stack | {"spacing_mm": np.ones(2)}, slices=2, focus=True)
    assert [axis.get_ylabel() for axis in figure.axes if axis.get_ylabel()] == ["slice 1", "slice 3"]


def test_equal_figures_are_equal_bytes(rows, frame):
    results = frame(rows([0.1, 0.2, 0.4], structure="LV"))
    assert to_png(box_plots(results, metric="dice")) == to_png(box_plots(results, metric="dice"))


def test_flat_images_are_drawn():
    zero = np.zeros((8, 8))
    assert to_png(overview(zero, zero, zero, np.zeros((2, 8, 8)), spacing_mm=(1, 1)))


def test_real_stack(shared_data):
    nibabel = pytest.importorskip("nibabel")
    names = ("ed", "es", "ed_gt", "es_gt")
    ed, es, ed_gt, es_gt = (
        np.moveaxis(np.asarray(nibabel.load(shared_data / f"acdc/patient001_{name}.nii.gz").dataobj), 2, 0)
        for name in names
    )
    figure = overview(
        ed,
        es,
        es,
        np.zeros((len(ed), 2, *ed.shape[1:])),
        spacing_mm=(1, 1),
        fixed_label=ed_gt,
        moving_label=es_gt,
    )
    assert len(panel(figure, "Fixed").collections) == 3


def test_boxes_have_the_quartiles_of_the_values(rows, frame):
    figure = box_plots(frame(rows([1.0, 2.0, 3.0, 4.0, np.nan], structure="LV")), metric="dice")
    box = figure.axes[0].patches[0].get_path().vertices[:, 1]
    assert (box.min(), box.max()) == (1.75, 3.25)


def test_many_structures_lie_on_their_side_with_every_name(rows, frame):
    groups = [
        rows(np.linspace(0.4, 0.9, 200), structure=f"left structure {i}", method=method)
        for i in range(35)
        for method in ("unregistered", "net")
    ]
    figure = box_plots(frame(*groups), metric="dice")
    assert len(figure.axes[0].get_yticklabels()) == 35
    assert figure.get_size_inches()[1] / 35 > 0.3  # inches a structure: room for 8-point names


def test_no_finite_value_makes_no_figure(rows, frame):
    assert box_plots(frame(rows([np.nan])), metric="dice") is None
    assert (
        training_curves(
            pd.DataFrame({"step": [1.0], "epoch": [0.0], "name": ["train/loss"], "value": [np.nan]})
        )
        is None
    )


def test_training_and_validation_share_a_panel():
    names = ("train/loss", "val/loss", "val/dice_mean")
    rows = [(step, 0, name, step * 0.1) for name in names for step in (1.0, 2.0)]
    figure = training_curves(pd.DataFrame(rows, columns=["step", "epoch", "name", "value"]))
    titles = {axis.get_title(loc="left"): len(axis.lines) for axis in figure.axes if axis.get_visible()}
    assert titles == {"loss": 2, "val/dice_mean": 1}
