"""The CSI drivers registered on this node, and the CSINode object that lists them."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Driver:
    """One registered driver. ``socket`` is its registration socket (empty if it was added without registration),
    ``node_id`` its id of this node in the CSINode object.
    """

    name: str
    endpoint: str
    node_id: str
    version: str
    socket: str = ""


class Drivers:
    """The registered drivers by name."""

    def __init__(self) -> None:
        self._known: dict[str, Driver] = {}
        self._changed = asyncio.Event()

    def __iter__(self) -> Iterator[Driver]:
        return iter(list(self._known.values()))

    def get(self, name: str) -> Driver | None:
        """The driver of that name, or None if it is not registered."""
        return self._known.get(name)

    def add(self, driver: Driver) -> None:
        """Register a driver."""
        self._known[driver.name] = driver
        self._notify()

    def remove(self, name: str) -> None:
        """Deregister a driver."""
        self._known.pop(name, None)
        self._notify()

    async def wait(self, name: str, present: bool = True) -> None:
        """Wait until the driver is registered or, with ``present=False``, is not."""
        while (name in self._known) is not present:
            await self._changed.wait()

    def csi_node(self, node: str) -> dict[str, object]:
        """The CSINode object of the node as kubelet would write it."""
        listed = [{"name": driver.name, "nodeID": driver.node_id, "topologyKeys": None} for driver in self]
        return {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "CSINode",
            "metadata": {"name": node},
            "spec": {"drivers": listed},
        }

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
