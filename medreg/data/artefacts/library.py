"""TorchIO, which makes the artefacts: installed or not, and of a version that does what is asked of it."""

from __future__ import annotations

from typing import Any

from medreg.errors import MissingExtra

INSTALL = "pip install 'medreg[corruption]'"


def torchio() -> Any:
    """Import TorchIO.

    Raises:
        MissingExtra: it is not installed, or is version 2, whose classes of the same names do nothing by default.
    """
    try:
        import torchio as library
    except ImportError as error:
        raise MissingExtra(
            f"Corrupted images (data.corruption) need TorchIO below version 2: {INSTALL}"
        ) from error
    if not str(library.__version__).startswith(("0.", "1.")):
        raise MissingExtra(
            f"TorchIO {library.__version__} is installed, but from version 2 on its artefacts are others and leave "
            f"the image as it is unless told otherwise, which would look like robustness. {INSTALL}"
        )
    return library


def version() -> str:
    """Return the version of TorchIO; part of what determines a corrupted image.

    Raises:
        MissingExtra: see `torchio`.
    """
    return str(torchio().__version__)
