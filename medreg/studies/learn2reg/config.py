"""The evaluation config of a task made from its descriptor, as the organisers make theirs."""

from __future__ import annotations

from collections.abc import Sequence

from medreg.data.datasets.learn2reg_config import EvaluationConfig, MetricSpec, PairPaths
from medreg.data.datasets.learn2reg_descriptor import PAIR_LISTS, Descriptor
from medreg.errors import ConfigError, require_choice
from medreg.io.json_model import checked

KINDS = {"val": "validation", "test": "test", "train": "train"}  # split: kind of pairs of a descriptor
POINT_NAMES = {"landmarks": "lm", "keypoints": "kp"}


def config_from_descriptor(
    descriptor: Descriptor,
    *,
    split: str = "val",
    labels: Sequence[int] | None = None,
    points: Sequence[str] | None = None,
    masked: bool | None = None,
    shape: Sequence[int] | None = None,
) -> EvaluationConfig:
    """Make the evaluation config of a task from its descriptor.

    The organisers choose metrics on their command line; here they follow from what the task has: the log
    Jacobian always, Dice and HD95 where it has labels, the error of landmarks and of key-points where it has
    those.

    Args:
        descriptor: of the task.
        split: "val", "test", or "train" (the paired training images).
        labels: ids to score; default: those that the descriptor names, without the background.
        points: folders of points, of landmarks and keypoints; default: those of the training list.
        masked: use the fixed mask; default: where the pairs are of one patient and fixed images have masks.
        shape: grid of the fields, for descriptors that name none.

    Raises:
        ConfigError: no pairs for that split, no shape, or an unknown split.
    """
    pairs = listed_pairs(descriptor, split=split)
    sizes = [int(size) for size in shape or descriptor.shapes.get("0", ())]
    if len(sizes) != 3:
        raise ConfigError(f"{descriptor.name}: tensorImageShape names no 3-D shape for modality 0.")
    specs = [MetricSpec("LogJacDetStd", "sdlogj")]
    if ids := tuple(descriptor.codes if labels is None else labels):
        specs += [MetricSpec("DSC", "dice", ids), MetricSpec("HD95", "hd95", ids)]
    kinds = descriptor.points if points is None else points
    specs += [MetricSpec(f"TRE_{POINT_NAMES[kind]}", "tre", dest=kind) for kind in kinds]
    return EvaluationConfig(
        name=descriptor.name,
        shape=(sizes[0], sizes[1], sizes[2]),
        pairs=pairs,
        metrics=tuple(specs),
        masked=_is_masked(descriptor) if masked is None else masked,
    )


def listed_pairs(descriptor: Descriptor, *, split: str = "val") -> tuple[PairPaths, ...]:
    """Pairs that a descriptor lists for a split.

    Raises:
        ConfigError: an unknown split, no pairs, or names of another form.
    """
    require_choice("split", split, KINDS)
    keys = [key for key, kind in PAIR_LISTS.items() if kind == KINDS[split]]
    if incomplete := [text for text in descriptor.problems if any(f" of {key} " in text for key in keys)]:
        raise ConfigError(f"{descriptor.path}: {incomplete[0]}")
    pairs = [{"fixed": p.fixed, "moving": p.moving} for p in descriptor.pairs if p.kind == KINDS[split]]
    if not pairs:
        raise ConfigError(
            f"{descriptor.name} lists no pairs under {' or '.join(keys)}; choose another split."
        )
    return checked(tuple[PairPaths, ...], pairs, descriptor.path, error=ConfigError)


def _is_masked(descriptor: Descriptor) -> bool:
    """Lung and abdominal tasks within a patient are evaluated inside the mask; brains of OASIS are not."""
    provided = descriptor.provided.get(descriptor.direction[0], [])
    return descriptor.pairings in ("paired", "hybrid") and "mask" in provided
