"""Everything about one or several fusions in a folder: CSV, Markdown and figures."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from protogcn.evaluation import analysis_plots
from protogcn.evaluation.analysis import Analysis
from protogcn.evaluation.plots import plot_table
from protogcn.evaluation.report import Row, markdown_rows, write_csv, write_records
from protogcn.evaluation.scores import save_scores
from protogcn.evaluation.sections import sections

__all__ = ["write_report"]

_FIGURES: dict[str, tuple[str, Callable[[Analysis, Path], Path]]] = {
    "weights": ("weights", analysis_plots.plot_weights),
    "contributions": ("contributions", analysis_plots.plot_contributions),
    "diversity": ("diversity", analysis_plots.plot_diversity),
    "reliability": ("calibration", analysis_plots.plot_reliability),
    "confusion": ("confused_pairs", analysis_plots.plot_both_confusions),
    "confused_pairs": ("confused_pairs", analysis_plots.plot_confused_pairs),
}


def write_report(
    folder: str | Path, title: str, rows: Sequence[Row], notes: Sequence[str] = (), analyses: Sequence[Analysis] = ()
) -> Path:
    """Write report.md, report.csv and table.png, and of each analysis its tables as CSV, its figures and fused.npz.

    Those of a single analysis lie in the folder itself, those of several in a folder each.

    Args:
        folder: made as needed; files of an earlier report are replaced.
        title: of the report.
        rows: the table of results.
        notes: sentences below it.
        analyses: of fusions in the table.

    Returns:
        Path of report.md.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{folder} is a file; a report needs a folder")
    folder.mkdir(parents=True, exist_ok=True)
    write_csv(rows, folder / "report.csv")
    plot_table(rows, folder / "table.png", title)
    text = [f"# {title}", markdown_rows(rows), "\n".join(f"- {note}" for note in notes), "![table](table.png)"]
    for analysis in analyses:
        place = folder if len(analyses) == 1 else folder / _file_name(analysis.name)
        text += _write_analysis(analysis, place, folder, several=len(analyses) > 1)
    page = folder / "report.md"
    page.write_text("\n\n".join(filter(None, text)) + "\n", encoding="utf-8")
    return page


def _write_analysis(analysis: Analysis, place: Path, folder: Path, several: bool) -> list[str]:
    save_scores(place / "fused.npz", analysis.fusion.scores)
    drawn: dict[str, list[str]] = {}
    for name, (beside, draw) in _FIGURES.items():
        if (name == "contributions" and not analysis.contributions) or (
            name == "confused_pairs" and not analysis.pairs
        ):
            continue
        path = draw(analysis, place / f"{name}.png").relative_to(folder).as_posix()
        drawn.setdefault(beside, []).append(f"![{name}]({path})")
    text = [f"# {analysis.name}"] if several else []
    for section in sections(analysis):
        write_records(section.records, place / f"{section.name}.csv")
        text += [section.markdown(), *drawn.pop(section.name, [])]
    # Figures whose table is not there: weights that were given, a fusion without a mistake.
    return [*text, *(picture for pictures in drawn.values() for picture in pictures)]


def _file_name(name: str) -> str:
    return re.sub(r"[^\w+-]+", "_", name).strip("_")
