"""The values of flags: parsed from the command line and formatted for people, both as Go does."""

import re
from collections.abc import Callable, Mapping
from typing import Any, NewType

Duration = NewType("Duration", float)
"""Seconds; written as Go writes durations: ``2m30s``, ``500ms``, ``1.5h``, ``0``."""

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h)")
# Go counts nanoseconds in 64 bits.
_LONGEST = 2**63 / 1e9
_TRUE, _FALSE = ("1", "t", "T", "true", "TRUE", "True"), ("0", "f", "F", "false", "FALSE", "False")


def parse_value(kind: str, text: str) -> Any:
    """The value of a flag of ``kind``. Raises ValueError with a sentence for the user."""
    return _PARSERS[kind](text)


def parse_duration(text: str) -> Duration:
    """Go's duration syntax (https://pkg.go.dev/time#ParseDuration), in seconds. Raises ValueError with a sentence."""
    sign, rest = (-1.0, text[1:]) if text.startswith("-") else (1.0, text.removeprefix("+"))
    if rest == "0":
        return Duration(0.0)
    parts = list(_DURATION.finditer(rest))
    if not parts or "".join(part.group(0) for part in parts) != rest:
        raise ValueError("want a duration such as 2m, 90s, 1h30m or 500ms")
    seconds = sum(float(part.group(1)) * _UNITS[part.group(2)] for part in parts)
    if seconds >= _LONGEST:
        raise ValueError("want a duration of less than 292 years")
    return Duration(sign * seconds)


def format_value(value: Any) -> str:
    """A value as it would be written on the command line."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return _format_duration(value)
    if isinstance(value, tuple):
        return ",".join(value)
    return str(value) if value != "" else '""'


def _format_duration(seconds: float) -> str:
    """``90.0`` → ``1m30s``, as Go prints it."""
    if 0 < abs(seconds) < 1:
        return f"{seconds * 1000:g}ms"
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    text = f"{hours}h" if hours else ""
    text += f"{minutes}m" if minutes else ""
    return text + (f"{rest:g}s" if rest or not text else "")


def _parse_bool(text: str) -> bool:
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError("want true or false")


def _parse_int(text: str) -> int:
    try:
        if not text.isascii() or text != text.strip():  # what Python takes for a number, and Go does not
            raise ValueError
        value = int(text, 0)
    except ValueError:
        raise ValueError("want a whole number") from None
    if not -(2**63) <= value < 2**63:
        raise ValueError("want a whole number of 64 bits")
    return value


def _parse_list(text: str) -> tuple[str, ...]:
    # Lists hold paths: an empty element would become the working directory, as it does in the Go driver.
    return tuple(part for part in (piece.strip() for piece in text.split(",")) if part)


_PARSERS: Mapping[str, Callable[[str], Any]] = {
    "str": str,
    "int": _parse_int,
    "bool": _parse_bool,
    "duration": parse_duration,
    "list": _parse_list,
}
