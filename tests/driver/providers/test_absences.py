"""A provider that is away while publishes wait for it is logged and shown at once."""

import asyncio
import logging
import socket
from pathlib import Path
from typing import Any

import pytest

from driver.providers import absences
from provider_stub.running import running
from tests.support.rig import Rig, rig
from tests.support.waiting import until


def provider(it: Rig, name: str = "stub") -> dict[str, Any]:
    """What the status socket says of a provider."""
    (found,) = (item for item in it.driver.providers.snapshot() if item["name"] == name)
    return dict(found)


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The log lines about absences."""
    return [record.getMessage() for record in caplog.records if record.name == absences.__name__]


@pytest.mark.parametrize("leftover, reason", [(True, "nobody listens on"), (False, "its socket is no longer in")])
def test_away_while_publishes_wait(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, leftover: bool, reason: str
) -> None:
    """The provider's process is killed, its socket is left or not, and three publishes wait → at once there is one line
    in the log, and the status says since when, why, and for how many; it is back → one line, and it is connected."""
    caplog.set_level(logging.INFO, absences.__name__)

    async def run() -> None:
        async with rig(tmp_path) as it:
            await it.volume("pod-0").publish()
            assert provider(it)["state"] == "connected" and provider(it)["away_since"] is None
            it.provider.crash()
            if not leftover:
                it.provider.path.unlink()
            waiting = [asyncio.create_task(it.volume(f"pod-{number}").publish()) for number in range(1, 4)]
            async with asyncio.timeout(10.0):  # a publish waits twice as long
                await until(lambda: provider(it)["waiting"] == 3 and provider(it)["away_since"], "the absence")
            found = provider(it)
            assert found["state"] == "away" and reason in found["reason"]
            assert lines(caplog) == ["A provider is away; publishes wait for it"]
            it.provider.path.unlink(missing_ok=True)
            async with running(it.providers_dir / "stub.sock", it.secrets_dir):
                await asyncio.gather(*waiting)
                found = provider(it)
                assert (found["state"], found["reason"], found["away_since"], found["waiting"]) == (
                    "connected", "", None, 0,
                )  # fmt: skip  # one row
                assert lines(caplog)[1:] == ["A provider is back"]

    asyncio.run(run())


def test_nobody_waits(tmp_path: Path) -> None:
    """The provider's process is killed while no publish needs it → the status says that it is away all the same; a
    provider that no class has needed is listed, alive or dead, and what is not a provider's name is not."""

    async def run() -> None:
        async with rig(tmp_path) as it, running(it.providers_dir / "other.sock", it.secrets_dir) as other:
            with socket.socket(socket.AF_UNIX) as unnamed:
                unnamed.bind(f"{it.providers_dir}/not.a.name.sock")
                unnamed.listen()
                await it.volume("pod-0").publish()
                assert [item["name"] for item in it.driver.providers.snapshot()] == ["other", "stub"]
            assert provider(it, "other")["state"] == "not called" and provider(it, "other")["socket"]
            other.crash()
            assert provider(it, "other")["state"] == "away"
            it.provider.crash()
            await until(lambda: provider(it)["state"] == "away", "the end of the connection")
            assert "nobody listens on" in provider(it)["reason"] and provider(it)["waiting"] == 0

    asyncio.run(run())


def test_busy_provider_is_not_away(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A process listens, but is slow to accept → not away before BUSY_SECONDS have passed."""

    async def run() -> None:
        async with rig(tmp_path) as it:
            found = it.driver.providers._absences
            found.not_connected("stub", absences.BUSY_SECONDS / 2)
            assert lines(caplog) == [] and found.get("stub") is None
            found.not_connected("stub", absences.BUSY_SECONDS)
            assert len(lines(caplog)) == 1
            assert (absence := found.get("stub")) is not None and "does not answer" in absence.reason

    asyncio.run(run())
