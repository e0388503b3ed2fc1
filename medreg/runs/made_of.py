"""What the results of a run folder were made of, so that another command on it notices other data or options.

The name of a run folder says which options were typed. What determines a result is more: the options as they resolve,
those callbacks that change a training, and what the files of the cases hold. `data.json` keeps the cases that a run was
trained on, with a mark of each file; `config.yaml` the options.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from medreg.config.identity import parts
from medreg.errors import CheckpointError
from medreg.io.atomic import read_json, write_json
from medreg.io.checkpoint import FOLDER

log = logging.getLogger("medreg")
FILE = "data.json"
SHOWN = 3  # cases that a sentence names
# Callbacks that record and show a training, and leave it as it is.
WITHOUT_EFFECT = (
    "last", "history", "population", "results", "pictures", "random_state", "progress", "keep_memory",
)  # fmt: skip
Cases = Mapping[str, Mapping[str, str]]  # case → kind of file → mark
Contents = Mapping[str, Cases]  # stage → cases


@dataclass(frozen=True)
class Changes:
    """What differs between a run folder and a command on it, as parts of sentences.

    Attributes:
        options: of the configuration or the callbacks.
        training: of the cases that train a model or choose its checkpoint.
        test: of the cases that are reported.
    """

    options: tuple[str, ...] = ()
    training: tuple[str, ...] = ()
    test: tuple[str, ...] = ()


def is_trained(folder: Path) -> bool:
    """Say whether a run folder holds a checkpoint."""
    return any((folder / FOLDER).glob("*.ckpt"))


def remember(folder: Path, contents: Contents | None, *, stages: Sequence[str] | None = None) -> None:
    """Write what the cases of a run are made of.

    Args:
        folder: of the run.
        contents: of its data.
        stages: those that are written anew, the others stay; None writes all.
    """
    if contents is not None:
        kept = {} if stages is None else dict(remembered(folder) or {})
        now = {stage: cases for stage, cases in contents.items() if stages is None or stage in stages}
        write_json(folder / FILE, {**kept, **now}, indent=None)


def remembered(folder: Path) -> Contents | None:
    """Return what the cases of a run were made of; None where an earlier version kept nothing."""
    found = read_json(folder / FILE)
    if not isinstance(found, dict) or not all(isinstance(cases, dict) for cases in found.values()):
        return None
    return found


def changes(folder: Path, cfg: DictConfig, contents: Contents | None) -> Changes:
    """Return what differs between a run folder and a command.

    Args:
        folder: of the run.
        cfg: composed configuration of the command.
        contents: of its data; None where they cannot be read here, so that only options are compared.
    """
    from medreg.runs.trained import read_config

    written = read_config(folder)
    options = tuple(_options(written, cfg)) if written else ()
    before = remembered(folder)
    if before is None or contents is None:
        return Changes(options)
    found = {
        stage: tuple(_cases(before.get(stage, {}), contents.get(stage, {}), stage)) for stage in contents
    }
    training = tuple(told for stage in ("train", "val", "unlabelled") for told in found.pop(stage, ()))
    return Changes(options, training, found.get("test", ()))


def _options(written: Mapping[str, Any], cfg: DictConfig) -> Iterator[str]:
    """Yield the options that resolve to something else than in config.yaml; places do not count, their files do."""
    resolved = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(resolved, dict)
    now, before = (_leaves(_deciding(config), _places(config)) for config in (resolved, written))
    for key in sorted({*now, *before}):
        if repr(now.get(key)) != repr(before.get(key)):  # nan is not equal to itself
            yield f"{key} is {now.get(key)!r} and was {before.get(key)!r}"


def _places(config: Mapping[Any, Any]) -> dict[str, str]:
    """Return the folders of a configuration, longest first, with what stands for them wherever they are."""
    folders = {str(path): f"${{paths.{name}}}" for name, path in (config.get("paths") or {}).items() if path}
    return dict(sorted(folders.items(), key=lambda item: -len(item[0])))


def _deciding(config: Mapping[Any, Any]) -> dict[str, Any]:
    callbacks = config.get("callbacks") or {}
    kept = {key: node for key, node in callbacks.items() if key not in WITHOUT_EFFECT and node}
    return {**parts(config), "callbacks": kept}


def _leaves(node: Any, places: Mapping[str, str], prefix: str = "") -> dict[str, Any]:
    if isinstance(node, dict) and node:
        found: dict[str, Any] = {}
        for key, child in node.items():
            found |= _leaves(child, places, f"{prefix}.{key}" if prefix else str(key))
        return found
    if isinstance(node, str):
        for folder, name in places.items():
            node = node.replace(f"{folder}/", f"{name}/")
    return {prefix: list(node) if isinstance(node, tuple) else node}


def _cases(before: Cases, now: Cases, stage: str) -> Iterator[str]:
    """Yield what differs in the cases of a stage."""
    new, gone = [case for case in now if case not in before], [case for case in before if case not in now]
    for cases, word in ((new, "new"), (gone, "gone")):
        if cases:
            yield f"{len(cases)} {stage} cases are {word} ({_some(cases)})"
    kinds: dict[str, list[str]] = {}
    for case in now:
        if case in before and now[case] != before[case]:
            for kind in sorted({*now[case], *before[case]}):
                if now[case].get(kind) != before[case].get(kind):
                    kinds.setdefault(kind, []).append(case)
    for kind, cases in kinds.items():
        yield f"{kind} of {len(cases)} {stage} cases changed ({_some(cases)})"


def _some(cases: Sequence[str]) -> str:
    return ", ".join(cases[:SHOWN]) + (", …" if len(cases) > SHOWN else "")


def contents_of(data: Any) -> Contents | None:
    """Return what the cases of a data module are made of; None where a module of one's own cannot say."""
    found: Contents | None = data.contents() if hasattr(data, "contents") else None
    return found


def refuse_other(found: Changes, folder: Path, *, mode: str) -> None:
    """Refuse to mix what a run folder holds with other options or training data.

    Args:
        found: what changed.
        folder: of the run.
        mode: fit, test or both; who only evaluates is told that the training data changed.

    Raises:
        CheckpointError: naming what changed and what to do.
    """
    if not is_trained(folder):
        return
    what = [*found.options, *(found.training if mode != "test" else ())]
    if what:
        raise CheckpointError(
            f"{folder} was trained with other options or data than those of this command: {'; '.join(what)}. Undo the "
            "change to go on; or begin anew with fresh=true, which puts the earlier result into "
            f"{folder / 'earlier'}. `medreg report {folder}` shows it as it is."
        )
    if found.training:
        log.warning(
            "The training data are no longer those that were trained on: %s.", "; ".join(found.training)
        )
