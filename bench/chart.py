"""A chart of the ratios of a run."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.figures import Figure, Figures

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BLUE, _ORANGE, _GREY, _DARK = "#4269d0", "#efb118", "#9498a0", "#333333"
_SHORTEST_BAR = 0.004


def draw(figures: Figures, ours: str, other: str | None, path: Path) -> bool:
    """Draw a bar per measure, with its ratio to the other subject and a line at its goal, into an SVG file. Returns
    False without matplotlib, which the ``bench`` extra installs.
    """
    try:
        import matplotlib
    except ImportError:
        return False
    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "bench"
    from matplotlib import pyplot

    rows = [figure for figure in figures.filled() if figure.ratio(ours, other) is not None][::-1]
    picture, axes = pyplot.subplots(figsize=(9, 0.34 * len(rows) + 1.2))
    _bars(axes, rows, ours, other)
    axes.set_title(f"{ours} against {other or 'the Go trio (another time)'}: ratio of medians", fontsize=10, loc="left")
    picture.tight_layout()
    picture.savefig(path, format="svg", metadata={"Date": None})
    pyplot.close(picture)
    return True


def _bars(axes: "Axes", rows: Sequence[Figure], ours: str, other: str | None) -> None:
    ratios = [max(figure.ratio(ours, other) or 0.0, _SHORTEST_BAR) for figure in rows]
    colours = [
        _GREY if figure.reached(ours, other) is None else _BLUE if figure.reached(ours, other) else _ORANGE
        for figure in rows
    ]
    axes.barh(range(len(rows)), ratios, color=colours, height=0.65)
    for row, (figure, ratio) in enumerate(zip(rows, ratios, strict=True)):
        axes.text(ratio * 1.05, row, f"{figure.ratio(ours, other):.2f}×", va="center", fontsize=7, color=_DARK)
        if figure.row.goal is not None and not figure.row.absolute:
            axes.plot([figure.row.goal] * 2, [row - 0.42, row + 0.42], color=_DARK, linewidth=1.5)
    axes.axvline(1.0, color=_GREY, linewidth=0.8, linestyle="--")
    axes.set_xscale("log")
    axes.set_yticks(range(len(rows)), [figure.row.what for figure in rows], fontsize=7)
    axes.tick_params(axis="x", labelsize=7)
    axes.set_xlabel("blue: goal reached; orange: not; grey: no goal; black line: the goal", fontsize=7)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
