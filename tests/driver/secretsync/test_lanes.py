"""Lanes: namespaces take turns at the places of a provider."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from driver.secretsync.lanes import Lanes
from driver.volume.workers import TENANT
from tests.support.waiting import until

PLACES, OF_ONE = 4, 3


class Works:
    """Works that hold their places until they may end."""

    def __init__(self) -> None:
        self.lanes = Lanes(PLACES, OF_ONE)
        self.begun: list[str] = []
        self.tenants: set[str] = set()
        self.may_end = asyncio.Event()

    def put(self, lane: str, tenant: str, count: int = 1) -> None:
        for _ in range(count):
            self.lanes.put(lane, tenant, self._work(tenant))

    def _work(self, tenant: str) -> Callable[[], Coroutine[Any, Any, None]]:
        async def work() -> None:
            self.begun.append(tenant)
            self.tenants.add(TENANT.get())
            await self.may_end.wait()

        return work


@pytest.mark.parametrize("many", [OF_ONE, PLACES, 1000])
def test_one_namespace_never_has_all_places(many: int) -> None:
    """A namespace has more work than there are places, none of which ends → that of another namespace begins at once,
    on its behalf; all is done in the end, and the lane is gone."""

    async def run() -> None:
        works = Works()
        works.put("provider slow", "many", many)
        await until(lambda: len(works.begun) == OF_ONE, "the share of one")
        works.put("provider slow", "one")
        await until(lambda: "one" in works.begun, "the other's turn")
        assert works.begun.count("many") == OF_ONE and works.tenants == {"many", "one"}
        works.may_end.set()
        await until(lambda: len(works.begun) == many + 1 and not vars(works.lanes)["_lanes"], "the end of all")

    asyncio.run(run())


def test_namespaces_take_turns() -> None:
    """Three namespaces have work that waits, one much of it and before the others → the others' first turns come before
    its next ones."""

    async def run() -> None:
        works = Works()
        works.put("provider slow", "many", 100)
        works.put("provider slow", "first", 2)
        works.put("provider slow", "second", 2)
        works.may_end.set()
        await until(lambda: len(works.begun) == 104, "the end of all")
        assert max(works.begun.index(name) for name in ("first", "second")) <= PLACES
        last = max(number for number, name in enumerate(works.begun) if name != "many")
        assert last < 12

    asyncio.run(run())


def test_providers_do_not_wait_for_each_other() -> None:
    """All places of one provider are taken → work for another one begins at once."""

    async def run() -> None:
        works = Works()
        for tenant in ("a", "b"):
            works.put("provider slow", tenant, PLACES)
        await until(lambda: len(works.begun) == PLACES, "the places")
        works.put("provider quick", "c")
        await until(lambda: "c" in works.begun, "the other provider's turn")
        await works.lanes.close()

    asyncio.run(run())
