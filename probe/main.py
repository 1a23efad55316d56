"""The probe as a process: the command ``secrets-store-csi-probe``, or a role of the container."""

import asyncio
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress

from probe.config import GO_ONLY, ProbeConfig
from probe.driver import DriverProbe
from probe.handlers import Handlers
from probe.processes import Processes
from runtime import build_info, http, logs, metrics, process, status
from runtime.errors import ConfigurationError
from runtime.flags import FlagSet
from runtime.signals import stop_event
from runtime.supervisor.role_table import RoleTable

PROGRAM = "secrets-store-csi-probe"
RETRY_SECONDS = 0.2

log = logs.get(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """The console script; returns the exit code."""
    return process.start(
        FlagSet(PROGRAM).add(ProbeConfig).ignore(GO_ONLY),
        ProbeConfig,
        sys.argv[1:] if argv is None else argv,
        run,
    )


def run(config: ProbeConfig, role_table: RoleTable | None = None) -> int:
    """Run until a signal; returns the exit code. ``role_table`` is the supervisor's; None without a supervisor."""
    logs.configure("probe", as_json=config.logging_format == "json", verbosity=config.v)
    return process.run(_serve(config, role_table))


async def _serve(config: ProbeConfig, role_table: RoleTable | None) -> None:
    registry = metrics.registry()
    build_info.add(registry, "probe")
    driver = DriverProbe(config.driver.path, config.probe_timeout, registry)
    handlers = Handlers(config, driver, Processes(role_table), registry)
    with stop_event() as stop:
        async with AsyncExitStack() as stack:
            stack.callback(driver.close)
            if config.refuse_before_first_answer and not await _wait_for_first_answer(driver, stop):
                return
            port = await stack.enter_async_context(http.serve(config.http, handlers.routes()))
            if config.metrics is not None:
                await stack.enter_async_context(
                    http.serve(config.metrics, {config.metrics_path: handlers.metrics_page})
                )
            await _serve_status_pages(config, handlers, stack)
            await stack.enter_async_context(status.serve(config.status_directory, "probe", lambda: {"role": "probe"}))
            log.info("Serving health checks", port=port)
            await stop.wait()
            driver.stop()


async def _serve_status_pages(config: ProbeConfig, handlers: Handlers, stack: AsyncExitStack) -> None:
    """Serve the status pages if they have an address of their own. Health checks do without them: an address that
    cannot be used is logged."""
    if config.status_pages is None:
        return
    try:
        await stack.enter_async_context(http.serve(config.status_pages, handlers.status_routes()))
    except ConfigurationError as error:
        log.warning("/status and the status page are not served; set --status-endpoint", reason=str(error))


async def _wait_for_first_answer(driver: DriverProbe, stop: asyncio.Event) -> bool:
    """False if a signal came before the driver has answered."""
    while not stop.is_set():
        await driver.check()
        if driver.answered:
            return True
        # A check may fail at once, so wait before the next one.
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), RETRY_SECONDS)
    return False


if __name__ == "__main__":
    raise SystemExit(main())
