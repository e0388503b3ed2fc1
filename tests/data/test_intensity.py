"""The fast percentiles are those of NumPy, to the last bit of float32."""

from __future__ import annotations

import numpy as np
import pytest

from medreg.data.intensity import percentiles


@pytest.mark.parametrize("count", [1, 2, 37, 4096])
@pytest.mark.parametrize("percents", [(0.05, 99.95), (0.0, 100.0), (2.0, 50.0)])
def test_equal_to_numpy(count, percents):
    rows = np.random.default_rng(count).normal(100, 30, (3, count)).astype(np.float32)
    expected = np.percentile(rows, list(percents), axis=1).astype(np.float32)
    assert np.array_equal(percentiles(rows, percents).astype(np.float32), expected)
