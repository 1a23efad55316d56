"""What an author tests a provider with: requests as drivers make them, and calls over the socket."""

import asyncio
from pathlib import Path

import pytest

from provider_kit import File, InvalidRequest, MountReply, MountRequest, Provider, RemoteFailure
from provider_kit.testing import mount_request, running
from runtime.status_codes import StatusCode


class Echo(Provider):
    """Replies with what it was asked."""

    name = "echo"

    async def mount(self, request: MountRequest) -> MountReply:
        pod = request.pod
        text = f"{pod.namespace}/{pod.name}/{pod.service_account} {request.token('vault')} {dict(request.secrets)}"
        return MountReply([File("text", text.encode()), File("bin", b"", 0o400)], {"text": request.require("names")})


def test_the_same_in_both_ways(tmp_path: Path) -> None:
    """A request with a pod, tokens and secrets, given to ``mount`` or sent over the socket → the same reply, and a file
    without a mode has the request's permission when it arrives; the request is recorded."""

    async def scenario() -> None:
        asked = mount_request(
            {"names": "v1"},
            namespace="team",
            pod="app",
            service_account="reader",
            tokens={"vault": "a.b.c"},
            secrets={"user": "alice"},
        )
        direct = await Echo().mount(asked)
        async with running(Echo(), tmp_path / "echo.sock") as echo:
            served = await echo.mount(asked)
            assert echo.calls == 1 and echo.last_request is not None and echo.last_request.pod == asked.pod
            with pytest.raises(RemoteFailure, match="the parameter names is missing") as caught:
                await echo.mount(mount_request({}, tokens={"vault": "a.b.c"}))
        assert caught.value.code is StatusCode.INVALID_ARGUMENT
        assert direct.files[0].contents == b"team/app/reader a.b.c {'user': 'alice'}"
        assert [file.contents for file in served.files] == [file.contents for file in direct.files]
        assert [file.mode for file in served.files] == [0o644, 0o400]
        assert served.versions == direct.versions == {"text": "v1"}

    asyncio.run(scenario())


def test_no_tokens() -> None:
    """A request without tokens → the kit's own sentence when one is asked for."""
    with pytest.raises(InvalidRequest, match="tokenRequests"):
        mount_request({}).token("vault")


@pytest.mark.parametrize(
    ("path", "contents", "mode", "words"),
    [
        ("../a", b"", None, "relative and clean"),
        ("/a", b"", None, "relative and clean"),
        ("a//b", b"", None, "relative and clean"),
        ("", b"", None, "relative and clean"),
        (".", b"", None, "relative and clean"),
        ("..data", b"", None, "relative and clean"),
        ("a", b"", 0o1000, "permission bits"),
        ("a", b"", -1, "permission bits"),
        ("a", "text", None, "not bytes"),
        ("a", None, None, "not bytes"),
    ],
)
def test_files_that_no_driver_accepts(path: str, contents: bytes, mode: int | None, words: str) -> None:
    """A path, a mode or contents that cannot be → found where the file is made, and its contents are not shown."""
    with pytest.raises((TypeError, ValueError), match=words):
        File(path, contents, mode)
