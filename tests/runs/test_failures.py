"""A run that ends early says why."""

from __future__ import annotations

import pytest

from medreg.runs.failures import told_of_run


def _try_get_data(error: Exception) -> None:
    """Stands for the loader's function of that name, which waits for a batch."""
    raise error


def caught(error: Exception, *, waiting: bool) -> Exception:
    """Return the error as a run meets it, with a trace."""
    try:
        if waiting:
            _try_get_data(error)
        raise error
    except (OSError, EOFError) as met:
        return met


@pytest.mark.parametrize(
    "error",
    [ConnectionResetError(104, "Connection reset by peer"), EOFError(), FileNotFoundError(2, "No such file")],
)
def test_a_socket_that_breaks_while_waiting_for_a_batch_is_a_dead_worker(error, tmp_path):
    text = told_of_run(caught(error, waiting=True), tmp_path)
    assert "A data-loading process died" in text
    assert "data.loader.num_workers=0" in text


def test_a_broken_connection_elsewhere_is_not(tmp_path):
    text = told_of_run(caught(ConnectionResetError(104, "Connection reset by peer"), waiting=False), tmp_path)
    assert "data-loading" not in text
    assert "Connection reset by peer" in text


def test_a_worker_that_the_loader_found_dead(tmp_path):
    error = RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. ")
    assert "A data-loading process died (DataLoader worker (pid 7) is killed" in told_of_run(error, tmp_path)
