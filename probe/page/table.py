"""Tables, which a narrow screen shows as cards: each cell carries the name of its column.

The ARIA roles are those that the elements have anyway; browsers take them away from a table that CSS lays out in
another way.
"""

from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import Any, NamedTuple

from probe.page.markup import Html, element, fragment


class Level(IntEnum):
    """How good something is; the worst comes first in tables, and decides for the whole page."""

    GOOD = 0
    UNKNOWN = 1
    WARN = 2
    BAD = 3

    @property
    def css(self) -> str:
        """The class in the style sheet."""
        return self.name.lower()


# For those who do not see colours.
_SIGNS = {Level.GOOD: "✓", Level.UNKNOWN: "?", Level.WARN: "!", Level.BAD: "✕"}


class Row(NamedTuple):
    """``state`` is a word for its ``level``; ``cells`` are those of the other columns, and ``reason``, which may be
    long, gets a line of its own. ``key`` is its id on the page."""

    key: str
    level: Level
    state: str
    cells: Sequence[Any]
    reason: str = ""


def badge(level: Level, word: str) -> Html:
    """A word in the colour of its level, with a sign before it."""
    return element("span", element("span", _SIGNS[level], aria_hidden="true"), " ", word, class_=f"badge {level.css}")


def table(label: str, columns: Sequence[str], rows: Iterable[Row]) -> Html:
    """The rows, worst first, under ``State`` and the other ``columns``."""
    ordered = sorted(rows, key=lambda row: -row.level)
    heads = [element("th", name, role="columnheader", scope="col") for name in ("State", *columns)]
    head = element("thead", element("tr", *heads, role="row"), role="rowgroup")
    return element("table", head, *(_row(columns, row) for row in ordered), role="table", aria_label=label)


def _row(columns: Sequence[str], row: Row) -> Html:
    cells = [_cell("State", badge(row.level, row.state))]
    cells += [_cell(name, value) for name, value in zip(columns, row.cells, strict=True)]
    lines = [element("tr", *cells, role="row")]
    if row.reason:
        why = fragment(element("span", "Reason: ", class_="label"), row.reason)
        lines.append(element("tr", element("td", why, role="cell", colspan=len(columns) + 1), role="row", class_="why"))
    return element("tbody", *lines, role="rowgroup", id=row.key, class_=row.level.css)


def _cell(name: str, value: Any) -> Html:
    return element("td", value, role="cell", data_label=name)
