"""The report: a Markdown table with ratios last, and a chart of them."""

import os
import platform
import subprocess
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from bench.figures import Figure, Figures
from bench.limits import Limits

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PACKAGES = ("grpcio", "protobuf", "aiohttp", "kubernetes", "prometheus_client", "supervisor")
_ALONE = (
    "- No other driver was given: the ratios are to the Go trio's figures of another hour on such a machine "
    "(docs/performance.md), which is less than side by side"
)
_BLUE, _ORANGE, _GREY, _DARK = "#4269d0", "#efb118", "#9498a0", "#333333"


def about(command: str, other: str | None) -> list[str]:
    """Date, machine, versions, command: what a figure is worth nothing without; and what it is compared with."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        "?",
    )
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in _PACKAGES)
    return [
        f"- {time.strftime('%Y-%m-%d %H:%M')}, commit {commit}, `{command}`",
        f"- {os.cpu_count()} cores ({model}), Linux {platform.release()}, load {os.getloadavg()[0]:.1f} at the end",
        f"- CPython {platform.python_version()}, {versions}",
        f"- the chart's limits for the container: {Limits.of_chart()}",
        *([] if other is not None else [_ALONE]),
    ]


def markdown(
    figures: Figures,
    ours: str,
    other: str | None,
    calls: Mapping[str, Mapping[str, Counter[tuple[str, str]]]],
    head: Sequence[str],
    failed: Mapping[str, str],
) -> str:
    """The whole report."""
    base = other or "Go trio, another hour"
    lines = ["# Benchmark", "", *head, ""]
    lines += [
        f"| what | unit | {ours} | p99 | {base} | p99 | goal | ratio |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [_row(figure, ours, other) for figure in figures.filled()]
    for subject, counts in calls.items():
        lines += ["", f"API calls of {subject}, from the audit log", "", "| | calls |", "| --- | --- |"]
        lines += [f"| {what} | {_calls(counter)} |" for what, counter in counts.items()]
    if failed:
        lines += ["", "Not measured, because it failed:", ""]
        lines += [f"- {name}: {why.splitlines()[-1]}" for name, why in failed.items()]
    return "\n".join(lines) + "\n"


def _row(figure: Figure, ours: str, other: str | None) -> str:
    subject = ours if ours in figure.samples else next(iter(figure.samples))
    theirs = figure.median(other) if other is not None else figure.reference
    p99 = figure.p99(other) if other is not None else None
    goal = (
        "" if figure.goal is None else f"{'≥' if figure.more else '≤'} {figure.goal:g}{'' if figure.absolute else '×'}"
    )
    ratio, reached = figure.ratio(subject, other), figure.reached(subject, other)
    verdict = "" if reached is None else " ✓" if reached else " ✗"
    cells = [
        figure.what,
        figure.unit,
        _number(figure.median(subject)),
        _number(figure.p99(subject)),
        _number(theirs),
        _number(p99),
        goal,
        ("" if ratio is None else f"{ratio:.2f}×") + verdict,
    ]
    return "| " + " | ".join(cells) + " |"


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"


def _calls(counter: Counter[tuple[str, str]]) -> str:
    return ", ".join(f"{number} {verb} {resource}" for (verb, resource), number in sorted(counter.items())) or "none"


def chart(figures: Figures, ours: str, other: str | None, path: Path) -> bool:
    """A bar a measure: its ratio to the other, and where the goal is. False without matplotlib (the ``bench``
    extra)."""
    try:
        import matplotlib
    except ImportError:
        return False
    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "bench"
    from matplotlib import pyplot

    rows = [figure for figure in figures.filled() if figure.ratio(ours, other) is not None][::-1]
    drawn, axes = pyplot.subplots(figsize=(9, 0.34 * len(rows) + 1.2))
    _bars(axes, rows, ours, other)
    axes.set_title(f"{ours} against {other or 'the Go trio (another hour)'}: ratio of medians", fontsize=10, loc="left")
    drawn.tight_layout()
    drawn.savefig(path, format="svg", metadata={"Date": None})
    pyplot.close(drawn)
    return True


def _bars(axes: "Axes", rows: Sequence[Figure], ours: str, other: str | None) -> None:
    ratios = [max(figure.ratio(ours, other) or 0.0, 0.004) for figure in rows]
    colours = [
        _GREY if figure.reached(ours, other) is None else _BLUE if figure.reached(ours, other) else _ORANGE
        for figure in rows
    ]
    axes.barh(range(len(rows)), ratios, color=colours, height=0.65)
    for place, (figure, ratio) in enumerate(zip(rows, ratios)):  # noqa: B905
        axes.text(ratio * 1.05, place, f"{figure.ratio(ours, other):.2f}×", va="center", fontsize=7, color=_DARK)
        if figure.goal is not None and not figure.absolute:
            axes.plot([figure.goal] * 2, [place - 0.42, place + 0.42], color=_DARK, linewidth=1.5)
    axes.axvline(1.0, color=_GREY, linewidth=0.8, linestyle="--")
    axes.set_xscale("log")
    axes.set_yticks(range(len(rows)), [figure.what for figure in rows], fontsize=7)
    axes.tick_params(axis="x", labelsize=7)
    axes.set_xlabel("blue: goal reached; orange: not; grey: no goal; black line: the goal", fontsize=7)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
