"""Tokens as people and tools write them, and their rotation."""

import asyncio
import json
from pathlib import Path

import pytest

from driver.cluster import token_file
from driver.cluster.api import Api
from runtime.errors import ConfigurationError
from tests.driver.cluster.connecting import run
from tests.support.fake_api import FakeApi
from tests.support.waiting import until

TOKEN = "eyJhbGciOi.eyJzdWIi.c2ln-_"


@pytest.mark.parametrize(
    "content",
    [
        TOKEN.encode(),
        f"{TOKEN}\n".encode(),
        f"{TOKEN}\r\n".encode(),
        f"  \t{TOKEN} \n\n".encode(),
        f"\ufeff{TOKEN}\n".encode(),
        f" \ufeff {TOKEN}".encode(),
    ],
)
def test_trimmed(tmp_path: Path, content: bytes) -> None:
    """A newline, CRLF, spaces or a byte order mark around the token → the token."""
    (tmp_path / "token").write_bytes(content)
    assert token_file.read(str(tmp_path / "token")) == TOKEN


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "is empty"),
        (b" \r\n", "is empty"),
        ("\ufeff\n".encode(), "is empty"),
        (TOKEN.encode("utf-16"), "is not text in UTF-8"),
        (b"\x80canary", "is not text in UTF-8"),
        (f"{TOKEN}\ncanary".encode(), "contains more than a token"),
        (b"Bearer canary", "contains more than a token"),
        (b"canary\0", "contains more than a token"),
        ("canarý".encode(), "contains more than a token"),
        (b"x" * 70_000, "is larger than"),
        (None, "cannot be read"),
    ],
)
def test_unusable(tmp_path: Path, content: bytes | None, text: str) -> None:
    """The file cannot be sent as a token → a sentence that names it and quotes nothing of it."""
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=text) as raised:
        token_file.read(str(path))
    assert str(path) in str(raised.value) and "canary" not in str(raised.value)


def test_rotation(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The file is replaced → the new token after a minute of the monotonic clock; it cannot be read then → the old one,
    with one warning."""
    path, now = tmp_path / "token", 1000.0
    path.write_text("first\n")
    file = token_file.TokenFile(str(path), lambda: now)
    path.write_text("second\n")
    now += token_file.REFRESH_SECONDS - 1
    assert file.current() == "first"
    now += 1
    assert file.current() == "second"
    path.write_text("")
    for _ in range(3):
        now += token_file.REFRESH_SECONDS
        assert file.current() == "second"
    assert caplog.text.count("using the one from before") == 1
    path.write_text("third")
    now += token_file.REFRESH_SECONDS
    assert file.current() == "third"


@pytest.mark.parametrize("by", ["file", "kubeconfig"])
@pytest.mark.parametrize("around", [("", "\n"), ("\ufeff", "\r\n"), ("  ", "  ")])
def test_calls_with_an_untidy_token(server: FakeApi, tmp_path: Path, by: str, around: tuple[str, str]) -> None:
    """The kubeconfig's token, or its token file, is untidy → calls carry the token and succeed."""
    token = "{}first{}".format(*around)
    server.tokens = {"first": "driver"}
    path = Path(server.kubeconfig(tmp_path / "kubeconfig", token))
    if by == "file":
        (tmp_path / "token").write_text(token)
        use_token_file(path, tmp_path / "token")

    async def test(api: Api) -> None:
        assert await api.call("GET", "/version")

    run(str(path), test)


def test_token_file_that_is_mended(server: FakeApi, tmp_path: Path) -> None:
    """The token file is in UTF-16, then has two tokens, then one that is refused → calls wait, with each reason in
    turn; then it is right → they succeed."""
    server.tokens = {"first": "driver"}
    path = Path(server.kubeconfig(tmp_path / "kubeconfig"))
    file = tmp_path / "token"
    file.write_bytes("first".encode("utf-16"))
    use_token_file(path, file)

    async def test(api: Api) -> None:
        calling = asyncio.create_task(api.call("GET", "/version"))
        await until(lambda: "not text in UTF-8" in api.last_error, "the first reason")
        file.write_text("first\nsecond\n")
        await until(lambda: "more than a token" in api.last_error, "the second reason")
        file.write_text("other\n")
        await until(lambda: "401" in api.last_error, "the refusal")
        file.write_text("first\n")
        await calling

    run(str(path), test)


def use_token_file(kubeconfig: Path, file: Path) -> None:
    """Let a kubeconfig name a token file."""
    content = json.loads(kubeconfig.read_text())
    content["users"][0]["user"] = {"tokenFile": str(file)}
    kubeconfig.write_text(json.dumps(content))
