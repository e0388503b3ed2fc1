from __future__ import annotations

import base64
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from medreg.errors import DataError
from medreg.reporting.html import write_report

VOID = {"meta", "img", "br", "hr", "link", "input"}


class Page(HTMLParser):
    """Collects text, images and addresses, and fails on tags that are not closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.images, self.headings, self.text = [], [], [], []
        self.addresses = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag not in VOID:
            self.open.append(tag)
        if tag == "img":
            self.images.append(attributes)
        self.addresses += [attributes[name] for name in ("src", "href") if name in attributes]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)
        if self.open and self.open[-1] in ("h1", "h2"):
            self.headings.append(data)


def parse(file):
    text = file.read_text()
    return Page(text), text


def read(folder):
    return parse(write_report(folder))


def test_page_has_all_sections_and_pictures(finished_report):
    page, _ = parse(finished_report)
    assert page.headings == [
        "gradirn on acdc",
        "Results: phantom, test",
        "Training",
        "Cases",
        "Provenance",
        "Citation",
    ]
    assert len(page.images) == 4  # two box plots, the curves, one case
    assert all(len(image["alt"]) > 20 for image in page.images)
    words = " ".join(page.text)
    for expected in (
        "1 h 03 min",
        "88,500",
        "train.py model=gradirn data=acdc",
        "0123456789",
        "@inproceedings{qiu2022gradirn",
    ):
        assert expected in words


def test_page_needs_nothing_outside_itself(finished_report):
    page, text = parse(finished_report)
    assert all(address.startswith("data:image/png;base64,") for address in page.addresses)
    assert not re.search(r"https?://|url\(|@import|<script|<link", text)
    for address in page.addresses:
        assert base64.b64decode(address.split(",")[1], validate=True).startswith(b"\x89PNG")


def test_summary_numbers_equal_those_of_the_table(finished_report):
    folder = finished_report.parent
    results = pd.read_csv(folder / "results.csv")
    dice = results[(results.metric == "dice") & (results.method == "net")].groupby("case").value.mean()
    _, text = parse(finished_report)
    assert f"{dice.mean():.3f} ± {dice.std():.3f}" in text
    summary = pd.read_csv(folder / "tables" / "summary.csv").set_index(["method", "structure", "metric"])
    assert summary.loc[("net", "mean", "dice"), "median"] == pytest.approx(dice.median())
    assert f"({dice.median():.3f})" in (folder / "tables" / "tables.md").read_text()


def test_figures_are_kept_as_files(finished_report):
    names = {file.name for file in (finished_report.parent / "figures").iterdir()}
    assert names == {"box_dice.png", "box_hd95_mm.png", "training.png", "case_c0.png"}


def test_label_names_come_from_the_config_and_case_numbers_from_the_table(finished_report):
    page, _ = parse(finished_report)
    assert any(text.startswith("unregistered → net: Dice 0.") for text in page.text)


def test_run_that_has_just_started_says_so(make_run):
    page, _ = read(make_run(record={"status": "running", "model": "net", "data": "phantom"}))
    words = " ".join(page.text)
    assert "has not finished" in words
    assert "No case has been evaluated yet." in words
    assert page.images == []


def test_failed_run_says_why(make_run):
    page, _ = read(
        make_run(record={"status": "failed", "error": "NaN in the loss at step 7.", "dirty": True})
    )
    assert "This run failed. NaN in the loss at step 7." in page.text
    assert any("uncommitted" in text for text in page.text)


def test_single_case_without_labels_or_history(make_run, rows, frame, case):
    arrays = {name: array for name, array in case().items() if not name.endswith("label")}
    folder = make_run(results=frame(rows([0.5], metric="rmse_image", structure="all")), cases={"c0": arrays})
    page, _ = read(folder)
    assert len(page.images) == 2
    assert any("0.5000" in text for text in page.text)


def test_many_cases_and_structures(make_run, rows, frame):
    values = np.linspace(0.1, 0.9, 120)
    groups = [
        rows(values, structure=f"s{i}", method=method)
        for i in range(35)
        for method in ("unregistered", "net")
    ]
    page, text = read(make_run(results=frame(*groups)))
    assert "n = 120" in text
    assert len(text) < 2e6
    assert len(page.images) == 1


def test_names_that_look_like_markup_are_text(make_run, rows, frame):
    evil = "<script>alert(1)</script>"
    folder = make_run(
        results=frame(rows([0.1, 0.2], structure=evil, method="$style & <b>")),
        record={"status": evil, "command": evil, "model": evil, "data": "$facts"},
        config=f"a: '{evil}'",
    )
    page, text = read(folder)
    assert "<script" not in text
    assert evil in page.text


def test_a_stack_of_three_slices_is_no_volume(make_run, case):
    arrays = {name: np.stack([array] * 3) for name, array in case().items() if name != "spacing_mm"}
    whole = {**arrays, "spacing_mm": np.ones(2), "affine": np.eye(4)}
    page, text = read(make_run(record={"status": "finished"}, cases={"stack": whole}))
    assert "was left out" not in text
    assert len(page.images) == 1


def test_damaged_case_is_left_out_with_a_word(make_run, case):
    short = case() | {"moving": np.ones((3, 3))}
    folder = make_run(record={"status": "finished"}, cases={"short": short, "whole": case()})
    (folder / "cases" / "broken.npz").write_bytes(b"PK no archive")
    page, _ = read(folder)
    words = " ".join(page.text)
    assert "cases/broken.npz was left out" in words
    assert "cases/short.npz was left out: moving has shape" in words
    assert [image["alt"][:22] for image in page.images] == ["Overview of case whole"]


def test_damaged_table_is_an_error_that_names_it(finished_run):
    (finished_run / "results.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match=r"results\.csv lacks the columns"):
        write_report(finished_run)


def test_browser_shows_the_page(finished_report, tmp_path):
    found = [shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome")]
    browser = next((path for path in found if path), None)
    if browser is None:
        pytest.skip("no headless browser (chromium, google-chrome) on this machine")
    shot = tmp_path / "page.png"
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1000,3000"]
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    done = subprocess.run(
        [browser, *options, profile, f"--screenshot={shot}", finished_report.as_uri()],
        capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip
    assert shot.is_file(), done.stderr[-500:]
    from matplotlib.image import imread

    pixels = imread(shot)[..., :3]
    assert pixels.shape[:2] == (3000, 1000)
    ink = (pixels < 0.9).any(axis=-1).any(axis=1)
    assert ink[:2500].mean() > 0.4  # the page is filled, not an error message at the top
