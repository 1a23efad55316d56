"""The driver's process: the command ``secrets-store-csi-driver``, or one role of the container."""

import sys
from collections.abc import Sequence

from driver import server
from driver.config import GO_ONLY, DriverConfig
from runtime import logs, process
from runtime.flags import FlagSet
from runtime.signals import stop_event

PROGRAM = "secrets-store-csi-driver"
# How long a thread may compute while the event loop waits for its turn. Python's default of 5 ms is as long as a whole
# publish, which would wait so long at each of its steps while a thread writes a large volume.
SWITCH_SECONDS = 0.0005


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return process.start(
        FlagSet(PROGRAM).add(DriverConfig).ignore(GO_ONLY), DriverConfig, sys.argv[1:] if argv is None else argv, run
    )


def run(config: DriverConfig) -> int:
    """Run until a signal arrives; returns the exit code."""
    logs.configure("driver", as_json=config.log_format_json, verbosity=config.v)
    sys.setswitchinterval(SWITCH_SECONDS)
    return process.run(_serve(config))


async def _serve(config: DriverConfig) -> None:
    with stop_event() as stop:
        async with server.served(config):
            await stop.wait()


if __name__ == "__main__":
    raise SystemExit(main())
