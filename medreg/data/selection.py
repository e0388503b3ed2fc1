"""Which images of a data set take part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from medreg.data.records import Record


@dataclass(frozen=True)
class ImageSelection:
    """Images by what the data set says of them.

    Attributes:
        phases: phases to take, such as ED and ES; None takes any.
        modalities: contrasts to take; None takes any.
        labelled: take images with a label map only.
    """

    phases: Sequence[str] | None = None
    modalities: Sequence[str] | None = None
    labelled: bool = False

    def of(self, records: Sequence[Record]) -> list[Record]:
        """Return the images that take part, in their order."""
        return [
            record
            for record in records
            if (self.phases is None or record.phase in self.phases)
            and (self.modalities is None or record.modality in self.modalities)
            and (record.label is not None or not self.labelled)
        ]
