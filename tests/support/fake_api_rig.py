"""A namespace of the fake API server, and a driver before it: what ``tests.cluster.rig`` is with the real one."""

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster.pki import Authority
from tests.support.fake_api import FakeApi
from tests.support.namespace_rig import NamespaceRig
from tests.support.rig import Rig
from tests.support.waiting import until


@dataclass
class FakeApiRig(NamespaceRig):
    """One test's place in the fake cluster."""

    server: FakeApi
    directory: Path
    namespace: str = "default"

    @property
    def api(self) -> FakeApi:
        """The server, past HTTP and faults."""
        return self.server

    def kubeconfig(self, token: str = "token") -> str:
        """For the driver."""
        return self.server.kubeconfig(self.directory / "kubeconfig", token)

    def count(self, since: int = 0) -> Counter[tuple[str, str]]:
        """The driver's calls since a mark, but for those that open its connections."""
        return self.server.calls.count(since, lambda call: call.path != "/version")

    async def watch_open(self) -> None:
        """Wait until the driver watches the classes."""
        await until(lambda: len(self.server.watches), "the watch to be open")

    @asynccontextmanager
    async def driver(self, name: str = "rig", **config: Any) -> AsyncIterator[Rig]:
        """A whole driver of this node, with a provider on its socket and kubelet's directories."""
        config.setdefault("kubeconfig", self.kubeconfig())
        async with self.driver_at(name, **config) as running:
            yield running


@contextmanager
def fake_api_rig(directory: Path, authority: Authority | None = None) -> Iterator[FakeApiRig]:
    """A rig with a server of its own, over TLS if given an ``authority``."""
    with FakeApi(authority) as server:
        yield FakeApiRig(server, directory)
