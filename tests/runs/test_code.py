"""The code that a run depends on: what its classes import, without what only starts, records and shows."""

from __future__ import annotations

from medreg.runs.code import changed, code_of, code_of_targets


def test_what_is_imported_counts_however_far_away():
    found = code_of_targets(["medreg.models.gradirn.GraDIRN"])
    assert "medreg.models.gradirn" in found
    assert "medreg.geometry.warp" in found
    assert "medreg.models.voxelmorph" not in found
    assert not [
        name for name in found if name.startswith(("medreg.reporting", "medreg.cli", "medreg.callbacks"))
    ]


def test_callbacks_and_loggers_of_a_configuration_do_not_count():
    config = {
        "logger": {"_target_": "medreg.callbacks.wandb_logger.RunWandb"},
        "model": {"_target_": "medreg.models.identity.Identity", "inner": {"_target_": "torch.nn.ReLU"}},
    }
    assert set(code_of(config)) == set(code_of_targets(["medreg.models.identity.Identity"]))


def test_words_do_not_count_and_deeds_do(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDREG_ALLOW", "codepackage")
    monkeypatch.setenv("MEDREG_CACHE", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(str(tmp_path))
    package = tmp_path / "codepackage"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "net.py").write_text("from .part import f\n\n\nclass Net:\n    pass\n")
    (package / "part.py").write_text("def f():\n    return 1\n")
    first = code_of_targets(["codepackage.net.Net"])
    assert set(first) == {"codepackage.net", "codepackage.part"} | (set(first) & {"codepackage"})
    (package / "part.py").write_text('def f():\n    """Words."""\n    return 1  # more words\n')
    assert changed(first, code_of_targets(["codepackage.net.Net"])) == []
    (package / "part.py").write_text("def f():\n    return 2222\n")
    assert changed(first, code_of_targets(["codepackage.net.Net"])) == ["codepackage.part"]
