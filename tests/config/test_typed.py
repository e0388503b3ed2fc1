"""Every option is compared with the type that its constructor expects, before anything is built."""

from __future__ import annotations

import pytest
from omegaconf import OmegaConf

from medreg.config.compose import compose
from medreg.config.faults import sentence
from medreg.config.typed import check_types
from medreg.errors import ConfigError


@pytest.fixture(scope="module")
def default():
    return compose([])


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("seed", "abc", "seed=abc: it must be a whole number"),
        ("seed", None, "seed=null: it must be a whole number"),
        ("seed", -1, "seed=-1: it must be from 0 to 4294967295"),
        ("seed", 2**32, "it must be from 0 to 4294967295"),
        ("seed", 1e3, "seed=1000.0: it must be a whole number"),
        ("fresh", "maybe", "fresh=maybe: it must be true or false"),
        ("pictures", -1, "pictures=-1: it must be at least 0"),
        ("pictures", 1.5, "pictures=1.5: it must be a whole number"),
        ("trainer.max_epochs", "abc", "trainer.max_epochs=abc: it must be a whole number or null"),
        ("trainer.check_val_every_n_epoch", 0, "trainer.check_val_every_n_epoch=0: it must be at least 1"),
        ("trainer.precision", "hello", "trainer.precision=hello: it must be"),
        ("regularisation.weight", "abc", "regularisation.weight=abc: it must be a number"),
        ("optimiser.lr", "fast", "optimiser.lr=fast: it must be a number"),
        ("data.loader.batch_size", 1.5, "data.loader.batch_size=1.5: it must be a whole number"),
        ("data.preprocess.size", "abc", "data.preprocess.size=abc: it must be a list"),
        ("data.cache.kind", "ram", "data.cache.kind=ram: it must be memory or disk or none"),
        ("model.num_blocks", "abc", "model.num_blocks=abc: it must be a list"),
        ("callbacks.best.monitor", 3, "callbacks.best.monitor=3: it must be a text"),
        ("model", None, "model=null: a run needs one"),
        ("logger", None, "logger=none"),
        ("model.transformation", None, "model.transformation=null"),
        ("data.dataset", None, "data.dataset=null"),
        ("data.preprocess", None, "data.preprocess=null"),
        ("optimiser.lr", float("inf"), "optimiser.lr=inf: it must be from 0"),
        ("trainer.gradient_clip_val", -1, "trainer.gradient_clip_val=-1: it must be at least 0"),
    ],
)
def test_a_value_of_another_kind_is_told_with_its_option(default, key, value, told):
    cfg = default.copy()
    OmegaConf.update(cfg, key, value, force_add=True)
    with pytest.raises(ConfigError) as caught:
        check_types(cfg)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seed", 2**32 - 1),
        ("trainer.max_epochs", -1),
        ("trainer.devices", [0]),
        ("trainer.check_val_every_n_epoch", None),
        ("regularisation.weight", 1),
        ("optimiser.betas", [0.9, 0.99]),
        ("trainer.limit_train_batches", 0.5),
    ],
)
def test_what_makes_sense_passes(default, key, value):
    cfg = default.copy()
    OmegaConf.update(cfg, key, value, force_add=True)
    check_types(cfg)


def test_parts_that_do_not_belong_together_are_a_sentence():
    with pytest.raises(Exception, match="similarity") as caught:
        check_types(compose(["task=distance", "model=optimise"]))
    assert "do not belong together" in str(sentence(caught.value))


def test_broken_yaml_names_file_and_line(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("a: 1\nb: [1,\n")
    with pytest.raises(Exception, match="mine") as caught:
        OmegaConf.load(file)
    assert str(file) in str(sentence(caught.value))
    assert "line 3" in str(sentence(caught.value))
    assert "damaged" in str(sentence(EOFError("Compressed file ended")))
    assert "memory" in str(sentence(MemoryError()))
    assert sentence(KeyError("x")) is None  # a defect keeps its traceback


def test_data_of_another_kind_are_told_as_such():
    with pytest.raises(Exception, match="phases") as caught:
        OmegaConf.to_container(compose(["model=cheart", "data=acdc"]), resolve=True)
    told = str(sentence(caught.value))
    assert "There is no data.phases" in told
    assert "Choose data of the model's kind" in told
