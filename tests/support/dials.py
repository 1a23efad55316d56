"""Counts the connections that ``runtime.rpc`` opens."""

import pytest

from runtime.http2.bounds import Bounds
from runtime.rpc import client_connection
from runtime.rpc.client_connection import ClientConnection


class Dials:
    """``count`` is the number of connections since this object was made."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self._connect = client_connection.connect
        monkeypatch.setattr(client_connection, "connect", self._counted)

    async def _counted(self, path: str, bounds: Bounds) -> ClientConnection:
        self.count += 1
        return await self._connect(path, bounds)
