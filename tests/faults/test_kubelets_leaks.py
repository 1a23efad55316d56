"""Which leaked mounts are kubelet's own doing, and which are the driver's."""

import asyncio

import pytest

from kubelet_stub.events import Reason
from runtime.rpc import StatusCode
from tests.faults.storm import kubelets_leaks
from tests.kubelet_stub.mounting_driver import MountingDriver
from tests.kubelet_stub.rig import KubeletStubRig, kubelet_stub_rig, pod
from tests.support.mounts import mount_points


async def leak(rig: KubeletStubRig) -> str:
    """Have a volume leaked; returns the reason, once the mount has outlived its pod."""
    running = await rig.stub.add_pod(pod())
    await rig.stub.events.wait(Reason.LEAKED)
    await rig.stub.delete_pod(running)
    assert mount_points(rig.stub.config.pods_directory) != []
    return kubelets_leaks.reason(rig.stub, running, "secrets")


@pytest.mark.parametrize("code", [StatusCode.ABORTED, StatusCode.UNAVAILABLE])
def test_kubelets_own(code: StatusCode) -> None:
    """A publish fails with a code that is not final and leaves a mount; at the next one kubelet cannot ask for the
    second capability, and the pod is deleted → it is kubelet's own leak."""

    async def run() -> None:
        driver = MountingDriver(failures=[code], mount_before_failing=True)
        driver.failing_capabilities = [None, None, None, StatusCode.UNAVAILABLE]
        driver.failing_capabilities += [StatusCode.UNAVAILABLE] * 20  # until the pod is deleted
        async with kubelet_stub_rig(driver) as rig:
            assert kubelets_leaks.is_kubelets_own(await leak(rig))

    asyncio.run(asyncio.wait_for(run(), 30))


@pytest.mark.parametrize("code", [StatusCode.INTERNAL, StatusCode.NOT_FOUND, StatusCode.UNKNOWN])
def test_the_drivers(code: StatusCode) -> None:
    """The driver answers a final code and leaves a mount → it is the driver's leak."""

    async def run() -> None:
        driver = MountingDriver(failures=[code] * 20, mount_before_failing=True)
        async with kubelet_stub_rig(driver) as rig:
            failure = await leak(rig)
            assert failure and not kubelets_leaks.is_kubelets_own(failure)

    asyncio.run(asyncio.wait_for(run(), 30))


def test_clean() -> None:
    """A leaked volume is cleaned, though the driver fails at first → no mount and no directory is left."""

    async def run() -> None:
        driver = MountingDriver(failures=[StatusCode.INTERNAL] * 20, mount_before_failing=True)
        async with kubelet_stub_rig(driver) as rig:
            running = await rig.stub.add_pod(pod())
            await rig.stub.events.wait(Reason.LEAKED)
            await rig.stub.delete_pod(running)
            driver.unpublish_failures = [StatusCode.UNAVAILABLE] * 2
            await kubelets_leaks.clean(rig.stub, running, "secrets")
            assert list(rig.stub.config.pods_directory.iterdir()) == []
            assert mount_points(rig.stub.config.pods_directory) == []

    asyncio.run(asyncio.wait_for(run(), 30))
