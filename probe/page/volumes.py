"""The rows of the volumes: those that are mounted, and those that are not yet."""

from collections.abc import Mapping, Sequence
from typing import Any

from probe.page.markup import Html, element, fragment, identifier
from probe.page.table import Level, Row
from probe.page.units import ago, count, duration, number, until

Item = Mapping[str, Any]
COLUMNS = ("Pod", "Class", "Provider", "Refreshed", "Next refresh", "Objects")
# A provider answers in a second or two. Kubelet republishes about once a minute, and the driver waits for a minute at
# most after a failure.
SLOW_SECONDS, LATE_SECONDS = 10.0, 300.0


def rows(volumes: Sequence[Item], driver: Item, reported: float, now: float) -> list[Row]:
    """The mounted volumes, of which the most failures come first. ``reported`` is when the driver has said this."""
    ordered = sorted(volumes, key=lambda item: (-int(item["failures"]), str(item["pod"])))
    return [_mounted(item, driver, reported, now) for item in ordered]


def pending_rows(volumes: Sequence[Item], providers: Sequence[Item], now: float) -> list[Row]:
    """The volumes that pods wait for, the oldest first."""
    away = {item["name"]: item for item in providers if item.get("state") == "away"}
    ordered = sorted(volumes, key=lambda item: number(item["since"]) or 0.0)
    return [_pending(item, away.get(item["provider"]), now) for item in ordered]


def _mounted(item: Item, driver: Item, reported: float, now: float) -> Row:
    failures, refreshed, due = int(item["failures"]), number(item["last_refresh"]), number(item.get("next_refresh"))
    reason = str(item["reason"])
    stale = bool(item.get("last_known_good"))
    if stale:
        level, state = Level.WARN, "last known good"
    elif failures:
        level, state = Level.BAD, f"failing, {count(failures, 'time')}"
    elif due is not None and reported > due + LATE_SECONDS:
        level, state = Level.WARN, "late"
        reason = (
            f"due for a refresh since {duration(reported - due)}: kubelet has not asked for it, see requiresRepublish"
        )
    elif refreshed is None:
        level, state = Level.UNKNOWN, "age unknown"
    else:
        level, state = Level.GOOD, "mounted"
    rotates = driver.get("rotation_interval") is not None
    missing = "unknown" if rotates else "never: rotation is off"
    next_refresh: Any = until(due, now) if due is not None else missing
    if stale:
        next_refresh = "when the provider is back"
    cells = (*_names(item), ago(refreshed, now), next_refresh, _objects(item))
    return Row(_key(item), level, state, cells, reason)


def _pending(item: Item, absent: Item | None, now: float) -> Row:
    since, failures, reason = number(item["since"]), int(item["failures"]), str(item["reason"])
    waited = 0.0 if since is None else now - since
    if item["running"] and absent is not None:
        level, state = Level.BAD, "waiting"
        reason = f"waits for provider {item['provider']}, which is away: {absent['reason']}"
    elif failures:
        level, state = Level.BAD, f"not mounted, {count(failures, 'failure')}"
    else:
        level, state = (Level.WARN if waited > SLOW_SECONDS else Level.UNKNOWN), "starting"
        if waited > SLOW_SECONDS:
            reason = f"waits for {_awaited(item)}"
    return Row(
        _key(item),
        level,
        state,
        (*_names(item), f"waiting for {duration(waited)}", "not yet", "none yet"),
        reason,
    )


def _awaited(item: Item) -> str:
    return f"an answer of provider {item['provider']}" if item["provider"] else "its SecretProviderClass"


def _names(item: Item) -> tuple[Any, Any, Any]:
    volume = item.get("volume")
    pod = element("span", item["pod"], element("span", " ", volume, class_="more") if volume else None)
    return pod, item["class"], item["provider"] or "not known yet"


def _objects(item: Item) -> Html | str:
    versions, total = item.get("objects"), number(item.get("object_count"))
    if not isinstance(versions, Mapping) or total is None:
        return "unknown"
    if not versions:
        return "none"
    listed = [fragment(element("dt", name), element("dd", version)) for name, version in versions.items()]
    left = int(total) - len(versions)
    more = element("p", f"and {left} more") if left > 0 else None
    summary = element("summary", count(int(total), "object"))
    return element("details", summary, element("dl", *listed), more, id=f"{_key(item)}-objects")


def _key(item: Item) -> str:
    return identifier("volume", str(item.get("target") or item["pod"]))
