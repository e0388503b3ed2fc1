"""A trained run: what its folder on disk means, and the one field that it gives for a pair.

Whatever registers with a run (`mode=test`, `register --ckpt`, `benchmark`, `submit`, `search-smoothness`,
`draw-smoothness`) asks a `TrainedRun`, so that all of them use the same weights, preparation of images, λ, masks and
refinement.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from medreg import __version__
from medreg.config.instantiate import build, check_target
from medreg.config.renamed import with_names_of_today
from medreg.data.preprocess import Preprocess
from medreg.errors import CheckpointError, CompositionError
from medreg.geometry.pair_transform import PairTransform
from medreg.io.checkpoint import apply_weights, find, read
from medreg.io.stack import stack_shape
from medreg.models.asking import ask, sliced, volume_of
from medreg.models.base import RegistrationModel
from medreg.models.chosen_smoothness import ChosenSmoothness, read_choice, require_conditional
from medreg.models.posterior import AsTransforms, MapListener, ask_posterior
from medreg.models.sampling import without_samples
from medreg.runs.record import RunRecord
from medreg.runs.scans import PreparedScans, Scan, prepare
from medreg.runs.trust import check_configuration

Smoothness = ChosenSmoothness | Tensor | None
UNTRAINED = "untrained"  # in place of a digest of weights
DECISIVE = ("model", "refine", "task", "seed")  # options that decide a field, beside those of the preparation


@dataclass(frozen=True, eq=False)
class TrainedRun:
    """A run as its folder or checkpoint holds it, made by `TrainedRun.open`; the model is built when first used.

    Attributes:
        path: run folder, or checkpoint file.
        file: checkpoint; None of a method without weights.
        config: resolved configuration, checked: nothing but our own classes is built from it.
        record: run.json, or what the checkpoint says of its run.
        digest: SHA-256 of the checkpoint, or `UNTRAINED`.
        device: where it computes.
    """

    path: Path
    file: Path | None
    config: Mapping[str, Any]
    record: Mapping[str, Any]
    digest: str
    device: torch.device

    @classmethod
    def open(cls, path: str | Path, ckpt: str = "best", *, device: str | torch.device = "cpu") -> TrainedRun:
        """Read a run folder or a checkpoint; nothing of it is executed.

        Args:
            path: run folder, or a checkpoint file.
            ckpt: "best" or "last" of a run folder.
            device: where the model computes.

        Raises:
            CheckpointError: nothing there, unreadable, or without a configuration.
            ConfigError: the configuration names something that is not built from a run folder.
        """
        path = Path(path).expanduser()
        file = find(ckpt, path) if path.is_dir() else find(str(path.absolute()), path)
        provenance = {} if file is None else dict(read(file).get("medreg") or {})
        config = with_names_of_today(_merged(read_config(path), provenance.pop("config", None)))
        if not config and file is not None:
            raise CheckpointError(
                f"{file} carries no configuration, so its model cannot be rebuilt; it was not saved by a medreg run."
            )
        check_configuration(config, str(path))
        if file is None and (not config or _has_weights(config["model"])):
            raise CheckpointError(
                f"The run folder {path} holds no checkpoint; train first, or name another run."
            )
        record = (RunRecord(path).content if path.is_dir() else {}) or provenance
        digest = UNTRAINED if file is None else hashlib.sha256(file.read_bytes()).hexdigest()
        return cls(path, file, config, record, digest, torch.device(device))

    @property
    def folder(self) -> Path:
        """Folder that holds the run or its checkpoint."""
        return self.path if self.path.is_dir() else self.path.parent

    @property
    def name(self) -> str:
        """Name of the run folder."""
        return self.path.resolve().name

    @cached_property
    def model(self) -> nn.Module:
        """The model with its weights, in evaluation mode."""
        model: nn.Module = build(self.config["model"])
        if self.file is not None:
            apply_weights(model, self.file)
        return model.eval().to(self.device)

    @property
    def registration(self) -> RegistrationModel:
        """The model of a run that registers.

        Raises:
            CheckpointError: it does something else.
        """
        if not isinstance(self.model, RegistrationModel):
            raise CheckpointError(f"{self.path} is not the run of a registration model.")
        return self.model

    @cached_property
    def refinement(self) -> RegistrationModel | None:
        """The instance optimisation that the run lets follow its model, None for none."""
        node = self.config.get("refine") or None
        return None if node is None else build(node)

    @cached_property
    def preprocess(self) -> Preprocess:
        """The preparation of its images.

        Raises:
            CompositionError: they are prepared in a way that single images do not have.
        """
        node = self.data.get("preprocess")
        found = None if node is None else build(node)
        if not isinstance(found, Preprocess):
            raise CompositionError(
                f"{self.path} holds no preparation of images (data.preprocess), so none can be undone."
            )
        return found

    @property
    def data(self) -> Mapping[str, Any]:
        """Options of its data."""
        return self.config.get("data") or {}

    @property
    def task(self) -> Mapping[str, Any]:
        """Options of its task."""
        return self.config.get("task") or {}

    @property
    def slice_axis(self) -> int | None:
        """Axis across the slices that its model registers one by one, None for volumes."""
        return 2 if int(self.data["ndim"]) == 2 else None

    @property
    def use_masks(self) -> bool:
        """Whether images are compared within masks."""
        return bool(self.task.get("use_masks", True))

    @property
    def seed(self) -> int:
        """Seed of whatever its model may draw."""
        return int(self.config.get("seed") or 0)

    @property
    def labels(self) -> Mapping[str, int]:
        """Structure → label code."""
        return self.record.get("labels") or self.data.get("labels") or {}

    @cached_property
    def smoothness(self) -> ChosenSmoothness | None:
        """λ at which the run evaluates a conditional model; None is the model's own.

        Raises:
            CompositionError: λ for a model that takes none.
            DataError: the file that names it cannot be read.
        """
        file = self.task.get("smoothness_file")
        given = ChosenSmoothness(self.task.get("smoothness"), self.task.get("label_smoothness") or {})
        chosen = read_choice(file) if file else given
        if chosen == ChosenSmoothness():
            return None
        require_conditional(self.model)
        return chosen

    @cached_property
    def key(self) -> str:
        """Digest of everything about the run that decides its fields: weights, options, version of medreg."""
        options = {key: self.config.get(key) for key in DECISIVE}
        prepared = {key: self.data.get(key) for key in ("ndim", "preprocess")}
        text = json.dumps([self.digest, options, prepared, __version__], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def displacement(
        self, batch: Mapping[str, Any], *, smoothness: Smoothness = None, refine: bool = True
    ) -> Tensor:
        """Return the run's field of a prepared batch, (B, D, *S) voxels.

        Args:
            batch: see `models.asking.ask`; prepared as the run prepares images.
            smoothness: λ instead of that of the run, see `models.asking.ask`.
            refine: whether the run's refinement follows, where it has one.

        Raises:
            CompositionError: a λ that does not fit the model.
        """
        here = {
            key: value.to(self.device) if isinstance(value, Tensor) else value for key, value in batch.items()
        }
        masks = self.use_masks
        chosen = self.smoothness if smoothness is None else smoothness
        # Optimisers switch gradients on for themselves.
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            alone = without_samples(self.registration)
            found = ask(self.registration, here, smoothness=chosen, use_masks=masks, **alone).displacement
            if refine and self.refinement is not None:
                found = ask(self.refinement, here, initial=found, use_masks=masks).displacement
        return found.detach().float().cpu()

    def sample(
        self,
        fixed: Scan,
        moving: Scan,
        told: MapListener,
        *,
        smoothness: Smoothness = None,
        count: int | None = None,
    ) -> tuple[PairTransform, tuple[str, ...]]:
        """Return the run's map between two images, telling somebody its samples; the run's refinement is left out.

        Args:
            fixed: image that stays.
            moving: image that is warped.
            told: see `models.posterior.AsTransforms`.
            smoothness: as in `register`.
            count: number of samples; None for the model's own.

        Returns:
            The map, and sentences about the sampling.

        Raises:
            CompositionError: the run's model gives no samples.
        """
        prepared, axis = self.prepare(fixed, moving), self.slice_axis
        batch = {key: tensor.to(self.device) for key, tensor in sliced(prepared.batch, axis).items()}
        chosen = self.smoothness if smoothness is None else smoothness
        context: dict[str, Any] = {} if chosen is None else {"smoothness": chosen}
        pairs = len(batch["fixed_image"])
        listener = AsTransforms(told, pairs, axis, lambda field: prepared.back(field, axis))
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            found = ask_posterior(
                self.registration, batch, use_masks=self.use_masks, listener=listener, count=count, **context
            )
        field = found.registration.displacement.detach().float().cpu()
        return prepared.back(volume_of(field, axis), axis), found.notes

    def prepare(self, fixed: Scan, moving: Scan) -> PreparedScans:
        """Prepare two images as the run prepares its own.

        Raises:
            CompositionError: a model of volumes for single slices.
        """
        if self.slice_axis is None and 1 in stack_shape(fixed.image):
            raise CompositionError(
                f"{self.path} was trained on volumes and the images are single slices; give volumes."
            )
        return prepare(self.preprocess, fixed, moving)

    def register(
        self, fixed: Scan, moving: Scan, *, smoothness: Smoothness = None, refine: bool = True
    ) -> PairTransform:
        """Return the run's map between two images of any grid.

        Beyond the crop of the run nothing is registered: the field fades to zero.

        Args:
            fixed: image that stays.
            moving: image that is warped.
            smoothness: λ instead of that of the run: a choice, (1,), or (1, 1, *S) on the grid of the model.
            refine: whether the run's refinement follows, where it has one.

        Raises:
            CompositionError: images or λ that do not fit the model.
            NumericalError: the field is not finite.
        """
        chosen = self.smoothness if smoothness is None else smoothness
        if isinstance(chosen, ChosenSmoothness) and chosen.labels and fixed.label is None:
            raise CompositionError(
                f"{self.path} registers at a λ for every label (task.label_smoothness, task.smoothness_file), so the "
                "fixed image needs a label map: give --fixed-labels FILE, or one λ with --smoothness."
            )
        prepared, axis = self.prepare(fixed, moving), self.slice_axis
        batch = sliced(prepared.batch, axis)
        if isinstance(chosen, Tensor):
            chosen = sliced({**prepared.batch, "λ": chosen}, axis)["λ"] if chosen.ndim > 1 else (
                chosen.expand(len(batch["fixed_image"]))
            )  # fmt: skip
        found = self.displacement(batch, smoothness=chosen, refine=refine)
        return prepared.back(volume_of(found, axis), axis)


def read_config(folder: Path) -> dict[str, Any]:
    """Return config.yaml of a run folder, empty where there is none.

    Raises:
        CheckpointError: it cannot be read.
    """
    file = folder / "config.yaml"
    if not file.is_file():
        return {}
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise CheckpointError(f"{file} cannot be read ({str(error).splitlines()[0]}).") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{file} is not the configuration of a run: it holds no options.")
    return {str(key): value for key, value in content.items()}


def _merged(written: dict[str, Any], own: Any) -> dict[str, Any]:
    """The options of the folder with the model of the checkpoint; empty where neither says what the model is."""
    own = own if isinstance(own, dict) else {}
    found = {**written, **({"model": own["model"]} if "model" in own else {})} if written else own
    return found if isinstance(found.get("model"), dict) else {}


def _has_weights(model: Mapping[str, Any]) -> bool:
    return getattr(check_target(str(model.get("_target_"))), "trainable", True) is not False
