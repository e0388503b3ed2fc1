"""Hearts as pictures: where they are cut, what is seen, and their beat as a GIF."""

from __future__ import annotations

import numpy as np
import pytest
from made_hearts import SPACING, made_heart
from PIL import Image

from medreg.reporting.heart_ageing_strip import heart_ageing_strip
from medreg.reporting.heart_animation import write_gif
from medreg.reporting.heart_pictures import compared_beats, compared_views, frame_word, three_views
from medreg.reporting.heart_style import SOURCE_COLOURS, STRUCTURE_COLOURS, colour_of, rgb
from medreg.reporting.heart_views import HeartPlanes, coloured, frames_ed_es, spread_frames


@pytest.fixture(name="heart", scope="module")
def heart_fixture():
    return made_heart()


def areas_mm2(flat, planes):
    return {place: float((flat == place).sum() * planes.pixel_mm**2) for place in (1, 2, 3)}


def test_the_right_ventricle_is_on_the_left_and_the_base_on_top(heart):
    planes = HeartPlanes.of(heart, SPACING)
    for view in (0, 1):
        columns = [np.argwhere(planes.cut(heart[0], view) == place)[:, 1].mean() for place in (3, 1)]
        assert columns[0] < columns[1] - 20
    rows = np.argwhere(planes.cut(heart[0], 1) == 2)[:, 0]
    cavity = np.argwhere(planes.cut(heart[0], 1) == 1)[:, 0]
    assert rows.max() > cavity.max()  # the wall closes the apex, which is below
    assert abs(int(rows.min()) - int(cavity.min())) < 10  # and is open at the base


def test_areas_are_those_of_the_volume(heart):
    planes = HeartPlanes.of(heart, SPACING)
    level = round(planes.centre_mm[2] / SPACING[2])
    planes = HeartPlanes(
        **{**vars(planes), "centre_mm": np.array([*planes.centre_mm[:2], level * SPACING[2]])}
    )
    found = areas_mm2(planes.cut(heart[0], 0), planes)
    for place in (1, 2, 3):
        neighbours = [(heart[0, :, :, level + k] == place).sum() * 25.0 for k in (-1, 0, 1)]
        assert found[place] == pytest.approx(np.dot(neighbours, [1 / 6, 2 / 3, 1 / 6]), rel=0.06)


def test_planes_follow_a_heart_that_is_turned():
    heart = made_heart()
    turned = np.ascontiguousarray(np.rot90(heart, axes=(1, 2)))
    flats = [HeartPlanes.of(each, SPACING).cut(each[0], 1) for each in (heart, turned)]
    height = min(flat.shape[0] for flat in flats)
    shares = [[(flat[:height] == place).mean() for place in (1, 2, 3)] for flat in flats]
    assert shares[0] == pytest.approx(shares[1], rel=0.05)


def test_a_heart_without_right_ventricle_or_without_anything_is_drawn(heart):
    without = np.where(heart == 3, 0, heart).astype(np.uint8)
    assert set(np.unique(HeartPlanes.of(without, SPACING).cut(without[0], 1))) == {0, 1, 2}
    nothing = np.zeros_like(heart)
    assert not HeartPlanes.of(nothing, SPACING).cut(nothing[0], 0).any()
    three_views(nothing, SPACING)


def test_a_volume_without_time_is_refused(heart):
    with pytest.raises(ValueError, match=r"\(T, X, Y, Z\)"):
        HeartPlanes.of(heart[0], SPACING)


def test_structures_have_the_same_colours_everywhere(heart):
    assert coloured(np.array([[0, 1, 2, 3]])).tolist() == [
        [[255, 255, 255], *([*rgb(STRUCTURE_COLOURS[name])] for name in ("LV", "MYO", "RV"))]
    ]
    assert colour_of("LV") == STRUCTURE_COLOURS["LV"]
    assert colour_of("real") == SOURCE_COLOURS["real"]
    assert len({*STRUCTURE_COLOURS.values(), *SOURCE_COLOURS.values()}) == 3 + len(SOURCE_COLOURS)


