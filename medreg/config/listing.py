"""List the configuration groups and their options, each with the first comment line of its file."""

from __future__ import annotations

from pathlib import Path

from medreg.config.paths import config_dirs


def description(file: Path) -> str:
    """Return the first comment of a YAML file that is not a Hydra directive, empty if it has none."""
    for line in file.read_text(encoding="utf-8").splitlines():
        text = line.strip()
        if text.startswith("#") and not text.startswith("# @"):
            return text.lstrip("# ").rstrip()
        if text and not text.startswith("#"):
            return ""
    return ""


def options() -> dict[str, dict[str, str]]:
    """Return group → option → description, groups sorted by name."""
    found: dict[str, dict[str, str]] = {}
    for root in config_dirs():
        for file in sorted(root.rglob("*.yaml")):
            group = file.parent.relative_to(root).as_posix()
            if group not in (".", "local") and not group.endswith("/base"):  # base holds parts, not options
                found.setdefault(group, {}).setdefault(file.stem, description(file))
    return dict(sorted(found.items()))
