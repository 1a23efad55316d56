"""Background work, run without a driver."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from driver.cluster.gateway import ApiCluster
from runtime.tasks import TaskSupervisor


@asynccontextmanager
async def running(work: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.Task[None]]:
    """Run work in a task for the length of the block; if it fails, so does the block."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()


async def run_background(cluster: ApiCluster) -> None:
    """Run the background tasks of an ``ApiCluster`` until cancelled, then close the connections, as the driver does."""
    try:
        async with TaskSupervisor().running(cluster.tasks()):
            await asyncio.Event().wait()
    finally:
        await cluster.close()
