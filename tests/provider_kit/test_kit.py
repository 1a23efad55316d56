"""The kit over real Unix sockets: what a provider sees, what its caller sees."""

import asyncio
import json
import stat
from pathlib import Path

import grpc
import grpc.aio
import pytest

from protos import provider_pb2, provider_pb2_grpc
from provider_kit import (
    ConfigurationError,
    File,
    InvalidRequest,
    MountReply,
    MountRequest,
    PermissionDenied,
    Pod,
    Provider,
    ReplyError,
    ServeConfig,
)
from provider_kit.testing import running
from tests.support.provider_calls import mount, mount_message, refused, stub_of

TOKENS = json.dumps({"vault": {"token": "top-token", "expirationTimestamp": "2030-01-01T00:00:00Z"}})


class Lab(Provider):
    """Does what its class says."""

    name = "lab"

    async def mount(self, request: MountRequest) -> MountReply:
        what = request.require("what")
        if what == "denied":
            raise PermissionDenied("this pod may not")
        if what == "code":
            raise ReplyError("Forbidden")
        if what == "bug":
            raise KeyError("hunter2")
        if what == "no-versions":
            return MountReply([], {})
        if what == "hang":
            await asyncio.Event().wait()
        return MountReply([File("a", b"hunter2"), File("b", b"", 0o400)], {"a": "1"})


def test_request_and_reply(tmp_path: Path) -> None:
    """The request arrives typed, with pod and tokens; modes default to the permission; nothing secret in a repr."""

    async def scenario() -> None:
        async with running(Lab(), tmp_path / "lab.sock") as lab, stub_of(lab.path) as stub:
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


def test_failures(tmp_path: Path) -> None:
    """A failure keeps its code and sentence; a bug is INTERNAL and shows nothing; Error.code is a reply."""

    async def scenario() -> None:
        async with running(Lab(), tmp_path / "lab.sock") as lab:
            assert await refused(lab.path, grpc.StatusCode.PERMISSION_DENIED, what="denied") == "this pod may not"
            assert "the parameter what is missing" in await refused(lab.path, grpc.StatusCode.INVALID_ARGUMENT)
            for bug in ("bug", "no-versions"):
                assert "hunter2" not in await refused(lab.path, grpc.StatusCode.INTERNAL, what=bug)
            assert (await mount(lab.path, what="code")).error.code == "Forbidden"

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
        async with running(Lab(), tmp_path / "lab.sock") as lab, stub_of(lab.path) as stub:
            message = mount_message(what="files")
            setattr(message, field, value)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.Mount(message)
            assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
            assert phrase in (caught.value.details() or "") and lab.calls == 0

    asyncio.run(scenario())


@pytest.mark.parametrize("authority", [None, "example.org"])
def test_authority(tmp_path: Path, authority: str | None) -> None:
    """Anything but localhost is refused by both methods, also gRPC's own default, the socket's path."""

    async def scenario() -> None:
        options = [("grpc.default_authority", authority)] if authority else []
        async with running(Lab(), tmp_path / "lab.sock") as lab:
            async with grpc.aio.insecure_channel(f"unix:{lab.path}", options=options) as channel:
                stub = provider_pb2_grpc.CSIDriverProviderStub(channel)
                for call in (stub.Version(provider_pb2.VersionRequest()), stub.Mount(mount_message(what="files"))):
                    with pytest.raises(grpc.aio.AioRpcError) as caught:
                        await call
                    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
                    assert ":authority" in (caught.value.details() or "")
            async with stub_of(lab.path) as stub:
                assert (await stub.Version(provider_pb2.VersionRequest(version="v1alpha1"))).version == "v1alpha1"
            assert lab.calls == 0

    asyncio.run(scenario())


def test_a_caller_that_gives_up(tmp_path: Path) -> None:
    """A hanging mount ends when its caller's deadline passes, and the server ends at once after it."""

    async def scenario() -> None:
        async with running(Lab(), tmp_path / "lab.sock") as lab, stub_of(lab.path) as stub:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.Mount(mount_message(what="hang"), timeout=0.2)
            assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
            await asyncio.wait_for(lab.wait_for_calls(1), 5)

    asyncio.run(asyncio.wait_for(scenario(), 8))


@pytest.mark.parametrize(
    "endpoint",
    [
        "tcp://:1",
        "unix:///tmp/a",
        "unix:///tmp/a b.sock",
        f"unix:///tmp/{'n' * 31}.sock",
    ],
)
def test_endpoints(endpoint: str) -> None:
    """A socket that the driver would never find is refused at start."""
    with pytest.raises(ConfigurationError):
        ServeConfig(endpoint=endpoint)


def test_a_file_in_the_way(tmp_path: Path) -> None:
    """What stands at the socket's path and is no socket stays, and the start is refused."""
    (tmp_path / "lab.sock").write_text("precious")

    async def scenario() -> None:
        async with running(Lab(), tmp_path / "lab.sock"):
            pass

    with pytest.raises(ConfigurationError):
        asyncio.run(scenario())
    assert (tmp_path / "lab.sock").read_text() == "precious"
