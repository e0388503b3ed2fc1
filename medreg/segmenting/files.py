"""Which files a command reads and writes, settled and checked before any of them is worked on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medreg.errors import ConfigError
from medreg.io.foreign import is_foreign
from medreg.io.frames import split_frame
from medreg.io.image import existing_file
from medreg.io.outputs import check_file, check_folder
from medreg.segmenting.image import Frame, frames_of
from medreg.segmenting.result import SUFFIXES, check_output, stem

METRICS = "metrics.csv"  # of several images, in their folder


@dataclass(frozen=True)
class Errand:
    """One image file and what becomes of it.

    Attributes:
        image: as it was named.
        frames: of the file; None stands for its one image.
        target: file of the label map.
        labels: file of the true labels, None where there are none.
    """

    image: str
    frames: tuple[int | None, ...]
    target: Path
    labels: str | None = None


def plan_files(
    images: Sequence[str],
    output: str,
    *,
    labels: Sequence[str] = (),
    frame: Frame = None,
    overwrite: bool = False,
    structures: Sequence[str] = (),
) -> tuple[list[Errand], Path]:
    """Return what is to be done, and the file of the measured numbers.

    Args:
        images: files; a name may end in `#2` for a frame.
        output: file for one image; folder for several, or where the name does not end in .nii or .nii.gz.
        labels: files of true labels, in the order of the images.
        frame: 0-based index, "all", or None.
        overwrite: whether results may be there already.
        structures: of which probabilities are written.

    Raises:
        ConfigError: outputs that cannot be written, are there already or collide; another number of label maps.
        DataError: a file that is missing, or frames of which none was chosen.
    """
    if labels and len(labels) != len(images):
        raise ConfigError(
            f"--labels names {len(labels)} files for {len(images)} images; give one for each, in the same order."
        )
    for file in labels:
        existing_file(split_frame(file)[0])
    into_folder = len(images) > 1 or not output.endswith(SUFFIXES)
    if into_folder and output.endswith(SUFFIXES):
        raise ConfigError(f"--output {output} is one file for {len(images)} images; name a folder.")
    if is_foreign(Path(output)):
        raise ConfigError(f"--output {output}: label maps are written as NIfTI; end the name in .nii.gz.")
    if into_folder:
        check_folder(output, "--output")
    folder = Path(output)
    targets = [folder / f"{_name(image)}_seg.nii.gz" if into_folder else folder for image in images]
    _refuse_twins(images, targets)
    read = [str(split_frame(name)[0]) for name in (*images, *labels)]
    errands = []
    for number, (image, target) in enumerate(zip(images, targets, strict=True)):
        check_output(target, inputs=read, overwrite=overwrite, structures=structures)
        frames = tuple(frames_of(image, frame))
        errands.append(Errand(image, frames, target, labels[number] if labels else None))
    table = folder / METRICS if into_folder else folder.with_name(f"{stem(folder)}.csv")
    if labels:
        check_file(table, "--output", inputs=read)
        if table.exists() and not overwrite:
            raise ConfigError(f"--output: {table} is there already; choose another name, or add --overwrite.")
    return errands, table


def _name(image: str) -> str:
    """Name of the results of an image, with its frame where one was named."""
    file, frame = split_frame(image)
    return stem(file) if frame is None else f"{stem(file)}_{frame}"


def _refuse_twins(images: Sequence[str], targets: Sequence[Path]) -> None:
    first: dict[Path, str] = {}
    for image, target in zip(images, targets, strict=True):
        if target in first:
            raise ConfigError(
                f"{first[target]} and {image} would both be written to {target}; segment them into two folders."
            )
        first[target] = image
