"""The registrar as a process: the command ``secrets-store-csi-registrar``, or a role of the container."""

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
        version=lambda: f"{sys.argv[0]} {build().version}",  # node-driver-registrar's output
    )


def run(config: RegistrarConfig) -> int:
    """Run until a signal; returns the exit code."""
    if config.mode == PROBE_MODE:
        return 0  # node-driver-registrar's former exec probe: the file that it checked is no longer written
    logs.configure("registrar", as_json=config.logging_format == "json", verbosity=config.v)
    return process.run(_serve(config))


async def _serve(config: RegistrarConfig) -> None:
    with stop_event() as stop:
        async with AsyncExitStack() as stack:
            reconciler = Reconciler(config)
            if config.http is not None:
                await stack.enter_async_context(
                    http.serve(config.http, {"/healthz": health.healthz_handler(config, reconciler)})
                )
            await stack.enter_async_context(
                status.serve(config.status_directory, "registrar", reconciler.registration.snapshot)
            )
            reconciling = asyncio.create_task(reconciler.run())
            stopping = asyncio.create_task(stop.wait())
            await asyncio.wait([reconciling, stopping], return_when=asyncio.FIRST_COMPLETED)
            if reconciling.done():
                reconciling.result()  # raises what has ended it
            reconciling.cancel()
            with suppress(asyncio.CancelledError):
                await reconciling


if __name__ == "__main__":
    raise SystemExit(main())
