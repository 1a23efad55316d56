"""The command ``secrets-store-kubelet-stub --root DIR --pod pod.yaml``."""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from kubelet_stub.config import Config
from kubelet_stub.kubelet import KubeletStub
from runtime import logs, process
from runtime.flags import FlagSet
from runtime.signals import stop_event

PROGRAM = "secrets-store-kubelet-stub"

log = logs.get(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """The console script; returns the exit code."""
    return process.start(FlagSet(PROGRAM).add(Config), Config, sys.argv[1:] if argv is None else argv, run)


def run(config: Config) -> int:
    """Run until SIGTERM or SIGINT; returns the exit code."""
    logs.configure("kubelet-stub", as_json=config.log_format_json, verbosity=config.v)
    return process.run(_serve(config))


async def _serve(config: Config) -> None:
    with stop_event() as stop:
        async with KubeletStub(config) as stub:
            for path in config.pod:
                await stub.add_file(Path(path))
            orphans = asyncio.create_task(stub.clean_orphans())
            await stop.wait()
            orphans.cancel()
            try:
                async with asyncio.timeout(config.exit_timeout):
                    await stub.delete_all()
            except TimeoutError:
                log.warning(
                    "Some volumes were not unpublished in time; a new start with this root finds them",
                    root=config.root,
                )
