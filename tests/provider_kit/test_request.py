"""Requests: what a provider receives, and what is refused before it receives anything."""

import asyncio
import json
import stat
from pathlib import Path

import grpc
import grpc.aio
import pytest

from provider_kit import File, InvalidRequest, Pod
from provider_kit.testing import running
from tests.provider_kit.lab import LabProvider
from tests.support.provider_calls import mount_message, stub_of

TOKENS = json.dumps({"vault": {"token": "top-token", "expirationTimestamp": "2030-01-01T00:00:00Z"}})


def test_request_and_reply(tmp_path: Path) -> None:
    """The request arrives typed, with pod and tokens; modes default to the permission; nothing secret in a repr."""

    async def scenario() -> None:
        async with running(LabProvider(), tmp_path / "lab.sock") as lab, stub_of(lab.path) as stub:
            message = mount_message(what="files", **{"csi.storage.k8s.io/serviceAccount.tokens": TOKENS})
            message.secrets = json.dumps({"password": "top-secret"})
            message.current_object_version.add(id="a", version="0")
            reply = await stub.Mount(message)
            assert [(item.path, item.mode) for item in reply.files] == [("a", 0o644), ("b", 0o400)]
            request = lab.last_request
            assert request is not None
            assert request.pod == Pod("default", "app-1", "uid-1", "app")
            assert request.token("vault") == "top-token" and request.secrets == {"password": "top-secret"}
            assert request.current_versions == {"a": "0"} and request.permission == 0o644
            with pytest.raises(InvalidRequest, match="tokenRequests"):
                request.token("aws")
            shown = repr(request) + repr(request.tokens) + repr(File("a", b"hunter2"))
            assert not any(secret in shown for secret in ("top-token", "top-secret", "hunter2"))
            assert stat.S_IMODE(lab.path.stat().st_mode) == 0o700
        assert not lab.path.exists()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "field, value, phrase",
    [
        ("attributes", "{", "not valid JSON"),
        ("attributes", "null", "JSON object"),
        ("attributes", '{"a": 1}', "object of strings"),
        ("secrets", "", "not valid JSON"),
        ("secrets", "[]", "JSON object"),
        ("permission", "0644", "JSON number"),
        ("permission", '"420"', "JSON number"),
        ("target_path", "", "target_path is missing"),
    ],
)
def test_bad_requests(tmp_path: Path, field: str, value: str, phrase: str) -> None:
    """A request that is not as the contract says is INVALID_ARGUMENT and names the field."""

    async def scenario() -> None:
        async with running(LabProvider(), tmp_path / "lab.sock") as lab, stub_of(lab.path) as stub:
            message = mount_message(what="files")
            setattr(message, field, value)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.Mount(message)
            assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
            assert phrase in (caught.value.details() or "") and lab.calls == 0

    asyncio.run(scenario())


@pytest.mark.parametrize("tokens", ["{", "[]", '{"vault": "t"}', '{"vault": {"token": 1}}', '{"vault": {}}'])
def test_bad_tokens(tmp_path: Path, tokens: str) -> None:
    """Service account tokens that are not what kubelet sends: InvalidRequest, which does not quote them."""

    async def scenario() -> None:
        async with running(LabProvider(), tmp_path / "lab.sock") as lab, stub_of(lab.path) as stub:
            await stub.Mount(mount_message(what="files", **{"csi.storage.k8s.io/serviceAccount.tokens": tokens}))
            assert lab.last_request is not None
            with pytest.raises(InvalidRequest, match="the service account tokens") as caught:
                lab.last_request.token("vault")
            assert tokens not in str(caught.value)

    asyncio.run(scenario())
