"""Rows that a study makes: methods of a benchmark, capture ranges; each study keeps its own store in the row's folder."""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from medreg.config.command import BENCHMARK, CAPTURE_RANGE, Command
from medreg.errors import DataError
from medreg.io.digest import digest_of
from medreg.reporting.tables import with_means
from medreg.runs.provenance import hardware, revision
from medreg.studies.table.run_folder import plain_rows
from medreg.studies.table.work import Request
from medreg.study.unit import Outcome, Row

if TYPE_CHECKING:
    import pandas as pd
