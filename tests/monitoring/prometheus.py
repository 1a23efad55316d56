"""A real Prometheus, of Debian's package of that name: it scrapes what a test serves, and answers queries."""

import asyncio
import json
import shutil
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.support.http_client import fetch
from tests.support.ports import free_port
from tests.support.waiting import until_blocking

SCRAPE_SECONDS = 1


@dataclass(frozen=True)
class Target:
    """A port of this machine to scrape, and the labels that a PodMonitor would add."""

    port: int
    labels: Mapping[str, str]


@dataclass(frozen=True)
class Series:
    """One series of an answer: its labels, and its values by Unix time."""

    labels: Mapping[str, str]
    points: Sequence[tuple[float, float]]


class Prometheus:
    """Asks a Prometheus at a port of this machine. All methods block."""

    def __init__(self, port: int) -> None:
        self._port = port

    def get(self, path: str, **query: str) -> Any:
        """The data of an answer. Raises urllib.error.HTTPError for a query that it cannot evaluate."""
        url = f"http://127.0.0.1:{self._port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            return json.load(answer)["data"]

    def up(self) -> set[str]:
        """The jobs of the targets that were scraped."""
        return {item["metric"]["job"] for item in self.get("query", query="up == 1")["result"]}

    def range(self, expr: str, start: float, end: float, step: float) -> list[Series]:
        """The values of an expression from ``start`` to ``end`` (Unix time), one each ``step`` seconds."""
        found = self.get("query_range", query=expr, start=f"{start}", end=f"{end}", step=f"{step}")["result"]
        return [Series(item["metric"], [(at, float(value)) for at, value in item["values"]]) for item in found]

    def rules(self) -> dict[str, str]:
        """What became of the last evaluation of each alert: its health, with the error if there was one."""
        groups = self.get("rules")["groups"]
        return {
            rule["name"]: f"{rule['health']} {rule.get('lastError', '')}".strip()
            for group in groups
            for rule in group["rules"]
        }


def installed() -> bool:
    """Whether the program is there."""
    return shutil.which("prometheus") is not None


@asynccontextmanager
async def prometheus(
    directory: Path, targets: Mapping[str, Target], groups: Sequence[Mapping[str, Any]] = ()
) -> AsyncIterator[Prometheus]:
    """A Prometheus that scrapes the targets, whose names become the label ``job``, once a second, and evaluates groups
    of rules; it has scraped all of them once."""
    (directory / "rules.yaml").write_text(yaml.safe_dump({"groups": list(groups)}))
    jobs = [
        {
            "job_name": name,
            "static_configs": [{"targets": [f"127.0.0.1:{target.port}"], "labels": dict(target.labels)}],
        }
        for name, target in targets.items()
    ]
    seconds = f"{SCRAPE_SECONDS}s"
    config = {
        "global": {"scrape_interval": seconds, "scrape_timeout": seconds, "evaluation_interval": seconds},
        "rule_files": ["rules.yaml"],
        "scrape_configs": jobs,
    }
    (directory / "prometheus.yaml").write_text(yaml.safe_dump(config))
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        "prometheus",
        f"--config.file={directory}/prometheus.yaml",
        f"--storage.tsdb.path={directory}/data",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=error",
    )
    try:
        await until_blocking(lambda: fetch(port, "/-/ready")[0] == 200, "Prometheus to be ready")
        made = Prometheus(port)
        await until_blocking(lambda: made.up() == targets.keys(), lambda: f"all to be scraped, not only {made.up()}")
        yield made
    finally:
        process.terminate()
        await process.wait()
