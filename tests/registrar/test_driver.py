"""The registrar's connection to the driver: it asks whom kubelet would reach."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from registrar.driver import Driver
from runtime import rpc
from runtime.errors import Unavailable
from tests.support.dials import Dials
from tests.support.fake_driver import NAME, FakeDriver, driver_process, fake_driver
from tests.support.other_program import other_program
from tests.support.waiting import until


@asynccontextmanager
async def asking(path: Path, timeout: float = 5.0) -> AsyncIterator[Driver]:
    """A registrar's view of the driver at a path."""
    driver = Driver(str(path), timeout)
    try:
        yield driver
    finally:
        driver.close()


def test_another_driver_takes_the_path(tmp_path: Path) -> None:
    """A driver runs on, but its socket is removed, or another driver's takes its place → Unavailable, or the other
    one's name."""

    async def run() -> None:
        path = tmp_path / "csi.sock"
        async with fake_driver(str(path)) as first, asking(path) as driver:
            assert await driver.get_name() == NAME
            async with fake_driver(str(path), FakeDriver("other.csi.example")):  # by a rename over the socket
                assert await driver.get_name() == "other.csi.example"
            with pytest.raises(Unavailable, match="does not exist"):
                await driver.get_name()
            async with fake_driver(str(path), FakeDriver("third.csi.example")):
                assert await driver.get_name() == "third.csi.example"
            assert first.asked == 1

    asyncio.run(run())


def test_another_program_serves_the_path(tmp_path: Path) -> None:
    """Another gRPC server is at the path, whose replies are no messages of CSI → Unavailable, and no bug; the driver
    takes its place → its name."""

    async def run() -> None:
        path = tmp_path / "csi.sock"
        async with asking(path) as driver:
            async with other_program(path):
                with pytest.raises(Unavailable, match="another program serves the socket"):
                    await driver.get_name()
            async with fake_driver(str(path)):
                assert await driver.get_name() == NAME

    asyncio.run(run())


def test_how_long_an_answer_counts(tmp_path: Path) -> None:
    """An answer counts for the given seconds, until the driver's process is killed, which leaves its socket there, or
    until the path leads elsewhere; without an answer nothing counts."""

    async def run() -> None:
        path = tmp_path / "csi.sock"
        async with asking(path) as driver:
            assert not driver.answered_within(60)
            with driver_process(path) as process:
                await until(path.exists, "the driver")
                # The socket has appeared since the first dial: the second call dials what is there now.
                for _ in range(2):
                    assert await driver.get_name() == NAME
                assert driver.answered_within(60) and not driver.answered_within(0)
                process.kill()
                await until(lambda: not driver.answered_within(60), "the connection to end")
            path.unlink()
            async with fake_driver(str(path)):
                assert not driver.answered_within(60)
                assert await driver.get_name() == NAME
                assert driver.answered_within(60)
                path.rename(tmp_path / "elsewhere")
                assert not driver.answered_within(60)
                with pytest.raises(Unavailable, match="does not exist"):
                    await driver.get_name()
                (tmp_path / "elsewhere").rename(path)
                assert not driver.answered_within(60)

    asyncio.run(run())


def test_frozen_driver_takes_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver is frozen → after some calls without an answer the connection is given up, so that no more of them
    pile up on it; the driver goes on → its name."""
    dials = Dials(monkeypatch)

    async def run() -> None:
        path = tmp_path / "csi.sock"
        with driver_process(path) as process:
            await until(path.exists, "the driver")
            async with asking(path) as driver:
                for _ in range(2):
                    assert await driver.get_name() == NAME
                before, driver._timeout = dials.count, 0.05
                process.send_signal(signal.SIGSTOP)
                for _ in range(3 * rpc.MAX_UNANSWERED):
                    with pytest.raises(Unavailable, match="frozen"):
                        await driver.get_name()
                assert 1 <= dials.count - before <= 3
                process.send_signal(signal.SIGCONT)
                driver._timeout = 10.0
                assert await driver.get_name() == NAME

    asyncio.run(run())
