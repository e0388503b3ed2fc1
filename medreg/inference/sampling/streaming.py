"""Summaries that are gathered while chains run, in memory that does not depend on the number of samples."""

from __future__ import annotations

from medreg.inference.sampling.chunks import Chunks, read_chunks
from medreg.inference.sampling.label_counts import LabelCounts
from medreg.inference.sampling.moments import Moments
from medreg.inference.sampling.probe import Probe
from medreg.inference.sampling.ranks import Ranks

__all__ = ["Chunks", "LabelCounts", "Moments", "Probe", "Ranks", "read_chunks"]
