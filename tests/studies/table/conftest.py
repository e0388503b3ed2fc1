from __future__ import annotations

import pytest

TABLE = """\
title: Two methods
rows:
  old:
    label: Old method
    work: &tiny {_target_: tiny_work.TinyWork}
    overrides: [mean=0.80]
  new:
    work: *tiny
    overrides: [mean=0.85]
    tuning: 3
columns:
  dice:
  parameters:
seeds: [1, 2, 3]
reference: old
scales:
  smoke: {seeds: [1, 2]}
  laptop: {}
claims:
  - new.dice > old.dice
  - claim: new.dice > old.dice + 0.2
    expect: {smoke: not confirmed}
"""


class Experiments:
    """A user's folder with one paper and one table, and the units of work that were done."""

    def __init__(self, root):
        self.root = root
        self.file = root / "experiments" / "paper" / "tables" / "two.yaml"
        self.file.parent.mkdir(parents=True)
        self.log = root / "done.txt"
        self.write(TABLE)

    def write(self, text):
        self.file.write_text(text)

    def change(self, old, new):
        text = self.file.read_text()
        assert old in text
        self.write(text.replace(old, new))

    def publish(self, *lines):
        head = "paper,dataset,method,metric,value,unit,source,confirmed,table,row"
        (self.file.parents[1] / "expected.csv").write_text("\n".join([head, *lines]) + "\n")

    def done(self):
        return self.log.read_text().splitlines() if self.log.exists() else []

    def out(self, name="table.md", scale="smoke"):
        return (self.root / "outputs" / "tables" / "paper" / "two" / scale / name).read_text()

    def run(self, *words, scale="smoke"):
        from medreg.cli.main import main

        return main(
            ["table", "paper/two", "--scale", scale, "--experiments", str(self.root / "experiments"), *words]
        )


@pytest.fixture
def experiments(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDREG_ALLOW", "tiny_work,user_work")
    monkeypatch.setenv("TINY_WORK_LOG", str(tmp_path / "done.txt"))
    monkeypatch.setenv("MEDREG_OUTPUTS", str(tmp_path / "outputs"))
    return Experiments(tmp_path)
