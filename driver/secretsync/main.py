"""The command ``secrets-store-csi-sync``."""

import sys
from collections.abc import Sequence

from driver.secretsync.config import GO_ONLY, SyncConfig
from driver.secretsync.server import SyncServer
from runtime import logs, privileges, process
from runtime.flags import FlagSet
from runtime.signals import stop_event

PROGRAM = "secrets-store-csi-sync"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return process.start(
        FlagSet(PROGRAM).add(SyncConfig).ignore(GO_ONLY), SyncConfig, sys.argv[1:] if argv is None else argv, run
    )


def run(config: SyncConfig) -> int:
    """Run until a signal arrives; returns the exit code."""
    logs.configure("sync", as_json=config.log_format_json, verbosity=config.v)
    privileges.harden()
    return process.run(_serve(config))


async def _serve(config: SyncConfig) -> None:
    with stop_event() as stop:
        await SyncServer(config).serve(stop)


if __name__ == "__main__":
    raise SystemExit(main())
