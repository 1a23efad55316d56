"""The background tasks of an ``ApiCluster``, run without a driver."""

import asyncio

from driver.cluster.gateway import ApiCluster
from runtime.tasks import TaskSupervisor


async def run_background(cluster: ApiCluster) -> None:
    """Run the tasks until cancelled, then close the connections, as the driver does."""
    try:
        async with TaskSupervisor().running(cluster.tasks()):
            await asyncio.Event().wait()
    finally:
        await cluster.close()
