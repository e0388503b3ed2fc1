"""Tasks of the Medical Segmentation Decathlon (Antonelli et al., Nature Communications 13, 2022)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Unpack

from medreg.data.datasets.base import DataSource, SourceOptions, nifti
from medreg.data.published_splits import PublishedSplit, read_published
from medreg.data.records import Record, stem
from medreg.errors import ConfigError, DataError
from medreg.io.atomic import read_json

DESCRIPTOR = "dataset.json"
SPLITS = {"PROSTATE": "decathlon_prostate_splits.yaml"}  # name in dataset.json → file beside this one


class Decathlon(DataSource):
    """`Task05_Prostate/{dataset.json, imagesTr/prostate_16.nii.gz, labelsTr/prostate_16.nii.gz, imagesTs}`.

    Images of several contrasts are 4-D files; one contrast is read. The labels of the test images are not published.

    Args:
        root: folder that holds dataset.json.
        modality: name of the contrast in dataset.json, such as T2; needed where there are several.
        unlabelled: also take imagesTs, which have no labels.
        **options: of every data set.
    """

    title = "The Medical Segmentation Decathlon"
    source = "Download a task from http://medicaldecathlon.com (CC BY-SA 4.0); the folder holds dataset.json."

    def __init__(
        self,
        root: str | Path,
        *,
        modality: str | None,
        unlabelled: bool = False,
        **options: Unpack[SourceOptions],
    ) -> None:
        super().__init__(root, **options)
        self.modality = modality
        self.unlabelled = unlabelled

    def missing(self) -> str:
        """Say that there is no descriptor; empty if there is one."""
        return "" if (self.root / DESCRIPTOR).is_file() else f"there is no file {DESCRIPTOR}"

    def scan(self) -> list[Record]:
        """Return the images that dataset.json lists.

        Raises:
            DataError: it is no JSON object of this form, or an image that it lists is missing.
            ConfigError: it has no such modality, or several and none was chosen.
        """
        content = self._descriptor()
        frame = self._frame(content)
        listed = [entry for entry in content.get("training", []) if isinstance(entry, dict)]
        out = [self._labelled(entry, frame) for entry in listed]
        if self.unlabelled:
            out += [self._record(str(name), None, frame) for name in content.get("test", [])]
        return [record for record in out if record is not None]

    def labels(self) -> dict[str, int]:
        """Return the structures that dataset.json names."""
        content = self._descriptor() if not self.missing() else {}
        return {str(name): int(code) for code, name in (content.get("labels") or {}).items() if int(code)}

    def published_splits(self) -> Mapping[str, PublishedSplit]:
        """Return those of AdvChain for the prostate; none for other tasks."""
        file = SPLITS.get(str(self._descriptor().get("name", "")).upper())
        return {} if file is None else read_published(Path(__file__).with_name(file))

    def _descriptor(self) -> dict[str, Any]:
        content = read_json(self.root / DESCRIPTOR)
        if not isinstance(content, dict) or not isinstance(content.get("training"), list):
            raise DataError(
                f"{self.root / DESCRIPTOR} is no descriptor of the Decathlon: it must be a JSON object with a list "
                "`training`. Download the task again."
            )
        return content

    def _frame(self, content: Mapping[str, Any]) -> int | None:
        """Index of the contrast along the fourth axis; None where there is one only."""
        names = {str(name): int(index) for index, name in (content.get("modality") or {}).items()}
        if self.modality is None and len(names) <= 1:
            return None
        if self.modality not in names:
            raise ConfigError(
                f"data.dataset.modality is {self.modality!r}, but {self.root / DESCRIPTOR} has "
                f"{', '.join(names) or 'none'}; choose one of them."
            )
        return names[str(self.modality)] if len(names) > 1 else None

    def _labelled(self, entry: Mapping[str, Any], frame: int | None) -> Record | None:
        label = self._file(str(entry.get("label", "")))
        if label is None:
            self.problem(f"{self.root / str(entry.get('label'))}, which {DESCRIPTOR} lists, is missing.")
            return None
        return self._record(str(entry.get("image", "")), label, frame)

    def _record(self, name: str, label: Path | None, frame: int | None) -> Record | None:
        image = self._file(name)
        if image is None:
            self.problem(f"{self.root / name}, which {DESCRIPTOR} lists, is missing.")
            return None
        # The fourth axis holds contrasts, no frames in time: position says that there is none.
        return Record(stem(image), image, label, frame=frame, position=-1, must_have_label=label is not None)

    def _file(self, name: str) -> Path | None:
        """Return a listed file, compressed or not."""
        path = self.root / name
        return nifti(path.parent, stem(path)) if name else None
