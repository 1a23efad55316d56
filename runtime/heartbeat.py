"""A role's sign of life: while its event loop runs, it reports to the supervisor, which restarts a role that hangs.

The supervisor says in the child, before the role runs, where to report (``report_to``); a process without a supervisor
reports nothing.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

_report: tuple[Callable[[], None], float] | None = None


def report_to(report: Callable[[], None], seconds: float) -> None:
    """Call ``report`` every so many seconds in ``beating``, from now on and for this process."""
    global _report
    _report = report, seconds


async def beating(work: Coroutine[Any, Any, None]) -> None:
    """Run ``work``, and report meanwhile."""
    if _report is None:
        await work
        return
    reporter = asyncio.create_task(_keep_reporting(*_report))
    try:
        await work
    finally:
        reporter.cancel()


async def _keep_reporting(report: Callable[[], None], seconds: float) -> None:
    while True:
        report()
        await asyncio.sleep(seconds)
