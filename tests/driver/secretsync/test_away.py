"""Providers that were away when a sync failed."""

import asyncio
from collections.abc import Collection

import pytest

from driver import limits
from driver.secretsync import away
from driver.secretsync.away import AwayProviders
from tests.support.background import running
from tests.support.waiting import until


class Providers:
    """Some of them answer; counts how often they are looked for."""

    def __init__(self) -> None:
        self.answering: set[str] = set()
        self.looks: list[Collection[str]] = []

    async def reachable(self, names: Collection[str]) -> dict[str, bool]:
        """As the pool's."""
        self.looks.append(list(names))
        return {name: name in self.answering for name in names}


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are looked for without a pause."""
    monkeypatch.setattr(away, "LOOK_SECONDS", 0.0)


def test_what_is_looked_for() -> None:
    """Nothing fails → nothing is looked for. A provider is away → it is back once, when it answers, although its syncs
    go on failing, and once more after it was away again; when nothing fails any more, the looking ends."""
    failing = {"gone"}
    back: list[str] = []

    async def run() -> None:
        providers = Providers()
        looking = AwayProviders(providers, lambda: failing, back.append)

        async def looks() -> None:
            seen = len(providers.looks)
            await until(lambda: len(providers.looks) > seen + 2, "some looks")

        async with running(looking.run()):
            await asyncio.sleep(0)
            assert providers.looks == []
            for name in ("gone", "not a name", "", "not needed any more"):
                looking.sync_failed(name)
            await looks()
            assert back == [] and providers.looks[-1] == ["gone"]
            providers.answering.add("gone")
            await looks()
            assert back == ["gone"]
            looking.sync_failed("gone")
            await looks()
            assert back == ["gone"]
            providers.answering.clear()
            await looks()
            providers.answering.add("gone")
            await looks()
            assert back == ["gone", "gone"]
            failing.clear()
            await until(lambda: not looking._any.is_set(), "the end of the looking")

    asyncio.run(run())


def test_one_that_is_back_before_it_is_looked_for() -> None:
    """A provider fails as it restarts, and answers before the first look → it is back all the same."""
    back: list[str] = []

    async def run() -> None:
        providers = Providers()
        providers.answering.add("quick")
        looking = AwayProviders(providers, lambda: {"quick"}, back.append)
        async with running(looking.run()):
            looking.sync_failed("quick")
            await until(lambda: back == ["quick"], "it to be back")

    asyncio.run(run())


def test_names_are_bounded() -> None:
    """Classes name a thousand providers that do not exist → as many are looked for as there can be connections."""
    names = {f"p{number}" for number in range(1000)}

    async def run() -> None:
        providers = Providers()
        looking = AwayProviders(providers, lambda: names, lambda _: None)
        async with running(looking.run()):
            for name in names:
                looking.sync_failed(name)
            await until(lambda: providers.looks, "a look")
            assert len(providers.looks[0]) == limits.MAX_PROVIDERS

    asyncio.run(run())
