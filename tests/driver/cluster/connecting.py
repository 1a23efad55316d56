"""Runs a test's coroutine with the driver's API client, and ends both."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from driver.cluster.api import Api

Test = Callable[[Api], Coroutine[Any, Any, None]]


def run(kubeconfig: str, test: Test, seconds: float = 20.0) -> None:
    """The test with an ``Api`` of this kubeconfig, in at most so many seconds."""

    async def bounded() -> None:
        api = Api(kubeconfig)
        try:
            async with asyncio.timeout(seconds):
                await test(api)
        finally:
            await api.close()

    asyncio.run(bounded())
