"""The files of a ranking: tidy table, Markdown, LaTeX and plots."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from medreg.io.atomic import write_text
from medreg.reporting.formats import to_latex, to_markdown
from medreg.reporting.style import save
from medreg.reporting.tables import Table
from medreg.studies.learn2reg.bootstrap import Stability
from medreg.studies.learn2reg.published import published_means
from medreg.studies.learn2reg.rank_plot import rank_plot
from medreg.studies.learn2reg.rank_tables import overall_table, ranking_table, task_table
from medreg.studies.learn2reg.ranking import Ranking


def printed_tables(
    ranking: Ranking, *, stability: Mapping[str, Stability], published: str | None = None
) -> list[Table]:
    """Return the table of each task and, for several, the overall one.

    Args:
        ranking: made by `rank`.
        stability: made by `bootstrap`, or empty.
        published: task whose published numbers are shown below ours.
    """
    means = None if published is None else published_means(published)
    alone = len(ranking.tasks) == 1
    tables = [
        task_table(
            task,
            stability=stability.get(task.task),
            published=means if alone or task.task == published else None,
        )
        for task in ranking.tasks
    ]
    return tables if alone else [*tables, overall_table(ranking, stability=stability.get("overall"))]


def write_ranking(
    ranking: Ranking, folder: Path, *, stability: Mapping[str, Stability], published: str | None = None
) -> Path:
    """Write ranking.csv, ranking.md, ranking.tex and a plot (PNG, SVG) of each task; return the folder."""
    tables = printed_tables(ranking, stability=stability, published=published)
    write_text(folder / "ranking.csv", ranking_table(ranking, stability=stability).to_csv(index=False))
    scheme = ranking.scheme.sentence()
    markdown = "\n".join([*(to_markdown(table) for table in tables), scheme, ""])
    latex = "\n".join([f"% {scheme}", *(to_latex(table) for table in tables)])
    write_text(folder / "ranking.md", markdown)
    write_text(folder / "ranking.tex", latex)
    for task in ranking.tasks:
        figure = rank_plot(task, stability=stability.get(task.task))
        name = "ranking" if len(ranking.tasks) == 1 else f"ranking_{task.task}"
        for suffix in (".png", ".svg"):
            save(figure, folder / f"{name}{suffix}")
    return folder