def test_three_views_show_ed_and_es_or_the_frames_that_are_asked_for(heart):
    labels = [axis.get_ylabel() for axis in three_views(heart, SPACING).axes if axis.get_ylabel()]
    assert labels == ["ED", "ES"]
    labels = [
        axis.get_ylabel() for axis in three_views(heart, SPACING, frames=[0, 2, 5]).axes if axis.get_ylabel()
    ]
    assert labels == ["ED", "20 %", "ES"]
    with pytest.raises(ValueError, match="frames 0 to 9"):
        three_views(heart, SPACING, frames=[10])


def test_hearts_are_compared_on_one_scale_with_the_outline_of_the_real_one(heart):
    small = made_heart(scale=0.8)
    figure = compared_views(
        {"real": heart, "completed": small, "generated": small}, SPACING, alike=["completed"]
    )
    assert [axis.get_ylabel() for axis in figure.axes if axis.get_ylabel()] == [
        "real",
        "completed from ED",
        "generated",
    ]
    shapes = {axis.images[0].get_array().shape for axis in figure.axes[:18:6]}
    assert len(shapes) == 1
    outlined = [len(axis.collections) for axis in figure.axes[:18]]
    assert all(outlined[6:12])
    assert not any(outlined[:6] + outlined[12:])
    assert [text.get_text() for text in figure.legends[0].get_texts()][-1] == "outline of real"


def test_the_beat_is_shown_in_few_frames_also_where_one_heart_has_fewer(heart):
    figure = compared_beats({"real": heart, "generated": heart[:2]}, SPACING)
    titles = [axis.get_title() for axis in figure.axes[:8]]
    assert titles[0] == "ED"
    assert "ES" in titles
    assert sum(bool(axis.images) for axis in figure.axes) == 8 + 2
    assert spread_frames(20, 8) == [0, 2, 5, 8, 10, 12, 15, 18]
    assert spread_frames(2, 8) == [0, 1]


def test_ed_is_the_first_frame_and_es_that_of_the_smallest_ventricle(heart):
    assert frames_ed_es(heart) == (0, 5)
    assert frame_word(5, heart) == "ES"
    assert frame_word(3, heart) == "30 %"


def test_a_gif_has_a_picture_a_frame_and_loops_for_ever(heart, tmp_path):
    file = write_gif(tmp_path / "heart.gif", heart, SPACING)
    assert file.stat().st_size < 1_000_000
    with Image.open(file) as picture:
        assert picture.n_frames == len(heart)
        assert picture.info["loop"] == 0
        assert picture.info["duration"] == 100  # ten frames in a second
        picture.seek(5)
        counts = {colour: count for count, colour in picture.convert("RGB").getcolors()}
    for colour in STRUCTURE_COLOURS.values():
        assert counts[rgb(colour)] > 500


def test_a_gif_beats_as_fast_as_asked_and_refuses_no_speed(tmp_path):
    heart = made_heart(2)
    with Image.open(write_gif(tmp_path / "a.gif", heart, SPACING, fps=4)) as picture:
        assert (picture.n_frames, picture.info["duration"]) == (2, 250)
    with pytest.raises(ValueError, match="speed"):
        write_gif(tmp_path / "b.gif", heart, SPACING, fps=0)
    assert not (tmp_path / "b.gif").exists()


def test_ages_stand_in_a_row_with_their_volumes():
    hearts = {"45 y": made_heart(2), "75 y": made_heart(2, scale=0.9)}
    figure = heart_ageing_strip(hearts, SPACING, reference="45 y")
    assert [axis.get_title() for axis in figure.axes[:2]] == ["45 y", "75 y"]
    told = [float(axis.get_xlabel().split()[1]) for axis in figure.axes[-2:]]
    voxels = [(heart[0] == 1).sum() * 0.2 for heart in hearts.values()]
    assert told == pytest.approx(voxels, abs=0.5)
    with pytest.raises(ValueError, match="60 y"):
        heart_ageing_strip(hearts, SPACING, reference="60 y")
