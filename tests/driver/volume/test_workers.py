"""The threads of the volume layer: whose calls are made when."""

import asyncio
import threading
from contextvars import copy_context

import pytest

from driver.volume.workers import LONG_WORKERS, OF_ONE_TENANT, TENANT, WORKERS, DiskWorkers
from tests.support.waiting import until


class Calls:
    """Calls that note that they run, and end when they may."""

    def __init__(self) -> None:
        self.workers = DiskWorkers()
        self.begun: list[str] = []
        self.may_end = threading.Event()

    def start(self, tenant: str, name: str, long: bool = False) -> "asyncio.Future[str]":
        context = copy_context()
        context.run(TENANT.set, tenant)
        return context.run(self.workers.run_long if long else self.workers.run, self._call, name)

    def _call(self, name: str) -> str:
        self.begun.append(name)
        assert self.may_end.wait(20)
        return name


@pytest.mark.parametrize("flood", [3, 50])
def test_another_tenant_does_not_wait(flood: int) -> None:
    """A tenant has more calls than there are threads → another one's call is made at once, beside two of them; all of
    them are made in the end."""

    async def run() -> None:
        calls = Calls()
        many = [calls.start("many", f"many-{number}") for number in range(flood)]
        await until(lambda: len(calls.begun) == OF_ONE_TENANT, "its calls")
        one = calls.start("one", "one")
        await until(lambda: "one" in calls.begun, "the other's call")
        assert len(calls.begun) == WORKERS
        calls.may_end.set()
        assert await asyncio.gather(one, *many) == ["one", *(f"many-{number}" for number in range(flood))]
        calls.workers.close()

    asyncio.run(run())


def test_tenants_take_turns() -> None:
    """Three tenants have long calls waiting, of which one runs at a time → one of each is made in turn, a tenant's own
    in their order."""

    async def run() -> None:
        calls = Calls()
        first = calls.start("a", "a0", long=True)
        await until(lambda: calls.begun == ["a0"], "the first call")
        others = [calls.start(tenant, f"{tenant}{number}", long=True) for tenant in "abc" for number in (1, 2)]
        calls.may_end.set()
        await asyncio.gather(first, *others)
        assert LONG_WORKERS == 1 and calls.begun == ["a0", "a1", "b1", "c1", "a2", "b2", "c2"]
        calls.workers.close()

    asyncio.run(run())


def test_given_up_and_failed() -> None:
    """Calls that nobody waits for any more, and calls that fail → the others are made all the same, and a failure is
    its caller's."""

    async def run() -> None:
        calls = Calls()
        running = [calls.start("a", f"a{number}") for number in range(OF_ONE_TENANT)]
        await until(lambda: len(calls.begun) == OF_ONE_TENANT, "the first calls")
        given_up, last = calls.start("a", "given up"), calls.start("a", "last")
        given_up.cancel()
        await asyncio.sleep(0)  # the loop tells the thread's future
        calls.may_end.set()
        await asyncio.gather(*running, last)
        assert "given up" not in calls.begun
        for _ in range(WORKERS + 1):
            with pytest.raises(ZeroDivisionError):
                await calls.workers.run(divmod, 1, 0)
        assert await calls.workers.run(divmod, 7, 2) == (3, 1)
        calls.workers.close()

    asyncio.run(run())
