"""The picture of the dashboard in docs/."""

import re
from xml.etree import ElementTree

import pytest

from tests.helm import dashboard
from tests.helm.grafana import Panel, Query
from tools.pictures.dashboard import PICTURE, digest
from tools.pictures.graph import Box, panel, quantity


def test_it_is_of_the_dashboard_as_it_is() -> None:
    """The picture was drawn after the last change of the dashboard, and has a title of each panel, and lines or a
    number in it: otherwise ``python -m tools.pictures.dashboard``."""
    text = PICTURE.read_text()
    assert digest() in text
    root = ElementTree.fromstring(text)
    written = {node.text for node in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {each.title for row in dashboard.ROWS for each in row.panels} <= written
    assert len(text) < 150_000 and "none" not in written and "nan" not in text.lower().replace("nano", "")


@pytest.mark.parametrize("values", [[], [0.0, 0.0], [-3.0, 5.0], [1e-7, 2e9], [float(number) for number in range(100)]])
@pytest.mark.parametrize("unit", ["s", "bytes", "ops", "short", "percentunit"])
def test_any_values_can_be_drawn(values: list[float], unit: str) -> None:
    """No values, zeros, negative, tiny and huge ones → valid XML, and no line leaves its panel."""
    made = Panel("A & B <c>", "", (Query("up"),), unit, stacked=unit == "ops")
    points = [(100.0 + index, value) for index, value in enumerate(values)]
    drawn = "".join(panel(made, {"one <&>": points}, Box(10, 20, 400, 224), (100.0, 200.0)))
    root = ElementTree.fromstring(f"<svg>{drawn}</svg>")
    lines = [str(node.get("d")) for node in root.iter("path") if node.get("fill") == "none"]
    places = [tuple(map(float, place.split())) for line in lines for place in re.split("[ML]", line) if place]
    assert all(10 <= x <= 410 and 20 <= y <= 244 for x, y in places) and bool(places) == bool(values)


@pytest.mark.parametrize(
    "value, unit, expected",
    [
        (0, "s", "0 s"),
        (0.9999, "s", "1 s"),
        (0.25, "s", "250 ms"),
        (7200, "s", "2 h"),
        (-3, "s", "-3 s"),
        (5 * 2**20, "bytes", "5 MiB"),
        (0.5, "percentunit", "50 %"),
        (12.5, "ops", "12.5/s"),
        (3, "short", "3"),
    ],
)
def test_quantities(value: float, unit: str, expected: str) -> None:
    """Numbers with their units."""
    assert quantity(value, unit) == expected
