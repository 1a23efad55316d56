"""The rows of the providers."""

from collections.abc import Mapping, Sequence
from typing import Any

from probe.page.markup import identifier
from probe.page.table import Level, Row
from probe.page.units import count, duration, number

Item = Mapping[str, Any]
COLUMNS = ("Provider", "Waiting", "Version", "Last error", "Socket")
_QUIET = {"connected": Level.GOOD, "idle": Level.GOOD, "not called": Level.GOOD}


def rows(providers: Sequence[Item], volumes: Sequence[Item], driver: Item, now: float) -> list[Row]:
    """The providers. One that is away is a failure if a volume needs it."""
    needed = {item["provider"] for item in volumes}
    return [_row(item, item["name"] in needed, driver, now) for item in providers]


def _row(item: Item, needed: bool, driver: Item, now: float) -> Row:
    state, error, waiting = str(item.get("state") or "called"), str(item["last_error"]), int(item.get("waiting") or 0)
    reason = str(item.get("reason") or "")
    level = _QUIET.get(state, Level.UNKNOWN)
    if state == "away":
        level = Level.BAD if needed or waiting else Level.WARN
        since = number(item.get("away_since"))
        state = "away" if since is None else f"away for {duration(now - since)}"
    elif error:
        level, reason = Level.WARN, error
    if item.get("unused_sockets"):
        level = max(level, Level.WARN)
        reason = "; ".join(filter(None, [reason, f"another process has this name, too: {item['unused_sockets']}"]))
    cells = (
        item["name"],
        count(waiting, "publish", "publishes") if waiting else "nobody",
        item["version"] or _no_version(driver),
        "see below" if error and reason.startswith(error) else error or "none",
        item["socket"],
    )
    return Row(identifier("provider", str(item["name"])), level, state, cells, reason)


def _no_version(driver: Item) -> str:
    """A provider says its version only to the health check, which is off by default."""
    return "not asked yet" if driver.get("provider_health_check") else "not asked: no health check"
