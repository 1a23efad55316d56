"""The registrar as a process: ``secrets-store-csi-registrar``, or one role of the supervised three."""

import asyncio
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress

from registrar import health
from registrar.config import GO_ONLY, PROBE_MODE, RegistrarConfig
from registrar.reconciler import Reconciler
from runtime import http, logs, process, status
from runtime.flags import FlagSet
from runtime.signals import stop_event
from runtime.version import build

PROGRAM = "secrets-store-csi-registrar"


def main(argv: Sequence[str] | None = None) -> int:
    """The console script; returns the exit code."""
    return process.start(
        FlagSet(PROGRAM).add(RegistrarConfig).ignore(GO_ONLY),
        RegistrarConfig,
        sys.argv[1:] if argv is None else argv,
        run,
        version=lambda: f"{sys.argv[0]} {build().version}",  # as the original has it
    )


def run(config: RegistrarConfig) -> int:
    """Run until a signal; returns the exit code."""
    if config.mode == PROBE_MODE:
        return 0  # the old exec probe: its file is no longer written by anybody
    logs.configure("registrar", as_json=config.logging_format == "json", verbosity=config.v)
    return process.run(_serve(config))


async def _serve(config: RegistrarConfig) -> None:
    with stop_event() as stop:
        async with AsyncExitStack() as stack:
            reconciler = Reconciler(config)
            if config.http is not None:
                await stack.enter_async_context(http.serve(config.http, {"/healthz": health.page(config, reconciler)}))
            await stack.enter_async_context(
                status.serve(config.status_directory, "registrar", reconciler.registration.snapshot)
            )
            keeping = asyncio.create_task(reconciler.run())
            stopping = asyncio.create_task(stop.wait())
            await asyncio.wait([keeping, stopping], return_when=asyncio.FIRST_COMPLETED)
            if keeping.done():
                keeping.result()
            keeping.cancel()
            with suppress(asyncio.CancelledError):
                await keeping


if __name__ == "__main__":
    raise SystemExit(main())
