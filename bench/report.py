"""The report: a Markdown table of all figures with their ratios, and the machine they were measured on."""

import os
import platform
import subprocess
import time
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path

from bench.api_calls import Calls
from bench.figures import Figure, Figures
from bench.limits import Limits

_PACKAGES = ("grpcio", "protobuf", "aiohttp", "kubernetes", "prometheus_client", "supervisor")
_NO_OTHER = (
    "- No other driver was given: the ratios are to figures of the Go trio, from another time on the same kind of "
    "machine (docs/performance.md), which is less accurate than side by side"
)


def about(command: str, other: str | None) -> list[str]:
    """The head of the report: date, command, machine, versions, and what the figures are compared with."""
    return [
        *machine(command),
        f"- the chart's limits for the container: {Limits.of_chart()}",
        *([] if other is not None else [_NO_OTHER]),
    ]


def machine(command: str) -> list[str]:
    """Date, command, machine and versions."""
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
    ]


def markdown(
    figures: Figures,
    ours: str,
    other: str | None,
    calls: Mapping[str, Mapping[str, Calls]],
    head: Sequence[str],
    failed: Mapping[str, str],
    failed_calls: Sequence[str] = (),
) -> str:
    """The report in Markdown: all figures, the API calls by driver, the calls and the measures that failed."""
    base = other or "Go trio, another time"
    lines = ["# Benchmark", "", *head, ""]
    lines += [
        f"| measure | unit | {ours} | rounds | p99 | {base} | rounds | p99 | goal | ratio |",
        "| --- | --- | ---: | --- | ---: | ---: | --- | ---: | ---: | ---: |",
    ]
    lines += [_row(figure, ours, other) for figure in figures.filled()]
    for subject, counts in calls.items():
        lines += ["", f"API calls of {subject}, from the audit log", "", "| | calls |", "| --- | --- |"]
        lines += [f"| {what} | {_calls(counter)} |" for what, counter in counts.items()]
    lines += failed_calls
    if failed:
        lines += ["", "Failed measures:", ""]
        lines += [f"- {name}: {why.splitlines()[-1]}" for name, why in failed.items()]
    return "\n".join(lines) + "\n"


def _row(figure: Figure, ours: str, other: str | None) -> str:
    subject = ours if ours in figure.samples else next(iter(figure.samples))
    theirs = figure.median(other) if other is not None else figure.row.reference
    p99 = figure.p99(other) if other is not None else None
    row, goal = figure.row, ""
    if row.goal is not None:
        goal = f"{'≥' if row.more else '≤'} {row.goal:g}{'' if row.absolute else '×'}"
    ratio, reached = figure.ratio(subject, other), figure.reached(subject, other)
    verdict = "" if reached is None else " ✓" if reached else " ✗"
    cells = [
        row.what,
        row.unit,
        _number(figure.median(subject)),
        _spread(figure.spread(subject)),
        _number(figure.p99(subject)),
        _number(theirs),
        _spread(figure.spread(other)) if other is not None else "",
        _number(p99),
        goal,
        ("" if ratio is None else f"{ratio:.2f}×") + verdict,
    ]
    return "| " + " | ".join(cells) + " |"


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"


def _spread(spread: tuple[float, float, int] | None) -> str:
    return "" if spread is None else f"{_number(spread[0])} to {_number(spread[1])} in {spread[2]}"


def _calls(counter: Calls) -> str:
    return ", ".join(f"{number} {verb} {resource}" for (verb, resource), number in sorted(counter.items())) or "none"
