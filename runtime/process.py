"""From command line to exit code: what every console script does around its one coroutine."""

import asyncio
import errno
import os
import sys
from collections.abc import Callable, Coroutine, Iterable, Sequence
from itertools import pairwise
from typing import Any, TypeVar

from runtime import heartbeat, logs, redact
from runtime.errors import ConfigurationError
from runtime.flags import FlagSet, HelpRequested, UsageError
from runtime.version import build

log = logs.get(__name__)

T = TypeVar("T")
_TRUE = ("true", "1", "t", "T", "TRUE", "True")
_JSON_FLAGS = {"log-format-json", "logging-format=json", *(f"log-format-json={value}" for value in _TRUE)}
# Not a bug of ours, and there may be enough at the next start.
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
USAGE_EXIT_CODE, FAILURE_EXIT_CODE = 2, 1


def start(
    flags: FlagSet,
    spec: type[T],
    argv: Sequence[str],
    run: Callable[[T], int],
    version: Callable[[], str] | None = None,
) -> int:
    """Parse ``argv`` into the dataclass ``spec``, call ``run`` with it and return the exit code; a bad command line is
    reported in one sentence. ``version`` makes the output of ``--version`` where it differs from the Go driver's."""
    try:
        parsed = flags.parse(argv)
        values = parsed.values[spec]
        if values.get("version"):
            print(version() if version is not None else build().to_json())
            return 0
        config = spec(**values)
    except HelpRequested as usage:
        print(usage)
        return 0
    except ConfigurationError as error:
        return report_startup_error(flags.program, error, argv)
    report_warnings(flags.program, parsed.warnings, argv)
    return run(config)


def report_warnings(program: str, warnings: Iterable[str], argv: Sequence[str]) -> None:
    """Report what is odd, but not wrong, in the command line, in the form in which it asks for logs."""
    if wants_json(argv):
        logs.configure(program, as_json=True)
    for warning in warnings:
        if wants_json(argv):
            log.warning(warning)
        else:
            print(f"{program}: warning: {redact.text(warning)}", file=sys.stderr)


def report_startup_error(program: str, error: ConfigurationError, argv: Sequence[str]) -> int:
    """Report why the process cannot start, in the form in which ``argv`` asks for logs; returns its exit code: 2 for a
    malformed command line, as in Go, else 1."""
    if wants_json(argv):
        logs.configure(program, as_json=True)
        log.error("Cannot start", exc=error)
    else:
        print(f"{program}: {redact.text(error)}", file=sys.stderr)
    return USAGE_EXIT_CODE if isinstance(error, UsageError) else FAILURE_EXIT_CODE


def wants_json(argv: Sequence[str]) -> bool:
    """Whether a command line, which may be malformed, asks for JSON logs."""
    given = [argument.lstrip("-") for argument in argv if argument.startswith("-")]
    if any(argument in _JSON_FLAGS for argument in given):
        return True
    return any(name.lstrip("-") == "logging-format" and value == "json" for name, value in pairwise(argv))


def run(work: Coroutine[Any, Any, None]) -> int:
    """Run one coroutine to its end; a ConfigurationError, or a lack of descriptors or memory, is one log
    line and exit code 1."""
    try:
        asyncio.run(heartbeat.beating(work))
    except ConfigurationError as error:
        log.error("Cannot run", exc=error)
        return FAILURE_EXIT_CODE
    except OSError as error:
        if error.errno not in _EXHAUSTED:
            raise
        log.error("Cannot run: the machine has run out of something", reason=os.strerror(error.errno or 0))
        return FAILURE_EXIT_CODE
    return 0
