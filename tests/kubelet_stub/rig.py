"""The kubelet stub with a fake driver, in a temporary directory."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubelet_stub.config import Config
from kubelet_stub.kubelet import KubeletStub
from runtime.flags import Duration
from tests.kubelet_stub import mounting_driver
from tests.kubelet_stub.mounting_driver import NAME, MountingDriver

FAST: dict[str, Any] = {
    "backoff_base": Duration(0.01),
    "backoff_cap": Duration(0.05),
    "republish_interval": Duration(0),
    "stats_interval": Duration(0),
}


@dataclass
class KubeletStubRig:
    """A running stub, and the driver that it knows."""

    stub: KubeletStub
    driver: MountingDriver
    directory: Path


def config(directory: Path, **changes: Any) -> Config:
    """The stub's configuration, with short intervals."""
    return Config(root=str(directory / "k"), **{**FAST, **changes})


@asynccontextmanager
async def kubelet_stub_rig(driver: MountingDriver | None = None, **changes: Any) -> AsyncIterator[KubeletStubRig]:
    """Run the stub and a driver that it knows without registration; at the end nothing stays mounted."""
    driver = driver or MountingDriver()
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.callback(_unmount_all, directory)
        await stack.enter_async_context(mounting_driver.serving(driver, directory))
        stub = await stack.enter_async_context(KubeletStub(config(directory, **changes)))
        stub.use_driver(NAME, driver.endpoint)
        yield KubeletStubRig(stub, driver, directory)


def pod(name: str = "web", volumes: tuple[str, ...] = ("secrets",), **csi: Any) -> dict[str, Any]:
    """A pod with inline volumes of the driver driver."""
    return {
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "shop", "uid": f"uid-{name}"},
        "spec": {
            "serviceAccountName": "clerk",
            "securityContext": {"fsGroup": 2000},
            "volumes": [
                {
                    "name": volume,
                    "csi": {
                        "driver": NAME,
                        "readOnly": True,
                        "volumeAttributes": {"secretProviderClass": "class"},
                        **csi,
                    },
                }
                for volume in volumes
            ],
        },
    }


def _unmount_all(directory: Path) -> None:
    for target in directory.glob("k/pods/*/volumes/*/*/mount"):
        mounting_driver.unmount(target)
