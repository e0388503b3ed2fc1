"""A case that takes long says how far it is, and one that does not says nothing."""

from __future__ import annotations

import logging

import torch

from medreg.inference.progress import Progress
from medreg.tasks.minutes import Minutes


def at(level, iteration):
    return Progress(level, iteration, torch.zeros(1), torch.zeros(1))


def test_says_how_far_it_is(caplog):
    told = Minutes("a", (10, 30), every_s=0.0)
    with caplog.at_level(logging.INFO, logger="medreg"):
        told(at(0, 5))
        told(at(1, 10))
    assert [record.getMessage() for record in caplog.records] == [
        "case a: 5 of 40 iterations, 12 %", "case a: 20 of 40 iterations, 50 %",
    ]  # fmt: skip


def test_is_silent_within_the_time(caplog):
    told = Minutes("a", (10,), every_s=60.0)
    with caplog.at_level(logging.INFO, logger="medreg"):
        told(at(0, 5))
    assert not caplog.records
