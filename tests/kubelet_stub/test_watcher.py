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
    async with asyncio.timeout(30), serving(driver, directory), KubeletStub(config(directory, **changes)) as stub:
        yield stub


def _run(
    directory: Path, driver: MountingDriver, test: Callable[[KubeletStub], Awaitable[None]], **changes: Any
) -> None:
    async def run() -> None:
        async with _node(directory, driver, **changes) as stub:
            await test(stub)

    asyncio.run(run())


def test_sockets_register_and_deregister(tmp_path: Path) -> None:
    """A registration socket appears, vanishes and appears again → registered with CSINode and a positive notification,
    deregistered, registered again."""
    driver = MountingDriver()

    async def test(stub: KubeletStub) -> None:
        async with registering(driver, stub.config.registry_directory):
            await stub.events.wait(Reason.REGISTERED)
            assert stub.csi_node["spec"] == {"drivers": [{"name": NAME, "nodeID": "driver-node", "topologyKeys": None}]}
        await stub.wait_registered(NAME, present=False)
        assert stub.csi_node["spec"] == {"drivers": []}
        async with registering(driver, stub.config.registry_directory):
            await stub.events.wait(Reason.REGISTERED, count=2)
        assert [status.plugin_registered for status in driver.statuses] == [True, True]

    _run(tmp_path, driver, test)


def test_existing_sockets(tmp_path: Path) -> None:
    """A socket, a hidden socket and a file exist before the stub starts → only the visible socket registers."""
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
def test_refusals(tmp_path: Path, changes: dict[str, Any], text: str) -> None:
    """A wrong type, version or node id → the plugin is notified of the reason, nothing is registered, and it is tried
    again."""
    driver = MountingDriver(**changes)

    async def test(stub: KubeletStub) -> None:
        async with registering(driver, stub.config.registry_directory):
            await stub.events.wait(Reason.REGISTRATION_FAILED, count=2)
            assert not driver.statuses[0].plugin_registered and text in driver.statuses[0].error
            assert stub.host.drivers.get(NAME) is None

    _run(tmp_path, driver, test)


def test_refusal_on_demand(tmp_path: Path) -> None:
    """The stub is configured to refuse → the plugin is notified with the configured text."""
    driver = MountingDriver()

    async def test(stub: KubeletStub) -> None:
        async with registering(driver, stub.config.registry_directory):
            event = await stub.events.wait(Reason.REGISTRATION_FAILED)
            assert event.message == driver.statuses[0].error == "not today"

    _run(tmp_path, driver, test, refuse_registration="not today")


def test_a_second_driver_of_the_same_name_is_refused(tmp_path: Path) -> None:
    """Two sockets, one name → the second is refused; the first stays."""
    driver = MountingDriver()

    async def test(stub: KubeletStub) -> None:
        async with registering(driver, stub.config.registry_directory, "a.sock"):
            await stub.wait_registered(NAME)
            async with registering(driver, stub.config.registry_directory, "b.sock"):
                event = await stub.events.wait(Reason.REGISTRATION_FAILED, "b.sock")
                assert "already registered" in event.message
            assert stub.host.drivers.get(NAME) is not None

    _run(tmp_path, driver, test)


def test_missing_endpoint(tmp_path: Path) -> None:
    """The driver's CSI socket comes later than its registration → an attempt fails with UNAVAILABLE, a later one
    registers."""
    driver = MountingDriver(endpoint=str(tmp_path / "late.sock"))

    async def run() -> None:
        async with (
            asyncio.timeout(30),
            KubeletStub(config(tmp_path)) as stub,
            registering(driver, stub.config.registry_directory),
        ):
            event = await stub.events.wait(Reason.REGISTRATION_FAILED)
            assert "code = Unavailable" in event.message
            async with serving(driver, tmp_path):
                await stub.wait_registered(NAME)

    asyncio.run(run())


def test_polls_get_info(tmp_path: Path) -> None:
    """A short poll interval → GetInfo is called repeatedly; a plugin that stops answering is reported and stays
    registered."""
    driver = MountingDriver()

    async def test(stub: KubeletStub) -> None:
        async with registering(driver, stub.config.registry_directory):
            await stub.wait_registered(NAME)
            driver.silent = True
            event = await stub.events.wait(Reason.UNREACHABLE)
            assert event.message == "rpc error: code = Internal desc = out of order"
            assert driver.polls > 1 and stub.host.drivers.get(NAME) is not None

    _run(tmp_path, driver, test, plugin_poll_interval=Duration(0.01))


def test_version_selection() -> None:
    """Several versions → the highest with major version 1; none of those → a refusal that says what is needed."""
    assert highest_version(["1.0.0", "1.10.0", "1.9.1", "2.0.0"]) == "1.10.0"
    with pytest.raises(InvalidRequest, match="major 1"):
        highest_version(["0.3.0", "nonsense"])
