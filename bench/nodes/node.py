"""What a node of the run does when it is told to, whichever driver it has."""

from typing import Protocol


class Node(Protocol):
    """One driver. Each step returns when the node has done all of it and, where Secrets are synced, when they are."""

    async def start(self) -> None:
        """Start the driver; of volumes that were published before, it knows what a driver knows after a restart."""

    async def stop(self) -> None:
        """End the driver, and close its connections."""

    async def publish(self) -> None:
        """Publish all volumes of the node."""

    async def refresh(self, version: str) -> None:
        """Republish all volumes, with new content of this version."""

    async def check(self) -> None:
        """Check each synced Secret once, as the driver does every five minutes."""

    async def classes_changed(self, mark: str, *names: str) -> None:
        """Wait until the driver has the classes of these names with this mark; without names, all of the node's."""

    async def event(self) -> None:
        """Send an event on a pod."""
