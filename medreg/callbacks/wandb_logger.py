"""Weights & Biases: a mirror of the local files, offline unless asked otherwise; it never stops a run."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from medreg.io.atomic import write_text

log = logging.getLogger("medreg")


class RunWandb:
    """Settings of the mirror; `connect` makes Lightning's logger for one run folder.

    Args:
        project: W&B project.
        entity: team or user; None is your default.
        offline: write to the run folder only; `wandb sync` uploads later.
        group: of runs that belong together; None is `<model>_<data>`.
        job_type: None is train, test or sweep, whatever the run is.
        tags: words for finding the run.
        upload_checkpoint: make the best checkpoint an artifact.
        pictures: send the report's pictures.
    """

    def __init__(
        self,
        *,
        project: str,
        entity: str | None,
        offline: bool,
        group: str | None,
        job_type: str | None,
        tags: list[str],
        upload_checkpoint: bool,
        pictures: bool,
    ) -> None:
        self.project, self.entity, self.offline = project, entity, offline
        self.group, self.job_type, self.tags = group, job_type, list(tags)
        self.upload_checkpoint, self.pictures = upload_checkpoint, pictures
        self._run: Any = None

    def connect(self, folder: Path, *, config: dict[str, Any], facts: dict[str, Any]) -> Any:
        """Return a Lightning logger for the run folder, or None where W&B cannot start.

        Args:
            folder: run folder; the W&B files go to `<folder>/wandb`, the run's id is kept in `wandb_id.txt`.
            config: resolved configuration, logged as hyper-parameters together with the facts.
            facts: `name`, `group`, `job_type` and whatever else the run knows of itself.
        """
        import wandb
        from pytorch_lightning.loggers import WandbLogger

        marker = folder / "wandb_id.txt"
        try:
            if not marker.exists():
                write_text(marker, uuid.uuid4().hex[:12])
            # Started here and handed over: Lightning would pass options that wandb has given up.
            self._run = wandb.init(
                name=facts["name"],
                dir=folder,
                id=marker.read_text().strip(),
                project=self.project,
                entity=self.entity,
                mode="offline" if self.offline else None,  # None: online, or what WANDB_MODE says
                group=self.group or facts["group"],
                job_type=self.job_type or facts["job_type"],
                tags=self.tags,
                config={**config, "facts": facts},
                settings=wandb.Settings(silent=True, console="off"),
                resume=None if self.offline else "allow",
            )
        except Exception as error:  # whatever it is: W&B mirrors what the run folder holds anyway
            log.warning(
                "W&B is not available (%s); going on with the local files alone. Its folders are set by "
                "WANDB_DATA_DIR, WANDB_CACHE_DIR and WANDB_CONFIG_DIR; logger=none does without it.",
                error,
            )
            self._run = None
            return None
        return WandbLogger(experiment=self._run, log_model=False)

    def report(self, folder: Path) -> None:
        """Send the per-case table, the summary, the pictures and, if asked for, the best checkpoint."""
        with self._optional():
            self._report(folder)

    @contextmanager
    def _optional(self) -> Iterator[None]:
        """Warn of what goes wrong in W&B, and let it end nothing."""
        try:
            yield
        except Exception as error:
            log.warning("W&B did not take everything (%s); the local files are complete.", error)

    def _report(self, folder: Path) -> None:
        if self._run is None:
            return
        import pandas as pd
        import wandb

        table = folder / "results.csv"
        if table.exists():
            frame = pd.read_csv(table)
            self._run.log({"test/cases": wandb.Table(dataframe=frame)})
            means = frame.groupby(["method", "structure", "metric"])["value"].mean().reset_index()
            for row in means.to_dict("records"):
                name = f"test/{row['method']}/{row['structure']}/{row['metric']}"
                self._run.summary[name] = float(row["value"])
        if self.pictures:
            for picture in sorted((folder / "figures").glob("*.png")):
                self._run.log({f"pictures/{picture.stem}": wandb.Image(str(picture))})
        best = folder / "checkpoints" / "best.ckpt"
        if self.upload_checkpoint and best.exists():
            artifact = wandb.Artifact(f"model-{self._run.id}", type="model")
            artifact.add_file(str(best))
            self._run.log_artifact(artifact)

    def tables(self, files: Sequence[Path]) -> None:
        """Send CSV files as tables of their names."""
        if self._run is None:
            return
        import pandas as pd
        import wandb

        with self._optional():
            for file in files:
                self._run.log({file.stem: wandb.Table(dataframe=pd.read_csv(file))})

    def close(self, *, failed: bool) -> None:
        """End the W&B run, so that the next job of a sweep gets its own."""
        if self._run is not None:
            with self._optional():
                self._run.finish(exit_code=int(failed))
            self._run = None
