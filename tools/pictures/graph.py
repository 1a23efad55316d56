"""Draws the panels of a Grafana dashboard as SVG, much as Grafana would: numbers, and graphs with their legends."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import floor, log10
from time import gmtime, strftime

from tests.helm.grafana import Panel

Points = Sequence[tuple[float, float]]
COLORS = ("#7eb26d", "#eab839", "#6ed0e0", "#ef843c", "#e24d42", "#5195ce", "#ba43a9", "#9f8fd8", "#82b5d8")
NUMBERS = {"green": "#73bf69", "orange": "#ff9830", "red": "#f2495c"}
BACKGROUND, PANEL, BORDER, TEXT, DIM, GRID = "#111217", "#181b1f", "#2c3235", "#d8d9da", "#9fa7b3", "#2a2e33"
LINE = 15
MEBIBYTE = 2.0**20


@dataclass(frozen=True)
class Box:
    """Where something is drawn, in pixels."""

    x: float
    y: float
    width: float
    height: float


def panel(made: Panel, series: Mapping[str, Points], box: Box, span: tuple[float, float]) -> Iterator[str]:
    """One panel with the series of its queries, by their legends, from and to the times of ``span``."""
    yield (
        f'<rect x="{box.x}" y="{box.y}" width="{box.width}" height="{box.height}" rx="3" fill="{PANEL}" '
        f'stroke="{BORDER}"/>'
    )
    yield text(box.x + 10, box.y + 19, made.title, TEXT, 13, weight=600)
    if made.stat:
        yield _number(made, series, box)
    else:
        yield from _graph(made, series, box, span)


def text(x: float, y: float, content: str, color: str, size: int, anchor: str = "start", weight: int = 400) -> str:
    """A line of text."""
    return (
        f'<text x="{x:.0f}" y="{y:.0f}" fill="{color}" font-size="{size}" text-anchor="{anchor}" '
        f'font-weight="{weight}">{escape(content)}</text>'
    )


def _number(made: Panel, series: Mapping[str, Points], box: Box) -> str:
    values = [points[-1][1] for points in series.values() if points]
    middle = box.x + box.width / 2
    if not values:
        return text(middle, box.y + 78, "none", DIM, 30, "middle")
    color = "red" if made.good else "green"
    if made.bad_from is not None and values[0] >= made.bad_from:
        color = "green" if made.good else "orange"
    return text(middle, box.y + 82, quantity(values[0], made.unit), NUMBERS[color], 32, "middle", 600)


def _graph(made: Panel, series: Mapping[str, Points], box: Box, span: tuple[float, float]) -> Iterator[str]:
    rows = list(_legend(series, box.width - 20))
    plot = Box(box.x + 58, box.y + 34, box.width - 72, box.height - 66 - LINE * len(rows))
    stacked = _stacked(series) if made.stacked else {name: list(points) for name, points in series.items()}
    values = [value for points in stacked.values() for _, value in points]
    size = MEBIBYTE if made.unit == "bytes" else 1.0
    top = _round_up(max([*values, 0.0]) / size) * size or 1.0
    bottom = -_round_up(-min([*values, 0.0]))
    for part in range(5):
        value = bottom + (top - bottom) * part / 4
        y = plot.y + plot.height * (1 - part / 4)
        yield f'<path d="M{plot.x:.0f} {y:.0f}h{plot.width:.0f}" stroke="{GRID}"/>'
        yield text(plot.x - 6, y + 4, quantity(value, made.unit), DIM, 10, "end")
    for part in range(4):
        moment = span[0] + (span[1] - span[0]) * (part + 0.5) / 4
        x = plot.x + plot.width * (part + 0.5) / 4
        yield text(x, plot.y + plot.height + 14, strftime("%H:%M:%S", gmtime(moment)), DIM, 10, "middle")
    for color, points in zip(_colors(stacked), stacked.values(), strict=True):
        yield _line(points, plot, span, (bottom, top), color)
    y = plot.y + plot.height + 16
    for number, row in enumerate(rows):
        x = box.x + 12
        for index, name in row:
            line = y + LINE * (number + 1)
            yield f'<rect x="{x:.0f}" y="{line - 7:.0f}" width="12" height="3" fill="{_color(index)}"/>'
            yield text(x + 17, line - 2, name, DIM, 11)
            x += _width(name)


def _legend(series: Mapping[str, Points], width: float) -> Iterator[list[tuple[int, str]]]:
    """The names in lines that are no wider than ``width``, with their numbers."""
    row: list[tuple[int, str]] = []
    for index, name in enumerate(series):
        if row and sum(_width(each) for _, each in (*row, (index, name))) > width:
            yield row
            row = []
        row.append((index, name))
    if row:
        yield row


def _width(name: str) -> float:
    return 32 + 6.0 * len(name)


def _color(index: int) -> str:
    return COLORS[index % len(COLORS)]


def _colors(series: Mapping[str, Points]) -> list[str]:
    return [_color(index) for index in range(len(series))]


def _stacked(series: Mapping[str, Points]) -> dict[str, list[tuple[float, float]]]:
    """Each series on top of those before it."""
    sums: dict[float, float] = {}
    found = {}
    for name, points in series.items():
        found[name] = [(at, sums.setdefault(at, 0.0) + value) for at, value in points]
        for at, value in points:
            sums[at] += value
    return found


def _line(points: Points, plot: Box, span: tuple[float, float], bounds: tuple[float, float], color: str) -> str:
    (start, end), (bottom, top) = span, bounds
    places = [
        (
            plot.x + plot.width * (at - start) / (end - start),
            plot.y + plot.height * (1 - (value - bottom) / (top - bottom)),
        )
        for at, value in points
    ]
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    return f'<path d="M{path}" fill="none" stroke="{color}" stroke-width="1.5"/>' if places else ""


def _round_up(value: float) -> float:
    """The next of 1, 2, 4, 10, 20 …, which four parts divide well; 0 for a number that is not positive."""
    if value <= 0:
        return 0.0
    step = 10.0 ** floor(log10(value))
    return next(step * part for part in (1, 2, 4, 10) if step * part >= value)


def quantity(value: float, unit: str) -> str:
    """A number with its unit, as short as Grafana writes it."""
    if unit == "s":
        for size, name in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
            if abs(value) >= size * 0.9995:
                return f"{value / size:.3g} {name}"
        return f"{value * 1000:.3g} ms" if value else "0 s"
    if unit == "bytes":
        return f"{value / MEBIBYTE:.3g} MiB"
    if unit == "percentunit":
        return f"{value * 100:.3g} %"
    return f"{value:.3g}{'/s' if unit == 'ops' else ''}"
