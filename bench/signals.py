"""How the benchmark's servers are stopped."""

import asyncio
import signal


async def wait_for_sigterm() -> None:
    """Wait for SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
