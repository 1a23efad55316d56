"""Logs on stderr, as klog's text or as one JSON object per line, with klog's verbosity levels.

Built on the standard logging module: verbosity ``n`` is the level ``INFO - n``, so that a line that is not wanted costs
one comparison. Every message and value passes ``redact.text``. An expected exception is logged as its redacted
sentence; any other one with its stack too.
"""

import logging
import sys
import threading
import traceback
from typing import Protocol

from runtime.errors import Failure
from runtime.log_formats import FIELDS, JsonFormatter, KlogFormatter

_marker = ""
# Of lines about each request and each response.
REQUEST_VERBOSITY = 5


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
        self._logger.log(level, "%s", text, extra={FIELDS: fields}, stacklevel=3)


def get(name: str) -> Log:
    """The module's logger: ``log = logs.get(__name__)``."""
    return Log(name)


def mark_lines(marker: str) -> None:
    """Begin each line with ``marker``, from now on and in processes forked later: the supervisor's word for lines that
    need no filter (``runtime.supervisor.line_filter``). It stays when logs are configured again."""
    global _marker
    _marker = marker


def log_what_python_prints() -> None:
    """Log what the interpreter would print: warnings, and exceptions that end a thread or that nobody can catch."""
    logging.captureWarnings(True)
    log = get("python")

    def log_thread(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None and not isinstance(args.exc_value, SystemExit):
            log.error("Unhandled exception in a thread", exc=args.exc_value, thread=args.thread and args.thread.name)

    def log_unraisable(args: "sys.UnraisableHookArgs") -> None:
        log.error("Exception ignored", exc=args.exc_value, where=args.err_msg or repr(args.object))

    threading.excepthook = log_thread
    sys.unraisablehook = log_unraisable


def configure(process: str, *, as_json: bool = False, verbosity: int = 0, stream: Stream | None = None) -> None:
    """Send all logging of this process to ``stream`` (stderr by default); ``process`` is the role's name in JSON
    lines."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter(process, _marker) if as_json else KlogFormatter(_marker))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO - verbosity)
    # Libraries log at DEBUG, which is -v=10 here. aiohttp's access log is never wanted.
    logging.getLogger("aiohttp.access").setLevel(logging.ERROR)
