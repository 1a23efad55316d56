"""The rows of the synced Secrets."""

from collections.abc import Mapping, Sequence
from typing import Any

from probe.page.markup import identifier
from probe.page.table import Level, Row
from probe.page.units import ago, number

Item = Mapping[str, Any]
COLUMNS = ("Secret", "Class", "Last in sync")


def rows(secrets: Sequence[Item], now: float) -> list[Row]:
    """The Secrets of all classes that volumes of the node use."""
    return [_row(item, now) for item in secrets]


def _row(item: Item, now: float) -> Row:
    synced, reason = number(item["synced"]), str(item["reason"])
    if reason:
        level, state = Level.BAD, "not synced"
    elif synced is None:
        level, state = Level.UNKNOWN, "not checked yet"
    else:
        level, state = Level.GOOD, "synced"
    namespace = str(item["class_ref"]).partition("/")[0]
    cells = (f"{namespace}/{item['name']}", item["class_ref"], "not yet" if synced is None else ago(synced, now))
    return Row(identifier("secret", str(item["class_ref"]), str(item["name"])), level, state, cells, reason)
