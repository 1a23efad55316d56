"""The two formats of log lines: klog's text, and JSON with the Go driver's keys."""

import json
import logging
import math
import os
import traceback
from datetime import UTC, datetime
from typing import Any

from runtime import redact
from runtime.limits import LOG_LINE_BYTES

FIELDS = "fields"
"""The attribute of a log record that holds the line's named values."""
# A longer line would not stay one in the container's log. The marker and a field's name are short.
_LONGEST = LOG_LINE_BYTES - 1024
_HEAD = frozenset({"level", "timestamp", "process", "logger", "caller", "message"})
_PREFIXES = {"error": "E", "warning": "W"}


class KlogFormatter(logging.Formatter):
    """klog's text format: ``I1124 02:39:00.123456       1 mounts.py:42] "Mounted" target="/…"``, after ``marker``."""

    def __init__(self, marker: str = "") -> None:
        super().__init__()
        self._marker = marker

    def format(self, record: logging.LogRecord) -> str:
        """One line, without its newline."""
        moment = datetime.fromtimestamp(record.created)
        level = _PREFIXES.get(_level(record), "I")
        head = f"{level}{moment:%m%d %H:%M:%S.%f} {os.getpid():7d} {record.filename}:{record.lineno}]"
        values = "".join(f" {key}={_klog_value(value)}" for key, value in _fields(record).items())
        return f"{self._marker}{head} {_quoted(redact.text(record.getMessage()))}{values}"


class JsonFormatter(logging.Formatter):
    """The keys of the Go driver's JSON lines, and ``process``, the role that logs; after ``marker``."""

    def __init__(self, process: str, marker: str = "") -> None:
        super().__init__()
        self._marker = marker
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """One line, without its newline."""
        moment = datetime.fromtimestamp(record.created, UTC)
        place = os.path.join(os.path.basename(os.path.dirname(record.pathname)), record.filename)
        line: dict[str, Any] = {
            "level": _level(record),
            "timestamp": moment.isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "process": self._process,
            "logger": record.name,
            "caller": f"{place}:{record.lineno}${record.name}.{record.funcName}",
            "message": redact.text(record.getMessage()),
        }
        for key, value in _fields(record).items():
            line["error" if key == "err" else key] = redact.lines(value) if key == "stacktrace" else _json_value(value)
        text = json.dumps(line)
        if len(text) > _LONGEST:  # a request with very many fields, or a very deep stack
            text = json.dumps({key: value if key in _HEAD else redact.text(value) for key, value in line.items()})
        return self._marker + text


def _fields(record: logging.LogRecord) -> dict[str, object]:
    fields: dict[str, object] = dict(getattr(record, FIELDS, {}))
    if record.exc_info and record.exc_info[1] is not None:  # logged by a library with ``exc_info``
        fields["err"] = repr(record.exc_info[1])
        fields["stacktrace"] = "".join(traceback.format_tb(record.exc_info[2])).strip()
    return fields


def _level(record: logging.LogRecord) -> str:
    if record.levelno >= logging.ERROR:
        return "error"
    if record.levelno >= logging.WARNING:
        return "warning"
    verbosity = logging.INFO - record.levelno
    if verbosity in (0, 2, 3):
        return "info"
    if verbosity <= 5:
        return "debug"
    return "trace" if verbosity <= 7 else "all"


def _json_value(value: object) -> object:
    if value is None or isinstance(value, (bool, int)) or isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, dict):
        return {redact.text(key): _json_value(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json_value(item) for item in value]
    return redact.text(value)


def _klog_value(value: object) -> str:
    if value is None or isinstance(value, (bool, int, float)):
        return str(value).lower() if isinstance(value, bool) else str(value)
    return _quoted(redact.text(value))


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
