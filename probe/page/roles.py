"""The rows of the container's processes, and the memory that they take together."""

from collections.abc import Mapping, Sequence
from typing import Any

from probe.page.markup import identifier
from probe.page.table import Level, Row
from probe.page.units import ago, mebibytes, number

Item = Mapping[str, Any]
COLUMNS = ("Process", "Memory", "CPU time", "Restarts", "Started", "Pid")


def rows(processes: Sequence[Item], now: float) -> list[Row]:
    """The processes."""
    return [_row(item, now) for item in processes]


def total_memory(processes: Sequence[Item]) -> str:
    """What all processes take together; it is known only if it is known of each that runs."""
    found = [number(item.get("proportional_bytes")) for item in processes if item["pid"]]
    known = [size for size in found if size]
    return mebibytes(sum(known)) if known and len(known) == len(found) else "not measured yet"


def _row(item: Item, now: float) -> Row:
    key, restarts = identifier("process", str(item["role"])), number(item.get("restarts"))
    again = "none" if restarts is None else f"{restarts:.0f}"
    last_exit = number(item.get("last_exit"))
    ended = "" if last_exit is None else f"it ended with {_exit(int(last_exit))}"
    if not item["pid"]:
        return Row(key, Level.BAD, "down", (item["role"], "none", "none", again, "no", "none"), ended)
    size, cpu = number(item.get("proportional_bytes")), number(item["cpu_seconds"])
    cells = (
        item["role"],
        mebibytes(size) if size else "not measured yet",
        "unknown" if cpu is None else f"{cpu:.1f} s",
        again,
        ago(item.get("started"), now),
        item["pid"],
    )
    return Row(key, Level.GOOD, "running", cells, f"when it was restarted, {ended}" if restarts and ended else "")


def _exit(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"signal {-code}"
