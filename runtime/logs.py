"""Logs on stderr, as klog's text or as one JSON object per line, with klog's verbosity levels.

Built on the standard logging module: verbosity ``n`` is the level ``INFO - n``, so that a line that is not wanted costs
one comparison. Every message and value passes ``redact.text``. An expected exception is logged as its redacted
sentence; any other one with its stack too.
"""

import json
import logging
import os
import sys
import traceback
from datetime import UTC, datetime
from typing import Any, Protocol

from runtime import redact
from runtime.errors import Failure

_FIELDS = "fields"
_PREFIXES = {"error": "E", "warning": "W"}


class Stream(Protocol):
    """Where log lines are written."""

    def write(self, text: str, /) -> object:
        """Write one line, which ends with a newline."""

    def flush(self) -> None:
        """Write whatever is buffered."""


class Log:
    """A logger whose methods take a constant message and named values: ``log.info("Mounted", target=path)``."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def enabled(self, verbosity: int) -> bool:
        """Whether ``verbose(verbosity, …)`` would be written; check it before computing something expensive."""
        return self._logger.isEnabledFor(logging.INFO - verbosity)

    def verbose(self, verbosity: int, text: str, /, **fields: object) -> None:
        """A line that is written only with ``-v`` of at least ``verbosity``."""
        self._write(logging.INFO - verbosity, text, fields, None)

    def info(self, text: str, /, **fields: object) -> None:
        """A line that is always written."""
        self._write(logging.INFO, text, fields, None)

    def warning(self, text: str, /, **fields: object) -> None:
        """Something that needs attention."""
        self._write(logging.WARNING, text, fields, None)

    def error(self, text: str, /, *, exc: BaseException | None = None, **fields: object) -> None:
        """A failure. An exception that is neither a ``Failure`` nor an OSError is a bug: its stack is logged too."""
        self._write(logging.ERROR, text, fields, exc)

    def _write(self, level: int, text: str, fields: dict[str, object], exc: BaseException | None) -> None:
        if not self._logger.isEnabledFor(level):
            return
        if exc is not None:
            fields["err"] = exc if str(exc) else repr(exc)
            if not isinstance(exc, (Failure, OSError)):
                fields["stacktrace"] = "".join(traceback.format_tb(exc.__traceback__)).strip()
        self._logger.log(level, "%s", text, extra={_FIELDS: fields}, stacklevel=3)


def get(name: str) -> Log:
    """The module's logger: ``log = logs.get(__name__)``."""
    return Log(name)


def configure(process: str, *, as_json: bool = False, verbosity: int = 0, stream: Stream | None = None) -> None:
    """Send all logging of this process to ``stream`` (stderr by default); ``process`` is the role's name in JSON
    lines."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter(process) if as_json else KlogFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO - verbosity)
    # Libraries log at DEBUG, which is -v=10 here. aiohttp's access log is never wanted.
    logging.getLogger("aiohttp.access").setLevel(logging.ERROR)


class KlogFormatter(logging.Formatter):
    """klog's text format: ``I1124 02:39:00.123456       1 mounts.py:42] "Mounted" target="/…"``."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, without its newline."""
        moment = datetime.fromtimestamp(record.created)
        level = _PREFIXES.get(_level(record), "I")
        head = f"{level}{moment:%m%d %H:%M:%S.%f} {os.getpid():7d} {record.filename}:{record.lineno}]"
        values = "".join(f" {key}={_klog_value(value)}" for key, value in _fields(record).items())
        return f"{head} {_quoted(redact.text(record.getMessage()))}{values}"


class JsonFormatter(logging.Formatter):
    """The keys of the Go driver's JSON lines, and ``process``, the role that logs."""

    def __init__(self, process: str) -> None:
        super().__init__()
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
            line["error" if key == "err" else key] = (
                redact.mask(str(value)) if key == "stacktrace" else _json_value(value)
            )
        return json.dumps(line)


def _fields(record: logging.LogRecord) -> dict[str, object]:
    fields: dict[str, object] = dict(getattr(record, _FIELDS, {}))
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
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, dict):
        return {str(key): _json_value(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json_value(item) for item in value]
    return redact.text(value)


def _klog_value(value: object) -> str:
    if value is None or isinstance(value, (bool, int, float)):
        return str(value).lower() if isinstance(value, bool) else str(value)
    return _quoted(redact.text(value))


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
