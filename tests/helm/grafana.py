"""Dashboards of Grafana: a panel is a line or two in Python; layout, ids and everything that Grafana wants around it
are made from that."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

COLUMNS, STAT_HEIGHT, GRAPH_HEIGHT = 24, 4, 8
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
GREEN, ORANGE, RED = "green", "orange", "red"


@dataclass(frozen=True)
class Query:
    """An expression of PromQL, and what each of its series is called in the legend."""

    expr: str
    legend: str = "{{node}}"


@dataclass(frozen=True)
class Panel:
    """A graph, or with ``stat`` one number. ``bad_from`` is from where on a number is shown in orange, and ``good``
    turns that around: below it the number is red."""

    title: str
    description: str
    queries: tuple[Query, ...]
    unit: str = "short"
    stat: bool = False
    width: int = 8
    bad_from: float | None = None
    good: bool = False
    stacked: bool = False

    @property
    def height(self) -> int:
        """In rows of Grafana's grid."""
        return STAT_HEIGHT if self.stat else GRAPH_HEIGHT

    def json(self, number: int, x: int, y: int) -> Json:
        """As Grafana wants it, at a place of the grid."""
        steps: list[Json] = [{"color": RED if self.good else GREEN, "value": None}]
        if self.bad_from is not None:
            steps.append({"color": GREEN if self.good else ORANGE, "value": self.bad_from})
        return {
            "id": number,
            "type": "stat" if self.stat else "timeseries",
            "title": self.title,
            "description": self.description,
            "datasource": DATASOURCE,
            "gridPos": {"h": self.height, "w": self.width, "x": x, "y": y},
            "fieldConfig": {
                "defaults": {
                    "unit": self.unit,
                    "min": 0 if self.unit != "s" else None,
                    "noValue": "none",
                    "thresholds": {"mode": "absolute", "steps": steps},
                    "color": {"mode": "thresholds" if self.stat else "palette-classic"},
                    "custom": {} if self.stat else self._drawing,
                },
                "overrides": [],
            },
            "options": STAT_OPTIONS if self.stat else GRAPH_OPTIONS,
            "targets": [
                {
                    "refId": chr(ord("A") + index),
                    "datasource": DATASOURCE,
                    "expr": query.expr,
                    "legendFormat": query.legend,
                    "instant": self.stat,
                    "range": not self.stat,
                }
                for index, query in enumerate(self.queries)
            ],
        }

    @property
    def _drawing(self) -> Json:
        return {
            "lineWidth": 1,
            "fillOpacity": 25 if self.stacked else 8,
            "showPoints": "never",
            "stacking": {"mode": "normal" if self.stacked else "none", "group": "A"},
        }


@dataclass(frozen=True)
class Row:
    """Panels under a title, from left to right; those that do not fit go below."""

    title: str
    panels: tuple[Panel, ...]
    collapsed: bool = False


STAT_OPTIONS: Json = {
    "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    "colorMode": "value",
    "graphMode": "none",
    "justifyMode": "auto",
    "textMode": "auto",
}
GRAPH_OPTIONS: Json = {
    "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
    "tooltip": {"mode": "multi", "sort": "desc"},
}


def dashboard(about: Json, rows: Sequence[Row]) -> Json:
    """The whole dashboard; ``about`` has its uid, title, description, tags and variables."""
    panels: list[Json] = []
    number = y = 0
    for row in rows:
        number += 1
        placed, y = _place(row, number + 1, y + 1)
        panels.append(
            {
                "id": number,
                "type": "row",
                "title": row.title,
                "collapsed": row.collapsed,
                "gridPos": {"h": 1, "w": COLUMNS, "x": 0, "y": placed[0]["gridPos"]["y"] - 1},
                "panels": placed if row.collapsed else [],
            }
        )
        number += len(placed)
        panels += [] if row.collapsed else placed
    return {
        **about,
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,
        "time": {"from": "now-6h", "to": "now"},
        "refresh": "1m",
        "annotations": {"list": []},
        "panels": panels,
    }


def _place(row: Row, number: int, y: int) -> tuple[list[Json], int]:
    """The panels of a row from ``number`` on, and where the next row begins."""
    placed: list[Json] = []
    x = tallest = 0
    for panel in row.panels:
        if x + panel.width > COLUMNS:
            x, y, tallest = 0, y + tallest, 0
        placed.append(panel.json(number + len(placed), x, y))
        x, tallest = x + panel.width, max(tallest, panel.height)
    return placed, y + tallest


def text(made: Json) -> str:
    """As JSON, a panel a line: nobody edits it by hand, and a change is a line of the diff."""
    panels = ",\n".join(json.dumps(panel) for panel in made["panels"])
    rest = json.dumps({**made, "panels": []}, indent=1)
    return rest.replace('"panels": []', f'"panels": [\n{panels}\n]') + "\n"
