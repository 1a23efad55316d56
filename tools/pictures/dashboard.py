"""The picture of the dashboard in docs/: its own queries, answered by a real Prometheus that has scraped all programs
at work for a minute (``tests/monitoring``).

python -m tools.pictures.dashboard            writes docs/pictures/dashboard.svg, if the dashboard has changed since
python -m tools.pictures.dashboard --anew     writes it anyway
"""

import asyncio
import hashlib
import logging
import re
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.helm import dashboard, grafana
from tests.helm.grafana import COLUMNS
from tests.monitoring.prometheus import Prometheus, Series, installed, prometheus
from tests.monitoring.targets import targets
from tests.monitoring.world import world
from tools.pictures.graph import BACKGROUND, TEXT, Box, Points, panel, text

PICTURE = Path(__file__).resolve().parents[2] / "docs" / "pictures" / "dashboard.svg"
COLUMN, ROW, GAP, HEAD = 50, 28, 6, 56
# Long enough to see more than the start.
SECONDS, PAUSE, STEP = 60.0, 0.6, 2.0
RATE_INTERVAL = "10s"

Answers = Mapping[str, Mapping[str, Points]]


async def collect(directory: Path) -> tuple[Answers, tuple[float, float]]:
    """What each panel shows, by its title, and from when to when."""
    (directory / "prometheus").mkdir()
    async with world(directory / "world") as made, prometheus(directory / "prometheus", targets(made)) as asked:
        end, number = time.time() + SECONDS, 0
        while time.time() < end:
            await made.beat(number)
            await asyncio.sleep(PAUSE)
            number += 1
        span = (end - SECONDS * 0.8, time.time())
        return await asyncio.to_thread(_answers, asked, span), span


def _answers(asked: Prometheus, span: tuple[float, float]) -> Answers:
    found: dict[str, dict[str, Points]] = {}
    for row in dashboard.ROWS:
        for each in row.panels:
            found[each.title] = {}
            for query in each.queries:
                expr = query.expr.replace("$node", ".*").replace("$__rate_interval", RATE_INTERVAL)
                for series in asked.range(expr, *span, STEP):
                    points = [(at, value) for at, value in series.points if value == value]
                    found[each.title][name_of(query.legend, series)] = points
    return found


def name_of(legend: str, series: Series) -> str:
    """The legend of a series, as Grafana fills it in."""
    return re.sub(r"\{\{(\w+)\}\}", lambda match: series.labels.get(match[1], ""), legend).strip() or "(none)"


def digest() -> str:
    """What the picture says of which dashboard it is."""
    return hashlib.sha256(dashboard.text().encode()).hexdigest()[:16]


def draw(answers: Answers, span: tuple[float, float]) -> str:
    """The picture."""
    made = grafana.dashboard(dashboard.ABOUT, dashboard.ROWS)
    placed = [part for row in made["panels"] for part in (row, *row.get("panels", ()))]
    height = HEAD + ROW * max(part["gridPos"]["y"] + part["gridPos"]["h"] for part in placed)
    width = COLUMNS * COLUMN + GAP
    panels = {each.title: each for row in dashboard.ROWS for each in row.panels}
    body = [
        f'<rect width="{width}" height="{height}" fill="{BACKGROUND}"/>',
        text(GAP + 8, 36, dashboard.ABOUT["title"], TEXT, 20, weight=600),
    ]
    for part in placed:
        place = part["gridPos"]
        x, y = GAP + place["x"] * COLUMN, HEAD + place["y"] * ROW
        if part["type"] == "row":
            body.append(text(x + 8, y + 19, part["title"], TEXT, 14, weight=600))
            continue
        box = Box(x, y, place["w"] * COLUMN - GAP, place["h"] * ROW - GAP)
        body += panel(panels[part["title"]], answers[part["title"]], box, span)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="system-ui, sans-serif">\n<!-- dashboard {digest()} -->\n' + "\n".join(body) + "\n</svg>\n"
    )


def main(arguments: Sequence[str]) -> int:
    """The command."""
    if PICTURE.exists() and digest() in PICTURE.read_text() and "--anew" not in arguments:
        print(f"{PICTURE.name}: as before; --anew draws it with new values")
        return 0
    if not installed():
        raise SystemExit("Prometheus is not installed: .ci/install test")
    logging.disable()  # what fails in that world fails on purpose
    with tempfile.TemporaryDirectory(prefix="dashboard-") as name:
        answers, span = asyncio.run(collect(Path(name)))
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(draw(answers, span))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
