"""Kubeconfigs with mistakes: a sentence that says what is wrong, and quotes nothing of the file."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from driver.cluster import transport
from runtime.errors import ConfigurationError

CANARY = "qZ7Lw2-canary"
VERSION = "client.authentication.k8s.io/v1"
STATUS = {"apiVersion": VERSION, "kind": "ExecCredential", "status": {"token": "from-the-plugin"}}


def write(path: Path, user: Any, **entry: Any) -> str:
    """A kubeconfig with one entry for the user."""
    path.parent.mkdir(exist_ok=True)
    content = {
        "current-context": "a",
        "clusters": [{"name": "a", "cluster": {"server": "http://127.0.0.1:1"}}],
        "users": [{"name": "a", "user": user, **entry}],
        "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
    }
    path.write_text(json.dumps(content))
    return str(path)


def bearer(kubeconfig: str) -> str:
    """What the driver sends to the API server; empty if that is nothing."""

    async def opened() -> str:
        made = await transport.Transport.open(kubeconfig)
        try:
            return str((await made.credentials()).get("BearerToken", {}).get("value", ""))
        finally:
            await made.close()

    return asyncio.run(opened())


@pytest.mark.parametrize(
    ("user", "entry", "sentence"),
    [
        ({"exec": {"args": [CANARY], "apiVersion": VERSION}}, {}, "no key 'command'"),
        ({"exec": {"command": "x", "env": [{"name": "A", "value": CANARY}]}}, {}, "no key 'apiVersion'"),
        ({"exec": {"command": "x", "apiVersion": VERSION, "env": [{"name": CANARY}]}}, {}, "malformed"),
        ({"token": CANARY}, {"name": "b"}, "no user 'a'"),
        ({"tokenFile": [CANARY]}, {}, "malformed"),
        (CANARY, {}, "malformed"),
    ],
)
def test_nothing_is_quoted(tmp_path: Path, user: Any, entry: dict[str, Any], sentence: str) -> None:
    """A key is missing beside a credential, or has another type → what is wrong, without the credential."""
    with pytest.raises(ConfigurationError, match=sentence) as raised:
        bearer(write(tmp_path / "kubeconfig", user, **entry))
    assert CANARY not in str(raised.value)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [("", "token is empty"), ("\n", "is empty"), ("a\nb", "more than a token"), (None, "No such file")],
)
def test_token_file(tmp_path: Path, content: str | None, sentence: str) -> None:
    """The file of the token is empty, missing, or has more → not a call without credentials, but a sentence."""
    if content is not None:
        (tmp_path / "token").write_text(content)
    with pytest.raises(transport.CONFIGURATION_ERRORS, match=sentence):
        bearer(write(tmp_path / "kubeconfig", {"tokenFile": "token"}))


@pytest.mark.parametrize("command", ["./plugin", "../bin/plugin", "ABSOLUTE"])
def test_plugin_beside_the_kubeconfig(tmp_path: Path, command: str) -> None:
    """A plugin's path is relative to the kubeconfig, as with kubectl."""
    plugin = tmp_path / ("bin" if "bin" in command else "etc") / "plugin"
    plugin.parent.mkdir()
    plugin.write_text(f"#!/bin/sh\necho '{json.dumps(STATUS)}'\n")
    plugin.chmod(0o700)
    user = {"exec": {"command": str(plugin) if command == "ABSOLUTE" else command, "apiVersion": VERSION}}
    assert bearer(write(tmp_path / "etc" / "kubeconfig", user)) == "Bearer from-the-plugin"


def test_no_file(tmp_path: Path) -> None:
    """None of the files exists → a sentence that names them; one of two does → it is used."""
    good = write(tmp_path / "kubeconfig", {"token": "t"})
    with pytest.raises(ConfigurationError, match="/nowhere:/no-file does not exist"):
        bearer("/nowhere:/no-file")
    assert bearer(f"/nowhere:{good}") == "Bearer t"
