"""Counts the connections that a client makes anew."""

from collections.abc import Sequence
from typing import Any

import grpc.aio
import pytest

from runtime import rpc


class Dials:
    """``count`` is the number of channels that ``runtime.rpc`` has dialled since."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self._dial = rpc.dial
        monkeypatch.setattr("runtime.rpc.client.dial", self._counted)

    def _counted(self, path: str, options: Sequence[tuple[str, Any]] = ()) -> grpc.aio.Channel:
        self.count += 1
        return self._dial(path, options)
