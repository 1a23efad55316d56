"""From command line to exit code: what every console script does around its one coroutine."""

import asyncio
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from runtime import logs
from runtime.errors import ConfigurationError
from runtime.flags import FlagSet, HelpRequested, UsageError
from runtime.version import build

log = logs.get(__name__)

T = TypeVar("T")
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
        return report_startup_error(flags.program, error)
    for warning in parsed.warnings:
        print(f"{flags.program}: warning: {warning}", file=sys.stderr)
    return run(config)


def report_startup_error(program: str, error: ConfigurationError) -> int:
    """Print why the process cannot start; returns its exit code: 2 for a malformed command line, as in Go, else 1."""
    print(f"{program}: {error}", file=sys.stderr)
    return USAGE_EXIT_CODE if isinstance(error, UsageError) else FAILURE_EXIT_CODE


def run(work: Coroutine[Any, Any, None]) -> int:
    """Run one coroutine to its end; a ConfigurationError is one log line and exit code 1."""
    try:
        asyncio.run(work)
    except ConfigurationError as error:
        log.error("Cannot run", exc=error)
        return FAILURE_EXIT_CODE
    return 0
