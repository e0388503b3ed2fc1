"""The task of a run names the sections of its report; what goes wrong in one costs nobody else anything."""

from __future__ import annotations

import pytest

from medreg.errors import DataError
from medreg.reporting.html import write_report
from medreg.reporting.results import read_results
from medreg.reporting.section import find

OWN = """
from medreg.reporting.page import Section, paragraph


def chains(run):
    yield Section("Chains", (paragraph(f"{run.name}: 4 chains & <none> lost"),))


def broken(run):
    yield Section("Half", ())
    raise ValueError("no such chain")
"""


@pytest.fixture
def own_package(tmp_path, monkeypatch):
    (tmp_path / "ownkind.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("MEDREG_ALLOW", "ownkind")


def test_a_package_of_the_user_brings_its_own_kind(own_package, make_run):
    folder = make_run(record={"status": "finished", "sections": ["ownkind.chains"]})
    page = write_report(folder).read_text()
    assert "<h2>Chains</h2>" in page
    assert "4 chains &amp; &lt;none&gt; lost" in page
    assert "<h2>Results" not in page


def test_a_section_that_fails_leaves_the_others(own_package, make_run, rows, frame):
    names = ["ownkind.broken", "medreg.reporting.sections.results", "ownkind.gone"]
    folder = make_run(record={"status": "finished", "sections": names}, results=frame(rows([0.5, 0.6])))
    page = write_report(folder).read_text()
    assert "broken could not be drawn: no such chain" in page
    assert "gone could not be drawn: ownkind.gone is not there" in page
    assert "<h2>Results: phantom, test</h2>" in page
    assert "<h2>Half</h2>" not in page


@pytest.mark.parametrize("name", ["os.system", "subprocess.Popen", "medreg.config.compose.compose"])
def test_a_record_cannot_name_any_function(name):
    with pytest.raises(DataError, match="MEDREG_ALLOW"):
        find(name)


def test_table_without_pairs_is_read(tmp_path):
    file = tmp_path / "results.csv"
    file.write_text(
        "run,model,data,split,case,frame,method,structure,metric,value,unit\n"
        "r,m,d,test,a,3,net,LV,dice,0.5,1\n"
        "r,m,d,test,a,4,net,LV,dice,0.7,1\n"
    )
    table = read_results(file).table
    assert list(table["frame"]) == ["3", "4"]
    assert list(table["value"]) == [0.5, 0.7]
