"""The command from the shell to the report."""

from __future__ import annotations

import pandas as pd
import pytest

from experiments.performance.__main__ import main, parser
from experiments.performance.peers import released
from medreg.errors import ConfigError


def test_everything_is_the_default():
    assert parser().parse_args([]).section == "all"
    assert parser().parse_args(["steps", "loop"]).section == ["steps", "loop"]


def test_a_missing_checkout_is_named(capsys, tmp_path):
    assert main(["steps", "--release", str(tmp_path / "nowhere")]) == 1
    assert "nowhere" in capsys.readouterr().err


def test_releases_are_known_by_their_files(tmp_path):
    gradirn, vrnet, csain = tmp_path / "one" / "core", tmp_path / "two", tmp_path / "three"
    for folder, file in ((gradirn, "networks.py"), (vrnet, "L2Models.py")):
        folder.mkdir(parents=True)
        (folder / file).touch()
    csain.mkdir()
    (csain / "network.py").write_text("class CSAIN_disp_lvl1:")
    sampler, engine = tmp_path / "four" / "trainer", tmp_path / "five" / "dlvi"
    sampler.mkdir(parents=True)
    (sampler / "trainer.py").write_text("def _SGLD_transition")
    engine.mkdir(parents=True)
    (engine / "variationalize.py").touch()
    folders = (vrnet, gradirn.parent, csain, sampler.parent, engine.parent)
    names = [one.name for one in released(folders)]
    assert names == [
        "VR-Net release", "GraDIRN release", "CSAIN release", "ir-sgmcmc release", "dlvi release",
    ]  # fmt: skip
    with pytest.raises(ConfigError, match="is no checkout"):
        released((tmp_path,))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_operators_from_command_to_report(tmp_path, monkeypatch):
    from experiments.performance import operators_section
    from experiments.performance.operators import OPERATORS

    monkeypatch.setattr(operators_section, "WINDOWS", ())
    monkeypatch.setattr(operators_section, "_MOST_OF_MEMORY", 0)  # has a test of its own
    monkeypatch.setattr(operators_section, "OPERATORS", {name: OPERATORS[name] for name in ("lncc", "dice")})
    command = ["operators", "--quick", "--sizes", "16x18x20", "--threads", "1"]
    assert main([*command, "--output", str(tmp_path)]) == 0
    frame = pd.read_csv(tmp_path / "bench.csv")
    assert {"medreg", "MONAI", "SciPy", "floor"} <= set(frame["contender"])
    assert {"cpu", "cores", "threads", "torch", "load", "date", "commit"} <= set(frame.columns)
    timed = frame[(frame["quantity"] == "wall_s") & (frame["contender"] != "floor")]
    assert (timed["value"] > 0).all()
    assert "LNCC, window 9" in (tmp_path / "report.md").read_text()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_step_that_no_contender_has_is_told_and_passed_over(tmp_path, capsys):
    command = ["steps", "--networks", "csain", "--sizes", "16x16x16", "--threads", "1"]
    assert main([*command, "--output", str(tmp_path)]) == 0
    assert "no contender has this step" in capsys.readouterr().out
    frame = pd.read_csv(tmp_path / "bench.csv")
    told = frame.loc[(frame["contender"] == "medreg") & (frame["quantity"] == "failed"), "note"]
    assert "2-D only" in told.item()
