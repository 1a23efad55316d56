"""The CSI drivers that this node knows: what kubelet keeps in memory, and what it writes to the CSINode object."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Driver:
    """One registered driver; ``socket`` is where it registered (empty: told by hand), ``node_id`` what CSINode would
    list.
    """

    name: str
    endpoint: str
    node_id: str
    version: str
    socket: str = ""


class Drivers:
    """By name; at most one driver of a name."""

    def __init__(self) -> None:
        self._known: dict[str, Driver] = {}
        self._changed = asyncio.Event()

    def __iter__(self) -> Iterator[Driver]:
        return iter(list(self._known.values()))

    def get(self, name: str) -> Driver | None:
        """The driver, or None while it is not registered."""
        return self._known.get(name)

    def add(self, driver: Driver) -> None:
        """Make it known."""
        self._known[driver.name] = driver
        self._tell()

    def remove(self, name: str) -> None:
        """Forget it."""
        self._known.pop(name, None)
        self._tell()

    async def wait(self, name: str, present: bool = True) -> None:
        """Until it is registered, or is no more."""
        while (name in self._known) is not present:
            await self._changed.wait()

    def csi_node(self, node: str) -> dict[str, object]:
        """The CSINode object that kubelet would write."""
        listed = [{"name": driver.name, "nodeID": driver.node_id, "topologyKeys": None} for driver in self]
        return {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "CSINode",
            "metadata": {"name": node},
            "spec": {"drivers": listed},
        }

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
