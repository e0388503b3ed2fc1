"""Structures that the options name and no label map holds are refused; few maps are opened to know it."""

from __future__ import annotations

from dataclasses import replace

import data_fixtures as fixtures
import pytest

from medreg.data import structures_present
from medreg.data.datasets.acdc import ACDC
from medreg.data.structures_present import check_structures
from medreg.errors import DataError

LABELS = {"LV": 3, "MYO": 2, "RV": 1}


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    return ACDC(fixtures.acdc(tmp_path_factory.mktemp("acdc"))).records()


def test_a_structure_that_is_nowhere_is_named_with_what_there_is(records):
    count = sum(record.label is not None for record in records)
    with pytest.raises(
        DataError, match=rf"ATRIUM \(9\), which none of the {count} label maps holds; they hold 0, 1, 2"
    ):
        check_structures({**LABELS, "ATRIUM": 9}, records)


def test_maps_are_opened_until_all_have_been_seen(records, monkeypatch):
    opened, read = [], structures_present.read_labels
    monkeypatch.setattr(
        structures_present, "read_labels", lambda file, **frame: opened.append(file) or read(file, **frame)
    )
    check_structures(LABELS, records)
    assert len(opened) == 1
    check_structures({}, records)
    assert len(opened) == 1


def test_images_without_maps_and_unreadable_maps_are_no_reason_to_refuse(records, tmp_path):
    check_structures({"ATRIUM": 9}, [record.without_labels() for record in records])
    broken = tmp_path / "broken_gt.nii.gz"
    broken.write_bytes(b"nothing")
    check_structures({"ATRIUM": 9}, [replace(records[0], label=broken), *records])
    with pytest.raises(DataError, match="ATRIUM"):  # the same records without the broken one
        check_structures({"ATRIUM": 9}, records)
