"""What every test of the registrar runs with."""

from collections.abc import Awaitable, Callable

import pytest

from registrar import reconciler
from registrar.driver import Driver
from tests.support.waiting import until


@pytest.fixture(autouse=True)
def _short_poll_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    """The poll that backs up inotify comes every 0.3 s, so that a test that relies on it does not take long."""
    monkeypatch.setattr(reconciler, "POLL_SECONDS", 0.3)


@pytest.fixture
def attempts(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Awaitable[None]]:
    """Waits for so many more rounds of the registrar, in each of which it asks the driver for its name."""
    made = 0
    original = Driver.get_name

    async def counted(driver: Driver) -> str:
        nonlocal made
        made += 1
        return await original(driver)

    monkeypatch.setattr(Driver, "get_name", counted)

    async def more(count: int) -> None:
        enough = made + count
        await until(lambda: made >= enough, f"{count} more attempts")

    return more
