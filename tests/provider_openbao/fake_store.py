"""A fake of the API: one role, one secret, and whatever a test makes it answer. What only the real server can show is
tested in ``tests/stores``."""

import asyncio
import json
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from provider_kit import Failure, MountReply, MountRequest, Versions
from provider_openbao.provider import OpenBaoProvider
from provider_openbao.settings import Defaults

Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
SECRET = "S3cret-of-the-store"
TOKENS = "csi.storage.k8s.io/serviceAccount.tokens"
JWT = "header.e30.signature-of-the-pod"


class FakeStore:
    """``answers`` maps a path below ``/v1/`` to what answers it, in place of what a healthy server would."""

    def __init__(self) -> None:
        self.url = ""
        self.calls: Counter[str] = Counter()
        self.tokens: set[str] = set()
        self.answers: dict[str, Answer] = {}
        self.data: dict[str, Any] = {"password": SECRET}
        self.life = 3600
        self.lease: dict[str, Any] = {}
        self.bodies: list[Any] = []

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path.removeprefix("/v1/")
        self.calls[path] += 1
        text = await request.text()
        self.bodies.append((path, json.loads(text) if text else None))
        answer = self.answers.get(path, self.answers.get("*"))
        return await answer(request) if answer is not None else self._healthy(path, request)

    def _healthy(self, path: str, request: web.BaseRequest) -> web.StreamResponse:
        if path.endswith("/login"):
            token = f"token-{len(self.tokens)}-of-the-store"
            self.tokens.add(token)
            return web.json_response(
                {"auth": {"client_token": token, "lease_duration": self.life, "renewable": bool(self.life)}}
            )
        if path == "sys/health":
            return web.json_response({"sealed": False})
        if request.headers.get("X-Vault-Token") not in self.tokens:
            return errors(403, "permission denied")
        if path == "auth/token/renew-self":
            return web.json_response({"auth": {"lease_duration": self.life}})
        if path in ("auth/token/lookup-self", "sys/leases/renew", "sys/leases/revoke"):
            return web.json_response(self.lease if path.endswith("renew") else {})
        if path.startswith(("kv/", "database/")):
            number = self.calls[path]
            lease = {**self.lease, "lease_id": f"{path}/{number}"} if self.lease else {}
            return web.json_response({"request_id": f"id-{number}", "data": self.data, **lease})
        return errors(404)


def errors(status: int, *sentences: str, **headers: str) -> web.Response:
    """An error as the API has it."""
    return web.json_response({"errors": list(sentences)}, status=status, headers=headers)


def always(status: int, *sentences: str, **headers: str) -> Answer:
    """Answer every call with an error."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return errors(status, *sentences, **headers)

    return answer


@asynccontextmanager
async def fake_store(context: ssl.SSLContext | None = None) -> AsyncIterator[FakeStore]:
    """A store on the loopback interface, with TLS if there is a ``context``."""
    store = FakeStore()
    runner = web.ServerRunner(web.Server(store.handle), shutdown_timeout=0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        port = runner.addresses[0][1]
        store.url = f"http{'s' if context else ''}://127.0.0.1:{port}"
        yield store
    finally:
        await runner.cleanup()


@asynccontextmanager
async def provider(timeout: float = 30.0, max_bytes: int = 64 * 1024) -> AsyncIterator[OpenBaoProvider]:
    """The provider, closed at the end."""
    made = OpenBaoProvider(Defaults(), Versions(), timeout=timeout, max_bytes=max_bytes)
    try:
        yield made
    finally:
        await made.close()
        await asyncio.sleep(0)  # lets aiohttp's transports close


def request(store: FakeStore | str, pod: str = "pod-1", account: str = "default", **parameters: str) -> MountRequest:
    """A Mount request of a pod; ``parameters`` are added to, or replace, those of a class for the fake store."""
    attributes = {
        "csi.storage.k8s.io/pod.namespace": "default",
        "csi.storage.k8s.io/pod.name": pod,
        "csi.storage.k8s.io/pod.uid": f"uid-of-{pod}",
        "csi.storage.k8s.io/serviceAccount.name": account,
        TOKENS: json.dumps({"vault": {"token": JWT, "expirationTimestamp": "2036-01-01T00:00:00Z"}}),
        "vaultAddress": store if isinstance(store, str) else store.url,
        "roleName": "app",
        "objects": "- {objectName: password, secretPath: kv/app, secretKey: password}",
        **parameters,
    }
    return MountRequest(attributes, {}, f"/pods/{pod}/mount", 0o644, {})


async def failure(made: OpenBaoProvider, request: MountRequest) -> Failure:
    """Mount, which must fail."""
    try:
        await made.mount(request)
    except Failure as failed:
        return failed
    raise AssertionError("the mount did not fail")


def contents(reply: MountReply) -> dict[str, bytes]:
    """The files of a reply."""
    return {file.path: file.contents for file in reply.files}
