"""Every data configuration builds, and says what to do where its data are absent."""

from __future__ import annotations

import re

import pytest
from data_build import data_config, data_module

from medreg.config.paths import config_dir
from medreg.errors import DatasetNotFound

NAMES = sorted(file.stem for file in (config_dir() / "data").glob("*.yaml"))
REAL = [name for name in NAMES if not any(word in name for word in ("phantom", "simulated", "population"))]


@pytest.mark.parametrize("name", NAMES)
def test_configuration_builds(name):
    config = data_config(name, None)
    data = data_module(name, None)
    assert data.ndim == config.ndim
    assert dict(config.labels or {}) == data._configured


@pytest.mark.parametrize("name", REAL)
def test_absent_data_name_folder_option_source_and_what_works_now(name, tmp_path):
    data = data_module(name, tmp_path / "nowhere")
    with pytest.raises(DatasetNotFound) as caught:
        data.setup()
    for part in (str(tmp_path / "nowhere"), "data.dataset.root", "MEDREG_DATA", "data=cardiac_phantom"):
        assert part in str(caught.value)
    assert len(str(caught.value)) > 150


@pytest.mark.parametrize("name", NAMES)
def test_every_number_is_commented(name):
    """A number in YAML names its unit or source at the end of the line (codes of labels name themselves)."""
    text = (config_dir() / "data" / f"{name}.yaml").read_text()
    text = re.sub(r"(?m)^labels:.*\n(  .*\n)+", "", text)
    assert re.findall(r"(?m)^ *\w+: \[?-?[\d.][^#]*$", text) == []
