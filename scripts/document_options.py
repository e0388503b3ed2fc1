"""Write docs/reference/configuration.md from configs/, and docs/reference/batch.md from the batch contracts."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

import medreg
from medreg.config.listing import options
from medreg.config.paths import config_dir
from medreg.data.sample import CONTRACTS

REFERENCE = Path(__file__).resolve().parents[1] / "docs" / "reference"
PACKAGE = Path(medreg.__file__).resolve().parent
NOTE = "<!-- Written by scripts/document_options.py; do not edit. -->"
KINDS = {
    "images": "Single images (`ImageData`)",
    "pairs": "Pairs (`RegistrationData`)",
    "sequences": "Sequences of frames (`SequenceData`)",
    "shapes": "Shapes of hearts over the cycle (`ShapeData`)",
}
# What a person does not choose with group=option.
OTHERWISE = {
    "hydra": "names of run folders, logging and the help page; not chosen",
    "hydra/launcher": "where the jobs of a sweep run; plug-ins bring more: [Sweeps](../how-to/sweeps.md)",
    "preset": "settings of `medreg register --preset NAME`; not part of a run",
    "smoothness": "methods of `medreg search-smoothness --method NAME`: [Conditional models](../how-to/conditional.md)",
    "measure": "measures of `medreg capture-range measure=[NAME,…]`: [Capture range](../how-to/capture-range.md)",
    "benchmark": "tasks of `medreg benchmark benchmark=NAME`: [Compare methods](../how-to/benchmark.md)",
    "method": "methods of `medreg benchmark method=[NAME,…]`: [Other tools](../how-to/other-tools.md)",
}


def target_of(group: str, option: str) -> str:
    """Return the dotted name of the class that an option builds, or nothing."""
    node = OmegaConf.load(config_dir() / group / f"{option}.yaml")
    if not isinstance(node, DictConfig):
        return ""
    own = node.get(group, node)  # some files are of the whole configuration
    return str(own.get("_target_") or "") if isinstance(own, DictConfig) else ""


def summary(target: str) -> str:
    """Return the first line of a class's docstring without importing it, or nothing."""
    module, _, name = target.rpartition(".")
    file = PACKAGE.parent / f"{module.replace('.', '/')}.py"
    if not file.is_file():
        return ""
    body = ast.parse(file.read_text(encoding="utf-8")).body
    texts = [
        ast.get_docstring(node) or "" for node in body if isinstance(node, ast.ClassDef) and node.name == name
    ]
    return texts[0].split("\n\n")[0].replace("\n", " ") if texts else ""


def top_level() -> list[str]:
    """Return a table row for every top-level option of train.yaml, with its end-of-line comment."""
    rows = []
    for line in (config_dir() / "train.yaml").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith((" ", "#", "defaults")):
            setting, _, comment = line.partition(" # ")
            name, _, value = setting.partition(": ")
            rows.append(f"| `{name}` | `{value}` | {comment.replace('|', chr(92) + '|')} |")
    return rows


def defaults() -> dict[str, str]:
    """Return the option of each group that runs unless another is chosen."""
    found: dict[str, str] = {}
    for file in ("train.yaml", "task/registration.yaml"):  # the task brings the groups of its kind
        entries = OmegaConf.load(config_dir() / file)["defaults"]
        pairs = [pair for entry in entries if not isinstance(entry, str) for pair in entry.items()]
        found |= {str(group).removeprefix("/"): str(option) for group, option in pairs}
    return found


def configuration() -> str:
    """Return the page of groups and options."""
    chosen = defaults()
    lines = [
        NOTE, "# Configuration: groups and options", "",
        "A run is composed of one option a group: `python train.py model=voxelmorph data=acdc`. Every number below",
        "an option is an option too: `python train.py model.tau.init=0.25`. `medreg show` prints them all with the",
        "file that each value comes from; `medreg show --key model model=midir` only those of a node.", "",
        "## Options of the run", "", "| option | default | meaning |", "| --- | --- | --- |", *top_level(), "",
    ]  # fmt: skip
    for group, entries in options().items():
        lines += [f"## {group}", ""]
        if group in OTHERWISE:
            lines += [f"{OTHERWISE[group][0].upper()}{OTHERWISE[group][1:]}.", ""]
        lines += ["| option | what it is | builds |", "| --- | --- | --- |"]
        for option, text in entries.items():
            mark = " (default)" if chosen.get(group) == option and group not in OTHERWISE else ""
            target = target_of(group, option)
            told = (text or summary(target)).replace("|", chr(92) + "|")
            lines.append(f"| `{option}`{mark} | {told} | {f'`{target}`' if target else ''} |")
        lines.append("")
    return "\n".join(lines)


def batch() -> str:
    """Return the page of the batch contracts."""
    lines = [
        NOTE, "# The batch contracts", "",
        "Every item of a data set, and every batch, is a dictionary with the keys of its kind",
        "(`medreg/data/sample.py`). The leading axis N is 1 for a volume and the number of slices for a stack;",
        "`collate` concatenates along it. A training batch holds several items, a validation or test batch exactly one",
        "case. S is (X, Y) or (X, Y, Z), D its length. A key that the data do not have is absent, never `None`; a data",
        "module says by `provides` which keys all its training items have.", "",
    ]  # fmt: skip
    for kind, contract in CONTRACTS.items():
        lines += [f"## {KINDS[kind]}", "", "| key | always | content |", "| --- | --- | --- |"]
        lines += [
            f"| `{key}` | {'yes' if key in contract.always else ''} | {text} |"
            for key, text in contract.keys.items()
        ]
        lines.append("")
    return "\n".join(lines)


PAGES = {"configuration.md": configuration, "batch.md": batch}


def main() -> int:
    """Write the pages."""
    for name, page in PAGES.items():
        (REFERENCE / name).write_text(page(), encoding="utf-8")
        print(REFERENCE / name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
