"""What can go wrong while a run works, as sentences that say how to go on."""

from __future__ import annotations

import traceback
from pathlib import Path

from medreg.config.faults import sentence
from medreg.errors import MedregError
from medreg.io.faults import is_full, told

AGAIN = "The same command continues from the last checkpoint; nothing already computed is lost."


def told_of_run(error: Exception, folder: Path) -> str | None:
    """Return what a person should read of a failed run; None of a defect of the program.

    Args:
        error: what ended the run.
        folder: of the run.
    """
    if isinstance(error, MedregError):
        return str(error)
    if _is_dead_worker(error):
        return (
            f"A data-loading process died ({_first_line(error)}), most often for want of memory. Use fewer "
            f"(data.loader.num_workers=0) or smaller batches (data.loader.batch_size). {AGAIN}"
        )
    if isinstance(error, OSError):
        text = told(error)
        where = f"Nothing more can be written to {folder}, or to what it uses: " if is_full(error) else ""
        return f"{where}{text} {AGAIN}"
    known = _of_torch(error)
    return known if known is not None else sentence(error)


def _is_dead_worker(error: Exception) -> bool:
    """Return whether a process that loads data ended without a word.

    The loader notices the signal, or its socket breaks while a batch is taken over: an error of the operating system
    (or the end of a stream) that was raised while waiting for a batch. What a worker raises itself is told elsewhere.
    """
    if "DataLoader worker" in str(error):
        return True
    waiting = any(frame.name == "_try_get_data" for frame in traceback.extract_tb(error.__traceback__))
    return waiting and isinstance(error, OSError | EOFError)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__


def _of_torch(error: Exception) -> str | None:
    text = str(error)
    if "out of memory" in text:
        return (
            "The device has too little memory for this step. Lower data.loader.batch_size, use "
            f"trainer.precision=16-mixed on a GPU, or, for GraDIRN, model.checkpoint=true or all. {AGAIN}"
        )
    if isinstance(error, ValueError) and "loaded state dict" in text:
        return (
            f"The checkpoint that training goes on from was made with another optimiser ({text}). Use its options, or "
            "take its weights alone with init=PATH."
        )
    if type(error).__name__ == "MisconfigurationException":  # of Lightning, about an option of the trainer
        return f"The options of the trainer do not fit: {text.splitlines()[0]}"
    return None
