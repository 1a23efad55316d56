"""A registrar with its surroundings: the driver's socket, kubelet's directories and a stub that plays kubelet."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from kubelet_stub.config import Config as KubeletConfig
from kubelet_stub.kubelet import KubeletStub
from registrar.config import RegistrarConfig
from registrar.reconciler import Reconciler
from registrar.state import State
from runtime.flags import Duration
from tests.support.fake_driver import NAME
from tests.support.files import NOTHING, inode
from tests.support.waiting import until


class RegistrarRig:
    """The directories of one node; ``registrar_socket`` is where the registrar serves kubelet."""

    def __init__(self, directory: Path) -> None:
        self.csi = str(directory / "csi.sock")
        self.root = directory / "kubelet"
        self.registry = self.root / "plugins_registry"
        self.socket = self.registry / f"{NAME}-reg.sock"
        self.registry.mkdir(parents=True)

    def config(self, **changes: Any) -> RegistrarConfig:
        """The registrar's configuration. There is no container, so kubelet is given the same socket path."""
        return RegistrarConfig(
            **{
                "csi_address": self.csi,
                "kubelet_registration_path": self.csi,
                "plugin_registration_path": str(self.registry),
                "driver_gone_after": Duration(0.5),
                **changes,
            }
        )

    def kubelet(self, **changes: Any) -> KubeletStub:
        """A kubelet on this node, not yet started."""
        return KubeletStub(KubeletConfig(root=str(self.root), backoff_base=Duration(0.1), **changes))


@asynccontextmanager
async def running_registrar(config: RegistrarConfig) -> AsyncIterator[Reconciler]:
    """Run a registrar for the length of the block."""
    reconciler = Reconciler(config)
    task = asyncio.create_task(reconciler.run())
    try:
        yield reconciler
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def until_state(reconciler: Reconciler, state: State) -> None:
    """Wait until the registration is in a state."""
    await until(lambda: reconciler.registration.state is state, lambda: f"{state}; it is {reconciler.registration}")


async def until_error(reconciler: Reconciler, text: str) -> None:
    """Wait until the registration has an error with a text."""
    await until(
        lambda: text in reconciler.registration.error, lambda: f"the error {text!r}; it is {reconciler.registration}"
    )


async def until_socket(path: Path, *, other_than: tuple[int, int] = NOTHING) -> None:
    """Wait until there is a socket at a path, another file than the one given (see ``inode``)."""
    await until(lambda: inode(path) not in (NOTHING, other_than), f"a new socket at {path}")
