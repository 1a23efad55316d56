"""Times, sizes and numbers as people read them."""

import time
from typing import Any

from probe.page.markup import Html, element
from runtime.timestamps import timestamp

_UNITS = (("days", 86400), ("h", 3600), ("min", 60))


def number(value: Any) -> float | None:
    """A number in a status that another process has written; None for anything else."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def count(items: int, one: str, many: str = "") -> str:
    """``1 volume``, ``2 volumes``; ``many`` is the plural unless it ends in s."""
    return f"{items} {one if items == 1 else many or f'{one}s'}"


def duration(seconds: float) -> str:
    """In one unit, never less than two of it except for seconds: ``61 s``, ``2 min``."""
    for unit, length in _UNITS:
        if seconds >= 2 * length:
            return f"{seconds // length:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def ago(moment: Any, now: float | None = None) -> Html | str:
    """How long ago a Unix time was, with the time itself for machines and as a tooltip; "unknown" without one."""
    seconds = number(moment)
    if seconds is None:
        return "unknown"
    return _time(seconds, f"{duration(_now(now) - seconds)} ago")


def until(moment: float, now: float | None = None) -> Html:
    """In how long a Unix time will be; "now" for the past."""
    left = moment - _now(now)
    return _time(moment, f"in {duration(left)}" if left > 0 else "now")


def clock_time(moment: float) -> Html:
    """The time of day in UTC."""
    return _time(moment, f"{time.strftime('%H:%M:%S', time.gmtime(moment))} UTC")


def mebibytes(size: float) -> str:
    """A size in bytes as MiB."""
    return f"{size / 2**20:.1f} MiB"


def _time(moment: float, shown: str) -> Html:
    written = timestamp(moment)
    return element("time", shown, datetime=written, title=written)


def _now(now: float | None) -> float:
    return time.time() if now is None else now
