"""A checkpoint takes its place whole, and what a killed writer left goes with the next one."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from medreg.callbacks.checkpoint import LAST, save_atomically


def trainer(folder, save, *, zero=True):
    return SimpleNamespace(default_root_dir=str(folder), is_global_zero=zero, save_checkpoint=save)


def test_a_failed_save_keeps_the_one_before(tmp_path):
    def good(path, *, weights_only):
        path.write_bytes(b"first")

    def full(path, *, weights_only):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    save_atomically(trainer(tmp_path, good), LAST)
    left = tmp_path / "checkpoints" / ".last.1.part.ckpt"
    left.write_bytes(b"of a killed run")
    with pytest.raises(OSError, match="No space left"):
        save_atomically(trainer(tmp_path, full), LAST)
    (only,) = (tmp_path / "checkpoints").iterdir()
    assert only.name == LAST
    assert only.read_bytes() == b"first"


def test_every_process_takes_part_and_one_writes(tmp_path):
    asked = []

    def nothing(path, *, weights_only):
        asked.append(path.name)

    save_atomically(trainer(tmp_path, nothing, zero=False), LAST)
    assert asked == [LAST]
    assert not (tmp_path / "checkpoints").exists()


def test_the_checkpoint_before_the_last_one_is_kept(tmp_path):
    for word in (b"first", b"second", b"third"):
        save_atomically(
            trainer(tmp_path, lambda path, *, weights_only, word=word: path.write_bytes(word)), LAST
        )
    folder = tmp_path / "checkpoints"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        "last.ckpt": b"third",
        "previous.ckpt": b"second",
    }
