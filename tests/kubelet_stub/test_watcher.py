"""The plugin watcher and the registration handshake, over real sockets."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from kubelet_stub.events import Reason
from kubelet_stub.kubelet import KubeletStub
from kubelet_stub.registration import highest_version
from runtime.errors import InvalidRequest
from runtime.flags import Duration
from tests.kubelet_stub.mounting_driver import NAME, MountingDriver, registering, serving
from tests.kubelet_stub.rig import config


@asynccontextmanager
async def _node(directory: Path, driver: MountingDriver, **changes: Any) -> AsyncIterator[KubeletStub]:
    async with asyncio.timeout(10), serving(driver, directory), KubeletStub(config(directory, **changes)) as stub:
        yield stub


def _run(
    directory: Path, driver: MountingDriver, story: Callable[[KubeletStub], Awaitable[None]], **changes: Any
) -> None:
    async def run() -> None:
        async with _node(directory, driver, **changes) as stub:
            await story(stub)

    asyncio.run(run())


def test_a_socket_that_appears_registers_and_one_that_goes_deregisters(tmp_path: Path) -> None:
    """The socket comes, goes and comes again → registered with CSINode and a positive notice, deregistered,
    registered again.
    """
    driver = MountingDriver()

    async def story(stub: KubeletStub) -> None:
        async with registering(driver, stub.config.registry_directory):
            await stub.events.wait(Reason.REGISTERED)
            assert stub.csi_node["spec"] == {"drivers": [{"name": NAME, "nodeID": "driver-node", "topologyKeys": None}]}
        await stub.wait_registered(NAME, present=False)
        assert stub.csi_node["spec"] == {"drivers": []}
        async with registering(driver, stub.config.registry_directory):
            await stub.events.wait(Reason.REGISTERED, count=2)
        assert [status.plugin_registered for status in driver.statuses] == [True, True]

    _run(tmp_path, driver, story)


def test_walks_the_directory_at_start(tmp_path: Path) -> None:
    """Sockets, dot names and files are there before the stub → the one real socket registers, the others are passed
    over.
    """
    driver = MountingDriver()

    async def run() -> None:
        registry = tmp_path / "k/plugins_registry"
        async with registering(driver, registry), registering(MountingDriver(name="hidden"), registry, ".hidden.sock"):
            (registry / "file.sock").touch()
            async with _node(tmp_path, driver) as stub:
                await stub.events.wait(Reason.REGISTERED)
                assert [driver.name for driver in stub.host.drivers] == [NAME]
        assert [event.subject for event in stub.events.all] == [NAME]

    asyncio.run(run())


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"type": "DevicePlugin"}, "no handler registered for plugin type: DevicePlugin"),
        ({"versions": ("2.0.0",)}, "none of the versions"),
        ({"versions": ()}, "none of the versions"),
        ({"node_id": ""}, "driverNodeID must not be empty"),
    ],
)
def test_refuses_what_kubelet_refuses(tmp_path: Path, changes: dict[str, Any], text: str) -> None:
    """A wrong type, version or node id → the plugin is told why, nothing is registered, and it is tried again."""
    driver = MountingDriver(**changes)

    async def story(stub: KubeletStub) -> None:
        async with registering(driver, stub.config.registry_directory):
            await stub.events.wait(Reason.REGISTRATION_FAILED, count=2)
            assert not driver.statuses[0].plugin_registered and text in driver.statuses[0].error
            assert stub.host.drivers.get(NAME) is None

    _run(tmp_path, driver, story)


def test_can_be_told_to_refuse(tmp_path: Path) -> None:
    """A refusal is ordered → the plugin gets that text."""
    driver = MountingDriver()

    async def story(stub: KubeletStub) -> None:
        async with registering(driver, stub.config.registry_directory):
            event = await stub.events.wait(Reason.REGISTRATION_FAILED)
            assert event.message == driver.statuses[0].error == "not today"

    _run(tmp_path, driver, story, refuse_registration="not today")


def test_a_second_driver_of_the_same_name_is_refused(tmp_path: Path) -> None:
    """Two sockets, one name → the second is refused; the first stays."""
    driver = MountingDriver()

    async def story(stub: KubeletStub) -> None:
        async with registering(driver, stub.config.registry_directory, "a.sock"):
            await stub.wait_registered(NAME)
            async with registering(driver, stub.config.registry_directory, "b.sock"):
                event = await stub.events.wait(Reason.REGISTRATION_FAILED, "b.sock")
                assert "already registered" in event.message
            assert stub.host.drivers.get(NAME) is not None

    _run(tmp_path, driver, story)


def test_an_absent_endpoint_is_retried_until_it_is_there(tmp_path: Path) -> None:
    """The driver's own socket comes later than its registration → a failed try with UNAVAILABLE, then registered."""
    driver = MountingDriver(endpoint=str(tmp_path / "late.sock"))

    async def run() -> None:
        async with asyncio.timeout(10), KubeletStub(config(tmp_path)) as stub:  # noqa: SIM117
            async with registering(driver, stub.config.registry_directory):
                event = await stub.events.wait(Reason.REGISTRATION_FAILED)
                assert "code = Unavailable" in event.message
                async with serving(driver, tmp_path):
                    await stub.wait_registered(NAME)

    asyncio.run(run())


def test_polls_get_info(tmp_path: Path) -> None:
    """A short poll interval → GetInfo again and again; a plugin that stops answering is told and stays registered."""
    driver = MountingDriver()

    async def story(stub: KubeletStub) -> None:
        async with registering(driver, stub.config.registry_directory):
            await stub.wait_registered(NAME)
            driver.silent = True
            event = await stub.events.wait(Reason.UNREACHABLE)
            assert event.message == "rpc error: code = Internal desc = out of order"
            assert driver.polls > 1 and stub.host.drivers.get(NAME) is not None

    _run(tmp_path, driver, story, plugin_poll_interval=Duration(0.01))


def test_the_highest_usable_version_counts() -> None:
    """Several versions → the highest with major 1; none → a refusal that says what is needed."""
    assert highest_version(["1.0.0", "1.10.0", "1.9.1", "2.0.0"]) == "1.10.0"
    with pytest.raises(InvalidRequest, match="major 1"):
        highest_version(["0.3.0", "nonsense"])
