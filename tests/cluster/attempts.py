"""Counts the driver's attempts to reach the API server, so that a test can wait for them instead of sleeping."""

from typing import Any

import pytest

from tests.support.waiting import until


class Attempts:
    """Every request that the driver in this process tries to send, and every attempt to load its credentials."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from driver.cluster.transport import Transport  # replaces modules: not at this module's import

        self._paths: list[str] = []
        open_, send = Transport.open, Transport.send

        async def counted_open(kubeconfig: str) -> Transport:
            self._paths.append("")
            return await open_(kubeconfig)

        async def counted_send(transport: Transport, method: str, path: str, *arguments: Any) -> Any:
            self._paths.append(path)
            return await send(transport, method, path, *arguments)

        monkeypatch.setattr(Transport, "open", staticmethod(counted_open))
        monkeypatch.setattr(Transport, "send", counted_send)

    async def more(self, count: int, path: str = "") -> None:
        """Wait for so many more attempts, of requests whose path ends with ``path``."""
        before = self._count(path)
        await until(lambda: self._count(path) >= before + count, f"{count} more attempts {path}")

    def _count(self, path: str) -> int:
        return sum(each.endswith(path) for each in self._paths)
